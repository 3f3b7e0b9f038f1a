"""Who was seen only where no curve changes any more, or none has begun to: there data hardly tell scores.

What is left to place such people is the population's law, Normal, which draws them in where patients are as far beyond
everything as in studies of the manifestly ill, and by more than their intervals say (guide ``normal``, three simulated
studies of 22 people: intervals hold the score at 2 of the 51 visits that tell less than a hundredth of the best).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from neuropyro.data.unknown_names import few
from neuropyro.outputs import Outcome

__all__ = ["people_at_ends", "relative_information", "remark_on_ends"]

FAINT = 0.01  # of the most information that any score has: a score is known ten times less well
REACH = 3.0  # scores beyond the onsets, in which curves are looked at
SITES = ("a", "b", "c", "sigma", "pi", "scatter_c")

Floats = NDArray[np.float64]


def relative_information(score: ArrayLike, curves: Mapping[str, ArrayLike]) -> Floats:
    """Return how much a visit at each score tells of it, as a share of what one at the best score does.

    That is the Fisher information: the squares of curves' slopes over their noise, summed.

    Parameters
    ----------
    score
        ``(visits,)``.
    curves
        ``(K,)`` each: the sites a, b, c, sigma and pi, and scatter_c, the sd of the members' own onsets, if they have.

    Examples
    --------
    >>> one = {"a": [1.0], "b": [2.0], "c": [0.0], "sigma": [0.1], "pi": [1.0]}
    >>> relative_information([0.0, 1.0, 4.0], one).round(4).tolist()  # (4 p (1 - p)) squared
    [1.0, 0.1764, 0.0]
    """
    known = {name: np.asarray(values, np.float64) for name, values in curves.items()}
    ends = known["c"].min() - REACH, known["c"].max() + REACH
    most = _information(np.linspace(*ends, 601), known).max()
    found = _information(np.asarray(score, np.float64), known)
    return np.asarray(found / max(most, np.finfo(np.float64).tiny))


def _information(score: Floats, curves: Mapping[str, Floats]) -> Floats:
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    onset = curves["c"] + nodes[:, None] * curves.get("scatter_c", np.zeros_like(curves["c"]))
    share = expit(curves["b"] * (score[:, None, None] - onset))
    slope = curves["a"] * curves["b"] * share * (1 - share)
    by_cluster = np.einsum("n,snk->sk", weights / weights.sum(), slope**2)
    return np.asarray(by_cluster @ (curves["pi"] / curves["sigma"] ** 2))


def people_at_ends(outcome: Outcome) -> dict[str, NDArray[np.str_]]:
    """Return names of the people whose every visit tells nearly nothing of its score, by the end they are at.

    The keys are ``before``, of those whom nothing has begun to change in, and ``beyond``.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> curve = {"a": 1.0, "b": 2.0, "c": 0.0, "sigma": 0.1, "pi": 1.0}
    >>> draws = {name: np.full((9, 1), value) for name, value in curve.items()} | {"dps": np.array([[-0.5, 0.5, 6.0]])}
    >>> people = SimpleNamespace(subjects=np.array(["a", "b"]), n_subjects=2, subject_index=np.array([0, 0, 1]))
    >>> found = people_at_ends(SimpleNamespace(posterior=draws, cohort=people))
    >>> {end: names.tolist() for end, names in found.items()}
    {'before': [], 'beyond': ['b']}
    """
    middle = {name: np.median(x, 0) for name, x in outcome.posterior.items() if name in SITES}
    score = np.median(outcome.posterior["dps"], 0)
    subject = outcome.cohort.subject_index
    told = np.zeros(outcome.cohort.n_subjects)
    np.maximum.at(told, subject, relative_information(score, middle))
    place = np.bincount(subject, score) / np.bincount(subject)
    names, faint = outcome.cohort.subjects.astype(str), told < FAINT
    late = place > np.median(middle["c"])
    return {"before": names[faint & ~late], "beyond": names[faint & late]}


def remark_on_ends(outcome: Outcome) -> str:
    """Return a sentence on the people of `people_at_ends`; empty where there are none.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> curve = {"a": 1.0, "b": 2.0, "c": 0.0, "sigma": 0.1, "pi": 1.0}
    >>> draws = {name: np.full((9, 1), value) for name, value in curve.items()} | {"dps": np.array([[0.5, 6.0]])}
    >>> people = SimpleNamespace(subjects=np.array(["a", "b"]), n_subjects=2, subject_index=np.array([0, 1]))
    >>> remark_on_ends(SimpleNamespace(posterior=draws, cohort=people)).split(":")[0]
    'of 2 people 1 was seen only beyond all that changes (b)'
    """
    words = {"before": "before anything changes", "beyond": "beyond all that changes"}
    ends = people_at_ends(outcome)
    said = [
        f"{len(names)} {'were' if len(names) > 1 else 'was'} seen only {words[end]} ({', '.join(few(names, 5))})"
        for end, names in ends.items()
        if len(names)
    ]
    if not said:
        return ""
    people = sum(len(names) for names in ends.values())
    whose, them, scores = ("the", "this one", "this score") if people == 1 else ("their", "them", "these scores")
    total = outcome.cohort.n_subjects
    return (
        f"of {total} {'person' if total == 1 else 'people'} {' and '.join(said)}: {whose} values hardly tell how far, "
        f"the population's law places {them}, and intervals miss the truth where it is wrong; do not compare {scores}"
    )
