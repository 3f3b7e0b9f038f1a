"""The low-rank guide: a Normal whose covariance is diagonal plus a product of few columns.

Represents: location and spread of each latent variable, and their correlations as far as about sqrt(D) common
directions carry them.  Cost: that of the mean-field guide, plus D times the rank squared a step.

References
----------
Ong, Nott & Smith, "Gaussian variational approximation with a factor covariance structure", JCGS 2018.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from neuropyro.guides.flat import FlatGuide, Whitening, sticking
from neuropyro.guides.start import Start

__all__ = ["LowRank", "lowrank_guide"]

FACTOR = 0.1  # share of the sd that the columns have at the start


def lowrank_guide(start: Start) -> FlatGuide:
    """Return a Normal of about sqrt(D) columns over all sites."""
    return FlatGuide(start.latents, LowRank(start, rank=max(1, round(math.sqrt(start.latents.size)))))


class LowRank(nn.Module):
    """Normal(loc, diag(scale^2) + factor factor').

    Parameters
    ----------
    start
        Where it starts.
    rank
        Number of columns.
    """

    def __init__(self, start: Start, rank: int) -> None:
        super().__init__()
        like = start.point
        self.whitening = Whitening(start.diagonal())
        self.loc = nn.Parameter(torch.zeros_like(like))
        self.log_scale = nn.Parameter(torch.full_like(like, math.log(start.width)))
        columns = torch.randn(len(like), rank, dtype=like.dtype).to(like.device)
        self.factor = nn.Parameter(columns * start.width * FACTOR / math.sqrt(rank))

    def forward(self) -> Any:
        """Return the distribution of the flat vector."""
        return dist.TransformedDistribution(sticking(self._law), [self.whitening()])

    def _law(self, through: Callable[[Tensor], Tensor]) -> Any:
        variance = (2 * through(self.log_scale)).exp()
        return dist.LowRankMultivariateNormal(through(self.loc), through(self.factor), variance)
