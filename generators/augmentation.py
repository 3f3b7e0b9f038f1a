"""Augmentation of what the discriminator sees, so that few images suffice and it does not learn them by heart.

The same random changes go to real and generated images, differentiably.  Each is applied with probability p, and p can
follow a sign of overfitting: the mean sign of the discriminator's logits of real images.  With p below 1 the generator
does not learn the changes themselves.  Among those of the reference, these keep a brain a brain: shift, rotation,
size, aspect; brightness and contrast.  Images are -1 outside.

References
----------
.. [1] Karras et al., *Training generative adversarial networks with limited data*, NeurIPS 2020.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

__all__ = ["adapted_probability", "augment"]


def augment(images: Tensor, probability: Tensor | float, rng: torch.Generator | None = None) -> Tensor:
    """Change images at random.

    Parameters
    ----------
    images
        (B, C, H, W) in [-1, 1], -1 the background.
    probability
        Of each change of each image, 0 to 1.
    rng
        Source of randomness, on the images' device.

    Returns
    -------
    Tensor
        (B, C, H, W); differentiable in ``images``.

    Examples
    --------
    >>> image = torch.full((1, 1, 8, 8), -1.0)
    >>> image[..., 2:6, 2:6] = 0.5
    >>> changed = augment(image, 1.0, torch.Generator().manual_seed(0))
    >>> changed[0, 0, 0, 0].item(), torch.allclose(changed, image, atol=0.1)  # the background stays
    (-1.0, False)
    >>> torch.allclose(augment(image, 0.0), image, atol=1e-5)
    True
    """
    normals, chances = _draw(images, 7, rng)
    strengths = normals * (chances < probability)
    moved = _warp(images + 1, _affine(strengths)) - 1
    brightness, contrast = strengths[5] * 0.1, torch.exp(strengths[6] * 0.2)
    return (moved + 1) * contrast[:, None, None, None] - 1 + (brightness[:, None, None, None] * (moved + 1) / 2)


def adapted_probability(probability: Tensor, sign: Tensor, target: float, images: int, ramp: int = 500_000) -> Tensor:
    """Move the probability of augmentation by one step.

    Parameters
    ----------
    probability
        So far, a scalar.
    sign
        Mean sign of the logits of real images since the last step, -1 to 1; near 1 the discriminator overfits.
    target
        The sign to keep, .6 in [1]_.
    images
        Shown since the last step.
    ramp
        How many images it takes from 0 to 1.

    Returns
    -------
    Tensor
        0 to 1.

    Examples
    --------
    >>> adapted_probability(torch.tensor(0.5), torch.tensor(0.9), target=0.6, images=50_000)  # of 500,000 from 0 to 1
    tensor(0.6000)
    """
    return (probability + (sign - target).sign() * (images / ramp)).clamp(0, 1)


def _draw(images: Tensor, count: int, rng: torch.Generator | None) -> tuple[Tensor, Tensor]:
    shape, device = (count, images.shape[0]), images.device
    return torch.randn(shape, generator=rng, device=device), torch.rand(shape, generator=rng, device=device)


def _affine(strengths: Tensor) -> Tensor:
    """Return maps (B, 2, 3) for :func:`torch.nn.functional.affine_grid`; strengths of 0 leave the image alone."""
    turn, size, aspect = strengths[0] * math.radians(15), strengths[1] * 0.1, strengths[2] * 0.1
    shift = strengths[3:5] * 0.1
    across, down = torch.exp(size + aspect), torch.exp(size - aspect)
    rows = [across * turn.cos(), -down * turn.sin(), shift[0], across * turn.sin(), down * turn.cos(), shift[1]]
    return torch.stack(rows, dim=1).view(-1, 2, 3)


def _warp(images: Tensor, maps: Tensor) -> Tensor:
    grid = affine_grid(maps, list(images.shape), align_corners=False)
    return grid_sample(images, grid.to(images.dtype), padding_mode="zeros", align_corners=False)
