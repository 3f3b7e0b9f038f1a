"""A point in the flat vector: where a search for a mode has come to."""

from __future__ import annotations

from collections.abc import Collection
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
        Names of sites that stay there.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.guides import find_latents
    >>> latents = find_latents(model, torch.ones(9), {"mean": torch.tensor(0.5)})
    >>> free, stays = Point(latents), Point(latents, held=["mean"])
    >>> for point in (free, stays):  # whatever is learned
    ...     point.loc.data += 1.0
    >>> free.place().item(), stays.place().item()
    (1.5, 0.5)
    """

    held: Tensor
    start: Tensor

    def __init__(self, latents: Latents, held: Collection[str] = ()) -> None:
        super().__init__()
        self.loc = nn.Parameter(latents.start.clone())
        self.register_buffer("held", latents.places(held))
        self.register_buffer("start", latents.start.clone())

    def place(self) -> Tensor:
        """Return where it is, ``(D,)``."""
        return torch.where(self.held, self.start, self.loc)

    def forward(self) -> Any:
        """Return the point mass, event ``(D,)``."""
        return dist.Delta(self.place(), log_density=torch.zeros((), device=self.loc.device), event_dim=1)
