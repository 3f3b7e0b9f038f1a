"""A loss that is least where generated images are as diverse as real ones.

A discriminator of small batches is slow to see that kinds of images are missing.  Here generated images are compared
with real ones as sets: along principal components of the real ones, each in units of its standard deviation, and along
as many random directions among these, by the energy distance in one dimension.

References
----------
.. [1] Székely and Rizzo, *Energy statistics*, Journal of Statistical Planning and Inference, 2013 (equation 1).
.. [2] Bellemare et al., *The Cramer distance as a solution to biased Wasserstein gradients*, arXiv:1705.10743 (its
   gradients from batches are unbiased).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from neuropyro.generators.evaluation import PrincipalComponents

__all__ = ["SpreadLoss", "energy_distance"]


def energy_distance(first: Tensor, second: Tensor, paired: bool = False) -> Tensor:
    """Unbiased energy distance of two sets, 2 E|x - y| - E|x - x'| - E|y - y'| [1]_, dimension by dimension.

    Parameters
    ----------
    first, second
        (N, D) and (M, D), at least two of each.
    paired
        Whether the i-th of both belong together (M = N), so that their distance is not that of independent draws: it
        is left out.

    Returns
    -------
    Tensor
        (D,); its expectation is 0 where both are of one distribution and positive elsewhere.

    Examples
    --------
    >>> patients, controls = torch.tensor([[0.0], [1.0]]), torch.tensor([[8.0], [9.0]])
    >>> energy_distance(patients, controls)  # 2 times 8, less 1 and 1
    tensor([14.])
    """
    apart = (first[:, None] - second).abs()
    if paired:
        count = len(first) * (len(first) - 1)
        between = (apart.sum(dim=(0, 1)) - (first - second).abs().sum(dim=0)) / count
    else:
        between = apart.mean(dim=(0, 1))
    return 2 * between - _own_distance(first) - _own_distance(second)


def _own_distance(x: Tensor) -> Tensor:
    """Mean distance (D,) of two different members of ``x`` (N, D)."""
    return (x[:, None] - x).abs().sum(dim=(0, 1)) / (len(x) * (len(x) - 1))


@dataclass(frozen=True)
class SpreadLoss:
    """Mean energy distance of images along standardised principal components and random directions among them.

    Attributes
    ----------
    frame
        Principal components of real images.
    sd
        Of real images along each, (components,).

    Examples
    --------
    >>> real = torch.randn(60, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    >>> loss = SpreadLoss.of(real[:40])
    >>> bool(loss(real[:20] / 5, real[40:]) > loss(real[:20], real[40:]))  # images that are all alike are worse
    True
    """

    frame: PrincipalComponents
    sd: Tensor

    @classmethod
    def of(cls, images: Tensor, components: int = 64) -> "SpreadLoss":
        """Find components of ``images`` (N, C, H, W); at most N - 1, and those along which they vary."""
        frame = PrincipalComponents.of(images, min(components, len(images) - 1))
        sd = frame(images).std(dim=0)
        varying = sd > 1e-4 * sd.max()
        return cls(PrincipalComponents(frame.mean, frame.axes[:, varying]), sd[varying])

    def __call__(self, made: Tensor, real: Tensor, rng: torch.Generator | None = None, paired: bool = False) -> Tensor:
        """Compare generated with real images, (B, C, H, W) each, of one z each if ``paired``: a scalar."""
        x, y = self.frame(made) / self.sd, self.frame(real) / self.sd
        turn, _ = torch.linalg.qr(torch.randn(len(self.sd), len(self.sd), generator=rng, device=made.device))
        return torch.cat([energy_distance(x, y, paired), energy_distance(x @ turn, y @ turn, paired)]).mean()
