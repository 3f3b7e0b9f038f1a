r"""What elements of a plate do together once the global sites are known.

An arrow has elements independent of each other given the global block.  Where data know their differences alone, they
can all move together, or stretch, and each says little of that: along a few directions of all elements' numbers at once
the posterior is several times as wide.  Along these, the columns of U, mixed noise h is mixed once more before the
arrow takes it,

.. math::  h \mapsto h + U (K - I) U' h,

with U orthonormal and K lower triangular.  Both are found from outside (:mod:`neuropyro.inference.global_spread`);
until then U is 0, and nothing is tied.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.transforms import Transform

from neuropyro.guides.arrow import Arrow

__all__ = ["DIRECTIONS", "TiedArrow", "Ties"]

DIRECTIONS = 12  # at most, so that files of one model have one shape


class Ties(nn.Module):
    """The directions and what mixes them.

    Parameters
    ----------
    like
        ``(D,)`` the flat vector.
    n_local
        How many of its numbers lie in local blocks.

    Attributes
    ----------
    directions
        ``(D, r)`` orthonormal columns, 0 at global numbers; or all 0.
    root
        ``(r, r)`` lower triangular.

    Examples
    --------
    >>> arrow = Arrow(torch.arange(3), torch.zeros(3), torch.eye(1), [torch.zeros(2, 1, 1)], [torch.ones(2, 1, 1)])
    >>> ties = Ties(torch.zeros(3), n_local=2)
    >>> ties(arrow)(torch.tensor([0.0, 3.0, 4.0])).tolist()  # at first nothing is tied
    [0.0, 3.0, 4.0]
    """

    directions: Tensor
    root: Tensor

    def __init__(self, like: Tensor, n_local: int) -> None:
        super().__init__()
        r = min(DIRECTIONS, n_local)
        self.register_buffer("directions", like.new_zeros(len(like), r))
        self.register_buffer("root", torch.eye(r).to(like))

    def forward(self, arrow: Arrow) -> TiedArrow:
        """Return the arrow after the ties."""
        return TiedArrow(arrow, self.directions, self.root)


class TiedArrow(Transform):
    """The map from mixed noise to the flat vector, ties and arrow together.

    Parameters
    ----------
    arrow
        What comes last.
    directions, root
        As of `Ties`.

    Examples
    --------
    >>> arrow = Arrow(torch.arange(3), torch.zeros(3), torch.eye(1), [torch.zeros(2, 1, 1)], [torch.ones(2, 1, 1)])
    >>> tied = TiedArrow(arrow, torch.tensor([[0.0], [0.6], [0.8]]), torch.tensor([[2.0]]))
    >>> tied(torch.tensor([1.0, 3.0, 4.0])).round(decimals=3).tolist()  # twice as far, where both go the same way
    [1.0, 6.0, 8.0]
    >>> tied.inv(torch.tensor([1.0, 6.0, 8.0])).round(decimals=3).tolist()
    [1.0, 3.0, 4.0]
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, arrow: Arrow, directions: Tensor, root: Tensor) -> None:
        super().__init__(cache_size=1)
        self.arrow, self.directions, self.root = arrow, directions, root
        self.loc = arrow.loc

    def __eq__(self, other: object) -> bool:
        return self is other

    def with_cache(self, cache_size: int = 1) -> TiedArrow:
        """Return itself: draws are always kept."""
        return self

    def _call(self, h: Tensor) -> Tensor:
        return self.arrow._call(h + self._along(h, self.root))

    def _inverse(self, x: Tensor) -> Tensor:
        h = self.arrow._inverse(x)
        return h + self._along(h, self._inverse_root())

    def solve_transposed(self, h: Tensor) -> Tensor:
        """Solve for x where the transpose of the linear part takes it to ``h (*, D)``."""
        return self.arrow.solve_transposed(h + self._along(h, self._inverse_root().mT))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Sum of the logarithms of all diagonals; no batch."""
        return self.arrow.log_abs_det_jacobian(x, y) + self.root.diagonal().log().sum()

    def _along(self, h: Tensor, root: Tensor) -> Tensor:
        """Return what mixing by ``root`` along the directions adds."""
        part = h @ self.directions
        return (part @ root.mT - part) @ self.directions.mT

    def _inverse_root(self) -> Tensor:
        same = torch.eye(len(self.root)).to(self.root)
        inverse: Tensor = torch.linalg.solve_triangular(self.root, same, upper=False)
        return inverse
