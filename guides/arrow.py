r"""Arrow-shaped affine maps: a global block, and local blocks that depend on it and not on each other.

.. math::  x_g = m_g + L_g e_g, \qquad x_i = m_i + A_i e_g + L_i e_i,

with L_g and every L_i lower triangular.  For standard normal e this is any Gaussian whose blocks x_i are independent of
each other given x_g (its precision matrix has the shape of an arrow).  Cost: O(G^2 + n m (G + m)) for n local blocks of
m numbers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform

__all__ = ["Arrow"]


class Arrow(Transform):
    """The map from e to x as a torch transform.

    Parameters
    ----------
    order
        Places of the blocks' numbers in the flat vector, global block first (`Blocks.order`).
    loc
        ``(D,)``.
    shared
        ``(G, G)`` lower triangular.
    couplings
        ``(elements, m, G)`` for each local plate.
    scales
        ``(elements, m, m)`` lower triangular, for each local plate.

    Examples
    --------
    Of two subjects' numbers, that of the first moves along with the global one:

    >>> couplings, scales = torch.tensor([[[3.0]], [[0.0]]]), torch.ones(2, 1, 1)
    >>> arrow = Arrow(torch.arange(3), torch.zeros(3), torch.tensor([[2.0]]), [couplings], [scales])
    >>> arrow(torch.tensor([1.0, 0.5, 0.5])).tolist(), arrow.inv(torch.tensor([2.0, 3.5, 0.5])).tolist()
    ([2.0, 3.5, 0.5], [1.0, 0.5, 0.5])
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(
        self, order: Tensor, loc: Tensor, shared: Tensor, couplings: list[Tensor], scales: list[Tensor]
    ) -> None:
        super().__init__(cache_size=1)
        self.order, self.loc, self.shared = order, loc, shared
        self.couplings, self.scales = couplings, scales
        self.back = torch.argsort(order)

    def __eq__(self, other: object) -> bool:
        return self is other

    def with_cache(self, cache_size: int = 1) -> Arrow:
        """Return itself: draws are always kept, so that their density needs no solve."""
        return self

    def _call(self, e: Tensor) -> Tensor:
        ordered = e[..., self.order]
        shared = ordered[..., : len(self.shared)]
        parts = [shared @ self.shared.mT]
        for own, coupling, scale in self._local(ordered):
            drawn = (scale @ own.unsqueeze(-1)).squeeze(-1)
            parts.append((drawn + _coupled(coupling, shared)).flatten(-2))
        return self.loc + torch.cat(parts, -1)[..., self.back]

    def _inverse(self, x: Tensor) -> Tensor:
        ordered = (x - self.loc)[..., self.order]
        shared = _solve(self.shared, ordered[..., : len(self.shared)])
        parts = [shared]
        for own, coupling, scale in self._local(ordered):
            parts.append(_solve(scale, own - _coupled(coupling, shared)).flatten(-2))
        return torch.cat(parts, -1)[..., self.back]

    def solve_transposed(self, e: Tensor) -> Tensor:
        """Solve for x where the transpose of the linear part takes it to ``e (*, D)``."""
        ordered = e[..., self.order]
        shared, parts = ordered[..., : len(self.shared)], []
        for own, coupling, scale in self._local(ordered):
            solved = _solve(scale.mT, own, upper=True)
            shared = shared - solved.flatten(-2) @ coupling.flatten(0, 1)
            parts.append(solved.flatten(-2))
        return torch.cat([_solve(self.shared.mT, shared, upper=True), *parts], -1)[..., self.back]

    def transposed(self, x: Tensor) -> Tensor:
        """Apply the transpose of the linear part to ``x (D,)``."""
        ordered = x[self.order]
        shared = ordered[: len(self.shared)] @ self.shared
        parts = []
        for own, coupling, scale in self._local(ordered):
            shared = shared + own.flatten() @ coupling.flatten(0, 1)
            parts.append((own.unsqueeze(-2) @ scale).flatten())
        return torch.cat([shared, *parts])[self.back]

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Sum of the logarithms of all diagonals; no batch."""
        volume = self.shared.diagonal().log().sum()
        for scale in self.scales:
            volume = volume + scale.diagonal(dim1=-2, dim2=-1).log().sum()
        return volume.expand(x.shape[:-1])

    def _local(self, ordered: Tensor) -> Any:
        """Yield each local plate's numbers ``(*, elements, m)``, coupling and scale."""
        begin = len(self.shared)
        for coupling, scale in zip(self.couplings, self.scales, strict=True):
            n, m = scale.shape[:2]
            yield ordered[..., begin : begin + n * m].reshape(*ordered.shape[:-1], n, m), coupling, scale
            begin += n * m


def _coupled(coupling: Tensor, shared: Tensor) -> Tensor:
    """Product of ``(elements, m, G)`` with ``(*, G)``; ``(*, elements, m)``."""
    return (shared @ coupling.flatten(0, 1).mT).reshape(*shared.shape[:-1], *coupling.shape[:2])


def _solve(triangle: Tensor, right: Tensor, upper: bool = False) -> Tensor:
    solved: Tensor = torch.linalg.solve_triangular(triangle, right.unsqueeze(-1), upper=upper)
    return solved.squeeze(-1)
