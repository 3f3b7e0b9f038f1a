"""The log density of the noise that a guide makes its draws of, under the posterior: standard normal where it is good.

Reference: Hoffman et al., "NeuTra-lizing bad geometry in Hamiltonian Monte Carlo", 2019.
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuropyro.guides import FlatGuide
from neuropyro.guides.gaussian import ArrowGaussian
from neuropyro.inference.joint_density import JointDensity

__all__ = ["NoiseDensity"]


class NoiseDensity:
    """Up to a constant, of a guide as it is when this is made.

    Parameters
    ----------
    joint
        Density of the flat vector.
    guide
        Of the same sites; its law is an `ArrowGaussian`.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`, and a guide that is its posterior:

    >>> from neuropyro.guides import Start, find_latents, make_flat_guide
    >>> latents = find_latents(model, torch.ones(9), {})
    >>> guide = make_flat_guide("mvn", Start(latents, torch.tensor([0.9]), lambda x: 5 * (x - 0.9).square().sum()))
    >>> density = NoiseDensity(JointDensity(model, torch.ones(9), latents), guide)
    >>> zero, one = density(torch.tensor([[0.0], [1.0]])).tolist()
    >>> round(one - zero, 3)  # as of a standard normal
    -0.5
    """

    def __init__(self, joint: JointDensity, guide: FlatGuide) -> None:
        assert isinstance(guide.law, ArrowGaussian)
        self.joint = joint
        with torch.no_grad():
            self.stuck, self.whitening = guide.law.stuck(), guide.law.whitening()

    def __call__(self, e: Tensor) -> Tensor:
        """Return ``(n,)`` nats of noise ``e (n, D)``, double precision, differentiable."""
        return self.joint(self.flat(e)) + self.stuck.stretch(e).sum(-1)

    def flat(self, e: Tensor) -> Tensor:
        """Return the flat vectors that noise ``e (*, D)`` leads to."""
        x: Tensor = self.whitening._call(self.stuck.arrow._call(self.stuck.mixed(e)))
        return x

    @torch.no_grad()
    def noise(self, flat: Tensor) -> Tensor:
        """Return the noise that leads to flat vectors ``(*, D)``."""
        return self.stuck.unmixed(self.stuck.arrow._inverse(self.whitening._inverse(flat)))
