"""Labels to begin with: a mixture of Gaussians over the maps' first principal components.

Vertices of a cluster follow one curve and share their subjects' offsets, but for a change and an onset of their own.
So they scatter along directions of their own, far from round: groups of equal widths, as k-means has them, would split
a cluster by how much its vertices change.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from neuropyro.models.visits import Visits

__all__ = ["label_vertices"]

COMPONENTS = 4
TRIALS = 30
MOST = 3000  # vertices that the mixture is learned from
LEAST_VARIANCE = 1e-3  # of a component, as a share of the noise's


def label_vertices(visits: Visits, n_clusters: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Label vertices that say something by 0..K-1, none of which is left out; ``(informative vertices,)``."""
    from sklearn.exceptions import ConvergenceWarning  # half a second to import
    from sklearn.mixture import GaussianMixture

    points = _components(visits)
    if len(np.unique(points, axis=0)) < n_clusters:
        return np.arange(len(points)) % n_clusters
    some = points if len(points) <= MOST else points[rng.choice(len(points), MOST, replace=False)]
    seed = int(rng.integers(2**31))
    mixture = GaussianMixture(
        n_clusters, n_init=TRIALS, init_params="k-means++", random_state=seed, reg_covar=LEAST_VARIANCE
    )
    with warnings.catch_warnings(), threadpool_limits(1):  # too small for threads, which would wait for each other
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = mixture.fit(some).predict(points)
    return _all_present(np.asarray(labels, np.int64), mixture.predict_proba(points))


def _components(visits: Visits) -> NDArray[np.float64]:
    """Return the vertices' places along the components, in units of the noise's sd, ``(vertices, components)``."""
    keep = visits.is_informative
    values = visits.values[keep]
    if visits.observed is None:
        values = values - values.mean(-1, keepdim=True)
    else:
        seen = visits.observed[keep]
        values = seen * (values - values.sum(-1, keepdim=True) / seen.sum(-1, keepdim=True))
    q = min(COMPONENTS, *values.shape)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        left, size, _ = torch.svd_lowrank(values, q + 1 if q < min(values.shape) else q)
    points = np.asarray((left * size)[:, :q].double().cpu())
    beyond = float(values.square().mean()) * values.shape[1] - float((points**2).sum()) / len(points)
    noise = max(beyond / max(values.shape[1] - q, 1), 1e-12) ** 0.5
    return np.asarray(points / noise)


def _all_present(labels: NDArray[np.int64], probability: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give each label that nobody has to the vertex that is likeliest to have it."""
    for label in range(probability.shape[1]):
        if not (labels == label).any():
            free = np.bincount(labels, minlength=probability.shape[1])[labels] > 1
            labels[np.argmax(np.where(free, probability[:, label], -1.0))] = label
    return labels
