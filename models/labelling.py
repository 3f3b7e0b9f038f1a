r"""One labelling of clusters for all posterior draws: mixtures are the same under any order of their clusters.

Clusters of two draws are alike as far as data drawn from them are: by the divergence of their Normals about their
curves, both ways, over a row of scores, and that of their shares.  Curves f, g, noise s, t and shares p, q give

.. math::  \sum_n \tfrac12 \Big(\frac{s^2 + (f_n - g_n)^2}{t^2} + \frac{t^2 + (f_n - g_n)^2}{s^2}\Big) - 1
           \;+\; (p - q) \log\frac{p}{q}.

So clusters whose curves are alike are told apart by noise and share.

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

Cluster = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]
N_POINTS = 25


def align_labels(draws: Mapping[str, NDArray[Any]], cluster_axis: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """Reorder the clusters of every draw so that they match the first draw's; then sort them by mean onset.

    Parameters
    ----------
    draws
        Arrays ``(draws, ...)`` by site, with a, b, c, d ``(draws, K)`` and dps ``(draws, visits)``, in one gauge;
        sigma and pi ``(draws, K)`` where there are such.
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
    """Return the permutation ``(draws, K)`` of each draw that brings its clusters closest to the first draw's."""
    scores = np.quantile(draws["dps"][0], np.linspace(0.02, 0.98, N_POINTS))
    a, b, c, d = (draws[name][..., None] for name in "abcd")
    curve = d + a / (1 + np.exp(-np.clip(b * (scores - c), -60, 60)))
    variance = np.square(draws.get("sigma", np.ones_like(draws["c"]))) + np.finfo(np.float32).tiny
    share = draws.get("pi", np.full_like(draws["c"], 1.0)) + np.finfo(np.float32).tiny
    clusters = list(zip(curve, variance, share, strict=True))
    return np.array([linear_sum_assignment(_divergences(clusters[0], drawn))[1] for drawn in clusters])


def _divergences(first: Cluster, second: Cluster) -> NDArray[Any]:
    """Return the divergence ``(K, K)`` of every cluster of one draw from every one of another, both ways summed."""
    (f, s, p), (g, t, q) = ((x[:, None] for x in first), (x[None] for x in second))
    square = ((f - g) ** 2).mean(-1)
    noise = 0.5 * ((s + square) / t + (t + square) / s) - 1
    return np.asarray(N_POINTS * noise + (p - q) * np.log(p / q))


def _reordered(array: NDArray[Any], order: NDArray[np.int64], axis: int) -> NDArray[Any]:
    shape = [len(array)] + [1] * (array.ndim - 1)
    shape[axis] = order.shape[1]
    return np.asarray(np.take_along_axis(array, order.reshape(shape), axis))
