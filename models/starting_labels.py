"""Labels to begin with: a mixture of Gaussians over the maps' first principal components and what these leave.

Vertices of a cluster follow one curve and share their subjects' offsets, but for a change and an onset of their own.
So they scatter along directions of their own, far from round: groups of equal widths, as k-means has them, would split
a cluster by how much its vertices change.  A cluster has a residual sd of its own as well.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from neuropyro.models.visits import Visits

__all__ = ["label_vertices"]

COMPONENTS = 4
TRIALS = 40
LEAST_NOISE = 1e-4  # variance, as a share of the whole
MOST = 3000  # vertices that the mixture is learned from
LEAST_VARIANCE = 0.05  # beside the noise's: smaller ones are of a handful of vertices


def label_vertices(visits: Visits, n_clusters: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Label vertices that say something by 0..K-1, none of which is left out; ``(informative vertices,)``.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> years, noise = np.arange(12.0), 0.5 * np.random.default_rng(0).normal(size=(12, 20))
    >>> values = noise + years[:, None] * np.repeat([0.3, -0.3], 10)  # ten vertices rise and ten fall
    >>> visits = prepare_visits(Cohort(values, years, np.repeat(["a", "b"], 6)), None)
    >>> labels = label_vertices(visits, 2, np.random.default_rng(0))
    >>> np.abs(np.diff(labels)).tolist()  # one border between labels
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    """
    points = _features(visits, n_clusters)
    if len(points) == 1 or len(np.unique(points, axis=0)) < n_clusters:
        return np.arange(len(points)) % n_clusters
    some = points if len(points) <= MOST else points[rng.choice(len(points), MOST, replace=False)]
    seed = int(rng.integers(2**31))
    with threadpool_limits(1):  # too small for threads, which would wait for each other
        mixture = _mixture(some, n_clusters, seed)
        labels = mixture.predict(points)
    return _all_present(np.asarray(labels, np.int64), mixture.predict_proba(points))


def _mixture(points: NDArray[np.float64], n_clusters: int, seed: int) -> Any:
    """Return the best mixture of many trials; of wider groups where one is too narrow for a number to tell from 0."""
    from sklearn.exceptions import ConvergenceWarning  # half a second to import
    from sklearn.mixture import GaussianMixture

    options = {"n_init": TRIALS, "init_params": "random_from_data", "random_state": seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            return GaussianMixture(n_clusters, reg_covar=LEAST_VARIANCE, **options).fit(points)
        except ValueError:
            return GaussianMixture(n_clusters, reg_covar=float(points.var()), **options).fit(points)


def _features(visits: Visits, n_clusters: int) -> NDArray[np.float64]:
    """Return each vertex's places along the components and its log residual variance, in sds of chance, ``(L, *)``.

    Of few vertices no more than a cluster's share of them can tell a mean and a covariance of.
    """
    keep = visits.is_informative
    values = visits.values[keep]
    seen = torch.ones_like(values) if visits.observed is None else visits.observed[keep]
    values = seen * (values - values.sum(-1, keepdim=True) / seen.sum(-1, keepdim=True))
    share = len(values) / n_clusters
    bearable = max((d for d in range(1, COMPONENTS + 2) if d * (d + 3) / 2 <= share), default=1)
    q = min(COMPONENTS, bearable, *values.shape)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        left, size, _ = torch.svd_lowrank(values, q + 1 if q < min(values.shape) else q)
    places = (left * size)[:, :q].double().cpu()
    beyond = (values.square().sum(-1).double().cpu() - places.square().sum(-1)).clamp(min=0)
    freedom = (seen.sum(-1).double().cpu() - 1 - q).clamp(min=1)
    # Where the components leave nothing, be it of few visits, rounding is no noise to go by.
    noise = max(float(beyond.sum() / freedom.sum()), LEAST_NOISE * float(values.square().mean())) or 1.0
    # Below a hundredth of what is common a vertex is constant but for a few visits.
    residual = (beyond / (noise * freedom)).clamp(min=0.01).log() * (freedom / 2).sqrt()
    return np.asarray(torch.cat([places / noise**0.5, residual[:, None]], 1)[:, :bearable])


def _all_present(labels: NDArray[np.int64], probability: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give each label that nobody has to the vertex that is likeliest to have it."""
    for label in range(probability.shape[1]):
        if not (labels == label).any():
            free = np.bincount(labels, minlength=probability.shape[1])[labels] > 1
            labels[np.argmax(np.where(free, probability[:, label], -1.0))] = label
    return labels
