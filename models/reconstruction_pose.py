r"""Where the head lies in the image: a small move of what the generator makes, found together with its latent.

.. math::  q = \frac{1}{s} R(-\theta) (p - t)

is the point of the generated image that is seen at p, both from the image's middle: the head is larger by s, turned by
theta, and moved by t.  A generator knows poses of its training alone; an image of another scanner's frame is off by a
little, which the latent would have to pay for with wrong anatomy.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions.transforms import AffineTransform
from torch.nn.functional import affine_grid, grid_sample

from neuropyro.models.reconstruction_latents import Whitened

__all__ = ["PoseNormal", "PosePrior", "moved"]


@dataclass(frozen=True)
class PosePrior:
    """Sds of a pose's parts.

    Parameters
    ----------
    down, across
        Shift, px.
    turn
        Degrees, clockwise.
    size
        Of the logarithm of the size.

    Raises
    ------
    ValueError
        Where one is not positive.

    Examples
    --------
    >>> PosePrior(turn=0.0)
    Traceback (most recent call last):
    ValueError: reconstruction: sds of a pose must be above 0, got PosePrior(down=1.5, across=1.5, turn=0.0, size=0.04)
    """

    down: float = 1.5
    across: float = 1.5
    turn: float = 3.0
    size: float = 0.04

    def __post_init__(self) -> None:
        if not all(math.isfinite(sd) and sd > 0 for sd in astuple(self)):
            raise ValueError(f"reconstruction: sds of a pose must be above 0, got {self}")

    def law(self, like: Tensor) -> PoseNormal:
        """Prior of one image's pose."""
        return PoseNormal(torch.tensor(astuple(self)).to(like))


class PoseNormal(dist.TransformedDistribution):  # type: ignore[misc]
    """Normal distribution of a pose (4,): down and across (px), turn (degrees), logarithm of the size.

    Parameters
    ----------
    sd
        (4,)

    Examples
    --------
    >>> law = PosePrior(down=2.0, turn=5.0).law(torch.zeros(()))
    >>> law.support.transform(torch.tensor([1.0, 0.0, -1.0, 0.0]))  # one sd down, one sd against the clock
    tensor([ 2.,  0., -5.,  0.])
    """

    def __init__(self, sd: Tensor, batch_shape: torch.Size = torch.Size()) -> None:  # noqa: B008 (as torch declares it)
        self.sd, self.affine = sd, AffineTransform(0.0, sd, event_dim=1)
        zero = torch.zeros_like(sd).expand(*batch_shape, -1)
        noise = dist.Normal(zero, torch.ones_like(zero), validate_args=False).to_event(1)
        super().__init__(noise, [self.affine], validate_args=False)

    @property
    def support(self) -> Whitened:
        """All numbers, reached from standard normal ones."""
        return Whitened(self.affine, 1)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> PoseNormal:
        """Return it with another batch shape."""
        return PoseNormal(self.sd, torch.Size(batch_shape))


def moved(images: Tensor, pose: Tensor) -> Tensor:
    """Move images (*, B, C, H, W) by poses (*, B, 4); cubic interpolation, borders are continued.

    Parameters
    ----------
    pose
        Shift down and across, px; turn, degrees; logarithm of the size.

    Examples
    --------
    >>> image = torch.zeros(1, 1, 4, 4)
    >>> image[..., 1, 1] = 1.0
    >>> moved(image, torch.tensor([[1.0, 0.0, 0.0, 0.0]]))[0, 0].round(decimals=3).nonzero().tolist()  # 1 px down
    [[2, 1]]
    """
    down, across, turn, size = pose.reshape(-1, 4).unbind(-1)
    angle, scale = turn * (math.pi / 180), size.neg().exp()
    cos, sin = scale * angle.cos(), scale * angle.sin()
    height, width = images.shape[-2:]
    x, y = across * 2 / width, down * 2 / height
    ratio = height / width  # grid_sample's unit is half a side
    rows = [cos, sin * ratio, -(cos * x + sin * ratio * y), -sin / ratio, cos, -(-sin / ratio * x + cos * y)]
    theta = torch.stack(rows, -1).reshape(-1, 2, 3)
    flat = images.reshape(-1, *images.shape[-3:])
    grid = affine_grid(theta, list(flat.shape), align_corners=False)
    return grid_sample(flat, grid, mode="bicubic", padding_mode="border", align_corners=False).reshape(images.shape)
