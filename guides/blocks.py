"""Blocks of a model's latent sites, read off its plates.

The plate with the most latent numbers is *local*: its elements (subjects, images) are taken to be independent of each
other given everything else.  What is left is *global*, one block with a full covariance; while that would be larger
than `GLOBAL_LIMIT`, the next largest plate becomes local too.  A model without plates has the global block alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from neuropyro.guides.latents import Latents, Site

__all__ = ["GLOBAL_LIMIT", "Blocks", "one_block", "plate_blocks"]

GLOBAL_LIMIT = 512


@dataclass(frozen=True)
class Blocks:
    """A partition of the flat vector.

    Parameters
    ----------
    shared
        ``(G,)`` places of the global block.
    local
        For each local plate, ``(elements, m)`` places of each element's block.

    Examples
    --------
    >>> Blocks(torch.tensor([2, 5]), (torch.tensor([[0, 1], [3, 4]]),)).order.tolist()
    [2, 5, 0, 1, 3, 4]
    """

    shared: Tensor
    local: tuple[Tensor, ...]

    @property
    def order(self) -> Tensor:
        """All places, block after block."""
        return torch.cat([self.shared, *(index.reshape(-1) for index in self.local)])


def one_block(latents: Latents) -> Blocks:
    """Return the whole vector as one global block.

    Examples
    --------
    >>> from neuropyro.guides import find_latents
    >>> latents = find_latents(lambda y: pyro.sample("x", dist.Normal(torch.zeros(3), 1.0).to_event(1)), None, {})
    >>> one_block(latents).order.tolist()
    [0, 1, 2]
    """
    return Blocks(torch.arange(latents.size), ())


def plate_blocks(latents: Latents, limit: int = GLOBAL_LIMIT) -> Blocks:
    """Return the blocks that the model's plates suggest; see the module.

    Parameters
    ----------
    latents
        The model's sites.
    limit
        Numbers of the global block, above which another plate becomes local.

    Examples
    --------
    >>> from neuropyro.guides import find_latents
    >>> def growth(y):
    ...     mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    ...     with pyro.plate("subject", len(y)):
    ...         pyro.sample("speed", dist.Normal(mean, 1.0))
    >>> blocks = plate_blocks(find_latents(growth, torch.zeros(3), {}))
    >>> blocks.shared.tolist(), blocks.local[0].tolist()  # the mean; one number of each subject
    ([0], [[1], [2], [3]])
    """
    left = list(latents.sites)
    local: list[Tensor] = []
    while plates := _plate_sizes(left):
        if local and sum(site.size for site in left) <= limit:
            break
        plate = max(plates, key=lambda name: plates[name])
        members = [site for site in left if plate in {frame.name for frame in site.plates}]
        local.append(torch.cat([_by_element(site, plate) for site in members], -1))
        left = [site for site in left if site not in members]
    shared = torch.cat([site.index().reshape(-1) for site in left]) if left else torch.empty(0, dtype=torch.long)
    return Blocks(shared, tuple(local))


def _plate_sizes(sites: list[Site]) -> dict[str, int]:
    """Return how many latent numbers lie in each plate, largest plates first in their order."""
    totals: dict[str, int] = {}
    for site in sites:
        for frame in site.plates:
            totals[frame.name] = totals.get(frame.name, 0) + site.size
    return totals


def _by_element(site: Site, plate: str) -> Tensor:
    """Return the site's places, ``(elements, rest)``."""
    dim = next(frame.dim for frame in site.plates if frame.name == plate) - site.event_dim
    return site.index().movedim(dim, 0).flatten(1) if len(site.shape) > 1 else site.index().unsqueeze(-1)
