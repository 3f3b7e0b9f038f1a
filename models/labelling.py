"""One labelling of clusters for all posterior draws: mixtures are the same under any order of their clusters.

References
----------
Stephens, "Dealing with label switching in mixture models", JRSS B 2000.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

__all__ = ["align_labels"]

N_POINTS = 25


def align_labels(draws: Mapping[str, NDArray[Any]], cluster_axis: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """Reorder the clusters of every draw so that their curves match the first draw's; then sort them by mean onset.

    Parameters
    ----------
    draws
        Arrays ``(draws, ...)`` by site, with a, b, c, d ``(draws, K)`` and dps ``(draws, visits)``, in one gauge.
    cluster_axis
        The axis of clusters by site; sites that are not in ``draws`` are passed over.
    """
    order = _matched(draws)
    onset = np.take_along_axis(draws["c"], order, 1).mean(0)
    order = order[:, np.argsort(onset, kind="stable")]
    return {
        site: _reordered(array, order, cluster_axis[site]) if site in cluster_axis else array
        for site, array in draws.items()
    }


def _matched(draws: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Return the permutation ``(draws, K)`` of each draw that brings its curves closest to the first draw's."""
    scores = np.quantile(draws["dps"][0], np.linspace(0.02, 0.98, N_POINTS))
    a, b, c, d = (draws[name][..., None] for name in "abcd")
    curve = d + a / (1 + np.exp(-np.clip(b * (scores - c), -60, 60)))
    return np.array([linear_sum_assignment(_distances(curve[0], drawn))[1] for drawn in curve])


def _distances(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(((first[:, None] - second[None]) ** 2).sum(-1))


def _reordered(array: NDArray[Any], order: NDArray[np.int64], axis: int) -> NDArray[Any]:
    shape = [len(array)] + [1] * (array.ndim - 1)
    shape[axis] = order.shape[1]
    return np.asarray(np.take_along_axis(array, order.reshape(shape), axis))
