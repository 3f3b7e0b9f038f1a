"""A model that starts from given values: fits of parts of the data start from the fit of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.data import Cohort
from neuropyro.inference import Fit

__all__ = ["Started", "start_of"]


@dataclass(frozen=True, eq=False)
class Started:
    """A model in all but its starting values.

    Parameters
    ----------
    model
        The model.
    values
        Starting values by site.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> start = Started(model, {"mean": np.array(2.0)})  # in all else the model
    >>> start.init_values(SimpleNamespace(values=torch.zeros(3)))  # in the data's precision and place
    {'mean': tensor(2.)}
    """

    model: Any
    values: Mapping[str, NDArray[Any]]

    def __call__(self, data: Any) -> None:
        """Run the model."""
        self.model(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def init_values(self, data: Any, seed: int = 0) -> dict[str, Tensor]:
        """Return the values, as the data are placed."""
        return {site: torch.tensor(values).to(data.values) for site, values in self.values.items()}


def start_of(result: Fit, whole: Cohort, part: Cohort) -> dict[str, NDArray[Any]]:
    """Return values of a fit's sites for a part of its cohort that has whole subjects.

    Parameters
    ----------
    result
        A fit of ``whole``.
    whole, part
        The cohort, and some subjects of it, with all of their visits.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import VertexClusterMixture
    >>> cohort, short = simulate_reference(6, 12, 1, seed=0), Schedule(max_steps=2, warm_up=0, window=2)
    >>> result = fit(VertexClusterMixture(1), cohort, "map", schedule=short, progress=False)
    >>> part = cohort.subset(subjects=cohort.subjects[[1, 4]])
    >>> values = start_of(result, cohort, part)
    >>> np.array_equal(values["place"], result.posterior(1)["place"][0, [1, 4]])  # of the subjects of the part
    True
    """
    chosen = {
        "subject": np.flatnonzero(np.isin(whole.subjects, part.subjects)),
        "visit": np.flatnonzero(np.isin(whole.subject, part.subjects)),
    }
    draw = {site: values[0] for site, values in result.posterior(1).items()}
    dims = result.model.dims  # type: ignore[attr-defined]
    return {site: _taken(values, dims.get(site, ()), chosen) for site, values in draw.items()}


def _taken(values: NDArray[Any], dims: tuple[str, ...], chosen: Mapping[str, NDArray[np.int64]]) -> NDArray[Any]:
    for axis, name in enumerate(dims):
        values = values.take(chosen[name], axis) if name in chosen else values
    return values
