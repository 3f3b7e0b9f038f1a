"""A cohort made ready for a model: standardised, centred, on a device.

Each vertex is standardised before fitting, since clusters are of trajectories and not of baseline thickness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from neuropyro.data import Cohort
from neuropyro.data.given_cohort import check_cohort
from neuropyro.data.named_columns import columns_like, other_columns
from neuropyro.models.control_group import controls_of
from neuropyro.models.covariates import CovariateCoding, code_covariates
from neuropyro.models.standardise import Standardise, centred_times, location_and_scale
from neuropyro.models.vertex_effects import SubjectSums

__all__ = ["Standardise", "Visits", "prepare_visits", "visits_like"]

COURSE = 5.0  # years; the sd of subjects' times is added, since those of many ages differ in score by many ages' travel


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
    origin
        ``()`` the cohort's mean time t_0, years.
    course
        ``()`` years in which a typical subject moves by one score, as the priors have it: see `COURSE`.
    visits_of_subject
        ``(subjects,)`` number of visits.
    share_seen
        ``(visits,)`` share of the vertices that were seen.
    reference
        Row numbers of the visits that set the gauge.
    is_control
        ``(visits,)`` bool.
    controls
        ``(subjects,)``: 1 for who came as a control, else 0; None where there are too few of either kind.
    location, scale
        ``(vertices,)``: value = location + scale * standardised value, in the cohort's unit.
    names
        The cohort's own names: ``subject (subjects,)`` and, where it has feature names, ``vertex (vertices,)``.
    covariates
        ``(subjects, C)`` standardised, or None for none.
    coding
        What the covariates' columns are.
    subject_sums
        Each vertex's sums over subjects' visits, where a model needs them: see `with_subject_sums`.
    weight
        What a vertex counts for, beside independent ones: see :mod:`neuropyro.models.effective_vertices`.

    Examples
    --------
    >>> cohort = Cohort(np.array([[2.0], [4.0], [9.0]]), time=[60, 62, 70], subject=["a", "a", "b"])
    >>> visits = prepare_visits(cohort, None)
    >>> visits.sum_of_subject(visits.values).tolist(), visits.years.tolist()  # from the mean time of 64 years
    ([[6.0, 9.0]], [-4.0, -2.0, 6.0])
    >>> visits.rows_of(torch.tensor([1, 0])).tolist()  # the second subject has no second visit
    [[2, 0], [-1, 1]]
    """

    values: Tensor
    observed: Tensor | None
    sum_squares: Tensor
    subject: Tensor
    time_within: Tensor
    subject_time: Tensor
    origin: Tensor
    course: Tensor
    visits_of_subject: Tensor
    share_seen: Tensor
    reference: Tensor
    is_control: Tensor
    location: Tensor
    scale: Tensor
    controls: Tensor | None = None
    names: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    covariates: Tensor | None = None
    coding: CovariateCoding | None = None
    subject_sums: SubjectSums | None = field(default=None, compare=False)
    weight: float = 1.0

    @property
    def n_vertices(self) -> int:
        """Number of vertices L."""
        return self.values.shape[0]

    @property
    def effective_vertices(self) -> float:
        """How many independent vertices they count as."""
        return self.weight * self.n_vertices

    @property
    def n_visits(self) -> int:
        """Number of visits N."""
        return self.values.shape[1]

    @property
    def n_subjects(self) -> int:
        """Number of subjects I."""
        return self.subject_time.shape[0]

    @property
    def years(self) -> Tensor:
        """``(visits,)`` years from the cohort's mean time."""
        return self.time_within + self.subject_time[self.subject]

    @property
    def is_informative(self) -> Tensor:
        """``(vertices,)`` bool: False where a vertex is constant or never seen, and so says nothing."""
        if self.observed is None:
            return torch.ones_like(self.sum_squares, dtype=torch.bool)
        return self.observed.any(-1)

    @property
    def own_sums(self) -> SubjectSums:
        """Each vertex's sums over subjects' visits; a ValueError where the visits were prepared without them."""
        if self.subject_sums is None:
            raise ValueError("visits: prepared without vertex effects; prepare them by the model that has these")
        return self.subject_sums

    def rows_of(self, subjects: Tensor) -> Tensor:
        """Return where some subjects' visits are, ``(most visits of one, subjects)``, -1 where one has fewer."""
        rows = [(self.subject == i).nonzero().squeeze(-1) for i in subjects.to(self.subject.device)]
        return pad_sequence(rows, padding_value=-1)

    def with_subject_sums(self) -> Self:
        """Return the same visits with each vertex's sums over subjects' visits."""
        return replace(self, subject_sums=SubjectSums.of(self.values, self.observed, self.subject))

    def sum_of_subject(self, values: Tensor) -> Tensor:
        """Return the sum over each subject's visits of ``values (*, visits)``, ``(*, subjects)``."""
        nothing = values.new_zeros(*values.shape[:-1], self.n_subjects)
        return nothing.index_add(-1, self.subject, values)

    def to(self, device: torch.device | str | None, dtype: torch.dtype | None) -> Visits:
        """Return the same visits on a device, their real numbers in a dtype; None leaves as it is."""
        moved: dict[str, Any] = {
            f.name: tensor.to(device=device, dtype=dtype if tensor.is_floating_point() else None)
            for f in fields(self)
            if isinstance(tensor := getattr(self, f.name), Tensor)
        }
        if self.subject_sums is not None:
            moved["subject_sums"] = self.subject_sums.to(device, dtype)
        return replace(self, **moved)

    def with_values(self, values: Tensor) -> Visits:
        """Return the same visits with other standardised values ``(vertices, visits)``; what is missing stays so.

        Raises
        ------
        ValueError
            Where the values have another shape.
        """
        if values.shape != self.values.shape:
            raise ValueError(f"values: {tuple(values.shape)} for (vertices, visits) = {tuple(self.values.shape)}")
        seen = values.to(self.values) if self.observed is None else values.to(self.values) * self.observed
        seen = seen.mT.contiguous().mT  # stored visit by visit
        moved = replace(self, values=seen, sum_squares=seen.double().square().sum(-1).to(seen.dtype))
        return moved if self.subject_sums is None else moved.with_subject_sums()


def prepare_visits(
    cohort: Cohort,
    standardise: Standardise,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    alike: bool = False,
    covariates: Sequence[str] = (),
) -> Visits:
    """Standardise a cohort and place it on a device.

    A vertex that is constant over visits, or was never seen, is treated as missing throughout.

    Parameters
    ----------
    standardise, alike
        See :func:`~neuropyro.models.standardise.location_and_scale`.
    covariates
        Names of those that go with the subjects: see :func:`~neuropyro.models.covariates.code_covariates`.

    Raises
    ------
    CohortError
        Where a covariate is missing of a subject, or the same for all, or what is given is no cohort.

    Examples
    --------
    >>> values = np.array([[2.0, 2.5], [np.nan, 2.5], [3.0, 2.5], [3.4, 2.5]])  # mm; the second vertex is constant
    >>> cohort = Cohort(values, time=[60, 61, 70, 71], subject=["a", "a", "b", "b"])
    >>> visits = prepare_visits(cohort, "all")
    >>> (visits.location + visits.scale * visits.values.T)[:, 0]  # a missing value is at the mean
    tensor([2.0000, 2.8000, 3.0000, 3.4000])
    >>> visits.is_informative.tolist()
    [True, False]
    """
    check_cohort(cohort)
    location, scale = location_and_scale(cohort, standardise, alike)
    origin = float(cohort.time.mean())
    coding = code_covariates(cohort, covariates) if covariates else None
    return _placed(cohort, location, scale, origin, device, dtype or torch.get_default_dtype(), coding)


def visits_like(fitted: Visits, cohort: Cohort) -> Visits:
    """Prepare a cohort of other subjects for a model fitted before: by that fit's location, scale and origin of time.

    Named biomarkers may come in any order, and others beside them.

    Raises
    ------
    CohortError
        Where the cohort has other vertices, lacks a biomarker or a covariate of the fit, or is none.

    Examples
    --------
    >>> fitted = Cohort(np.array([[2.0], [3.0], [4.0]]), time=[60, 61, 62], subject=["a", "a", "b"])
    >>> new = Cohort(np.array([[3.0]]), time=[64.0], subject=["c"])
    >>> placed = visits_like(prepare_visits(fitted, "all"), new)
    >>> placed.values.tolist(), placed.years.tolist()  # the fit's mean value, and three years after its mean time
    ([[0.0]], [3.0])
    >>> visits_like(prepare_visits(fitted, "all"), Cohort(np.zeros((1, 2)), time=[64.0], subject=["c"]))
    Traceback (most recent call last):
    neuropyro.data.errors.CohortError: values: 2 vertices, where the fit is of 1; give maps on the same mesh
    """
    check_cohort(cohort)
    cohort = columns_like(fitted.names.get("vertex"), cohort)
    if cohort.n_vertices != fitted.n_vertices:
        raise other_columns(fitted.names.get("vertex"), fitted.n_vertices, cohort)
    location, scale = (np.asarray(x.double().cpu()) for x in (fitted.location, fitted.scale))
    scale = np.where(fitted.is_informative.cpu().numpy(), scale, 0.0)
    values = fitted.values
    placed = _placed(cohort, location, scale, float(fitted.origin), values.device, values.dtype, fitted.coding)
    return replace(placed, course=fitted.course, weight=fitted.weight, controls=None)  # who they are is not asked


def _placed(
    cohort: Cohort,
    location: NDArray[np.float64],
    scale: NDArray[np.float64],
    origin: float,
    device: torch.device | str | None,
    dtype: torch.dtype,
    coding: CovariateCoding | None,
) -> Visits:
    """Standardise by location and scale, vertices of scale 0 being left out, and place on a device."""
    seen = ~np.isnan(cohort.values) & (scale > 0)
    scale = np.where(scale > 0, scale, 1.0)
    standard = (cohort.values - location.astype(cohort.values.dtype)) / scale.astype(cohort.values.dtype)
    standard = np.where(seen, standard, 0)

    def tensor(array: NDArray[Any], kind: torch.dtype | None = dtype) -> Tensor:
        return torch.as_tensor(np.asarray(array, order="C")).to(device=device, dtype=kind)

    values = tensor(standard).T  # stored visit by visit, as the cohort is
    within, mean_time = centred_times(cohort)
    mean_time, controls = mean_time - origin, controls_of(cohort)
    return Visits(
        values=values,
        observed=None if seen.all() else tensor(seen).T,
        sum_squares=values.double().square().sum(-1).to(dtype),
        subject=tensor(cohort.subject_index, torch.long),
        time_within=tensor(within),
        subject_time=tensor(mean_time),
        origin=tensor(np.array(origin)),
        course=tensor(np.array(COURSE + mean_time.std())),
        visits_of_subject=tensor(np.bincount(cohort.subject_index)),
        share_seen=tensor(seen.mean(1)),
        reference=tensor(np.flatnonzero(cohort.is_reference), torch.long),
        is_control=tensor(cohort.is_control, torch.bool),
        controls=None if controls is None else tensor(controls),
        location=tensor(location),
        scale=tensor(scale),
        names={"subject": cohort.subjects} | ({} if cohort.feature_names is None else {"vertex": cohort.feature_names}),
        covariates=None if coding is None else tensor(coding(cohort)),
        coding=coding,
    )
