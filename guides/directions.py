r"""Affine maps that turn each element of a plate into directions of its own.

.. math::  x_i = m_i + Q_i (s_i \circ e_i)

with Q_i orthogonal, its first k columns given.  For standard normal e this is a Gaussian whose elements are independent
of each other, each with its own principal axes: what a full covariance of an element would need, where that has too
many numbers to have one.  Q is kept as k reflections, :math:`Q = I - Y T Y^\top`: it costs O(k m) for m numbers.

References
----------
Schreiber & Van Loan, "A storage-efficient WY representation for products of Householder transformations", SIAM Journal
on Scientific and Statistical Computing 1989.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform

__all__ = ["MainDirections", "Reflections"]

NONE = 1e-200  # weight of a reflection that changes nothing: the last one of a square Q


@dataclass(frozen=True)
class Reflections:
    """Orthogonal maps of the elements of a plate.

    Parameters
    ----------
    vectors
        Y, ``(elements, m, k)``.
    weights
        T, ``(elements, k, k)``.

    Examples
    --------
    >>> turns = Reflections.of(torch.tensor([[[0.6], [0.8]]]).double())  # of one element of two numbers
    >>> turned = turns.turn(torch.tensor([[1.0, 0.0]]).double())
    >>> turned.abs().round(decimals=4).tolist(), turns.turn_back(turned)[0, 0].round(decimals=4).item()
    ([[0.6, 0.8]], 1.0)
    """

    vectors: Tensor
    weights: Tensor

    @classmethod
    def of(cls, columns: Tensor) -> Reflections:
        """Make those whose first k columns are, but for signs, the orthonormal ``columns (elements, m, k)``."""
        packed, tau = torch.geqrf(columns.double())
        k = columns.shape[-1]
        vectors = packed.tril(-1)
        vectors[..., range(k), range(k)] = 1.0
        inner = (vectors.mT @ vectors).triu(1) + torch.diag_embed(1 / tau.clamp_min(NONE))
        weights = torch.linalg.solve_triangular(inner, torch.eye(k).to(inner).expand_as(inner), upper=True)
        return cls(vectors.to(columns).contiguous(), weights.to(columns).contiguous())

    @classmethod
    def none(cls, shape: tuple[int, int, int], like: Tensor) -> Reflections:
        """Make those that change nothing, of ``shape`` (elements, m, k)."""
        elements, _, k = shape
        return cls(like.new_zeros(shape), like.new_zeros(elements, k, k))

    def turn(self, x: Tensor) -> Tensor:
        """Q x, for ``x (*, elements, m)``."""
        return x - self._through(self.weights, x)

    def turn_back(self, x: Tensor) -> Tensor:
        """Q' x."""
        return x - self._through(self.weights.mT, x)

    def _through(self, weights: Tensor, x: Tensor) -> Tensor:
        inner = torch.einsum("nmk,...nm->...nk", self.vectors, x)
        weighted = torch.einsum("nkl,...nl->...nk", weights, inner)
        return torch.einsum("nmk,...nk->...nm", self.vectors, weighted)


class MainDirections(Transform):
    """The map from e to x as a torch transform.

    Parameters
    ----------
    order
        Places of the blocks' numbers in the flat vector, those that are not turned first (`Blocks.order`).
    loc
        ``(D,)``.
    scale
        s, ``(D,)``.
    turns
        One for each plate whose elements are turned.

    Examples
    --------
    >>> turns = Reflections.of(torch.tensor([[[0.6], [0.8]]]))
    >>> e = torch.tensor([1.0, 0.0])
    >>> turned = MainDirections(torch.arange(2), torch.zeros(2), torch.tensor([5.0, 1.0]), [turns])(e)
    >>> turned.abs().round(decimals=3).tolist()  # five sds along (.6, .8), but for the sign
    [3.0, 4.0]
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, order: Tensor, loc: Tensor, scale: Tensor, turns: list[Reflections]) -> None:
        super().__init__(cache_size=1)
        self.order, self.loc, self.scale, self.turns = order, loc, scale, turns
        self.back = torch.argsort(order)

    def __eq__(self, other: object) -> bool:
        return self is other

    def with_cache(self, cache_size: int = 1) -> MainDirections:
        """Return itself: draws are always kept."""
        return self

    def _call(self, e: Tensor) -> Tensor:
        return self.loc + self._turned(self.scale * e, Reflections.turn)

    def _inverse(self, x: Tensor) -> Tensor:
        return self._turned(x - self.loc, Reflections.turn_back) / self.scale

    def transposed(self, x: Tensor) -> Tensor:
        """Apply the transpose of the linear part to ``x (D,)``."""
        return self.scale * self._turned(x, Reflections.turn_back)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Sum of the logarithms of the scales; no batch."""
        return self.scale.log().sum().expand(x.shape[:-1])

    def _turned(self, x: Tensor, turn: Any) -> Tensor:
        sizes = [each.vectors.shape[:2].numel() for each in self.turns]
        plain, *parts = torch.split(x[..., self.order], [len(self.loc) - sum(sizes), *sizes], -1)
        turned = []
        for each, part in zip(self.turns, parts, strict=True):
            block = part.reshape(*x.shape[:-1], *each.vectors.shape[:2])
            turned.append(turn(each, block).flatten(-2))
        return torch.cat([plain, *turned], -1)[..., self.back]
