"""Starting values where neighbours tend to be of one cluster: from maps smoothed over the mesh.

Single vertices may be so noisy that they would be sorted by their noise.  What their neighbourhood has in common sorts
them by cluster, at the price of blurred borders, which the fit makes sharp again.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.spatial import MeshVisits
from neuropyro.models.spatial_sweeps import smooth
from neuropyro.models.starting_values import group_and_start, improved

__all__ = ["start_on_mesh"]

PASSES = 10  # of averaging with the neighbours
AGREEMENT = 0.9  # share of edges that agree under the coupling at the start


def start_on_mesh(
    visits: MeshVisits, n_clusters: int, rng: np.random.Generator, spread: float = 0.0
) -> list[dict[str, NDArray[np.float64]]]:
    """Return one or more starts of the scores, of K clusters of vertices and of their coupling.

    Examples
    --------
    >>> from neuropyro.data import Mesh, simulate_reference
    >>> from neuropyro.models.spatial import PottsPrior
    >>> from neuropyro.models.spatial_normaliser import PottsNormaliser
    >>> from neuropyro.models.spatial_sweeps import neighbours_of
    >>> from neuropyro.models.visits import prepare_visits
    >>> mesh, cohort = Mesh.grid(3, 4), simulate_reference(n_subjects=8, n_vertices=12, n_clusters=2, seed=0)
    >>> pieces = torch.tensor([[0.0, 0.5, 0.0, 0.0, 0.0], [0.7, 0.95, 0.0, 0.0, 0.0]])
    >>> prior = PottsPrior(mesh, neighbours_of(mesh), PottsNormaliser(torch.tensor([0.0, 1.2]), pieces, 17, 8.3))
    >>> visits = MeshVisits(**vars(prepare_visits(cohort, "all")), prior=prior)
    >>> start = start_on_mesh(visits, 2, np.random.default_rng(0))[0]
    >>> round(float(start["coupling"]), 3), round(float(start["pi"].sum()), 3)  # there nine tenths of edges agree
    (1.2, 1.0)
    """
    smoothed = visits.with_values(_smoothed(visits))
    lost = float((visits.values - smoothed.values).square().mean())
    coupling = np.asarray(visits.prior.normaliser.coupling_of(AGREEMENT))
    curves, starts = group_and_start(smoothed, n_clusters, rng, spread)
    starts = [start | {"sigma": np.sqrt(start["sigma"] ** 2 + lost), "coupling": coupling} for start in starts]
    return improved(visits, curves, starts, labels_known=True)


def _smoothed(visits: MeshVisits) -> Tensor:
    """Average maps over the mesh, ``(vertices, visits)``; missing values have no weight."""
    neighbours = visits.prior.neighbours
    total = smooth(visits.values, neighbours, PASSES)
    if visits.observed is None:
        return total
    return total / smooth(visits.observed, neighbours, PASSES).clamp(min=torch.finfo(total.dtype).tiny)
