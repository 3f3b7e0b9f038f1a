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

__all__ = ["LabelField", "Neighbours", "mean_field", "neighbours_of", "smooth"]

WIDTH = 8  # passes of smoothing, and the vertices that one then speaks for


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

    Examples
    --------
    >>> line = neighbours_of(Mesh.grid(1, 3))  # ends of one colour, the middle of another
    >>> thickness = torch.tensor([[2.0], [5.0], [4.0]])
    >>> [part.flatten().tolist() for part in line.split(thickness)], line.means(thickness).flatten().tolist()
    ([[2.0, 4.0], [5.0]], [5.0, 3.0, 5.0])
    >>> bool((line.join(line.split(thickness)) == thickness).all())
    True
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

    def split(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return the values of each colour's vertices, given all ``(*, L, any)``."""
        return torch.split(values.index_select(-2, self.order), self.sizes, -2)

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Undo `split`."""
        return torch.cat(list(parts), -2).index_select(-2, self.place)

    def sums(self, values: Tensor) -> Tensor:
        """Add up the neighbours' values of each vertex, ``(*, L, any)``."""
        parts = self.split(values)
        return self.join([_sums(neighbour, parts) for neighbour in self.of_colour])

    def means(self, values: Tensor) -> Tensor:
        """Average the neighbours' values of each vertex, its own where it has none, ``(*, L, any)``."""
        degree = self.join([(neighbour < len(self.order)).sum(-1, keepdim=True) for neighbour in self.of_colour])
        return torch.where(degree > 0, self.sums(values) / degree.clamp(min=1), values)


def neighbours_of(mesh: Mesh) -> Neighbours:
    """Lay out a mesh by its colours.

    Examples
    --------
    >>> line = neighbours_of(Mesh.grid(1, 3))
    >>> line.sizes, line.sums(torch.tensor([[1.0], [10.0], [100.0]])).flatten().tolist()
    ([2, 1], [10.0, 101.0, 10.0])
    """
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

    Sweeps start from each vertex's own likelihood and from that of its wider neighbourhood, and go on from the better:
    the result depends on the arguments alone.  At the fixed point the bound is stationary in q, and its gradient needs
    no gradient of q; the differentiable sweep brings second derivatives near to those of the bound, and makes
    everything exact at a coupling of 0.

    Parameters
    ----------
    log_likelihood
        ``(*, L, K)``.
    coupling
        ``(*,)``, or a scalar.
    sweeps
        1 or more.

    Examples
    --------
    >>> line = neighbours_of(Mesh.grid(1, 3))
    >>> log_p = torch.tensor([[9.0, 0.0], [0.0, 0.0], [9.0, 0.0]])  # the middle vertex may be of either cluster
    >>> mean_field(log_p, torch.tensor(0.0), line, sweeps=9).exp()[1]
    tensor([0.5000, 0.5000])
    >>> mean_field(log_p, torch.tensor(1.0), line, sweeps=9).exp()[1]  # as its neighbours say: e^2 to 1
    tensor([0.8808, 0.1192])
    """
    strength = coupling[..., None, None] if coupling.dim() else coupling
    field = LabelField(neighbours.split(log_likelihood), strength, neighbours)
    with torch.no_grad():
        q = _start(log_likelihood.detach(), field, (sweeps - 1) // 2)
        for _ in range(sweeps - 1 - (sweeps - 1) // 2):
            q, _ = field.sweep(q)
    _, log_q = field.sweep(q)
    return neighbours.join(log_q)


@dataclass(frozen=True)
class LabelField:
    """What labels answer to: the data and each other; everything by colour.

    Parameters
    ----------
    log_likelihood
        ``(*, vertices of the colour, K)`` for each colour.
    strength
        The coupling, ``(*, 1, 1)`` or a scalar.
    neighbours
        Of the mesh.

    Examples
    --------
    >>> pair, log_p = neighbours_of(Mesh.grid(1, 2)), torch.tensor([[0.0, -1.0], [-2.0, 0.0]])
    >>> field = LabelField(pair.split(log_p), torch.tensor(0.0), pair)  # without coupling: the bound is exact
    >>> q, _ = field.sweep(pair.split(torch.full((2, 2), 0.5)))
    >>> field.bound(q).squeeze(), log_p.logsumexp(-1).sum()
    (tensor(0.4402), tensor(0.4402))
    """

    log_likelihood: Sequence[Tensor]
    strength: Tensor
    neighbours: Neighbours

    def sweep(self, q: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Change each colour to its best, given the others; returns q and log q."""
        new, log_new = list(q), []
        for colour, neighbour in enumerate(self.neighbours.of_colour):
            own = self.log_likelihood[colour] + self.strength * _sums(neighbour, new)
            log_new.append(own.log_softmax(-1))
            new[colour] = log_new[-1].exp()
        return new, log_new

    def bound(self, q: Sequence[Tensor]) -> Tensor:
        """Return the bound without the normaliser, ``(*, 1, 1)``."""
        whole, each = torch.cat(list(q), -2), torch.cat(list(self.log_likelihood), -2)
        near = torch.cat([_sums(neighbour, q) for neighbour in self.neighbours.of_colour], -2)
        each = each + self.strength * near / 2
        bound: Tensor = (whole * each + torch.special.entr(whole)).sum((-2, -1), keepdim=True)
        return bound


def _start(log_likelihood: Tensor, field: LabelField, sweeps: int) -> list[Tensor]:
    """Return the better q of two that were swept from different starts."""
    neighbours = field.neighbours
    wide = WIDTH * smooth(log_likelihood, neighbours, WIDTH)
    tried = []
    for start in (log_likelihood, wide):
        q = [part.softmax(-1) for part in neighbours.split(start)]
        for _ in range(sweeps):
            q, _ = field.sweep(q)
        tried.append(q)
    better = field.bound(tried[1]) > field.bound(tried[0])
    return [torch.where(better, second, first) for first, second in zip(*tried, strict=True)]


def smooth(values: Tensor, neighbours: Neighbours, passes: int) -> Tensor:
    """Average ``(*, L, any)`` over the mesh: at each pass a vertex keeps half, and takes half from its neighbours.

    Examples
    --------
    >>> line = neighbours_of(Mesh.grid(1, 3))
    >>> [smooth(torch.tensor([[0.0], [8.0], [0.0]]), line, passes).flatten().tolist() for passes in (1, 2)]
    [[4.0, 4.0, 4.0], [4.0, 4.0, 4.0]]
    """
    for _ in range(passes):
        values = (values + neighbours.means(values)) / 2
    return values


def _sums(neighbour: Tensor, q: Sequence[Tensor]) -> Tensor:
    """Add up the values of each row's neighbours, given those of all colours."""
    nothing = torch.zeros_like(q[0][..., :1, :])
    picked = torch.cat([*q, nothing], -2).index_select(-2, neighbour.flatten())
    summed: Tensor = picked.reshape(*picked.shape[:-2], *neighbour.shape, -1).sum(-2)
    return summed
