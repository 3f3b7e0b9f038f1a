"""A point in the flat vector: the search for the mode in unconstrained space, from which other guides start."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from neuropyro.guides.latents import Latents

__all__ = ["Point"]


class Point(nn.Module):
    """A point mass at a learned place.

    Parameters
    ----------
    latents
        The model's sites, at their starting values.
    held
        ``(D,)`` bool: what stays there.
    """

    held: Tensor
    start: Tensor

    def __init__(self, latents: Latents, held: Tensor) -> None:
        super().__init__()
        self.loc = nn.Parameter(latents.start.clone())
        self.register_buffer("held", held)
        self.register_buffer("start", latents.start.clone())

    def forward(self) -> Any:
        """Return the point mass, event ``(D,)``."""
        return dist.Delta(
            torch.where(self.held, self.start, self.loc),
            log_density=torch.zeros((), device=self.loc.device),
            event_dim=1,
        )
