"""Spatially disconnected parcels of a mesh, joined into clusters that look like networks."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components, dijkstra

from neuropyro.data.errors import CohortError
from neuropyro.data.mesh import Mesh

__all__ = ["network_labels"]

MIN_PARCELS = 4
ATTEMPTS = 50


def network_labels(
    mesh: Mesh, n_clusters: int, rng: np.random.Generator, parcels_per_cluster: int = 6
) -> NDArray[np.int64]:
    """Draw a cluster, from 0, for each vertex; every cluster consists of several parcels that do not touch.

    The mesh is cut into Voronoi cells (by path length) around seeds that lie far from each other, and cells that
    touch are given different clusters.  At least four parcels a cluster stay apart (with one cluster there is
    nothing to keep apart).

    Raises
    ------
    CohortError
        Where the mesh is too small for so many parcels.

    Examples
    --------
    >>> mesh = Mesh.grid(20, 20)
    >>> labels = network_labels(mesh, 3, np.random.default_rng(0))
    >>> [_count_components(mesh, labels == cluster) >= 4 for cluster in range(3)]
    [True, True, True]
    """
    n_parcels = n_clusters * parcels_per_cluster
    if mesh.n_vertices < 4 * n_parcels:
        raise CohortError(
            f"simulate: {mesh.n_vertices} vertices are too few for {n_clusters} clusters of {parcels_per_cluster} "
            "parcels; ask for fewer clusters"
        )
    for attempt in range(ATTEMPTS):
        # Two clusters of few parcels touch too much to stay apart; smaller parcels find room.
        n_parcels = n_clusters * (parcels_per_cluster + attempt // 2)
        parcel = _voronoi(mesh, n_parcels, rng)
        labels = _colour(_touching(mesh, parcel, n_parcels), n_clusters, rng)[parcel]
        if n_clusters == 1 or min(_count_components(mesh, labels == k) for k in range(n_clusters)) >= MIN_PARCELS:
            return labels
    raise CohortError(
        f"simulate: no {n_clusters} clusters of {MIN_PARCELS} separate parcels each; raise `parcels_per_cluster`"
    )


def _count_components(mesh: Mesh, members: NDArray[np.bool_]) -> int:
    """Count the connected pieces of the vertices where ``members`` is True."""
    index = np.flatnonzero(members)
    return int(connected_components(mesh.adjacency[index][:, index], directed=False)[0])


def _voronoi(mesh: Mesh, n_parcels: int, rng: np.random.Generator) -> NDArray[np.int64]:
    lengths = _edge_lengths(mesh)
    seeds = [int(rng.integers(mesh.n_vertices))]
    nearest = dijkstra(lengths, indices=seeds[0], directed=False)
    while len(seeds) < n_parcels:
        # A seed is drawn far from the others (hemispheres are infinitely far), not farthest: every draw differs.
        distance = np.where(np.isinf(nearest), 1e3, nearest)
        seeds.append(int(rng.choice(mesh.n_vertices, p=distance**4 / (distance**4).sum())))
        nearest = np.minimum(nearest, dijkstra(lengths, indices=seeds[-1], directed=False))
    _, _, source = dijkstra(lengths, indices=seeds, directed=False, min_only=True, return_predecessors=True)
    parcel_of_seed = {seed: parcel for parcel, seed in enumerate(seeds)}
    # A piece of mesh without a seed (source < 0) joins the first parcel.
    return np.array([parcel_of_seed.get(int(s), 0) for s in source])


def _edge_lengths(mesh: Mesh) -> sp.csr_array:
    assert mesh.edges is not None
    i, j = mesh.edges.T
    xyz = mesh.coordinates
    length = np.ones(len(i)) if xyz is None else np.linalg.norm(xyz[i] - xyz[j], axis=1)
    return sp.csr_array((length, (i, j)), shape=(mesh.n_vertices, mesh.n_vertices))


def _touching(mesh: Mesh, parcel: NDArray[np.int64], n_parcels: int) -> NDArray[np.bool_]:
    assert mesh.edges is not None
    a, b = parcel[mesh.edges].T
    touching = np.zeros((n_parcels, n_parcels), np.bool_)
    touching[a, b] = touching[b, a] = True
    np.fill_diagonal(touching, False)
    return touching


def _colour(touching: NDArray[np.bool_], n_colours: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Colour greedily, the most constrained first: least conflict with neighbours, then the rarest colour."""
    colour = np.full(len(touching), -1)
    for parcel in np.argsort(-touching.sum(1) + rng.random(len(touching))):
        conflicts = np.bincount(colour[touching[parcel] & (colour >= 0)], minlength=n_colours)
        used = np.bincount(colour[colour >= 0], minlength=n_colours)
        colour[parcel] = np.lexsort((rng.random(n_colours), used, conflicts))[0]
    return colour
