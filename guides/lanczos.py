"""The directions in which each element of a plate is best known, and how well.

Lanczos' method finds them from products of the Hessian with vectors, one further gradient each, all elements at once:
given the rest they do not depend on each other.  A dozen products more than there are directions that the data say
something of suffice; what is left is as wide, on average, as some random directions say.

References
----------
Lanczos, Journal of Research of the National Bureau of Standards 1950; Golub & Van Loan, "Matrix computations", 2013,
section 10.1 (with reorthogonalisation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from neuropyro.guides.hessian_products import curvature_products

__all__ = ["leading_curvature"]

PROBES = 4  # random directions, for the curvature of what is left
LEAST = 1e-6  # a Krylov space of which no more than this share is left is at its end


@dataclass(frozen=True)
class _LeadingCurvature:
    """Of each element of a plate.

    Parameters
    ----------
    directions
        ``(elements, m, k)``, orthonormal columns.
    curvature
        ``(elements, k)``, of the potential in each direction.
    rest
        ``(elements,)``, mean curvature of the directions that are left.
    """

    directions: Tensor
    curvature: Tensor
    rest: Tensor


def leading_curvature(
    potential: Callable[[Tensor], Tensor], point: Tensor, places: Tensor, k: int
) -> _LeadingCurvature:
    """Find the k main directions of elements at ``places (elements, m)`` of the flat vector, at ``point (D,)``.

    Where the curvature is not known, at a pole of the density, they are no numbers.
    Cost: k + 4 gradients of a gradient.

    Examples
    --------
    >>> curvature, places = torch.tensor([9.0, 4.0, 1.0]), torch.tensor([[0, 1, 2]])
    >>> found = leading_curvature(lambda x: 0.5 * (curvature * x * x).sum(), torch.zeros(3), places, k=3)
    >>> found.curvature.round(decimals=3).tolist(), found.directions[0, :, 2].abs().round().tolist()
    ([[1.0, 4.0, 9.0]], [1.0, 0.0, 0.0])
    """
    whole, at = curvature_products(potential, point), places.to(point.device)

    def product(block: Tensor) -> Tensor:
        return whole(torch.zeros_like(point).index_put((at,), block.to(point)).unsqueeze(0))[0, at]

    source = torch.Generator().manual_seed(0)
    basis = point.new_zeros(*at.shape, k).double()
    images = torch.zeros_like(basis)
    left = _unit(torch.randn(at.shape, generator=source).to(basis))
    for j in range(k):
        basis[..., j] = left
        images[..., j] = product(left)
        left = _next(images[..., j], basis[..., : j + 1], source)
    inner = basis.mT @ images
    curvature, turn = torch.linalg.eigh(((inner + inner.mT) / 2).nan_to_num())
    rest = point.new_zeros(len(at)).double()
    for _ in range(PROBES if at.shape[1] > k else 0):
        probe = _unit(_without(torch.randn(at.shape, generator=source).to(basis), basis))
        rest += (probe * product(probe)).sum(-1) / PROBES
    return _LeadingCurvature(basis @ turn, curvature, rest)


def _next(image: Tensor, basis: Tensor, source: torch.Generator) -> Tensor:
    """Return unit vectors (elements, m) along what of ``image`` the basis does not have; random ones where nothing."""
    left = _without(image, basis)
    ended = left.norm(dim=-1, keepdim=True) <= LEAST * image.norm(dim=-1, keepdim=True)
    if basis.shape[-1] < basis.shape[-2] and bool(ended.any()):
        fresh = torch.randn(image.shape, generator=source).to(image)
        left = torch.where(ended, _without(fresh, basis), left)
    return _unit(left)


def _without(x: Tensor, basis: Tensor) -> Tensor:
    for _ in range(2):  # the second time takes off what the first left by rounding
        x = x - (basis @ (basis.mT @ x.unsqueeze(-1))).squeeze(-1)
    return x


def _unit(x: Tensor) -> Tensor:
    unit: Tensor = x / x.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    return unit
