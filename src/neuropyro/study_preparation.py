"""What is done to a cohort, in order, before a model is fitted to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from neuropyro.adjustment import Adjustment, fit_adjustment, load_adjustment
from neuropyro.data import Cohort
from neuropyro.hemisphere_levels import HemisphereLevels, fit_hemisphere_levels, load_hemisphere_levels
from neuropyro.site_harmonisation import harmonise_sites

__all__ = ["STEPS", "PreparedStudy", "prepare_alike", "prepare_study"]

ADJUSTMENT, HEMISPHERES = STEPS = ("adjustment.npz", "hemispheres.npz")
"""Files of a fit's folder that remember what is done to new subjects, too."""


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
    >>> bool((prepare_alike(cohort, fit).values == prepared.cohort.values).all())
    True
    """
    if (fit / HEMISPHERES).is_file():
        cohort = load_hemisphere_levels(fit / HEMISPHERES)(cohort)
    if (fit / ADJUSTMENT).is_file():
        cohort = load_adjustment(fit / ADJUSTMENT)(cohort)
    return cohort
