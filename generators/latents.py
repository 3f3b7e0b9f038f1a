"""What is known of the intermediate latent w: its statistics, and the w of a given image.

Source of the projection: Abdal et al., *Image2StyleGAN*, ICCV 2019 (W+), and Karras et al., CVPR 2020, section 5 (W).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from neuropyro.generators.row_descent import descend_rows

BATCH = 1000  # draws at once, since w comes once for every layer

__all__ = [
    "ImageGenerator",
    "LatentStatistics",
    "Projection",
    "cached_statistics",
    "latent_statistics",
    "project",
]


class ImageGenerator(Protocol):
    """Anything with the interface of a generator.

    Examples
    --------
    >>> class Mapping(torch.nn.Linear):
    ...     def forward(self, z, labels=None):
    ...         return super().forward(z)[:, None]
    >>> class Linear:  # w is the image
    ...     z_dim, w_dim, num_ws, mapping = 4, 4, 1, Mapping(4, 4)
    ...
    ...     def synthesis(self, w, noise_mode="const"):
    ...         return w.view(-1, 1, 2, 2)
    >>> project(Linear(), torch.full((1, 1, 2, 2), 0.3), space="w").w.detach().round(decimals=3)
    tensor([[[0.3000, 0.3000, 0.3000, 0.3000]]])
    """

    z_dim: int
    w_dim: int
    num_ws: int
    mapping: Any
    synthesis: Any


@dataclass(frozen=True)
class LatentStatistics:
    """Moments of w over seeded draws of z.

    Parameters
    ----------
    mean
        (w_dim,)
    covariance
        (w_dim, w_dim)
    draws, seed
        Number of draws and their seed.

    Examples
    --------
    >>> statistics = LatentStatistics(torch.zeros(2), torch.diag(torch.tensor([4.0, 5.0])), draws=100, seed=0)
    >>> statistics.sd[0].item(), statistics.total_sd
    (2.0, 3.0)
    """

    mean: Tensor
    covariance: Tensor
    draws: int
    seed: int

    @property
    def sd(self) -> Tensor:
        """Standard deviation of each dimension, (w_dim,)."""
        return self.covariance.diagonal().sqrt()

    @property
    def total_sd(self) -> float:
        """Square root of the sum of the variances of all dimensions."""
        return math.sqrt(float(self.covariance.trace()))

    def to_arrays(self) -> dict[str, Tensor]:
        """Arrays by the names under which a card caches them."""
        count = torch.tensor([self.draws, self.seed])
        return {"latents.mean": self.mean, "latents.covariance": self.covariance, "latents.draws_and_seed": count}


def latent_statistics(
    generator: ImageGenerator, draws: int = 10_000, seed: int = 0, labels: Tensor | None = None
) -> LatentStatistics:
    """Mean and covariance of w.

    Parameters
    ----------
    generator
        Its card's statistics are returned where they are of the same draws and seed; else they are computed.
    draws, seed
        Number of z drawn, and the seed of a source of their own.
    labels
        For conditional generators: one label (1, label_dim), or one per draw; classes at random if None.

    Returns
    -------
    LatentStatistics
        On the generator's device, in its dtype.

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> statistics = latent_statistics(load_generator("brains64"))  # those of its card
    >>> statistics.draws, tuple(statistics.covariance.shape)
    (10000, (512, 512))
    """
    cached = cached_statistics(generator)
    if cached is not None and (cached.draws, cached.seed) == (draws, seed) and labels is None:
        return cached
    reference = next(iter(generator.mapping.parameters()))
    rng = torch.Generator().manual_seed(seed)
    z = torch.randn(draws, generator.z_dim, generator=rng).to(reference)
    classes = getattr(generator, "label_dim", 0)
    if classes and labels is None:
        labels = one_hot(torch.randint(classes, (draws,), generator=rng), classes)
    if labels is not None:
        labels = labels.to(reference).expand(draws, -1)
    with torch.no_grad():
        given = [None] * draws if labels is None else torch.split(labels, BATCH)
        parts = zip(torch.split(z, BATCH), given, strict=False)
        w = torch.cat([generator.mapping(part, label)[:, 0] for part, label in parts]).double()
    covariance = torch.cov(w.T).view(w.shape[1], w.shape[1])  # of one dimension it is a scalar
    return LatentStatistics(w.mean(dim=0).to(reference), covariance.to(reference), draws, seed)


def cached_statistics(generator: ImageGenerator) -> LatentStatistics | None:
    """Statistics in the generator's card, on its device and in its dtype; None where there are none.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> statistics = LatentStatistics(torch.tensor([1.0, 2.0]), torch.eye(2), draws=100, seed=7)
    >>> card = SimpleNamespace(arrays=statistics.to_arrays())
    >>> found = cached_statistics(SimpleNamespace(mapping=torch.nn.Linear(2, 2), card=card))
    >>> found.mean, found.draws, found.seed
    (tensor([1., 2.]), 100, 7)
    >>> print(cached_statistics(SimpleNamespace(mapping=torch.nn.Linear(2, 2))))  # without a card
    None
    """
    arrays = getattr(getattr(generator, "card", None), "arrays", {})
    if "latents.draws_and_seed" not in arrays:
        return None
    reference = next(iter(generator.mapping.parameters()))
    draws, seed = arrays["latents.draws_and_seed"].tolist()
    mean, covariance = arrays["latents.mean"].to(reference), arrays["latents.covariance"].to(reference)
    return LatentStatistics(mean, covariance, draws, seed)


@dataclass(frozen=True)
class Projection:
    """Latents found for images.

    Parameters
    ----------
    w
        (B, num_ws, w_dim)
    images
        What the generator makes of them, (B, C, H, W).
    rmse
        Root mean square difference from the images given, (B,), in the images' unit.
    losses
        Mean loss at the start and after each step, (steps + 1,).

    Examples
    --------
    >>> one = torch.zeros(1)
    >>> Projection(w=torch.zeros(1, 10, 128), images=torch.zeros(1, 1, 64, 64), rmse=one, losses=one).w.shape
    torch.Size([1, 10, 128])
    """

    w: Tensor
    images: Tensor
    rmse: Tensor
    losses: Tensor


def project(
    generator: ImageGenerator,
    images: Tensor,
    space: str = "wplus",
    steps: int = 500,
    noise_mode: str = "const",
    features: Callable[[Tensor], Tensor] | None = None,
    feature_weight: float = 1.0,
) -> Projection:
    """Find the w of images by descent, :func:`neuropyro.generators.row_descent.descend_rows`, from the mean of w.

    Parameters
    ----------
    generator
        The generator, best frozen.
    images
        (B, C, H, W), in the unit of the generator's output; each is fitted on its own.
    space
        ``"wplus"`` for a w per layer, ``"w"`` for one for all.
    steps
        Of the descent, in units of w's standard deviations; fewer where it gets no further.
    noise_mode
        As in the generator's synthesis; not ``"random"``.
    features
        From images to vectors (B, D), whose squared distance is added to the mean square of the pixels.
    feature_weight
        Factor of that distance.

    Returns
    -------
    Projection
        The latents, without gradients.

    Raises
    ------
    ValueError
        For another space, random noise, or images of another shape than the generator's.

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> G = load_generator("brains64")
    >>> found = project(G, torch.full((1, 1, 64, 64), -1.0), space="w", steps=2)
    >>> found.w.shape, bool(found.losses[-1] < found.losses[0])
    (torch.Size([1, 10, 512]), True)
    """
    if space not in ("w", "wplus") or noise_mode == "random":
        raise ValueError(f"space must be 'w' or 'wplus' and noise fixed, not {space!r} and {noise_mode!r}")
    statistics = latent_statistics(generator)
    copies = generator.num_ws if space == "wplus" else 1
    images = images.to(statistics.mean)
    targets = None if features is None else features(images).detach()

    def latent(offset: Tensor) -> Tensor:
        one_or_each = offset.view(-1, copies, generator.w_dim)
        return (statistics.mean + statistics.sd * one_or_each).expand(-1, generator.num_ws, -1)

    def misfit(offset: Tensor, rows: Tensor) -> Tensor:
        made: Tensor = generator.synthesis(latent(offset), noise_mode=noise_mode)
        if made.shape[1:] != images.shape[1:]:
            own = ", ".join(map(str, made.shape[1:]))
            raise ValueError(f"images must have shape (B, {own}), got {tuple(images.shape)}")
        loss = (made - images[rows]).square().mean(dim=(1, 2, 3))
        if features is None or targets is None:
            return loss
        return loss + feature_weight * (features(made) - targets[rows]).square().sum(dim=1)

    offset, values = descend_rows(misfit, images.new_zeros(len(images), copies * generator.w_dim), steps)
    with torch.no_grad():
        w = latent(offset).contiguous()
        made = generator.synthesis(w, noise_mode=noise_mode)
        rmse = (made - images).square().mean(dim=(1, 2, 3)).sqrt()
    return Projection(w, made, rmse, torch.stack(values).mean(dim=1))
