"""Where a guide over the flat vector starts: a point, and the scale of the posterior about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.distributions.transforms import AffineTransform

from neuropyro.guides.arrow import Arrow
from neuropyro.guides.blocks import Blocks, plate_blocks
from neuropyro.guides.curvature import arrow_at, arrow_hessian, hessian_diagonal
from neuropyro.guides.directions import MainDirections, Reflections
from neuropyro.guides.lanczos import leading_curvature
from neuropyro.guides.latents import Latents

__all__ = ["Start"]

WIDE = 64  # numbers of an element, above which it has main directions and no full covariance
RANK = 128  # main directions of an element
NARROW = 0.1  # sd of a guide that knows no curvature: good starting values are not washed out by its first draws


@dataclass(frozen=True)
class Start:
    """A point, and how to find the curvature there.

    Parameters
    ----------
    latents
        The model's sites.
    point
        ``(D,)`` unconstrained values.
    potential
        The negative log joint density of the flat vector, twice differentiable; None where nothing is known.
    shrunk
        Factor on the width of the guide that starts here: where the curvature at the point says little of the density
        some sds away, draws of the whole width would find nothing.
    widest
        ``(D,)`` sds that no direction exceeds at the start, for instance the prior's: where the curvature is almost
        none, its inverse is no width.
    found
        What the curvature was found to be, so that guides of several widths share it.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.guides import find_latents
    >>> latents = find_latents(model, torch.ones(9), {})
    >>> Start(latents, latents.start).width  # narrow where no curvature is known
    0.1
    """

    latents: Latents
    point: Tensor
    potential: Callable[[Tensor], Tensor] | None = None
    shrunk: float = 1.0
    widest: Tensor | None = None
    found: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def width(self) -> float:
        """Return the sd at which a guide starts, in whitened units."""
        return self.shrunk * (1.0 if self.potential is not None else NARROW)

    def diagonal(self) -> AffineTransform:
        """Scale each number by its sd given all others, H_jj^(-1/2)."""
        scale = torch.ones_like(self.point)
        if self.potential is not None:
            if "diagonal" not in self.found:
                self.found["diagonal"] = hessian_diagonal(self.potential, self.point, plate_blocks(self.latents)).abs()
            curvature = self.found["diagonal"]
            scale = curvature.clamp_min(curvature.median() * 1e-6).rsqrt().to(self.point)
            scale = scale if self.widest is None else torch.minimum(scale, self.widest)
        return AffineTransform(self.point, scale, event_dim=1)

    def arrow(self, blocks: Blocks) -> Arrow:
        """Whiten by blocks: see :mod:`neuropyro.guides.curvature`."""
        if self.potential is not None:
            blocked = f"{len(blocks.shared)} shared"
            if blocked not in self.found:
                self.found[blocked] = arrow_at(
                    self.point, arrow_hessian(self.potential, self.point, blocks), self.widest
                )
            found: Arrow = self.found[blocked]
            return found
        like, g = self.point, len(blocks.shared)
        couplings = [like.new_zeros(*index.shape, g) for index in blocks.local]
        scales = [torch.eye(index.shape[1]).to(like).repeat(len(index), 1, 1) for index in blocks.local]
        return Arrow(blocks.order.to(like.device), like, torch.eye(g).to(like), couplings, scales)

    def by_plates(self) -> Arrow | MainDirections:
        """Whiten by the blocks of the model's plates, or by main directions where an element has many numbers."""
        blocks = plate_blocks(self.latents)
        wide = any(index.shape[1] > WIDE for index in blocks.local)
        return self.directions(blocks) if wide else self.arrow(blocks)

    def directions(self, blocks: Blocks) -> MainDirections:
        """Turn each element of a local plate into its main directions, each scaled by its sd given all others.

        What couples elements to the global block is left out.
        """
        like, order = self.point, blocks.order.to(self.point.device)
        if self.potential is None:
            shapes = [(len(index), index.shape[1], min(RANK, index.shape[1])) for index in blocks.local]
            return MainDirections(order, like, torch.ones_like(like), [Reflections.none(s, like) for s in shapes])
        if "directions" not in self.found:
            self.found["directions"] = self._directions(blocks, order)
        found: MainDirections = self.found["directions"]
        return found

    def _directions(self, blocks: Blocks, order: Tensor) -> MainDirections:
        assert self.potential is not None
        scale = torch.ones_like(self.point)
        if len(blocks.shared):
            scale = torch.as_tensor(self.diagonal().scale).clone()
        turns = []
        for index in blocks.local:
            k = min(RANK, index.shape[1])
            leading = leading_curvature(self.potential, self.point, index, k)
            known = torch.cat([leading.curvature, leading.rest.unsqueeze(-1).expand(-1, index.shape[1] - k)], -1).abs()
            scale[index.to(scale.device)] = known.clamp_min(known.median() * 1e-6).rsqrt().to(scale)
            turns.append(Reflections.of(leading.directions.to(scale)))
        return MainDirections(order, self.point, scale, turns)
