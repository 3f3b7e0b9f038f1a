r"""Covariates of subjects (sex, education, APOE): linear effects on log speed and on stage.

.. math::  \mathrm{E} \log \alpha_i = \mu_\alpha + x_i^\top \eta, \qquad
   \mathrm{E} \beta_i = \mu_\beta + x_i^\top \zeta,

where x_i are the subject's covariates, centred and scaled to sd 1 over the subjects that were fitted, so that one prior
serves them all and the means are those of the average subject.  Text enters by an indicator of each level beside its
first, in alphabetical order.  What is reported is in the covariate's own unit.

A subject has one speed and one stage, and so one value of each covariate: that at its earliest visit where it is known.

References
----------
Gelman, "Scaling regression inputs by dividing by two standard deviations", Statistics in Medicine 2008 (why to scale).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.data import Cohort, CohortError
from neuropyro.data.covariate_terms import check_terms, is_missing, levels_of, terms_of
from neuropyro.data.unknown_names import unknown_covariate

__all__ = [
    "EFFECT_SITES",
    "CovariateCoding",
    "CovariateEffects",
    "code_covariates",
    "effects_of",
    "named_covariates",
    "reported_effects",
    "shifts",
]

Floats = NDArray[np.float64]
EFFECT_SITES = ("effect_log_alpha", "effect_beta")


@dataclass(frozen=True, eq=False)
class CovariateCoding:
    """How subjects' covariates become numbers.

    Parameters
    ----------
    covariates
        Their names.
    levels
        ``name=level`` of text that was among the subjects fitted.
    terms
        Names of the columns: a covariate's, or ``name=level``.
    centre, scale
        ``(C,)`` mean and sd of each term over the subjects fitted.

    Examples
    --------
    >>> sex = np.array(["f", "m", "m", "f"])
    >>> cohort = Cohort(np.arange(4.0)[:, None], [70.0] * 4, ["a", "b", "c", "d"], covariates={"sex": sex})
    >>> coding = code_covariates(cohort, ["sex"])
    >>> coding(cohort.subset(subjects=["b"])).tolist()  # by the mean and sd of the four that were fitted
    [[1.0]]
    """

    covariates: tuple[str, ...]
    levels: tuple[str, ...]
    terms: tuple[str, ...]
    centre: Floats
    scale: Floats

    def __call__(self, cohort: Cohort) -> Floats:
        """Return the subjects' standardised covariates, ``(subjects, C)``.

        Raises
        ------
        CohortError
            Where the cohort lacks a covariate, a subject has no value of it, or a level is new.
        """
        cells = {name: _of_subjects(cohort, name) for name in self.covariates}
        design, _ = terms_of(cells, self.levels, "the subjects that were fitted")
        return (design - self.centre) / self.scale


@dataclass(frozen=True, eq=False)
class CovariateEffects:
    """Posterior draws of what covariates do to speed and stage, per unit of the covariate.

    Parameters
    ----------
    terms
        ``(C,)`` a covariate's name, or ``name=level`` for a level beside its first.
    centre
        ``(C,)`` mean over the subjects fitted, for whom the population's means hold.
    log_alpha
        ``(draws, C)``: change of the log speed; its exponential is the ratio of speeds.
    beta
        ``(draws, C)``: change of the score at the cohort's mean time, as far as the years to it count
        (`ScorePriors`), in sds of the controls' scores.

    Examples
    --------
    >>> effects = CovariateEffects(("apoe4",), np.zeros(1), np.log([[1.2], [1.4]]), np.zeros((2, 1)))
    >>> float(np.exp(effects.log_alpha).mean().round(2))  # ratio of speeds for one more allele
    1.3
    """

    terms: tuple[str, ...]
    centre: Floats
    log_alpha: Floats
    beta: Floats


def code_covariates(cohort: Cohort, covariates: Sequence[str]) -> CovariateCoding:
    """Learn from a cohort how its subjects' covariates become numbers.

    Raises
    ------
    CohortError
        Where a covariate is not in the cohort, is missing for a subject, does not vary over subjects, or cannot be told
        from the others.

    Examples
    --------
    >>> sex = np.array(["f", "m", "m", "f"])
    >>> cohort = Cohort(np.arange(4.0)[:, None], [70.0] * 4, ["a", "b", "c", "d"], covariates={"sex": sex})
    >>> coding = code_covariates(cohort, ["sex"])
    >>> coding.terms, coding.centre.tolist(), coding(cohort).ravel().tolist()
    (('sex=m',), [0.5], [-1.0, 1.0, 1.0, -1.0])
    """
    cells = {name: _of_subjects(cohort, name, "--covariates") for name in covariates}
    for name, column in cells.items():
        if len(np.unique(column)) < 2:
            raise CohortError(f"covariate {name}: the same for all {cohort.n_subjects} subjects; leave it out")
    levels = levels_of(cells)
    design, terms = terms_of(cells, levels, "the subjects that were fitted")
    centre, scale = design.mean(0), design.std(0)
    check_terms(design - centre, terms, "covariates", "subjects")
    return CovariateCoding(tuple(covariates), levels, terms, centre, scale)


def named_covariates(covariates: Any) -> tuple[str, ...]:
    """Return the names of covariates as given to a model.

    Raises
    ------
    ValueError
        Where they are one string, or a name is there twice.

    Examples
    --------
    >>> named_covariates("sex")
    Traceback (most recent call last):
    ValueError: covariates is the text 'sex'; give a tuple of names: ("sex",)
    """
    if isinstance(covariates, str):
        raise ValueError(f'covariates is the text {covariates!r}; give a tuple of names: ("{covariates}",)')
    names = tuple(str(name) for name in covariates)
    if len(set(names)) < len(names):
        raise ValueError(f"covariates: {', '.join(names)} names one twice; give each once")
    return names


def shifts(design: Tensor | None, effects: Sequence[Tensor] | Tensor | None) -> tuple[Tensor | float, Tensor | float]:
    """Return by how much subjects' expected log speed and beta depart from the mean, ``(*, subjects)`` each.

    Parameters
    ----------
    design
        ``(subjects, C)`` standardised covariates, or None for none.
    effects
        On log speed and on beta, ``(*, C)`` each, or None.

    Examples
    --------
    >>> shifts(torch.tensor([[1.0], [-1.0]]), effects=torch.tensor([[0.25], [0.5]]))
    (tensor([ 0.2500, -0.2500]), tensor([ 0.5000, -0.5000]))
    """
    if design is None or effects is None:
        return 0.0, 0.0
    on_speed, on_beta = effects
    return on_speed @ design.mT, on_beta @ design.mT


def effects_of(draw: Mapping[str, Tensor]) -> Tensor | None:
    """Return the effects on log speed and on beta ``(2, C)`` of one draw, or None where it has none.

    Examples
    --------
    >>> effects_of({"effect_log_alpha": torch.tensor([0.25]), "effect_beta": torch.tensor([0.5])}).tolist()
    [[0.25], [0.5]]
    >>> effects_of({"log_alpha_mean": torch.tensor(0.0)}) is None
    True
    """
    return torch.stack([draw[site] for site in EFFECT_SITES]) if EFFECT_SITES[0] in draw else None


def reported_effects(coding: CovariateCoding, draws: dict[str, NDArray[Any]]) -> CovariateEffects:
    """Return posterior draws of the effects per unit of the covariates.

    Examples
    --------
    >>> coding = CovariateCoding(("age",), (), ("age",), centre=np.array([70.0]), scale=np.array([8.0]))
    >>> draws = {"effect_log_alpha": np.array([[0.4]]), "effect_beta": np.array([[0.8]])}  # of an sd, 8 years
    >>> effects = reported_effects(coding, draws)
    >>> effects.log_alpha.round(3).tolist(), effects.beta.round(3).tolist()
    ([[0.05]], [[0.1]])
    """
    log_alpha, beta = (draws[site].astype(np.float64) / coding.scale for site in EFFECT_SITES)
    return CovariateEffects(coding.terms, coding.centre, log_alpha, beta)


def _of_subjects(cohort: Cohort, name: str, option: str = "") -> NDArray[Any]:
    """Return a covariate of each subject, named by an option: its value at the earliest visit where it is known."""
    if name not in cohort.covariates:
        raise unknown_covariate(cohort, name, option)
    column = _plain(cohort.covariates[name], name)
    order = np.lexsort((np.arange(cohort.n_visits), cohort.time, cohort.subject_index))
    order = order[~is_missing(column)[order]]
    seen, first = np.unique(cohort.subject_index[order], return_index=True)
    if len(seen) < cohort.n_subjects:
        lost = cohort.subjects[np.setdiff1d(np.arange(cohort.n_subjects), seen)]
        raise CohortError(
            f"covariate {name}: missing at every visit of subject {lost[0]} ({len(lost)} of {cohort.n_subjects} "
            "subjects); give it, or leave those subjects out (Cohort.subset)"
        )
    return column[order[first]]


def _plain(column: NDArray[Any], name: str) -> NDArray[Any]:
    """Return numbers, or text with "" where there is nothing."""
    if column.dtype.kind == "O":
        lost = np.array([cell is None or cell != cell for cell in column])
        text = any(isinstance(cell, str) for cell in column)
        column = np.where(lost, "" if text else np.nan, column).astype(np.str_ if text else np.float64)
    if column.dtype.kind == "S":
        column = column.astype(np.str_)
    if column.ndim != 1 or column.dtype.kind not in "biufU":
        raise CohortError(f"covariate {name}: must be one number or text a visit, not {column.dtype} {column.shape}")
    return column
