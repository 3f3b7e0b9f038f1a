r"""What ties the elements of a plate to each other beyond the global sites, carried by auxiliary numbers.

Elements of a plate (subjects) may share what no site says: where every vertex has a baseline of its own, all subjects'
offsets can move together, and the data say little of it.  A guide whose elements are independent given the global sites
has each of them stand still where they could move together, and is far too sure of all.  So numbers z that the model
does not know are added to the global ones,

.. math::  z \mid x \sim \mathrm{Normal}(W (x - m),\; I),

with m the mode.  The model of x stays as it is, and the ELBO of x and z is one of x (it counts z's density beside the
model's).  Elements that are tied by the precision :math:`-w w^\top`, w a row of W, are independent given z.

The rows are the leading directions of the curvature at the mode between elements, found by Lanczos' method.

References
----------
Agakov & Barber, "An auxiliary variational method", ICONIP 2004; Ranganath, Tran & Blei, "Hierarchical variational
models", ICML 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyro.distributions as dist
import torch
from torch import Size, Tensor, nn

from neuropyro.guides.blocks import Blocks
from neuropyro.guides.curvature import LOCAL_FLOOR, ArrowHessian, inverse_root
from neuropyro.guides.lanczos import leading_curvature

__all__ = ["TiedLaw", "Ties", "n_ties", "strongest_ties", "tie", "with_ties"]

MOST = 12  # ties: a few for each cluster of a progression model
STEPS = 30  # of Lanczos' method
LEAST, UTMOST = 0.2, 0.9999  # share of an element's precision that a tie takes back: less is none, all would be no law


class Ties(nn.Module):
    """The law of z given x, whose numbers follow each other in a vector ``(*, D + R)``.

    Parameters
    ----------
    weights
        ``(R, D)`` W.
    point
        ``(D,)`` m.
    """

    weights: Tensor
    point: Tensor

    def __init__(self, weights: Tensor, point: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights.detach().contiguous().clone())
        self.register_buffer("point", point.detach().clone())

    def log_prob(self, both: Tensor) -> Tensor:
        """Return the log-density of z given x, ``(*,)``."""
        size = len(self.point)
        apart = both[..., size:] - (both[..., :size] - self.point) @ self.weights.mT
        density: Tensor = -0.5 * (apart.square().sum(-1) + len(self.weights) * math.log(2 * math.pi))
        return density


class TiedLaw(dist.TorchDistribution):  # type: ignore[misc]
    """A law of x and z together, whose density is that beside the law of z given x: an estimate of that of x alone."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as torch declares it)
    has_rsample = True

    def __init__(self, law: Any, ties: Ties) -> None:
        self.law, self.ties = law, ties
        super().__init__(law.batch_shape, law.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        """Support of the distribution."""
        return self.law.support

    def rsample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 (as torch declares it)
        """Draw x and z, differentiably."""
        drawn: Tensor = self.law.rsample(sample_shape)
        return drawn

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of ``value (*, D + R)``, less that of z given x."""
        density: Tensor = self.law.log_prob(value)
        return density - self.ties.log_prob(value)


def n_ties(blocks: Blocks) -> int:
    """Return how many ties there are room for, R: none where nothing is local."""
    return min(MOST, sum(index.numel() for index in blocks.local) // 2)


def strongest_ties(potential: Callable[[Tensor], Tensor], point: Tensor, hessian: ArrowHessian) -> Tensor:
    """Return W ``(R, D)``, strongest ties first; rows of zeros where there are fewer.

    Parameters
    ----------
    potential
        The negative log joint density of the flat vector.
    point
        ``(D,)`` the mode.
    hessian
        The curvature there, without what ties elements.
    """
    local = hessian.blocks.local
    weights = point.new_zeros(n_ties(hessian.blocks), len(point))
    if not len(weights):
        return weights
    roots = [inverse_root(h, LOCAL_FLOOR) for h in hessian.local]
    own = [root.mT @ h @ root for root, h in zip(roots, hessian.local, strict=True)]
    places = torch.cat([index.reshape(-1) for index in local]).to(point.device)

    def between(y: Tensor) -> Tensor:
        """Return the potential of whitened local numbers, less what each element has alone."""
        moved = _by_element(roots, y).to(point)
        alone = 0.5 * y @ _by_element(own, y).to(y)
        return potential(point.index_add(0, places, moved)) - alone

    k = min(STEPS, len(places))
    found = leading_curvature(between, point.new_zeros(len(places)), torch.arange(len(places)).unsqueeze(0), k)
    strength = -found.curvature[0, : len(weights)].clamp(-UTMOST, 0.0)  # in ascending order
    directions = found.directions[0, :, : len(weights)] * torch.where(strength > LEAST, strength, 0.0).sqrt()
    inverse = [torch.linalg.inv(root).mT for root in roots]
    weights[:, places] = torch.stack([_by_element(inverse, d) for d in directions.mT]).to(weights)
    return weights


def with_ties(blocks: Blocks, n: int, size: int) -> Blocks:
    """Return the blocks with n ties behind a vector of ``size`` numbers, last of the global ones."""
    return replace(blocks, shared=torch.cat([blocks.shared, torch.arange(size, size + n)]))


def tie(hessian: ArrowHessian, weights: Tensor) -> ArrowHessian:
    """Return the curvature by x and z together."""
    n, size = weights.shape
    rows = [weights.to(hessian.shared)[:, index.to(weights.device)] for index in hessian.blocks.local]  # (R, n, m)
    return replace(
        hessian,
        blocks=with_ties(hessian.blocks, n, size),
        shared=_beside(hessian.shared, torch.eye(n).to(hessian.shared)),
        couplings=[torch.cat([c, -w.permute(1, 2, 0)], -1) for c, w in zip(hessian.couplings, rows, strict=True)],
        local=[h + torch.einsum("rni,rnj->nij", w, w) for h, w in zip(hessian.local, rows, strict=True)],
    )


def _by_element(matrices: list[Tensor], y: Tensor) -> Tensor:
    """Multiply each element's part of ``y (numbers,)`` by its matrix, ``(elements, m, m)`` for each plate."""
    parts = torch.split(y.double(), [m.shape[0] * m.shape[1] for m in matrices])
    products = [m @ part.reshape(*m.shape[:2], 1) for m, part in zip(matrices, parts, strict=True)]
    return torch.cat([product.flatten() for product in products])


def _beside(a: Tensor, b: Tensor) -> Tensor:
    """Return the matrix with blocks a and b, and zeros."""
    whole: Tensor = torch.block_diag(a, b)  # type: ignore[no-untyped-call]
    return whole
