"""What differs between ArviZ 0.x and 1.x, in one place."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray
from numpy.typing import NDArray

with warnings.catch_warnings():  # of what the next version changes, which is taken care of here
    warnings.simplefilter("ignore", FutureWarning)
    import arviz

__all__ = [
    "IS_TREE",
    "arviz",
    "container",
    "elpd_of",
    "group_names",
    "pareto_shapes",
    "psis",
    "read_netcdf",
    "save_netcdf",
]

IS_TREE = int(arviz.__version__.split(".")[0]) >= 1


def container(groups: Mapping[str, xarray.Dataset]) -> Any:
    """Return the groups as the installed ArviZ wants them: InferenceData (0.x) or DataTree (1.x).

    Examples
    --------
    >>> draws = xarray.Dataset({"mean": (("chain", "draw"), np.array([[1.0, 2.0], [3.0, 4.0]]))})
    >>> container({"posterior": draws})["posterior"]["mean"].mean("draw").values.tolist()
    [1.5, 3.5]
    """
    return xarray.DataTree.from_dict(dict(groups)) if IS_TREE else arviz.InferenceData(**groups)


def group_names(tree: Any) -> list[str]:
    """Return the names of a container's groups.

    Examples
    --------
    >>> draws = xarray.Dataset({"mean": (("chain", "draw"), np.zeros((2, 20)))})
    >>> group_names(container({"posterior": draws, "prior": draws}))
    ['posterior', 'prior']
    """
    return list(tree.children) if IS_TREE else list(tree.groups())


def save_netcdf(tree: Any, path: str | Path) -> None:
    """Write a container to a netCDF file, which ``arviz.from_netcdf`` reads.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> import tempfile
    >>> from neuropyro.inference import Schedule, fit, to_arviz
    >>> result = fit(model, torch.ones(9), "laplace", schedule=Schedule(warm_up=50), progress=False)
    >>> path = Path(tempfile.mkdtemp()) / "posterior.nc"
    >>> save_netcdf(to_arviz(result, draws=20, predictive_draws=5), path)
    >>> read_netcdf(path)["posterior"]["mean"].shape
    (1, 20)
    """
    tree.to_netcdf(str(path), engine="h5netcdf")


def read_netcdf(path: str | Path) -> Any:
    """Read a container that `save_netcdf` wrote.

    Examples
    --------
    >>> import tempfile
    >>> draws = xarray.Dataset({"mean": (("chain", "draw"), np.array([[1.0, 2.0], [3.0, 4.0]]))})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_netcdf(container({"posterior": draws}), f"{folder}/posterior.nc")
    ...     tree = read_netcdf(f"{folder}/posterior.nc")
    ...     print(tree["posterior"]["mean"].values.tolist())
    ...     _ = tree.close()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    return arviz.from_netcdf(str(path), engine="h5netcdf")


def psis(log_weights: NDArray[np.float64]) -> float:
    """Return the Pareto shape k of log-weights ``(draws,)``.

    Examples
    --------
    >>> ranks = (np.arange(2000) + 0.5) / 2000
    >>> round(psis(-0.7 * np.log(ranks)), 1)  # a Pareto law of that shape
    0.7
    """
    if IS_TREE:
        stats = importlib.import_module("arviz_stats.base").array_stats
        _, khat = stats.psislw(-log_weights)  # it takes minus the log-weights, as leave-one-out has them
    else:
        _, khat = arviz.psislw(log_weights)
    return float(khat)


def pareto_shapes(loo: Any) -> NDArray[np.float64]:
    """Return the k-hat of each unit ``(units,)`` that ``arviz.loo(..., pointwise=True)`` found.

    Examples
    --------
    >>> values = np.random.default_rng(0).normal(-1.0, 0.01, (1, 500, 3))
    >>> terms = xarray.Dataset({"y": (("chain", "draw", "visit"), values)})
    >>> loo = arviz.loo(container({"posterior": terms, "log_likelihood": terms}), pointwise=True, reff=1.0)
    >>> bool((pareto_shapes(loo) < 0.7).all())  # a likelihood that hardly hangs on the draw
    True
    """
    return np.asarray(loo.pareto_k, np.float64)


def elpd_of(loo: Any) -> tuple[float, float, NDArray[np.float64]]:
    """Return estimate, standard error and terms ``(units,)`` of what ``arviz.loo(..., pointwise=True)`` found, nats.

    Examples
    --------
    >>> values = np.random.default_rng(0).normal(-1.0, 0.01, (1, 500, 3))
    >>> terms = xarray.Dataset({"y": (("chain", "draw", "visit"), values)})
    >>> loo = arviz.loo(container({"posterior": terms, "log_likelihood": terms}), pointwise=True, reff=1.0)
    >>> elpd, error, pointwise = elpd_of(loo)
    >>> round(elpd, 2), round(error, 2), pointwise.round(2).tolist()
    (-3.0, 0.0, [-1.0, -1.0, -1.0])
    """
    if IS_TREE:
        return float(loo.elpd), float(loo.se), np.asarray(loo.elpd_i, np.float64)
    return float(loo.elpd_loo), float(loo.se), np.asarray(loo.loo_i, np.float64)
