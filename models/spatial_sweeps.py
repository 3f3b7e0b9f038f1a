r"""Mean field for labels on a mesh: one categorical a vertex, swept on a colouring.

Given log-likelihoods :math:`\ell_{lk} = \log p(V_l \mid Z_l = k)` and a coupling lambda, the best factor of vertex l
given the others is

.. math::  q_l(k) \propto \exp\Big(\ell_{lk} + \lambda \sum_{j \sim l} q_j(k)\Big).

Vertices of one colour are no neighbours, so that all of them change at once, each to its best: no sweep lowers the
bound.  Each starts from the likelihood: a factor is never multiplied onto its own last value.

References
----------
Wainwright & Jordan, "Graphical models, exponential families, and variational inference", Foundations and Trends in
Machine Learning 2008, section 5.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from neuropyro.data import Mesh

__all__ = ["Neighbours", "mean_field", "neighbours_of"]


@dataclass(frozen=True)
class Neighbours:
    """Who is next to whom on a mesh of L vertices, in the order of the colours.

    Parameters
    ----------
    order
        ``(L,)`` vertices, one colour after the other.
    place
        ``(L,)`` the place of each vertex in that order.
    of_colour
        For each colour ``(vertices of that colour, most neighbours)``: the neighbours' places, L where there are fewer.
    """

    order: Tensor
    place: Tensor
    of_colour: tuple[Tensor, ...]

    @property
    def sizes(self) -> list[int]:
        """How many vertices each colour has."""
        return [len(neighbour) for neighbour in self.of_colour]

    def to(self, device: torch.device | str | None) -> Neighbours:
        """Return the same on a device."""
        moved = tuple(neighbour.to(device) for neighbour in self.of_colour)
        return replace(self, order=self.order.to(device), place=self.place.to(device), of_colour=moved)

    def sums(self, q: Tensor) -> Tensor:
        """Add up the neighbours' values of each vertex, ``(*, L, K)``."""
        parts = q.index_select(-2, self.order).split(self.sizes, -2)
        return torch.cat([_sums(neighbour, parts) for neighbour in self.of_colour], -2).index_select(-2, self.place)


def neighbours_of(mesh: Mesh) -> Neighbours:
    """Lay out a mesh by its colours."""
    order = np.argsort(mesh.colours, kind="stable")
    place = np.argsort(order, kind="stable")
    adjacency = mesh.adjacency[order][:, order].tocsr()
    adjacency.setdiag(0)
    adjacency.eliminate_zeros()
    degree = np.diff(adjacency.indptr)
    row = np.repeat(np.arange(mesh.n_vertices), degree)
    column = np.arange(len(row)) - adjacency.indptr[row]
    padded = np.full((mesh.n_vertices, max(int(degree.max(initial=0)), 1)), mesh.n_vertices)
    padded[row, column] = adjacency.indices
    edge = np.searchsorted(mesh.colours[order], np.arange(1, mesh.colours.max(initial=0) + 1))
    widths = [max(int(part.max(initial=0)), 1) for part in np.split(degree, edge)]
    groups = zip(np.split(padded, edge), widths, strict=True)
    of_colour = tuple(torch.as_tensor(np.ascontiguousarray(group[:, :width])) for group, width in groups)
    return Neighbours(torch.as_tensor(order), torch.as_tensor(place), of_colour)


def mean_field(log_likelihood: Tensor, coupling: Tensor, neighbours: Neighbours, sweeps: int) -> Tensor:
    """Return log q after some sweeps, ``(*, L, K)``; differentiable through the last sweep only.

    The sweeps start from each vertex's own likelihood, so that the result depends on the arguments alone, and with
    a coupling of 0 is exact.  At the fixed point the bound is stationary in q, and its gradient by all else needs no
    gradient of q; one differentiable sweep makes the second derivatives right where neighbours are far apart in
    influence, and everything right at a coupling of 0.

    Parameters
    ----------
    log_likelihood
        ``(*, L, K)``.
    coupling
        ``(*,)`` with as many dimensions as precede L, or a scalar.
    sweeps
        1 or more.
    """
    strength = coupling[..., None, None] if coupling.dim() else coupling
    parts = log_likelihood.index_select(-2, neighbours.order).split(neighbours.sizes, -2)
    with torch.no_grad():
        fixed = [part.detach() for part in parts]
        q = [part.softmax(-1) for part in fixed]
        for _ in range(sweeps - 1):
            for colour, neighbour in enumerate(neighbours.of_colour):
                q[colour] = (fixed[colour] + strength * _sums(neighbour, q)).softmax(-1)
    log_q = []
    for colour, neighbour in enumerate(neighbours.of_colour):
        log_q.append((parts[colour] + strength * _sums(neighbour, q)).log_softmax(-1))
        q[colour] = log_q[colour].exp()
    return torch.cat(log_q, -2).index_select(-2, neighbours.place)


def _sums(neighbour: Tensor, q: Sequence[Tensor]) -> Tensor:
    """Add up the values of each row's neighbours, given those of all colours."""
    nothing = torch.zeros_like(q[0][..., :1, :])
    picked = torch.cat([*q, nothing], -2).index_select(-2, neighbour.flatten())
    return picked.reshape(*picked.shape[:-2], *neighbour.shape, -1).sum(-2)
