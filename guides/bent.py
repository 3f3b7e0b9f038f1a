r"""A Gaussian in the shape of an arrow whose numbers are skewed, and long- or short-tailed, where the posterior is.

Noise is bent before the arrow mixes it,

.. math::  h = \sinh\big((\operatorname{asinh} e + \epsilon)\, e^{\delta}\big),

number by number; \epsilon = \delta = 0, where it starts, is a Gaussian.  A subject beyond the reach of every trajectory
is one-sided under the posterior: anywhere beyond, nowhere within.  A Normal is off by some part of its sd, and always
to the same side: over all such subjects that adds up to a scale of scores that is wrong by many of its own sds.

References
----------
Jones & Pewsey, "Sinh-arcsinh distributions", Biometrika 2009.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from neuropyro.guides.arrow import Arrow
from neuropyro.guides.blocks import Blocks
from neuropyro.guides.gaussian import ArrowGaussian, StuckNormal
from neuropyro.guides.start import Start
from neuropyro.guides.ties import TiedArrow

__all__ = ["ArrowBent", "StuckBent"]


class ArrowBent(ArrowGaussian):
    """An `ArrowGaussian`, started as one, of bent noise.

    Parameters
    ----------
    start, blocks
        As of `ArrowGaussian`.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.guides import find_latents
    >>> from neuropyro.guides.blocks import one_block
    >>> latents = find_latents(model, torch.ones(9), {"mean": torch.tensor(0.5)})
    >>> law = ArrowBent(Start(latents, latents.start), one_block(latents))
    >>> round(float(law().log_prob(latents.start)), 3)  # at first Normal(0.5, 0.1)
    1.384
    """

    def __init__(self, start: Start, blocks: Blocks) -> None:
        super().__init__(start, blocks)
        self.skew, self.tail = (nn.Parameter(torch.zeros_like(self.loc)) for _ in range(2))

    def stuck(self) -> StuckBent:
        """Return the distribution of the whitened vector."""
        return StuckBent(self.tied_arrow(), self.skew, self.tail)


class StuckBent(StuckNormal):
    """Draws x = arrow(h) of bent noise h, whose density sticks the landing.

    Parameters
    ----------
    arrow
        Of the flat vector.
    skew, tail
        epsilon and delta, ``(D,)``.

    Examples
    --------
    >>> arrow = Arrow(torch.arange(1), torch.zeros(1), torch.eye(1), [], [])
    >>> skewed = StuckBent(arrow, skew=torch.tensor([1.0]), tail=torch.zeros(1))
    >>> h = [skewed.mixed(torch.tensor([e])) for e in (-1.0, 0.0, 1.0)]
    >>> [round(float(x), 2) for x in h], [round(float(skewed.unmixed(x)), 2) for x in h]  # farther up than down
    ([0.12, 1.18, 3.21], [-1.0, 0.0, 1.0])
    """

    def __init__(self, arrow: Arrow | TiedArrow, skew: Tensor, tail: Tensor) -> None:
        self.skew, self.tail = skew, tail
        super().__init__(arrow)

    def mixed(self, noise: Tensor) -> Tensor:
        """Return what the arrow mixes, of standard normal noise ``(*, D)``."""
        return torch.sinh((torch.asinh(noise) + self.skew) * self.tail.exp())

    def unmixed(self, h: Tensor) -> Tensor:
        """Return the noise ``(*, D)`` of which ``h`` is made."""
        return torch.sinh(torch.asinh(h) * (-self.tail).exp() - self.skew)

    def stretch(self, noise: Tensor) -> Tensor:
        """Return log dh / de, number by number."""
        return self._stretch(noise, self.mixed(noise))

    def before_mixing(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-density of bent noise ``(*, D)``, and its gradient."""
        e = self.unmixed(h)
        stretch = self._stretch(e, h)
        density = (-0.5 * (e.square() + math.log(2 * math.pi)) - stretch).sum(-1)
        return density, -e.pow(3) / (1 + e.square()) * (-stretch).exp() - h / (1 + h.square())

    def _stretch(self, e: Tensor, h: Tensor) -> Tensor:
        return 0.5 * (torch.log1p(h.square()) - torch.log1p(e.square())) + self.tail
