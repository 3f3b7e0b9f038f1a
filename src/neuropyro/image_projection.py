"""Reconstruction by search for a latent whose image, corrupted, has the measured pixels: no prior but the generator.

References
----------
Menon et al., *PULSE*, CVPR 2020 (latents on a sphere); Abdal et al., *Image2StyleGAN*, ICCV 2019 (W+, here: plain).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from neuropyro.generators import latent_statistics
from neuropyro.models.corruption import Corruption

__all__ = ["project_plainly", "pulse"]


def pulse(
    generator: Any, corruption: Corruption, y: Tensor, steps: int = 200, learning_rate: float = 0.2, seed: int = 0
) -> Tensor:
    """Image (B, C, H, W) of the z on the sphere of radius sqrt(z_dim) that fits ``y`` best.

    Parameters
    ----------
    generator
        Best frozen.
    corruption, y
        What happened to the images, and the measurements (B, ...).
    steps, learning_rate
        Of Adam, whose rate falls as a cosine.
    seed
        Of the starting z.

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> from neuropyro.models.corruption import Downsample
    >>> G, small = load_generator("brains64"), Downsample(8)
    >>> truth = G(torch.randn(1, G.z_dim, generator=torch.Generator().manual_seed(2))).detach()
    >>> y = small.A(truth)
    >>> away = [float((small.A(pulse(G, small, y, steps=n)) - y).square().mean()) for n in (1, 10)]
    >>> away[1] < 0.5 * away[0]  # what is measured is met the better, the longer the search
    True
    """
    radius = math.sqrt(generator.z_dim)
    like = latent_statistics(generator).mean
    start = torch.randn(len(y), generator.z_dim, generator=torch.Generator().manual_seed(seed)).to(like)

    def image(z: Tensor) -> Tensor:
        sphere = z * (radius / z.norm(dim=1, keepdim=True))
        made: Tensor = generator.synthesis(generator.mapping(sphere), noise_mode="none")
        return made

    return _searched(image, start, corruption, y, steps, learning_rate)


def project_plainly(
    generator: Any, corruption: Corruption, y: Tensor, steps: int = 200, learning_rate: float = 0.1
) -> Tensor:
    """Image (B, C, H, W) of the latents, one a layer, from the mean of w, that fit measurements ``y`` (B, ...).

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> from neuropyro.models.corruption import Downsample
    >>> G, small = load_generator("brains64"), Downsample(8)
    >>> truth = G(torch.randn(1, G.z_dim, generator=torch.Generator().manual_seed(2))).detach()
    >>> y = small.A(truth)
    >>> away = [float((small.A(project_plainly(G, small, y, steps=n)) - y).square().mean()) for n in (1, 10)]
    >>> away[1] < 0.5 * away[0]  # what is measured is met the better, the longer the search
    True
    """
    found = latent_statistics(generator)

    def image(offset: Tensor) -> Tensor:
        made: Tensor = generator.synthesis(found.mean + found.sd * offset, noise_mode="none")
        return made

    start = torch.zeros(len(y), generator.num_ws, generator.w_dim).to(found.mean)
    return _searched(image, start, corruption, y, steps, learning_rate)


def _searched(
    image: Callable[[Tensor], Tensor], start: Tensor, corruption: Corruption, y: Tensor, steps: int, rate: float
) -> Tensor:
    """Descend on the mean squared deviation of the measurements that count."""
    latent = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([latent], lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    counts = corruption.observed(y) != 0
    for _ in range(steps):
        away = torch.where(counts, corruption.A(image(latent)) - y, 0.0)
        loss = away.abs().square().flatten(1).mean(1).sum()
        (latent.grad,) = torch.autograd.grad(loss, latent)
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        return image(latent).clamp(-1, 1)
