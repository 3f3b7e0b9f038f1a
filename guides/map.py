"""The point guide: the mode of the joint density.

Represents: one point; no uncertainty.  Cost: one gradient a step, nothing random, so that it converges sharply and
fast.  The mode is that of the density in each site's own space (a site with positive support is not transformed), and
for a model with many latent variables it may lie far from where the posterior's mass is.  So does the joint mode of a
population's sd and the subjects that it is the sd of; a model may name sites to be left where they start.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pyro
from torch import Size, Tensor

from neuropyro.guides.flat import FlatGuide
from neuropyro.guides.point import Point
from neuropyro.guides.start import Start

__all__ = ["PointGuide", "hold", "map_guide"]


class PointGuide(FlatGuide):
    """A point mass at each site, of no density: its ELBO is the model's joint density there.

    Parameters
    ----------
    latents
        The model's sites.
    law
        Where they are.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.guides import make_guide
    >>> guide: PointGuide = make_guide("map", model, torch.ones(9), {"mean": torch.tensor(0.5)})
    >>> guide(torch.ones(9))["mean"].item()
    0.5
    """

    law: Point

    def forward(self, *args: Any) -> dict[str, Tensor]:
        """Sample the sites."""
        flat = pyro.sample("_flat", self.law(), infer={"is_auxiliary": True})
        return self.latents.emit_values(self.latents.values(flat))

    def drawn(self, particles: Size) -> tuple[dict[str, Tensor], Tensor]:
        """Return every site's value, and no density."""
        flat = self.law.place().expand(*particles, -1)
        return self.latents.values(flat), flat.new_zeros(())


def map_guide(start: Start) -> PointGuide:
    """Return a point mass at each site.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.guides import find_latents
    >>> latents = find_latents(model, torch.ones(9), {})
    >>> map_guide(Start(latents, torch.tensor([0.5]))).draw(2)["mean"].tolist()
    [0.5, 0.5]
    """
    return PointGuide(start.latents, Point(replace(start.latents, start=start.point)))


def hold(guide: PointGuide, sites: Collection[str]) -> None:
    """Keep some sites of a point guide where they start.

    Parameters
    ----------
    guide
        From `map_guide`.
    sites
        Names; those that the guide does not have are passed over.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.guides import make_guide
    >>> guide = make_guide("map", model, torch.ones(9), {"mean": torch.tensor(0.5)})
    >>> hold(guide, ["mean"])
    >>> guide.law.held.tolist()
    [True]
    """
    guide.law.held = guide.latents.places(sites)
