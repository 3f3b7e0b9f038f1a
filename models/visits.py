"""A cohort made ready for a model: standardised, centred, on a device.

Each vertex is standardised before fitting, since clusters are of trajectories and not of baseline thickness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.data import Cohort

__all__ = ["Standardise", "Visits", "prepare_visits"]

Standardise = Literal["controls", "all"] | None
SAME_TIME = 1e-6  # squared years: visits of a subject closer than that are at one time
CONSTANT = 1e-6  # a vertex whose sd is below this fraction of its size is constant


@dataclass(frozen=True)
class Visits:
    """What the disease-progression models condition on.

    Parameters
    ----------
    values
        ``(vertices, visits)`` standardised, 0 where missing.
    observed
        ``(vertices, visits)``, 1 where seen and 0 where missing; None where everything was seen.
    sum_squares
        ``(vertices,)`` sums of squares of ``values``.
    subject
        ``(visits,)`` int, the place of a visit's subject among the subjects.
    time_within
        ``(visits,)`` years since the mean time of the subject's own visits.
    subject_time
        ``(subjects,)`` years from the cohort's mean time to the mean time of the subject's visits.
    visits_of_subject
        ``(subjects,)`` number of visits.
    reference
        Row numbers of the visits that set the gauge.
    is_control
        ``(visits,)`` bool.
    location, scale
        ``(vertices,)``: value = location + scale * standardised value, in the cohort's unit.
    names
        The cohort's own names: ``subject (subjects,)`` and, where it has feature names, ``vertex (vertices,)``.
    """

    values: Tensor
    observed: Tensor | None
    sum_squares: Tensor
    subject: Tensor
    time_within: Tensor
    subject_time: Tensor
    visits_of_subject: Tensor
    reference: Tensor
    is_control: Tensor
    location: Tensor
    scale: Tensor
    names: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def n_vertices(self) -> int:
        """Number of vertices L."""
        return self.values.shape[0]

    @property
    def n_visits(self) -> int:
        """Number of visits N."""
        return self.values.shape[1]

    @property
    def n_subjects(self) -> int:
        """Number of subjects I."""
        return self.subject_time.shape[0]

    @property
    def is_informative(self) -> Tensor:
        """``(vertices,)`` bool: False where a vertex is constant or never seen, and so says nothing."""
        if self.observed is None:
            return torch.ones_like(self.sum_squares, dtype=torch.bool)
        return self.observed.any(-1)

    def to(self, device: torch.device | str | None, dtype: torch.dtype | None) -> Visits:
        """Return the same visits on a device, their real numbers in a dtype; None leaves as it is."""
        moved: dict[str, Any] = {
            f.name: tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)
            for f in fields(self)
            if isinstance(tensor := getattr(self, f.name), Tensor)
        }
        return replace(self, **moved)

    def with_values(self, values: Tensor) -> Visits:
        """Return the same visits with other standardised values ``(vertices, visits)``; what is missing stays so."""
        if values.shape != self.values.shape:
            raise ValueError(f"values: {tuple(values.shape)} for (vertices, visits) = {tuple(self.values.shape)}")
        seen = values.to(self.values) if self.observed is None else values.to(self.values) * self.observed
        seen = seen.mT.contiguous().mT  # stored visit by visit
        return replace(self, values=seen, sum_squares=seen.double().square().sum(-1).to(seen.dtype))


def prepare_visits(
    cohort: Cohort, standardise: Standardise, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> Visits:
    """Standardise a cohort and place it on a device.

    A vertex that is constant over visits, or was never seen, is treated as missing throughout.

    Parameters
    ----------
    standardise
        ``"controls"``: by the mean of the controls' visits, and by the sd of their values about each subject's own
        line in time (how far a value moves by chance; about its mean, where it was seen but twice), where a diagnosis
        is given, else as ``"all"``: by all visits alike.
        None: values are taken as they are; centre them yourself, since the likelihood loses digits where values
        are large beside their spread.
    """
    dtype = dtype or torch.get_default_dtype()
    location, scale = _location_and_scale(cohort, standardise)
    seen = ~np.isnan(cohort.values) & (scale > 0)
    scale = np.where(scale > 0, scale, 1.0)
    standard = (cohort.values - location.astype(cohort.values.dtype)) / scale.astype(cohort.values.dtype)
    standard = np.where(seen, standard, 0)

    def tensor(array: NDArray[Any], kind: torch.dtype | None = dtype) -> Tensor:
        return torch.as_tensor(np.ascontiguousarray(array)).to(device=device, dtype=kind)

    values = tensor(standard).T  # stored visit by visit, as the cohort is
    within, mean_time = _centred_times(cohort)
    return Visits(
        values=values,
        observed=None if seen.all() else tensor(seen).T,
        sum_squares=values.double().square().sum(-1).to(dtype),
        subject=tensor(cohort.subject_index, torch.long),
        time_within=tensor(within),
        subject_time=tensor(mean_time),
        visits_of_subject=tensor(np.bincount(cohort.subject_index)),
        reference=tensor(np.flatnonzero(cohort.is_reference), torch.long),
        is_control=tensor(cohort.is_control, torch.bool),
        location=tensor(location),
        scale=tensor(scale),
        names={"subject": cohort.subjects} | ({} if cohort.feature_names is None else {"vertex": cohort.feature_names}),
    )


def _location_and_scale(cohort: Cohort, standardise: Standardise) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each vertex's location and scale; the scale of a constant vertex is 0."""
    location, scale = _moments(cohort)
    if standardise is None:
        return np.zeros_like(location), np.where(scale > 0, 1.0, 0.0)
    if standardise == "controls" and cohort.is_control.any():
        control_location, control_scale = _moments(cohort.subset(visits=cohort.is_control))
        usable = (control_scale > 0) & (scale > 0)
        location, scale = np.where(usable, control_location, location), np.where(usable, control_scale, scale)
    return np.nan_to_num(location), scale


def _moments(cohort: Cohort) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each vertex's mean, and the sd of its values about their own subject's line in time.

    Of a subject seen but twice, the sd is about its mean; where no subject was seen twice, that about the overall mean
    stands in.
    """
    seen = ~np.isnan(cohort.values)
    values = np.where(seen, cohort.values, 0)
    count = seen.sum(0)
    mean = values.sum(0, dtype=np.float64) / np.maximum(count, 1)
    deviation = np.where(seen, values - mean.astype(values.dtype), 0)
    total = np.square(deviation).sum(0, dtype=np.float64)
    member = sp.csr_array((np.ones(cohort.n_visits), (cohort.subject_index, np.arange(cohort.n_visits))))
    present = seen.astype(values.dtype)
    time = _centred_times(cohort)[0][:, None].astype(values.dtype)
    visits, sums = member @ present, member @ deviation
    between = (np.square(sums) / np.maximum(visits, 1)).sum(0)
    times = member @ (present * time)
    spread = member @ (present * np.square(time)) - np.square(times) / np.maximum(visits, 1)
    product = member @ (deviation * time) - times * sums / np.maximum(visits, 1)
    sloped = (visits >= 3) & (spread > SAME_TIME)
    trend = np.where(sloped, np.square(product) / np.where(sloped, spread, 1), 0).sum(0)
    freedom = np.maximum(visits - 1, 0).sum(0) - sloped.sum(0)
    within = np.sqrt(np.maximum(total - between - trend, 0) / np.maximum(freedom, 1))
    overall = np.sqrt(total / np.maximum(count, 1))
    overall = np.where(overall > CONSTANT * np.abs(mean), overall, 0.0)
    return np.where(count > 0, mean, np.nan), np.where(within > CONSTANT * np.abs(mean), within, overall)


def _centred_times(cohort: Cohort) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    count = np.bincount(cohort.subject_index)
    mean_time = np.bincount(cohort.subject_index, cohort.time) / count
    return cohort.time - mean_time[cohort.subject_index], mean_time - cohort.time.mean()
