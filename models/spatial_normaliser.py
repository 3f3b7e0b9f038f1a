r"""The normaliser of the Potts prior, by thermodynamic integration.

Over labellings Z of L vertices by K labels, with A(Z) of the M edges agreeing,

.. math::

   C(\lambda) = \sum_Z e^{\lambda A(Z)}, \qquad
   \log C(\lambda) = L \log K + \int_0^\lambda \mathrm{E}_t[A] \, dt,

since the derivative of log C is the mean number of agreeing edges.  That mean depends on the mesh, on K and on lambda
alone.  It is sampled once by Swendsen and Wang's clusters, at couplings that are closer where it rises steeply, from
high to low, each chain going on from its neighbour's last state.  Between them it is a monotone cubic, whose integral
is exact: log C and its derivative belong together.

Given the clusters of a sweep, labels of two clusters are independent and uniform, so that an edge within a cluster
agrees, and another agrees with probability 1/K: averaging this in place of the labels is exact at lambda = 0.

The error: n independent sweeps leave E[A] with a standard error of A's sd over the root of n, and a coupling that is
learned from known labels with one of its posterior sd over the root of n, whatever the size of the mesh.  n is 40 on
fsaverage5, 20 on fsaverage, and hundreds on small meshes.  Where order sets in abruptly (K of 5 or more), sweeps forget
slowly near that coupling, and the error there is larger.

References
----------
Swendsen & Wang, "Nonuniversal critical dynamics in Monte Carlo simulations", Physical Review Letters 1987; Gelman &
Meng, "Simulating normalizing constants", Statistical Science 1998; Fritsch & Carlson, "Monotone piecewise cubic
interpolation", SIAM Journal on Numerical Analysis 1980.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice, pairwise

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.sparse.csgraph import connected_components
from sklearn.isotonic import isotonic_regression
from torch import Tensor

from neuropyro.data import Mesh

__all__ = ["PottsNormaliser", "draw_labels", "mean_agreement", "potts_normaliser"]

COARSE = (6.4, 3.2, 1.6, 0.8, 0.4, 0.2)  # couplings, before gaps between them are halved
STEEP, AREA, CLOSE = 0.05, 0.002, 0.01  # a rise of agreement, the same times the gap; no gap is made narrower
FEW_EDGES = 20_000  # a smaller mesh is swept in many copies at once
VISITED = 3_000_000  # edges at each coupling, over its sweeps
FEWEST, MOST = 20, 40  # sweeps at each coupling
SETTLING = 2  # half as many more go before those that count

Labels = NDArray[np.int64]
Edges = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PottsNormaliser:
    """log C of a coupling, differentiable.

    Parameters
    ----------
    knots
        ``(G,)`` couplings, the first being 0.
    pieces
        ``(G, 5)`` log C / M beyond its value at 0, from each knot on: coefficients of the powers 0 to 4 of the
        distance to the knot.
    n_edges
        Number of edges M.
    at_zero
        log C(0) = L log K.

    Examples
    --------
    >>> pieces = torch.tensor([[0, 1 / 2, 1 / 8, 0, -1 / 192]])  # of two neighbours and two labels, by a series
    >>> log_c = PottsNormaliser(torch.zeros(1), pieces, n_edges=1, at_zero=math.log(4))
    >>> round(float(log_c(torch.tensor(0.5))), 4), round(math.log(2 * math.exp(0.5) + 2), 4)  # two of four pairs agree
    (1.6672, 1.6672)
    """

    knots: Tensor
    pieces: Tensor
    n_edges: int
    at_zero: float

    def __call__(self, coupling: Tensor) -> Tensor:
        """Return log C, in nats, of couplings of 0 or more, in their shape."""
        at = torch.searchsorted(self.knots, coupling.detach().contiguous(), right=True).clamp(min=1) - 1
        distance, piece = coupling - self.knots[at], self.pieces[at]
        per_edge = piece[..., 4]
        for power in range(3, -1, -1):
            per_edge = per_edge * distance + piece[..., power]
        return self.at_zero + self.n_edges * per_edge

    def coupling_of(self, agreement: float) -> float:
        """Return the least knot under which that share of the edges agrees."""
        reached = self.pieces[:, 1] >= agreement
        return float(self.knots[int(reached.long().argmax())] if bool(reached.any()) else self.knots[-1])

    def to(self, device: torch.device | str | None, dtype: torch.dtype | None) -> PottsNormaliser:
        """Return the same function on a device, in a dtype; None leaves as it is."""
        return replace(self, knots=self.knots.to(device, dtype), pieces=self.pieces.to(device, dtype))


def potts_normaliser(mesh: Mesh, n_labels: int, seed: int = 0) -> PottsNormaliser:
    """Return log C, nats, of a mesh and a number of labels K, in double precision; seconds on fsaverage5.

    Examples
    --------
    >>> mesh = Mesh(142, edges=np.argwhere(np.triu(np.ones((142, 142)), 1)))  # all are neighbours
    >>> log_c = potts_normaliser(mesh, 2)
    >>> round(float(log_c(torch.tensor(0.0))) / mesh.n_vertices, 4)  # log K: any labelling will do
    0.6931
    >>> round(float(log_c(torch.tensor(4.0))) / len(mesh.edges), 2)  # lambda: only those in which every edge agrees
    4.0
    """
    edges = _edges(mesh)
    knots, agreement = mean_agreement(mesh, n_labels, seed)
    integral = PchipInterpolator(knots, agreement).antiderivative()
    last = [float(integral(knots[-1])), agreement[-1], 0.0, 0.0, 0.0]  # beyond the knots, nearly all edges agree
    pieces = np.vstack([integral.c[::-1].T, last])
    return PottsNormaliser(
        torch.as_tensor(knots), torch.as_tensor(pieces), len(edges), mesh.n_vertices * math.log(n_labels)
    )


def mean_agreement(mesh: Mesh, n_labels: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Return couplings ``(G,)``, rising from 0, and the mean share of agreeing edges under each, ``(G,)``.

    Examples
    --------
    >>> mesh = Mesh(142, edges=np.argwhere(np.triu(np.ones((142, 142)), 1)))  # all are neighbours
    >>> knots, agreement = mean_agreement(mesh, 2)
    >>> [round(float(share), 3) for share in agreement[[0, -1]]]  # by chance, and all
    [0.5, 1.0]
    >>> m = math.sqrt(2 * np.interp(0.03, knots, agreement) - 1)  # by Curie and Weiss m = tanh(141 lambda m / 2)
    >>> abs(m - math.tanh(141 * 0.03 * m / 2)) < 0.02
    True
    """
    rng = np.random.default_rng(seed)
    edges, n_vertices = _copies(_edges(mesh), mesh.n_vertices)
    sweeps = int(np.clip(VISITED // max(len(edges), 1), FEWEST, MOST))
    labels = {math.inf: np.zeros(n_vertices, np.int64)}
    found = {0.0: 1 / n_labels}

    def measure(coupling: float, above: float) -> None:
        shares = []
        for state, share in islice(_sweeps(labels[above], edges, coupling, n_labels, rng), sweeps // SETTLING + sweeps):
            labels[coupling] = state
            shares.append(share)
        found[coupling] = float(np.mean(shares[-sweeps:]))

    for above, coupling in pairwise((math.inf, *COARSE)):
        measure(coupling, above)
    while wide := _wide_gaps(found):
        for high, low in wide:
            measure((low + high) / 2, high)
    knots = np.array(sorted(found))
    return knots, np.asarray(isotonic_regression([found[coupling] for coupling in knots]), np.float64)


def _copies(edges: Edges, n_vertices: int) -> tuple[Edges, int]:
    """Return the edges of copies of a small mesh side by side, and their number of vertices."""
    copies = max(1, FEW_EDGES // max(len(edges), 1))
    shifted = edges + n_vertices * np.arange(copies)[:, None, None]
    return shifted.reshape(-1, 2), copies * n_vertices


def draw_labels(mesh: Mesh, n_labels: int, coupling: float, rng: np.random.Generator, sweeps: int = 200) -> Labels:
    """Draw a labelling ``(vertices,)`` from the Potts prior, after so many sweeps from a random one.

    Examples
    --------
    >>> line, rng = Mesh.grid(1, 2000), np.random.default_rng(0)
    >>> labels = draw_labels(line, 2, coupling=math.log(4), rng=rng, sweeps=20)
    >>> round(float((labels[1:] == labels[:-1]).mean()), 1)  # on a line e^lambda / (e^lambda + K - 1) of edges agree
    0.8
    """
    chain = _sweeps(rng.integers(n_labels, size=mesh.n_vertices), _edges(mesh), coupling, n_labels, rng)
    return next(islice(chain, sweeps - 1, None))[0]


def _wide_gaps(found: dict[float, float]) -> list[tuple[float, float]]:
    """Return the (higher, lower) neighbouring couplings with too much of a rise between them, the highest first."""

    def is_wide(high: float, low: float) -> bool:
        rise, gap = found[high] - found[low], high - low
        return gap > CLOSE and (rise > STEEP or rise * gap > AREA)

    return [(high, low) for high, low in pairwise(sorted(found, reverse=True)) if is_wide(high, low)]


def _sweeps(
    labels: Labels, edges: Edges, coupling: float, n_labels: int, rng: np.random.Generator
) -> Iterator[tuple[Labels, float]]:
    """Yield labels and the share of edges expected to agree given the clusters, sweep after sweep."""
    i, j = np.ascontiguousarray(edges.T)
    n_vertices = len(labels)
    bond = -math.expm1(-coupling)  # probability that an agreeing edge ties its ends together
    while True:
        tied = np.flatnonzero(labels[i] == labels[j])
        tied = tied[rng.random(len(tied)) < bond]
        # The edges are in the order of their first ends, as the rows of a sparse matrix are.
        rows = np.r_[0, np.cumsum(np.bincount(i[tied], minlength=n_vertices))]
        ties = sp.csr_array((np.ones(len(tied)), j[tied], rows), shape=(n_vertices, n_vertices))
        n_clusters, cluster = connected_components(ties, directed=False)
        labels = rng.integers(n_labels, size=n_clusters)[cluster]
        within = float((cluster[i] == cluster[j]).mean()) if len(edges) else 1.0
        yield labels, within + (1 - within) / n_labels


def _edges(mesh: Mesh) -> Edges:
    """Return the edges ``(M, 2)`` between different vertices, in the order of their first ends."""
    assert mesh.edges is not None
    edges: Edges = mesh.edges[mesh.edges[:, 0] != mesh.edges[:, 1]]
    return edges
