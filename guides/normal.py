"""The mean-field guide: every scalar its own Normal, in unconstrained space.

Represents: location and spread of each latent variable, none of their correlations; where two are strongly correlated
under the posterior (a subject's speed and stage), its sds are those of one given the other: too narrow.  Cost: one
gradient a step and a draw of every site; starting it takes some tens of gradients more.

Coverage: on small studies of DIVE's own prior (20 data sets; docs/coverage.md) its 90 % intervals held 80 +- 4 % of the
true scores, 78 +- 4 % of the speeds, 67 +- 8 % of the clusters' onsets c and 60 +- 7 % of their steepnesses b: too
narrow throughout.  On the DIVE paper's simulation (300 subjects, 1,000 vertices) they held the true score at 57 to 87 %
of the visits (5 seeds); on a simulated cortex whose maps depart from the model by lasting traits of each subject at 7 %
(measured before scores were in units of their population).  Of an image's latents it is far from the posterior:
hundreds of nats of ELBO below `structured`, its draws of an image 11 % further from what was measured at a low
resolution than noise is.

References
----------
Kucukelbir et al., "Automatic differentiation variational inference", JMLR 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions.transforms import AffineTransform

from neuropyro.guides.directions import MainDirections
from neuropyro.guides.flat import FlatGuide, Whitening, sticking
from neuropyro.guides.start import Start

__all__ = ["MeanField", "normal_guide"]


def normal_guide(start: Start) -> FlatGuide:
    """Return a diagonal Normal over all sites.

    Examples
    --------
    >>> from neuropyro.guides import find_latents
    >>> latents = find_latents(lambda y: pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1)), None, {})
    >>> precision = torch.tensor([[4.0, 2.0], [2.0, 16.0]])
    >>> guide = normal_guide(Start(latents, torch.zeros(2), lambda x: 0.5 * x @ precision @ x))
    >>> guide.law.whitening.scale.tolist()  # sds of each number given the other
    [0.5, 0.25]
    """
    return FlatGuide(start.latents, MeanField(start, start.diagonal()))


class MeanField(nn.Module):
    """Independent Normals in whitened coordinates.

    Parameters
    ----------
    start
        Where it starts.
    whitening
        From the whitened coordinates ``(D,)`` to the flat vector.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.guides import find_latents
    >>> latents = find_latents(model, torch.ones(9), {"mean": torch.tensor(0.5)})
    >>> start = Start(latents, latents.start)
    >>> round(MeanField(start, start.diagonal())().log_prob(latents.start).item(), 3)  # Normal(0.5, 0.1)
    1.384
    """

    def __init__(self, start: Start, whitening: AffineTransform | MainDirections) -> None:
        super().__init__()
        self.whitening = Whitening(whitening)
        self.loc = nn.Parameter(torch.zeros_like(start.point))
        self.log_scale = nn.Parameter(torch.full_like(start.point, math.log(start.width)))

    def forward(self) -> Any:
        """Return the distribution of the flat vector."""
        return dist.TransformedDistribution(sticking(self._law), [self.whitening()])

    def _law(self, through: Callable[[Tensor], Tensor]) -> Any:
        return dist.Normal(through(self.loc), through(self.log_scale).exp()).to_event(1)
