r"""Whether clusterings of the same vertices from different parts of the data agree.

Two clusterings are matched label by label, by the assignment that shares most vertices; then Dice's coefficient of each
pair of clusters, :math:`2 |A \cap B| / (|A| + |B|)`, is averaged over clusters.  Averages are over pairs of different
clusterings: one of a clustering with itself says nothing.

References
----------
Dice, Ecology 1945; Hubert & Arabie, "Comparing partitions", Journal of Classification 1985 (the adjusted Rand index).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

__all__ = ["Reproducibility", "adjusted_rand", "dice", "reproducibility"]

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Reproducibility:
    """Agreement of several clusterings, averaged over pairs of them.

    Parameters
    ----------
    dice
        Mean over pairs and their clusters, those without a vertex left out: 1 where all agree.
    rand
        Mean adjusted Rand index over pairs: 0 by chance, 1 where all agree.

    Examples
    --------
    >>> halves = [np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([1, 1, 0, 0])]
    >>> found: Reproducibility = reproducibility(halves, 2)  # the first and the last agree, no others
    >>> round(found.dice, 3), abs(round(found.rand, 3))
    (0.667, 0.0)
    """

    dice: float
    rand: float


def reproducibility(labels: Sequence[Labels], n_clusters: int) -> Reproducibility:
    """Compare clusterings pair by pair.

    Parameters
    ----------
    labels
        ``(vertices,)`` each, from 0 to K - 1, of the same vertices.
    n_clusters
        K.

    Raises
    ------
    ValueError
        Where there are fewer than two, or a label is none of the K.

    Examples
    --------
    >>> reproducibility([np.array([0, 0, 1]), np.array([1, 1, 0])], 2)  # whatever clusters are called
    Reproducibility(dice=1.0, rand=1.0)
    """
    if len(labels) < 2:
        raise ValueError("reproducibility: one clustering has no other to agree with; give two or more")
    if not all(((one >= 0) & (one < n_clusters)).all() for one in labels):
        raise ValueError(f"reproducibility: labels are 0 to {n_clusters - 1}")
    pairs = list(itertools.combinations(labels, 2))
    return Reproducibility(
        float(np.mean([np.nanmean(dice(a, b, n_clusters)) for a, b in pairs])),
        float(np.mean([adjusted_rand(a, b, n_clusters) for a, b in pairs])),
    )


def dice(first: Labels, second: Labels, n_clusters: int) -> NDArray[np.float64]:
    """Return Dice's coefficient of each cluster of the first with its match, ``(K,)``; NaN where both are empty.

    Examples
    --------
    >>> dice(np.array([0, 0, 0, 1, 1, 2]), np.array([1, 1, 0, 0, 0, 2]), 3).tolist()  # 0 is 1, 1 is 0
    [0.8, 0.8, 1.0]
    """
    shared = _shared(first, second, n_clusters)
    rows, columns = linear_sum_assignment(-shared)
    sizes = shared.sum(1)[rows] + shared.sum(0)[columns]
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * shared[rows, columns] / sizes)


def adjusted_rand(first: Labels, second: Labels, n_clusters: int) -> float:
    """Return the adjusted Rand index of two clusterings ``(vertices,)``; it needs no matching.

    Examples
    --------
    >>> halves, others = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    >>> [round(adjusted_rand(halves, labels, 2), 3) for labels in (1 - halves, others)]  # the same; less than by chance
    [1.0, -0.5]
    """
    shared = _shared(first, second, n_clusters)
    pairs, rows, columns = (_pairs(x).sum() for x in (shared, shared.sum(1), shared.sum(0)))
    expected = rows * columns / _pairs(np.array(shared.sum()))
    most = (rows + columns) / 2
    return float((pairs - expected) / (most - expected)) if most > expected else 1.0


def _shared(first: Labels, second: Labels, n_clusters: int) -> Labels:
    """Count vertices by both labels, ``(K, K)``."""
    table = np.zeros((n_clusters, n_clusters), np.int64)
    np.add.at(table, (first, second), 1)
    return table


def _pairs(count: Labels) -> NDArray[np.float64]:
    return count * (count - 1) / 2
