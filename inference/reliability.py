r"""Whether posteriors of labels mean what they say: of the labels given with probability p, a share p should be right.

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

__all__ = ["Reliability", "reliability"]

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
