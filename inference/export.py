"""ArviZ's container from a fit: InferenceData with ArviZ 0.x, DataTree with 1.x.

Groups: posterior, sample_stats, log_likelihood, prior, prior_predictive, posterior_predictive, observed_data and
constant_data, those that the model allows.  Restarts are chains, so that R-hat compares them.  Dimensions are called as
the model's ``dims`` say, or else as its plates; coordinates are the model's ``coords(data)``.

A caution on leave-one-out by vertex: vertices stand for themselves only as long as nothing but the globals ties them.
They are no units under a spatial prior or a visit effect; leave subjects out then (``subjects=True``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray
from numpy.typing import NDArray

from neuropyro.default_dtype import default_dtype
from neuropyro.guides.recorded import evenly_spaced
from neuropyro.inference.arviz_versions import container, save_netcdf
from neuropyro.inference.dimensions import Naming, naming_of
from neuropyro.inference.pointwise import pointwise
from neuropyro.inference.program import observed_values
from neuropyro.inference.simulation import predictive, prior_draws

if TYPE_CHECKING:
    from neuropyro.inference.result import Fit

__all__ = ["save_netcdf", "to_arviz"]

Arrays = Mapping[str, NDArray[Any]]
MOST_NUMBERS = 20_000_000  # in a group of simulated data; fewer draws are taken of large data
MOST_TERMS = 200_000_000  # observed values times draws of the pointwise log-likelihood
FEWEST_DRAWS = 10
POINTWISE_DRAWS = 100


def to_arviz(fit: Fit, draws: int = 500, predictive_draws: int = 100, subjects: bool = False) -> Any:
    """Return a fit as ArviZ wants it.

    Parameters
    ----------
    fit
        A fit.
    draws
        Posterior draws a chain; of NUTS, no more than were recorded.
    predictive_draws
        Simulated data sets, from the prior and from the posterior; 0 for none.  Fewer are taken where data are large,
        and none where even ten would take more than some 100 MB.
    subjects
        Whether to add each subject's log-likelihood given all others to group log_likelihood, as ``subject_terms``,
        where the model has ``subject_log_likelihood``.

    Returns
    -------
    ``arviz.InferenceData`` or ``xarray.DataTree``, as the installed ArviZ has it.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.inference import Schedule, fit
    >>> result = fit(model, torch.ones(9), "laplace", schedule=Schedule(warm_up=50), progress=False)
    >>> tree = to_arviz(result, draws=20, predictive_draws=5)
    >>> tree["posterior"]["mean"].shape  # chains, draws
    (1, 20)
    """
    if fit.is_sampled:
        draws = min(draws, *(len(run.losses) for run in fit.runs))
    with default_dtype(fit.dtype):
        return container(_groups(fit, draws, predictive_draws, subjects))


def _groups(fit: Fit, draws: int, predictive_draws: int, subjects: bool) -> dict[str, xarray.Dataset]:
    chains = [replace(fit, runs=(run,)) for run in fit.runs]
    observed = observed_values(fit.model, fit.data)
    naming = naming_of(fit.model, fit.data)
    size = sum(values.size for values in observed.values())
    groups = {
        "posterior": naming.dataset(_stacked([chain.posterior(draws) for chain in chains]), ("chain", "draw")),
        "sample_stats": _statistics(fit, draws),
        "log_likelihood": _log_likelihood(chains, naming, draws, size, subjects),
        **_simulated(fit, naming, min(predictive_draws, draws, MOST_NUMBERS // max(size, 1)), observed),
        "observed_data": naming.dataset(observed, ()),
        "constant_data": _constant(fit, naming),
    }
    groups["posterior"].attrs = {"inference_library": "neuropyro", "guide": str(fit.guide_name), "seed": fit.seed}
    return {name: group for name, group in groups.items() if group.data_vars}


def _log_likelihood(chains: list[Fit], naming: Naming, draws: int, size: int, subjects: bool) -> xarray.Dataset:
    kept = draws if draws * size <= MOST_TERMS else min(draws, POINTWISE_DRAWS)
    terms = [pointwise(chain, kept) for chain in chains]
    if subjects and hasattr(chains[0].model, "subject_log_likelihood"):
        model: Any = chains[0].model
        whole = [model.subject_log_likelihood(chain, kept) for chain in chains]
        repeated = [np.broadcast_to(own, (kept, *own.shape[1:])) for own in whole]  # a point is one draw
        terms = [term | {"subject_terms": own} for term, own in zip(terms, repeated, strict=True)]
    if not terms[0]:
        return xarray.Dataset()
    stacked = _stacked(terms)
    return naming.dataset(stacked, ("chain", "draw"), {"subject_terms": ("subject",)})


def _simulated(fit: Fit, naming: Naming, draws: int, observed: Arrays) -> dict[str, xarray.Dataset]:
    if draws < FEWEST_DRAWS:
        return {}
    prior, prior_data = prior_draws(fit.model, fit.data, draws, fit.seed)
    # ArviZ's plots want a measured value for every simulated one; other sites are in `Fit.predictive`.
    new = {name: values for name, values in predictive(fit, draws).items() if name in observed}
    arrays = {"prior": prior, "prior_predictive": prior_data, "posterior_predictive": new}
    return {name: naming.dataset(_one_chain(group), ("chain", "draw")) for name, group in arrays.items()}


def _statistics(fit: Fit, draws: int) -> xarray.Dataset:
    """Return the losses of every restart ``(chain, step)``, NaN after its last; of NUTS what is known of each draw."""
    if fit.is_sampled:
        recorded = [evenly_spaced(draws, len(run.losses)) for run in fit.runs]
        own = [dict(run.stats) | {"lp": -run.losses} for run in fit.runs]
        kept = _stacked([{k: x[at] for k, x in stats.items()} for stats, at in zip(own, recorded, strict=True)])
        return Naming().dataset(kept, ("chain", "draw"))
    padded = np.full((len(fit.runs), max(len(run.losses) for run in fit.runs)), np.nan)
    for chain, run in enumerate(fit.runs):
        padded[chain, : len(run.losses)] = run.losses
    converged = np.array([run.converged for run in fit.runs])
    arrays = {"loss": padded, "converged": converged}
    return Naming().dataset(arrays, ("chain",), {"loss": ("step",)})


def _constant(fit: Fit, naming: Naming) -> xarray.Dataset:
    own = getattr(fit.model, "constant_data", None)
    if own is None:
        return xarray.Dataset()
    named = own(fit.data)
    arrays = {name: array for name, (_, array) in named.items()}
    return naming.dataset(arrays, (), {name: dims for name, (dims, _) in named.items()})


def _stacked(chains: list[Any]) -> dict[str, NDArray[Any]]:
    return {name: np.stack([chain[name] for chain in chains]) for name in chains[0]}


def _one_chain(draws: Arrays) -> dict[str, NDArray[Any]]:
    return {name: values[None] for name, values in draws.items()}
