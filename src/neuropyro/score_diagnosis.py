r"""Diagnosis from the progression score: the probability of each diagnosis at a score, and at an uncertain one.

Multinomial logistic regression of the visits' diagnoses on their scores,

.. math::  \log \frac{p(g \mid s)}{p(g_1 \mid s)} = \alpha_g + \beta_g s,

averaged over the draws of an uncertain score, so that what is not known of it reaches the probabilities.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuropyro.data import Cohort, CohortError

__all__ = ["ScoreDiagnosis", "fit_score_diagnosis", "known_diagnoses"]

Floats = NDArray[np.float64]
SEVERITY = {"smc": 1, "emci": 2, "mci": 3, "lmci": 4, "ad": 5, "dementia": 5}
"""Order of usual words for patients; all others go before them."""
MILD = ("mci", "mild", "uncertain", "questionable", "incipient", "prodromal")  # within longer words, as GRAVE
GRAVE = ("dementia", "alzheimer")


@dataclass(frozen=True, eq=False)
class ScoreDiagnosis:
    """Probabilities of diagnoses by score.

    Parameters
    ----------
    names
        The diagnoses, in the order of the columns.
    intercept, slope
        ``(diagnoses,)`` on the log scale.

    Examples
    --------
    >>> patients = ScoreDiagnosis(("CN", "AD"), intercept=np.zeros(2), slope=np.array([0.0, np.log(3)]))
    >>> patients.probabilities([0.0, 1.0]).round(2).tolist()  # odds of 1 to 1, and of 1 to 3
    [[0.5, 0.5], [0.25, 0.75]]
    >>> patients.averaged([[0.0], [1.0]]).round(3).tolist()  # of two draws of one visit's score
    [[0.375, 0.625]]
    """

    names: tuple[str, ...]
    intercept: Floats
    slope: Floats

    def probabilities(self, dps: ArrayLike) -> Floats:
        """Return ``(..., diagnoses)`` probabilities at scores ``(...)``."""
        logits = self.intercept + np.asarray(dps, np.float64)[..., None] * self.slope
        odds = np.exp(logits - logits.max(-1, keepdims=True))
        return np.asarray(odds / odds.sum(-1, keepdims=True))

    def averaged(self, draws: ArrayLike) -> Floats:
        """Return ``(visits, diagnoses)``: mean over draws ``(draws, visits)`` of the score."""
        return np.asarray(self.probabilities(draws).mean(0))


def known_diagnoses(cohort: Cohort) -> tuple[str, ...]:
    """Return the diagnoses of a cohort's visits, controls first, the gravest last.

    Empty text and negative numbers say nothing.

    Examples
    --------
    >>> visits = {"time": [70, 71, 70, 72], "subject": ["a", "a", "b", "b"]}
    >>> cohort = Cohort([[2.5]] * 4, **visits, diagnosis=["CN", "MCI", "AD", ""])
    >>> known_diagnoses(cohort)
    ('CN', 'MCI', 'AD')
    """
    if cohort.diagnosis is None:
        return ()
    controls = {str(name) for name in np.unique(cohort.diagnosis[cohort.is_control])}
    every = {str(name) for name in np.unique(cohort.diagnosis)}
    known = {name for name in every if name and not name.startswith("-")}
    return (
        *sorted(known & controls),
        *sorted(known - controls, key=lambda name: (_severity(name), name)),
    )


def _severity(name: str) -> int:
    """Return the place of a diagnosis among patients', by its word, or by words within it."""
    said = name.lower()
    words = {SEVERITY[word] for word in re.findall(r"[a-z]+", said) if word in SEVERITY}
    if any(part in said for part in MILD):
        return min(words - {SEVERITY["ad"]}, default=SEVERITY["mci"] if "mci" in said else SEVERITY["lmci"])
    return max(words, default=SEVERITY["dementia"] if any(part in said for part in GRAVE) else 0)


def fit_score_diagnosis(
    dps: ArrayLike, diagnosis: ArrayLike, names: Sequence[str] = ("CN", "MCI", "AD"), penalty: float = 0.16
) -> ScoreDiagnosis:
    """Estimate the probability of each diagnosis by score.

    Parameters
    ----------
    dps
        ``(draws, visits)`` posterior draws of the scores, or ``(visits,)``.
    diagnosis
        ``(visits,)`` text; visits of another or no diagnosis are left out.
    penalty
        Precision of a Normal prior on the slopes, by sds of the scores.  Few people's diagnoses are often told apart
        by scores without error, where likelihood alone would be certain of everybody's; an sd of 2.5 (Gelman et al.,
        Annals of Applied Statistics 2008) leaves doubt near the cut, and hardly matters where people are many.

    Raises
    ------
    CohortError
        Where a diagnosis has no visit, there are fewer than two, a score is not finite, or shapes do not fit.

    Examples
    --------
    >>> scores = np.linspace(-2, 4, 60)
    >>> model = fit_score_diagnosis(scores, np.repeat(["CN", "MCI", "AD"], 20))
    >>> model.probabilities([-2.0, 4.0]).argmax(1).tolist()
    [0, 2]
    """
    draws = np.atleast_2d(np.asarray(dps, np.float64))
    labels = np.asarray(diagnosis).astype(np.str_)
    if labels.shape != draws.shape[1:]:
        raise CohortError(f"diagnosis: {labels.shape} for scores of {draws.shape[1:]} visits")
    if len(names) < 2 or not np.isfinite(draws).all():
        raise CohortError("diagnosis: two or more of them are told apart, by finite scores")
    absent = [name for name in names if not (labels == name).any()]
    if absent:
        raise CohortError(f"diagnosis: no visit is {absent[0]}; name the diagnoses that the cohort has")
    kept = np.isin(labels, names)
    places = np.array([list(names).index(label) for label in labels[kept]])
    return _regression(draws[:, kept], places, tuple(names), penalty)


def _regression(draws: Floats, places: NDArray[np.int64], names: tuple[str, ...], penalty: float) -> ScoreDiagnosis:
    from sklearn.linear_model import LogisticRegression

    centre, scale = draws.mean(), max(draws.std(), 1e-12)
    # Every draw of a visit is one case of weight 1 / draws.
    x = ((draws - centre) / scale).reshape(-1, 1)
    weight = np.full(len(x), 1 / len(draws))
    model = LogisticRegression(C=1 / penalty, max_iter=2000).fit(x, np.tile(places, len(draws)), weight)
    slope, intercept = model.coef_[:, 0], model.intercept_
    if len(names) == 2:  # scikit-learn gives the second class alone
        slope, intercept = np.array([0.0, slope[0]]), np.array([0.0, intercept[0]])
    return ScoreDiagnosis(names, intercept - slope * centre / scale, slope / scale)
