"""How well a clustering agrees with known labels, whatever the clusters are called."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

__all__ = ["cluster_agreement", "right_labels"]


def cluster_agreement(assignments: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the share of vertices that the likeliest label gets right, under the best permutation of labels.

    Parameters
    ----------
    assignments
        ``(vertices, K)`` posterior of the labels.
    labels
        ``(vertices,)`` the true ones, whole numbers from 0.

    Examples
    --------
    >>> cluster_agreement(np.eye(2)[[0, 0, 1, 1]], np.array([1, 1, 0, 1]))  # labels may be permuted
    0.75
    """
    return float(right_labels(assignments, labels).sum() / len(labels))


def right_labels(assignments: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which vertices' likeliest label is right, ``(vertices,)``, arguments as of `cluster_agreement`.

    Examples
    --------
    >>> right_labels(np.eye(2)[[0, 0, 1, 1]], np.array([1, 1, 0, 1])).tolist()  # labels may be permuted
    [True, True, True, False]
    """
    found = assignments.argmax(1)
    size = max(assignments.shape[1], int(labels.max()) + 1)
    table = np.zeros((size, size), np.int64)
    np.add.at(table, (labels, found), 1)
    return np.asarray(linear_sum_assignment(-table)[1][labels] == found)
