"""How much of what people's speeds differ by the visits tell, and how much is left to the population."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from neuropyro.outputs import Outcome

__all__ = ["remark_on_speeds", "share_known"]

HALF = 0.5  # of the variance of speeds, below which those of single people say little
FEWEST = 5  # subjects, of whose speeds there is a variance to speak of


def share_known(log_alpha: NDArray[np.floating]) -> float:
    """Return which share of the variance of log speeds over subjects lies between the subjects' own means, 0 to 1.

    What is left lies within their posteriors: estimates are drawn together by it, as regression to the mean has it.
    What all speeds of a draw have in common does not count.

    Parameters
    ----------
    log_alpha
        ``(draws, subjects)``.

    Examples
    --------
    >>> share_known(np.array([[0.0, 3.0], [9.0, 10.0]]))  # halves of the difference: 1 on average, 1 +- .5
    0.8
    """
    apart = log_alpha - log_alpha.mean(1, keepdims=True)
    between, within = apart.mean(0).var(), apart.var(0).mean()
    return float(between / max(between + within, 1e-30))


def remark_on_speeds(outcome: Outcome) -> str:
    """Return a sentence where visits hardly tell single speeds; else, of a point, and of a few people, nothing.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> drawn = {"alpha": np.exp(np.random.default_rng(0).standard_normal((100, 9)))}  # all alike, of none known
    >>> remark_on_speeds(SimpleNamespace(fit=SimpleNamespace(is_point=False), posterior=drawn)).split(":")[0]
    'visits tell 1 % of what speeds differ by'
    """
    alpha = outcome.posterior["alpha"]
    if outcome.fit.is_point or alpha.shape[1] < FEWEST:
        return ""
    known = share_known(np.log(np.maximum(alpha, 1e-30)))
    if known >= HALF:
        return ""
    return (
        f"visits tell {100 * known:.0f} % of what speeds differ by: single people's (alpha) are drawn towards the "
        "common speed, and say little beyond their intervals; compare groups by them"
    )
