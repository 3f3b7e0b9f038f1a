"""ArviZ's container from a fit: InferenceData with ArviZ 0.x, DataTree with 1.x.

Both are groups of xarray datasets, built here from numpy arrays; the major version decides on the container alone.
Restarts are chains, so that R-hat compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import arviz
import numpy as np
import xarray
from numpy.typing import NDArray

if TYPE_CHECKING:
    from neuropyro.inference.result import Fit

__all__ = ["container", "save_netcdf", "to_arviz"]

Arrays = Mapping[str, NDArray[Any]]


def to_arviz(fit: Fit, draws: int = 500) -> Any:
    """Return groups posterior, sample_stats, and log_likelihood and coordinates where the model has them.

    Parameters
    ----------
    fit
        A fit.
    draws
        Posterior draws a chain.
    """
    chains = [fit.posterior(draws, run) for run in range(len(fit.runs))]
    posterior = {site: np.stack([chain[site] for chain in chains]) for site in chains[0]}
    names = dict(getattr(fit.model, "dims", {}))
    groups = {"posterior": _dataset(posterior, ("chain", "draw"), names), "sample_stats": _losses(fit)}
    if hasattr(fit.model, "log_likelihood"):
        pointwise = np.stack([fit.log_likelihood(draws=min(draws, 100))])
        groups["log_likelihood"] = _dataset({"V": pointwise}, ("chain", "draw"), names)
    return container(groups)


def container(groups: Mapping[str, xarray.Dataset]) -> Any:
    """Return the groups as the installed ArviZ wants them."""
    if int(arviz.__version__.split(".")[0]) >= 1:
        return xarray.DataTree.from_dict(dict(groups))
    return arviz.InferenceData(**groups)


def save_netcdf(tree: Any, path: str | Path) -> None:
    """Write a container to a netCDF file, which ``arviz.from_netcdf`` reads."""
    tree.to_netcdf(str(path), engine="h5netcdf")


def _losses(fit: Fit) -> xarray.Dataset:
    """Return the losses of every restart ``(chain, step)``, NaN after its last step."""
    longest = max(len(run.losses) for run in fit.runs)
    padded = np.full((len(fit.runs), longest), np.nan)
    for chain, run in enumerate(fit.runs):
        padded[chain, : len(run.losses)] = run.losses
    return xarray.Dataset({"loss": (("chain", "step"), padded)}, coords={"chain": np.arange(len(fit.runs))})


def _dataset(arrays: Arrays, lead: tuple[str, ...], names: Mapping[str, tuple[str, ...]]) -> xarray.Dataset:
    variables = {}
    for site, array in arrays.items():
        own = names.get(site, tuple(f"{site}_dim_{i}" for i in range(array.ndim - len(lead))))
        variables[site] = (lead + own, array)
    sizes = next(iter(arrays.values())).shape
    return xarray.Dataset(variables, coords={dim: np.arange(n) for dim, n in zip(lead, sizes, strict=False)})
