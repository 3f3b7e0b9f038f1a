r"""Whether posteriors mean what they say.

Of the labels given with probability p, a share p should be right; of the truths, an interval of 90 % should hold 90 %.

Elements are binned by the largest probability of their label; in a calibrated posterior the share of a bin that is
right differs from its mean probability by chance alone.

References
----------
Murphy & Winkler, "Reliability of subjective probability forecasts of precipitation and temperature", Applied
Statistics 1977; Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural networks", ICML 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuropyro.inference.agreement import right_labels

__all__ = ["Reliability", "interval_coverage", "reliability"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Reliability:
    """Probabilities and what came of them, by bins that hold something.

    Parameters
    ----------
    confidence
        ``(bins,)`` mean of the largest posterior.
    accuracy
        ``(bins,)`` share of the likeliest labels that are right, under the best permutation of labels.
    count
        ``(bins,)`` elements.

    Examples
    --------
    >>> found = Reliability(np.array([0.9]), np.array([0.6]), np.array([100]))
    >>> round(found.error, 2), found.spread.round(2).tolist()
    (0.3, [0.03])
    """

    confidence: Floats
    accuracy: Floats
    count: NDArray[np.int64]

    @property
    def mean_confidence(self) -> float:
        """Over all elements."""
        return float(np.average(self.confidence, weights=self.count))

    @property
    def mean_accuracy(self) -> float:
        """Over all elements."""
        return float(np.average(self.accuracy, weights=self.count))

    @property
    def error(self) -> float:
        """Mean distance of a bin's accuracy from its confidence, by elements: the expected calibration error."""
        return float(np.average(np.abs(self.accuracy - self.confidence), weights=self.count))

    @property
    def spread(self) -> Floats:
        """``(bins,)`` sd that the accuracy of a calibrated posterior would have, elements being independent."""
        return np.asarray(np.sqrt(self.confidence * (1 - self.confidence) / self.count))


def reliability(assignments: ArrayLike, labels: ArrayLike, bins: int = 10) -> Reliability:
    """Compare posteriors of labels with the true ones.

    Parameters
    ----------
    assignments
        ``(elements, K)`` posterior of the labels.
    labels
        ``(elements,)`` the true ones, whole numbers from 0.
    bins
        Of equal width between 1/K and 1.

    Examples
    --------
    >>> found = reliability([[0.9, 0.1]] * 10, [0] * 9 + [1])
    >>> found.count.tolist(), found.accuracy.round(2).tolist(), round(found.error, 2)
    ([10], [0.9], 0.0)
    """
    posterior, true = np.asarray(assignments, np.float64), np.asarray(labels, np.int64)
    right, largest = right_labels(posterior, true), posterior.max(1)
    edges: NDArray[Any] = np.linspace(1 / posterior.shape[1], 1, bins + 1)[1:-1]
    place = np.searchsorted(edges, largest, side="right")
    count = np.bincount(place, minlength=bins)
    some = count > 0
    confidence, accuracy = (np.bincount(place, x, bins)[some] / count[some] for x in (largest, right))
    return Reliability(confidence, accuracy, count[some])


def interval_coverage(draws: ArrayLike, truth: ArrayLike, levels: ArrayLike = (0.5, 0.8, 0.9, 0.95)) -> Floats:
    """Return how many of the truths central intervals hold, of one posterior; see `calibrate` for many data sets.

    Parameters
    ----------
    draws
        ``(draws, *shape)``.
    truth
        ``shape``; NaN does not count.
    levels
        ``(levels,)`` probabilities that the intervals promise.

    Returns
    -------
    ``(levels,)`` shares.  Elements of one posterior err together, so that a share may miss its level by far more than
    independent elements would.

    Raises
    ------
    ValueError
        Where shapes do not fit, or no truth is known.

    Examples
    --------
    >>> normal = np.random.default_rng(0).standard_normal
    >>> interval_coverage(normal((400, 1000)), normal(1000), [0.5, 0.9]).round(1).tolist()
    [0.5, 0.9]
    """
    drawn, true = np.asarray(draws, np.float64), np.asarray(truth, np.float64)
    if drawn.shape[1:] != true.shape:
        raise ValueError(f"interval_coverage: draws of {drawn.shape[1:]} for truths of {true.shape}")
    known = ~np.isnan(true)
    if not known.any():
        raise ValueError("interval_coverage: no truth is known; every value is NaN")
    tails = (1 - np.asarray(levels, np.float64)) / 2
    # S draws and the truth have S + 1 ranks alike: with Weibull's quantiles few draws promise no less than many.
    low, high = (np.quantile(drawn[:, known], q, axis=0, method="weibull") for q in (tails, 1 - tails))
    return np.asarray(((low <= true[known]) & (true[known] <= high)).mean(1))
