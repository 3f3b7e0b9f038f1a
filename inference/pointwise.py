"""The log-likelihood unit by unit, under each posterior draw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.guides.latents import is_enumerated
from neuropyro.inference.program import observed_sites, sample_sites
from neuropyro.inference.simulation import run_given

if TYPE_CHECKING:
    from neuropyro.inference.result import Fit

__all__ = ["pointwise"]


def pointwise(fit: Fit, draws: int) -> dict[str, NDArray[np.float64]]:
    """Return log p(unit | draw) by observed site, ``(draws, units, ...)``.

    Parameters
    ----------
    fit
        A fit.
    draws
        Posterior draws.

    Returns
    -------
    What the model's ``log_likelihood(result, draws)`` says, under the name of its first observed site.  Without that,
    the density of every observed site as the program has it, a unit being an element of its plates; nothing for a model
    that sums sites out, since only it knows which units that leaves apart.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`, and a point in the place of a posterior:

    >>> from neuropyro.guides import make_guide
    >>> from neuropyro.inference import Fit, Run
    >>> y = torch.zeros(3)
    >>> guide = make_guide("map", model, y, {"mean": torch.tensor(0.0)})
    >>> result = Fit(model, y, (Run(guide, np.zeros(1), True, ""),), "map", 0, "")

    >>> pointwise(result, draws=2)["y"].round(3).tolist()  # standard normals at 0
    [[-0.919, -0.919, -0.919], [-0.919, -0.919, -0.919]]
    """
    own = getattr(fit.model, "log_likelihood", None)
    if own is not None:
        name = next(iter(observed_sites(fit.model, fit.data)), "observed")
        terms = np.asarray(own(fit, draws), np.float64)
        return {name: np.broadcast_to(terms, (draws, *terms.shape[1:]))}  # a point is one draw
    if _sums_out(fit.model, fit.data):
        return {}
    names = list(observed_sites(fit.model, fit.data))
    collected: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
    for run in run_given(fit, draws):
        for name in names:
            site = run[name]
            collected[name].append(np.atleast_1d(site["fn"].log_prob(site["value"]).double().cpu().numpy()))
    return {name: np.stack(terms) for name, terms in collected.items()}


def _sums_out(model: Any, data: Any) -> bool:
    return any(is_enumerated(site) for site in sample_sites(model, data).values())
