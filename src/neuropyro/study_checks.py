"""What is checked of a cohort before anything is done to it or written."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from neuropyro.data import Cohort, CohortError
from neuropyro.data.cohort_checks import visit_in_words, years_followed
from neuropyro.data.unknown_names import unknown_covariate
from neuropyro.hemisphere_levels import fit_hemisphere_levels
from neuropyro.study_defaults import each_alone

__all__ = [
    "check_clusters",
    "check_covariates",
    "check_hemispheres",
    "check_spatial",
    "check_study",
    "check_subjects",
    "check_units",
]

OTHER_UNIT = 20  # times the other maps' size; a patient's values may be a few times as large as others'
ONE_SIGN = 0.98  # share of a map's values, as of thickness and volumes; curvature and z-scores are around 0
FEW = 10  # visits, in which a biomarker may never change by chance


def check_study(
    cohort: Cohort, clusters: int | None, covariates: Sequence[str], spatial: bool, level_hemispheres: bool
) -> None:
    """Refuse a cohort that cannot be fitted as is asked for.

    Raises
    ------
    CohortError
        As the checks below.

    Examples
    --------
    >>> check_study(Cohort([[2.0] * 3] * 2, [70, 71], subject=["a", "b"]), 3, (), False, level_hemispheres=False)
    """
    check_subjects(cohort)
    check_units(cohort)
    check_clusters(cohort, clusters)
    check_covariates(cohort, covariates)
    check_spatial(cohort, spatial)
    check_hemispheres(cohort, level_hemispheres)


def check_subjects(cohort: Cohort) -> None:
    """Refuse a cohort of one subject, or in which time stands still, before what that leads to is told.

    Raises
    ------
    CohortError
        Saying what to give.

    Examples
    --------
    >>> check_subjects(Cohort([[2.0] * 3] * 2, time=[70, 71], subject=["a", "a"]))
    Traceback (most recent call last):
        ...
    neuropyro.data.errors.CohortError: subject: all 2 visits are of one subject (a), too few for a course that people \
have in common; give visits of others too, or name the column that tells people apart by --subject
    """
    if cohort.n_subjects == 1:
        count = "the only visit is" if cohort.n_visits == 1 else f"all {cohort.n_visits:,} visits are"
        raise CohortError(
            f"subject: {count} of one subject ({cohort.subjects[0]}), too few for a course that people have in common; "
            "give visits of others too, or name the column that tells people apart by --subject"
        )
    still = not years_followed(cohort.time, cohort.subject_index).any()
    if still and (np.bincount(cohort.subject_index) > 1).sum() > 1:
        raise CohortError(
            "time: all visits of each person are at one time, as where the age at entry stands at each; give the age "
            "at the visit, or its date, by --time"
        )


def check_units(cohort: Cohort) -> None:
    """Refuse a map whose values are many times as large as those of the others, as one in another unit.

    Raises
    ------
    CohortError
        Naming the visit.

    Examples
    --------
    >>> maps = np.full((5, 3), 2.5) * [[1], [1], [1000], [1], [1]]
    >>> check_units(Cohort(maps, time=[70, 71, 72, 70, 71], subject=["a", "a", "a", "b", "b"]))
    Traceback (most recent call last):
        ...
    neuropyro.data.errors.CohortError: values: the map of subject a at 72 years has a median of 2,500, where that of \
all others is 2.5; bring it to their unit, or leave the visit out
    """
    if cohort.feature_names is not None:
        return
    size = np.array([_size(values) for values in cohort.values])
    if not np.isfinite(size).any():
        return
    usual = float(np.nanmedian(size))
    ratio = np.maximum(size / usual, usual / np.maximum(size, np.finfo(np.float64).tiny))
    if (odd := np.flatnonzero(ratio > OTHER_UNIT)).size:
        where = visit_in_words(cohort.subject, cohort.time, int(odd[0]))
        more = f" (and {odd.size - 1} more)" if odd.size > 1 else ""
        raise CohortError(
            f"values: the map of {where} has a median of {size[odd[0]]:,.4g}, where that of all others is "
            f"{usual:.4g}{more}; bring it to their unit, or leave the visit out"
        )


def _size(values: NDArray[np.floating]) -> float:
    """Return the median of a map's sizes; NaN of one without values or around 0, whose size tells nothing of a unit."""
    seen = values[np.isfinite(values) & (values != 0)]
    one_sign = max((seen > 0).mean(), (seen < 0).mean()) > ONE_SIGN if seen.size else False
    return float(np.median(np.abs(seen))) if one_sign else np.nan


def check_clusters(cohort: Cohort, clusters: int | None) -> None:
    """Refuse a number of clusters that a cohort cannot have, before anything is done to it.

    Raises
    ------
    CohortError
        Where there is no cluster, or there are more than columns; or where each biomarker is to have a trajectory of
        its own, and one has none, since it never changes or has no value.

    Examples
    --------
    >>> check_clusters(Cohort([[2.0] * 3] * 2, time=[70, 71], subject=["a", "b"]), 3)
    """
    what = "vertices" if cohort.feature_names is None else "biomarkers"
    if clusters is not None and not 1 <= clusters <= cohort.n_vertices:
        there = f"1 to {cohort.n_vertices}, for the cohort has {cohort.n_vertices} {what}"
        raise CohortError(f"--clusters {clusters}: give a number from {there}")
    if each_alone(cohort, clusters):
        _refuse_constant(cohort)


def _refuse_constant(cohort: Cohort) -> None:
    """Refuse biomarkers of one value, or none."""
    assert cohort.feature_names is not None
    levels = np.array([np.unique(column[np.isfinite(column)]).size for column in cohort.values.T])
    if (levels < 2).any():
        first, others = int((levels < 2).argmax()), shlex.join([",".join(map(str, cohort.feature_names[levels > 1]))])
        remedy = f"leave it out: --biomarkers {others}" if others else "give biomarkers that vary"
        remedy = f"give more visits, or {remedy}" if cohort.n_visits < FEW else remedy
        why = "it never changes" if levels[first] else "it has no value"
        why += f" in {cohort.n_visits:,} visits of {cohort.n_subjects:,} people"
        raise CohortError(f"{cohort.feature_names[first]}: {why}, so that it has no trajectory; {remedy}")


def check_covariates(cohort: Cohort, names: Sequence[str]) -> None:
    """Refuse covariates of speed and stage that a cohort lacks, before anything is written.

    Raises
    ------
    CohortError
        Naming the first, and what there is.

    Examples
    --------
    >>> check_covariates(Cohort([[2.0] * 3] * 2, time=[70, 71], subject=["a", "b"]), ())
    """
    for name in names:
        if name not in cohort.covariates:
            raise unknown_covariate(cohort, name, "--covariates")


def check_hemispheres(cohort: Cohort, level: bool) -> None:
    """Refuse to level hemispheres that are not known, before anything is written.

    Raises
    ------
    CohortError
        As :func:`~neuropyro.hemisphere_levels.fit_hemisphere_levels`.

    Examples
    --------
    >>> check_hemispheres(Cohort([[2.0] * 3] * 2, time=[70, 71], subject=["a", "b"]), level=False)
    """
    if level:
        fit_hemisphere_levels(cohort)


def check_spatial(cohort: Cohort, spatial: bool) -> None:
    """Refuse neighbours where there are none, before anything is written.

    Raises
    ------
    CohortError
        Where the cohort has no mesh; biomarkers never have one.

    Examples
    --------
    >>> check_spatial(Cohort([[2.0] * 2] * 2, [70, 71], ["a", "b"], feature_names=["MMSE", "tau"]), spatial=True)
    Traceback (most recent call last):
        ...
    neuropyro.data.errors.CohortError: --spatial: biomarkers have no mesh, so no neighbours; leave it out
    """
    if spatial and cohort.mesh is None:
        if cohort.feature_names is not None:
            raise CohortError("--spatial: biomarkers have no mesh, so no neighbours; leave it out")
        raise CohortError(
            "--spatial: the cohort has no mesh, so no neighbours; leave it out, or give one (--surfaces for maps; "
            "`faces` or `edges` in an .npz file)"
        )
