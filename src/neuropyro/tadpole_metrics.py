"""The TADPOLE challenge's measures of a forecast.

References
----------
Marinescu et al., "TADPOLE Challenge: prediction of longitudinal evolution in Alzheimer's disease", arXiv 1805.03909,
table 4; Hand and Till, "A simple generalisation of the area under the ROC curve", Machine Learning 2001 (mAUC, eq. 7).
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from neuropyro.data import CohortError

__all__ = [
    "balanced_accuracy",
    "coverage_accuracy",
    "mean_absolute_error",
    "multiclass_auc",
    "weighted_error_score",
]

Floats = NDArray[np.float64]


def multiclass_auc(true: ArrayLike, probabilities: ArrayLike) -> float:
    """Return mAUC: the area under the ROC curve averaged over ordered pairs of classes; ties count half.

    A pair of classes of which one has no case says nothing and is left out.

    Parameters
    ----------
    true
        ``(cases,)`` whole numbers, the place of each case's class among the columns.
    probabilities
        ``(cases, classes)``, relative.

    Raises
    ------
    CohortError
        Where shapes disagree, a class is not among the columns, or fewer than two classes have cases.

    Examples
    --------
    >>> multiclass_auc([0, 0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.5, 0.5], [0.2, 0.8]])  # three of four pairs
    0.75
    """
    labels, p = _classes(true, probabilities)
    areas = []
    for i, j in combinations(range(p.shape[1]), 2):
        if (labels == i).any() and (labels == j).any():
            areas.append((_area(p[:, i], labels == i, labels == j) + _area(p[:, j], labels == j, labels == i)) / 2)
    if not areas:
        raise CohortError("mAUC: cases of at least two classes are needed")
    return float(np.mean(areas))


def balanced_accuracy(true: ArrayLike, probabilities: ArrayLike) -> float:
    """Return BCA: the mean over pairs of classes of (sensitivity + specificity) / 2 of the likeliest class.

    As in the challenge, each pair looks only at cases of one of the two that are called one of the two; a rate
    without cases counts 1/2.

    Parameters
    ----------
    true, probabilities
        As for `multiclass_auc`.

    Examples
    --------
    >>> balanced_accuracy([0, 0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]])
    0.75
    """
    labels, p = _classes(true, probabilities)
    called = p.argmax(1)
    rates = []
    for i, j in combinations(range(p.shape[1]), 2):
        for own, other in ((i, j), (j, i)):
            hits = int(((called == own) & (labels == own)).sum())
            misses = int(((called == other) & (labels == own)).sum())
            rates.append(hits / (hits + misses) if hits + misses else 0.5)
    return float(np.mean(rates))


def mean_absolute_error(true: ArrayLike, forecast: ArrayLike) -> float:
    """Return MAE over the cases ``(cases,)`` whose truth is known.

    Raises
    ------
    CohortError
        Where shapes disagree, no truth is known, or a case whose truth is has no forecast.

    Examples
    --------
    >>> mean_absolute_error([20.0, 30.0, float("nan")], [22.0, 29.0, 12.0])
    1.5
    """
    t, f = _known(true, forecast)
    return float(np.abs(f - t).mean())


def weighted_error_score(true: ArrayLike, forecast: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> float:
    """Return WES: absolute errors weighted by 1 / (width of the 50 % interval).

    Raises
    ------
    CohortError
        Where an interval has no width.

    Examples
    --------
    >>> weighted_error_score([20, 30], [22, 29], [21, 25], [23, 33])  # an interval of 2 weighs four times one of 8
    1.8
    """
    t, f, low, high = _known(true, forecast, lower, upper)
    if (high <= low).any():
        case = int(np.flatnonzero(high <= low)[0])
        raise CohortError(f"WES: the interval of case {case} is {low[case]:g} to {high[case]:g}; it needs a width")
    weight = 1 / (high - low)
    return float((weight * np.abs(f - t)).sum() / weight.sum())


def coverage_accuracy(true: ArrayLike, lower: ArrayLike, upper: ArrayLike, nominal: float = 0.5) -> float:
    """Return CPA: how far the fraction of truths strictly within their intervals is from the nominal coverage.

    Examples
    --------
    >>> coverage_accuracy([1.0, 2.0, 3.0, 4.0], [0, 0, 0, 5], [2, 3, 4, 6])  # three of four, where a half is meant
    0.25
    """
    t, low, high = _known(true, lower, upper)
    return float(abs(((low < t) & (t < high)).mean() - nominal))


def _area(score: Floats, positive: NDArray[np.bool_], negative: NDArray[np.bool_]) -> float:
    """Probability that a positive case has the higher score, by ranks (Hand and Till, eq. 3)."""
    pair = positive | negative
    ranks = rankdata(score[pair])
    n, m = int(positive.sum()), int(negative.sum())
    return float((ranks[positive[pair]].sum() - n * (n + 1) / 2) / (n * m))


def _classes(true: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.int64], Floats]:
    labels, p = np.asarray(true), np.asarray(probabilities, np.float64)
    if p.ndim != 2 or labels.shape != (len(p),) or labels.dtype.kind not in "iu":
        raise CohortError(f"classes {labels.dtype} {labels.shape} and probabilities {p.shape} do not fit")
    if labels.size and not (labels.min() >= 0 and labels.max() < p.shape[1]):
        raise CohortError(f"classes: {labels.max()} is not among the {p.shape[1]} columns of probabilities")
    if not np.isfinite(p).all() or (p < 0).any() or (p.sum(1) <= 0).any():
        raise CohortError("probabilities: they must be finite, not negative and not all 0")
    return labels.astype(np.int64), p / p.sum(1, keepdims=True)


def _known(true: ArrayLike, *others: ArrayLike) -> list[Floats]:
    arrays = [np.asarray(a, np.float64) for a in (true, *others)]
    if len({a.shape for a in arrays}) != 1 or arrays[0].ndim != 1:
        shapes = ", ".join(str(a.shape) for a in arrays)
        raise CohortError(f"forecast: shapes {shapes} do not fit; give one number a case")
    known = ~np.isnan(arrays[0])
    if not known.any():
        raise CohortError("forecast: no case whose truth is known")
    kept = [a[known] for a in arrays]
    if any(not np.isfinite(a).all() for a in kept):
        raise CohortError("forecast: a case whose truth is known has no finite forecast or interval")
    return kept
