r"""One labelling of clusters for all posterior draws: mixtures are the same under any order of their clusters.

A cluster of a draw is described by its curve at a few scores, beside the curve's own mean, by that mean, and by its log
noise and log share; all these along their principal axes, so that what moves together counts once, not once a score.
Given means m and variances v along the axes, over the draws of one label, a draw's clusters are assigned where the sum

.. math::  (x - m)^2 / v + \log v

is least, and m and v are taken anew until no assignment changes.  So what a posterior knows well of clusters, be it
only their noise, tells them apart.  Draws are labelled from several beginnings: the labels that they come with, those
that match the first draw, and the order of their onsets.  A variational guide has one labelling, and clusters that
overlap along some axes may fit a little better if mixed, which is no switching: so labels stay as they come unless the
best is far likelier for the draws that it changes.

References
----------
Stephens, "Dealing with label switching in mixture models", JRSS B 2000.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

__all__ = ["align_labels"]

Features = NDArray[np.float64]  # (draws, K, features)
N_POINTS, ROUNDS = 7, 20
SURE = 6.0  # nats by which a draw's labels must be likelier in another order, beside log K! for the choice of it
LEAST = 1e-4  # of a label's variance along an axis, as a share of that over all clusters and draws
NEGLIGIBLE = 1e-3  # share of all variance, below which an axis is left out


def align_labels(draws: Mapping[str, NDArray[Any]], cluster_axis: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """Reorder the clusters of every draw so that they match the first draw's; then sort them by mean onset.

    Parameters
    ----------
    draws
        Arrays ``(draws, ...)`` by site, with a, b, c, d ``(draws, K)`` and dps ``(draws, visits)``, in one gauge;
        sigma and pi ``(draws, K)`` where there are such.
    cluster_axis
        The axis of clusters by site; sites that are not in ``draws`` are passed over.

    Examples
    --------
    >>> draws = {name: np.ones((4, 2)) for name in "abd"} | {"dps": np.tile(np.linspace(0, 3, 5), (4, 1))}
    >>> draws["c"] = np.array([[3.0, 0.0], [0.1, 3.1], [0.2, 2.9], [3.0, 0.1]])  # two draws the other way round
    >>> align_labels(draws, dict.fromkeys("abcd", 1))["c"].tolist()
    [[0.0, 3.0], [0.1, 3.1], [0.2, 2.9], [0.1, 3.0]]
    """
    order = _matched(draws)
    onset = np.take_along_axis(draws["c"], order, 1).mean(0)
    order = order[:, np.argsort(onset, kind="stable")]
    return {
        site: _reordered(array, order, cluster_axis[site]) if site in cluster_axis else array
        for site, array in draws.items()
    }


def _matched(draws: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
    """Return the permutation ``(draws, K)`` of each draw that brings its clusters to one labelling."""
    features = _along_axes(_features(draws))
    n_draws, n_clusters = features.shape[:2]
    like_the_first = _assigned(((features[0][None, :, None] - features[:, None]) ** 2).sum(-1))
    as_they_come = np.tile(np.arange(n_clusters), (n_draws, 1))
    by_onset = np.argsort(draws["c"], 1, kind="stable")
    found = [_refined(features, start) for start in (as_they_come, like_the_first, by_onset)]
    cost, best = min(found, key=lambda pair: pair[0])
    changed = n_draws - np.unique(best, axis=0, return_counts=True)[1].max()
    gain = float(_costs(features).diagonal(axis1=1, axis2=2).sum()) - cost
    return best if gain > 2 * (SURE + math.lgamma(n_clusters + 1)) * changed else as_they_come


def _features(draws: Mapping[str, NDArray[Any]]) -> Features:
    """Return each cluster's curve beside its mean, that mean, and log noise and log share, where there are such."""
    scores = np.quantile(draws["dps"][0], np.linspace(0.05, 0.95, N_POINTS))
    a, b, c, d = (draws[name][..., None].astype(np.float64) for name in "abcd")
    curve = d + a / (1 + np.exp(-np.clip(b * (scores - c), -60, 60)))
    others = [np.log(draws[name].astype(np.float64) + 1e-12)[..., None] for name in ("sigma", "pi") if name in draws]
    level = curve.mean(-1, keepdims=True)
    return np.concatenate([curve - level, level, *others], -1)


def _along_axes(features: Features) -> Features:
    """Return standardised features along their principal axes over all draws and clusters, each of variance 1."""
    scale = features.std((0, 1)) + np.finfo(np.float32).eps
    standard = (features - features.mean((0, 1))) / scale
    share, axes = np.linalg.eigh(np.einsum("skf,skg->fg", standard, standard) / standard[..., 0].size)
    known = share > NEGLIGIBLE * share.sum()
    return np.asarray(standard @ axes[:, known] / np.sqrt(share[known]))


def _refined(features: Features, order: NDArray[np.int64]) -> tuple[float, NDArray[np.int64]]:
    """Improve a labelling until nothing changes; returns its cost and the permutations."""
    for _ in range(ROUNDS):
        cost = _costs(np.take_along_axis(features, order[..., None], 1), features)
        before, order = order, _assigned(cost)
        if (before == order).all():
            break
    chosen = np.take_along_axis(cost, order[..., None], 2)
    return float(chosen.sum()), order


def _costs(labelled: Features, features: Features | None = None) -> NDArray[np.float64]:
    """Return what each cluster of a draw costs under each label, ``(draws, labels, clusters)``; twice its nats."""
    features = labelled if features is None else features
    mean, variance = labelled.mean(0), labelled.var(0) + LEAST * features.var((0, 1)) + np.finfo(np.float32).tiny
    cost = (features[:, None] - mean[:, None]) ** 2 / variance[:, None] + np.log(variance)[:, None]
    return np.asarray(cost.sum(-1))


def _assigned(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return which cluster gets each label, ``(draws, K)``, from costs ``(draws, labels, clusters)``."""
    return np.array([linear_sum_assignment(one)[1] for one in cost])


def _reordered(array: NDArray[Any], order: NDArray[np.int64], axis: int) -> NDArray[Any]:
    shape = [len(array)] + [1] * (array.ndim - 1)
    shape[axis] = order.shape[1]
    return np.asarray(np.take_along_axis(array, order.reshape(shape), axis))
