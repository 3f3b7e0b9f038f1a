"""Starting values where neighbours tend to be of one cluster: from maps smoothed over the mesh.

Single vertices may be so noisy that k-means sorts them by their noise.  What their neighbourhood has in common sorts
them by cluster, at the price of blurred borders, which the fit makes sharp again.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.spatial import MeshVisits
from neuropyro.models.spatial_sweeps import Neighbours
from neuropyro.models.starting_values import start_clusters

__all__ = ["smooth", "start_on_mesh"]

PASSES = 10  # of averaging with the neighbours
AGREEMENT = 0.9  # share of edges that agree under the coupling at the start


def start_on_mesh(visits: MeshVisits, n_clusters: int, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Return starting values of the sites of the scores, of K clusters of vertices and of their coupling."""
    smoothed = visits.with_values(smooth(visits.values, visits.observed, visits.prior.neighbours))
    start = start_clusters(smoothed, n_clusters, rng)
    lost = (visits.values - smoothed.values).square().mean()
    start["sigma"] = np.sqrt(start["sigma"] ** 2 + float(lost))
    start["coupling"] = np.asarray(visits.prior.normaliser.coupling_of(AGREEMENT))
    return start


def smooth(values: Tensor, observed: Tensor | None, neighbours: Neighbours) -> Tensor:
    """Average maps ``(vertices, visits)`` over the mesh, each vertex with half of its weight; missing ones have none."""
    weight = torch.ones_like(values[:, :1]) if observed is None else observed
    degree = neighbours.sums(torch.ones_like(values[:, :1])).clamp(min=1)
    total = values
    for _ in range(PASSES):
        total = (total + neighbours.sums(total) / degree) / 2
        weight = (weight + neighbours.sums(weight) / degree) / 2
    return total / weight.clamp(min=torch.finfo(weight.dtype).tiny)
