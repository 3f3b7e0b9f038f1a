"""What is checked of a cohort, and done to it in order, before a model is fitted to it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from neuropyro.adjustment import Adjustment, fit_adjustment, load_adjustment
from neuropyro.data import Cohort, CohortError
from neuropyro.data.unknown_names import unknown_covariate
from neuropyro.hemisphere_levels import HemisphereLevels, fit_hemisphere_levels, load_hemisphere_levels
from neuropyro.site_harmonisation import harmonise_sites

__all__ = [
    "STEPS",
    "PreparedStudy",
    "check_clusters",
    "check_covariates",
    "check_hemispheres",
    "check_spatial",
    "check_subjects",
    "clusters_of",
    "kind_of_columns",
    "prepare_alike",
    "prepare_study",
]

ADJUSTMENT, HEMISPHERES = STEPS = ("adjustment.npz", "hemispheres.npz")
"""Files of a fit's folder that remember what is done to new subjects, too."""

MOST_ALONE = 30  # biomarkers, each with a trajectory of its own
OF_MAPS = 3  # clusters
FEW = 10  # visits, in which a biomarker may never change by chance


def check_subjects(cohort: Cohort) -> None:
    """Refuse a cohort of one subject, before what one subject leads to is told.

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
    if _each_alone(cohort, clusters):
        _refuse_constant(cohort)


def _each_alone(cohort: Cohort, clusters: int | None) -> bool:
    return clusters is None and cohort.feature_names is not None and cohort.n_vertices <= MOST_ALONE


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


def clusters_of(cohort: Cohort, clusters: int | None) -> dict[str, Any]:
    """Return a model's clusters: as many as given, or else a few biomarkers each alone, and three of the rest.

    A handful of biomarkers are no sample of a few kinds: some rise and some fall, each at its own time and over its own
    range, and two that had to share a trajectory would both be off it.

    Examples
    --------
    >>> two = Cohort([[2.0, 5.0]] * 2, time=[70, 71], subject=["a", "b"], feature_names=["MMSE", "volume"])
    >>> clusters_of(two, None), clusters_of(two, 1)
    ({'n_clusters': 2, 'labels': (0, 1), 'scatter': False}, {'n_clusters': 1})
    """
    count = cohort.n_vertices
    if _each_alone(cohort, clusters):
        return {"n_clusters": count, "labels": tuple(range(count)), "scatter": False}
    return {"n_clusters": OF_MAPS if clusters is None else clusters}


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


@dataclass(frozen=True, eq=False)
class PreparedStudy:
    """A cohort as a model is fitted to it, and what was done to it.

    Parameters
    ----------
    cohort
        What to fit to.
    notes
        Sentences for the report.
    steps
        By the name of its file, what is done to new subjects, too.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> PreparedStudy(Cohort([[2.0] * 3] * 2, time=[70, 71], subject=["a", "b"])).save(folder)
    >>> [path.name for path in folder.iterdir()]
    ['cohort.npz']
    """

    cohort: Cohort
    notes: tuple[str, ...] = ()
    steps: Mapping[str, Adjustment | HemisphereLevels] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write ``cohort.npz``, to which the fit then belongs, and the steps; an earlier fit's steps go."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in STEPS:
            (folder / name).unlink(missing_ok=True)  # it would be taken for this fit's
        for name, step in self.steps.items():
            step.save(folder / name)
        self.cohort.save(folder / "cohort.npz")


def prepare_study(
    cohort: Cohort, adjust: Sequence[str] = (), site: str | None = None, level: bool = False
) -> PreparedStudy:
    """Harmonise sites, set hemispheres to one level, then adjust for covariates by regression on controls.

    Each step where it is asked for; else the cohort stays as it is.  Nothing is written.

    Parameters
    ----------
    adjust
        Covariates, see :func:`~neuropyro.adjustment.fit_adjustment`.
    site
        The covariate that names sites, see :func:`~neuropyro.site_harmonisation.harmonise_sites`; age, diagnosis and
        the covariates of ``adjust`` are protected.
    level
        Whether hemispheres are set to one level, see :func:`~neuropyro.hemisphere_levels.fit_hemisphere_levels`.

    Raises
    ------
    CohortError
        As the steps: a covariate is missing, controls or visits of a site are too few, or no two hemispheres are known.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> prepared = prepare_study(simulate_reference(n_subjects=30, n_vertices=9, seed=0), adjust=["age"])
    >>> again = fit_adjustment(prepared.cohort, ["age"]).effects  # of age nothing is left in controls
    >>> bool(abs(again).max() < 1e-6), list(prepared.steps)
    (True, ['adjustment.npz'])
    """
    notes: list[str] = []
    steps: dict[str, Adjustment | HemisphereLevels] = {}
    if site is not None:
        protect = dict.fromkeys(("age", "diagnosis", *adjust))
        cohort, harmonised = harmonise_sites(cohort, site, tuple(protect))
        notes += harmonised.lines()
    if level:
        levels = steps[HEMISPHERES] = fit_hemisphere_levels(cohort)
        cohort = levels(cohort)
        notes += levels.lines()
    if adjust:
        adjustment = steps[ADJUSTMENT] = fit_adjustment(cohort, adjust)
        cohort = adjustment(cohort)
        notes += adjustment.lines()
    return PreparedStudy(cohort, tuple(notes), steps)


def prepare_alike(cohort: Cohort, fit: Path) -> Cohort:
    """Do to new subjects what was done before a fit to its own; sites apart, of which theirs need not be one.

    Parameters
    ----------
    fit
        The fit's folder.

    Raises
    ------
    CohortError
        Where the new subjects lack a covariate, or have other vertices than the fit.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.data import simulate_reference
    >>> cohort, fit = simulate_reference(n_subjects=30, n_vertices=9, seed=0), Path(tempfile.mkdtemp())
    >>> prepared = prepare_study(cohort, adjust=["age"])
    >>> prepared.save(fit)
    >>> np.array_equal(prepare_alike(cohort, fit).values, prepared.cohort.values)
    True
    """
    if (fit / HEMISPHERES).is_file():
        cohort = load_hemisphere_levels(fit / HEMISPHERES)(cohort)
    if (fit / ADJUSTMENT).is_file():
        cohort = load_adjustment(fit / ADJUSTMENT)(cohort)
    return cohort


def kind_of_columns(cohort: Cohort, visit_effect: bool | None, vertex_effect: bool | None) -> dict[str, Any]:
    """Return a model's switches for maps on a mesh, each as given or else on where there is one, or biomarkers' priors.

    Examples
    --------
    >>> table = Cohort([[2.0] * 3] * 2, time=[70, 71], subject=["a", "b"])  # no mesh, and no names
    >>> kind_of_columns(table, None, True)
    {'visit_effect': False, 'vertex_effect': True}
    """
    from neuropyro.models.trajectory import OF_BIOMARKERS  # takes seconds, for which no error of use should wait

    on_mesh = cohort.mesh is not None
    given = {"visit_effect": visit_effect, "vertex_effect": vertex_effect}
    priors = {} if cohort.feature_names is None else {"trajectory_priors": OF_BIOMARKERS}
    return {name: on_mesh if switch is None else switch for name, switch in given.items()} | priors
