"""A learned Gaussian in the shape of an arrow, shared by the guides that differ in their blocks alone.

What couples numbers is learned in units of their own sds: steps of one size suit a guide that starts narrow too, where
couplings in whitened units would wander as far as at full width, and blow the guide up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from neuropyro.guides.arrow import Arrow
from neuropyro.guides.blocks import Blocks
from neuropyro.guides.flat import Whitening, sticking
from neuropyro.guides.start import Start

__all__ = ["ArrowGaussian"]

LEAST_LOG = -8.0  # of an sd beside that at the start: below, single precision could not solve for the density


class ArrowGaussian(nn.Module):
    """Normal with a full covariance in the global block and in each local one, given the global.

    Parameters
    ----------
    start
        Where it starts.
    blocks
        The partition of the flat vector.
    """

    def __init__(self, start: Start, blocks: Blocks) -> None:
        super().__init__()
        like, g = start.point, len(blocks.shared)
        self.whitening = Whitening(start.arrow(blocks))
        self.loc = nn.Parameter(torch.zeros_like(like))
        width = math.log(start.width)
        self.shared = nn.Parameter(_identity(g, like) * width)
        self.couplings = nn.ParameterList(like.new_zeros(*index.shape, g) for index in blocks.local)
        self.scales = nn.ParameterList(
            _identity(index.shape[1], like).repeat(len(index), 1, 1) * width for index in blocks.local
        )

    def forward(self) -> Any:
        """Return the distribution of the flat vector."""
        return dist.TransformedDistribution(sticking(self._law), [self.whitening()])

    def _law(self, through: Callable[[Tensor], Tensor]) -> Any:
        zero = torch.zeros_like(self.loc)
        noise = dist.Normal(zero, torch.ones_like(zero)).to_event(1)
        scales = [_lower(through(scale)) for scale in self.scales]
        couplings = [scale @ through(coupling) for scale, coupling in zip(scales, self.couplings, strict=True)]
        shared = _lower(through(self.shared))
        return dist.TransformedDistribution(
            noise, [Arrow(self.whitening.order, through(self.loc), shared, couplings, scales)]
        )


def _identity(n: int, like: Tensor) -> Tensor:
    return torch.eye(n, dtype=like.dtype, device=like.device)


def _lower(raw: Tensor) -> Tensor:
    """Return the lower triangle, in units of its diagonal, which is kept as its logarithm."""
    scale = raw.diagonal(dim1=-2, dim2=-1).clamp_min(LEAST_LOG).exp()
    return scale.unsqueeze(-1) * (raw.tril(-1) + _identity(raw.shape[-1], raw))
