r"""Adjustment of a cohort's values for what is not disease, before a model is fitted: a step of its own, reported.

**Regression on controls.**  At each vertex l, over controls' visits n with covariates x_n (age, sex, intracranial
volume),

.. math::  V_{nl} = \mu_l + (x_n - \bar x)' \beta_l + \epsilon_{nl},

by least squares in which every subject counts once, however many visits it has.  Every visit, patients' too, then
loses :math:`(x_n - \bar x)' \beta_l`, with :math:`\bar x` the controls' mean, so that values keep their unit and level.
Ageing as controls age goes, what the disease adds stays.  New subjects are adjusted by the same coefficients.

References
----------
Dukart et al., "Age correction in dementia", PLoS ONE 2011 (effects estimated in controls alone, so that those of
disease are not removed with them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuropyro.data import Cohort, CohortError
from neuropyro.data.cohort_checks import visit_in_words
from neuropyro.data.cohort_files import read_npz, write_npz
from neuropyro.data.covariate_terms import check_terms, is_missing, levels_of, terms_of
from neuropyro.data.unknown_names import few, unknown_covariate

__all__ = ["Adjustment", "fit_adjustment", "load_adjustment"]

SPARE = 2  # a vertex needs that many more controls' visits than coefficients
ENOUGH = 1e-8  # smallest over largest singular value of a design that tells its terms apart


@dataclass(frozen=True, eq=False)
class Adjustment:
    """Effects of covariates on every vertex, estimated in controls.

    Parameters
    ----------
    covariates
        Names of the covariates, as given.
    terms
        ``(terms,)``: a covariate's name, or ``name=level`` for a level of a categorical one beside its first.
    centre
        ``(terms,)`` the controls' means.
    effects
        ``(terms, vertices)``, in the values' unit per unit of the term.
    explained
        ``(vertices,)`` fraction of the controls' variance that the terms explain.
    n_controls, n_visits
        How many subjects and visits they were estimated from.
    levels
        First level of each categorical covariate, by ``name=level``.
    names
        ``(vertices,)`` what they are called, where they are biomarkers, each in a unit of its own.

    Examples
    --------
    >>> ageing = Adjustment(("age",), ("age",), np.array([70.0]), np.array([[-0.02]]), np.array([0.9]), 20, 50)
    >>> patient = Cohort([[2.1], [2.0]], time=[75, 80], subject=["a", "a"])
    >>> ageing(patient).values.round(2).tolist()  # mm, with what controls lose after 70 years given back
    [[2.2], [2.2]]
    """

    covariates: tuple[str, ...]
    terms: tuple[str, ...]
    centre: NDArray[np.float64]
    effects: NDArray[np.float64]
    explained: NDArray[np.float64]
    n_controls: int
    n_visits: int
    levels: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    def __call__(self, cohort: Cohort) -> Cohort:
        """Return the cohort without the covariates' effects.

        Raises
        ------
        CohortError
            Where it lacks a covariate, has a level that was not among the controls, or other vertices.
        """
        if cohort.n_vertices != self.effects.shape[1]:
            raise CohortError(
                f"adjustment: it is of {self.effects.shape[1]} vertices, but the cohort has {cohort.n_vertices}"
            )
        design, _ = _design(cohort, self.covariates, self.levels)
        shift = (design - self.centre) @ self.effects
        return replace(cohort, values=cohort.values - shift.astype(cohort.values.dtype))

    def lines(self) -> list[str]:
        """Return what was done, in sentences, for a report."""
        done = (
            f"Values adjusted for {', '.join(self.covariates)} by regression on {self.n_visits} visits of "
            f"{self.n_controls} controls, which explains {np.mean(self.explained):.1%} of their variance on average."
        )
        of_each = zip(self.terms, self.effects, self.centre, strict=True)
        return [done, *(f"{term}: {self._told(effect)}, relative to {centre:.4g}" for term, effect, centre in of_each)]

    def _told(self, effect: NDArray[np.float64]) -> str:
        """Say a term's effects ``(vertices,)``: of biomarkers, whose units differ, no mean means anything."""
        if not self.names:
            return f"mean effect {effect.mean():.4g} per unit (sd over vertices {effect.std():.4g})"
        each = [f"{name} {own:.4g}" for name, own in zip(self.names, effect, strict=True)]
        return f"effect per unit {', '.join(few(each))} (each biomarker in its own)"

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` file that `load_adjustment` reads."""
        write_npz(Path(path), {name: np.asarray(value) for name, value in vars(self).items()})


def fit_adjustment(cohort: Cohort, covariates: Sequence[str] = ("age",)) -> Adjustment:
    """Estimate the effects of covariates in a cohort's controls.

    Parameters
    ----------
    covariates
        Names among the cohort's covariates; numbers enter as they are, text by its levels.  ``"age"`` is the visits'
        time where there is no covariate of that name.

    Raises
    ------
    CohortError
        Where there are no or too few controls, a covariate is unknown or missing at a visit, or two cannot be told
        apart in controls.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> cohort = simulate_reference(n_subjects=60, n_vertices=10, seed=0)
    >>> adjustment = fit_adjustment(cohort, ["age"])
    >>> adjusted = adjustment(cohort)
    >>> adjustment.terms, adjusted.n_visits
    (('age',), 240)
    """
    if not covariates:
        raise CohortError("adjustment: no covariates; name at least one")
    control = cohort.is_control
    if not control.any():
        raise CohortError("diagnosis: no controls in the cohort; effects of covariates are estimated in controls")
    levels = levels_of({name: _covariate(cohort, name)[control] for name in covariates})
    design, terms = _design(cohort, covariates, levels)
    design = design[control]
    weight = 1 / np.bincount(cohort.subject_index, control)[cohort.subject_index[control]]
    centre = weight @ design / weight.sum()
    check_terms(design - centre, terms, "adjustment", "controls", "visits of ", SPARE)
    effects, explained = _regression(cohort.values[control], design - centre, weight)
    n_controls = len(np.unique(cohort.subject_index[control]))
    names = tuple(map(str, () if cohort.feature_names is None else cohort.feature_names))
    counts = (n_controls, int(control.sum()))
    return Adjustment(tuple(covariates), terms, centre, effects, explained, *counts, levels, names)


def load_adjustment(path: str | Path) -> Adjustment:
    """Read what `Adjustment.save` wrote.

    Raises
    ------
    CohortError
        Where the file cannot be read or holds something else.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.data import simulate_reference
    >>> cohort, path = simulate_reference(n_subjects=60, n_vertices=10, seed=0), Path(tempfile.mkdtemp()) / "age.npz"
    >>> fit_adjustment(cohort, ["age"]).save(path)
    >>> load_adjustment(path).covariates
    ('age',)
    """
    arrays = read_npz(Path(path))
    texts = {name: tuple(str(x) for x in arrays.pop(name, ())) for name in ("covariates", "terms", "levels", "names")}
    counts = {name: int(arrays.pop(name, np.array(0))) for name in ("n_controls", "n_visits")}
    try:
        return Adjustment(**texts, **counts, **arrays)  # type: ignore[arg-type]
    except TypeError:
        raise CohortError(f"{path}: not an adjustment; write it by Adjustment.save") from None


def _regression(
    values: NDArray[np.floating], design: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted least squares at each vertex over the visits seen there; ``(terms, vertices)`` and ``(vertices,)``.

    The normal equations of all vertices are a few products with the mask, so that missing values cost no loop.
    """
    x = np.concatenate([np.ones((len(design), 1)), design], 1)
    x = x / np.sqrt((x**2).mean(0))
    seen = (~np.isnan(values)).astype(np.float64) * weight[:, None]
    filled = np.where(np.isnan(values), 0.0, values)
    p = x.shape[1]
    gram = ((x[:, :, None] * x[:, None, :]).reshape(len(x), -1).T @ seen).T.reshape(-1, p, p)
    right = x.T @ (seen * filled)
    count = (~np.isnan(values)).sum(0)
    poor = np.flatnonzero((count < p + SPARE) | (np.linalg.cond(gram) > 1 / ENOUGH))
    if poor.size:
        raise CohortError(
            f"values: column {poor[0]} was seen at {count[poor[0]]} of the controls' visits, too few for {p - 1} "
            "terms; leave that column or a covariate out"
        )
    scaled = np.linalg.solve(gram, right.T[:, :, None])[:, :, 0].T
    mean = (seen * filled).sum(0) / seen.sum(0)
    total = (seen * (filled - mean) ** 2).sum(0)
    rest = (seen * (filled - x @ scaled) ** 2).sum(0)
    explained = np.where(total > 0, 1 - rest / np.where(total > 0, total, 1), 0.0)
    return scaled[1:] / np.sqrt((design**2).mean(0))[:, None], explained


def _design(
    cohort: Cohort, covariates: Sequence[str], levels: Sequence[str]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return ``(visits, terms)`` numbers and the terms' names; ``levels`` are those of text, the first left out."""
    design, terms = terms_of({name: _covariate(cohort, name) for name in covariates}, levels, "the controls")
    if not terms:
        raise CohortError(f"adjustment: {', '.join(covariates)} is the same in all controls; leave it out")
    return design, terms


def _covariate(cohort: Cohort, name: str) -> NDArray[np.generic]:
    if name not in cohort.covariates and name != "age":
        raise unknown_covariate(cohort, name, "--adjust", ["age"])
    cells = np.asarray(cohort.covariates.get(name, cohort.time))
    lost = np.flatnonzero(is_missing(cells))
    if lost.size:
        visit = visit_in_words(cohort.subject, cohort.time, int(lost[0]))
        raise CohortError(f"covariate {name}: missing for {visit}; give it, or drop the visit (Cohort.subset)")
    return cells
