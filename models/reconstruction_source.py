"""Where clean images come from: a frozen generator on one device, and the prior of its latent."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions.transforms import Transform

from neuropyro.generators.latents import LatentStatistics, latent_statistics
from neuropyro.models.reconstruction_latents import LatentNormal, layer_correlation
from neuropyro.models.reconstruction_pose import PoseNormal, PosePrior, moved
from neuropyro.models.reconstruction_reference import reference_variance

__all__ = ["Candidates", "ImageSource", "Prior", "statistics_of"]

Prior = Literal["wplus", "w", "z"]
BATCH = 50  # images at once, where no gradient is wanted
DRAWS = 10_000  # of z, for the statistics of w


@dataclass(frozen=True, eq=False)
class Candidates:
    """Draws from the generator's own prior: latents (N, ...) and their images (N, C, H, W).

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> G, cpu = load_generator("brains64"), torch.device("cpu")
    >>> source = ImageSource.placed(G, "w", 0.5, "none", None, cpu, torch.float32)
    >>> found = source.candidates(3, seed=0)
    >>> found.latents.shape, torch.allclose(source.images(source.w_of(found.latents)), found.images, atol=1e-4)
    (torch.Size([3, 1, 512]), True)
    """

    latents: Tensor
    images: Tensor


@dataclass(frozen=True, eq=False)
class ImageSource:
    """From the latent site to images.

    Attributes
    ----------
    generator
        Frozen, on its device and in its dtype.
    prior
        ``"wplus"``: site ``w`` (B, num_ws, w_dim), one latent a layer; ``"w"``: site ``w`` (B, 1, w_dim), one for all;
        ``"z"``: site ``z`` (B, z_dim), through the mapping network.
    law
        Prior of one image's w; None for z.
    noise_mode
        Of the generator: ``"none"`` or ``"const"``.
    like
        A number of the device and dtype.
    labels
        (1 or B, label_dim) of conditional generators.
    pose
        Prior of one image's pose; None where images are not moved.

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> G, cpu = load_generator("brains64"), torch.device("cpu")
    >>> source = ImageSource.placed(G, "w", 0.5, "none", None, cpu, torch.float32)
    >>> w = source.w_of(source.mean_latents(2)["w"])  # one w for all of the generator's layers
    >>> w.shape, bool((w == w[:, :1]).all()), source.image_shape
    (torch.Size([2, 10, 512]), True, (1, 64, 64))
    """

    generator: Any
    prior: Prior
    law: LatentNormal | None
    noise_mode: str
    like: Tensor
    labels: Tensor | None = None
    pose: PoseNormal | None = None
    _kept: dict[tuple[int, int], Candidates] = field(default_factory=dict)

    @classmethod
    def placed(
        cls,
        generator: Any,
        prior: Prior,
        rho: float,
        noise_mode: str,
        labels: Tensor | None,
        device: torch.device,
        dtype: torch.dtype,
        isotropic: bool = False,
        pose: PosePrior | None = None,
    ) -> ImageSource:
        """Freeze the generator on a device, and find the prior.

        Parameters
        ----------
        rho
            Correlation of the latents of different layers.
        isotropic
            Whether the prior of w is the BRGM paper's: layers independent, one variance for all numbers, so that its
            logarithm is -100 times the mean of ((w - w_avg) / S)^2.
        pose
            Prior of where the head lies, if it is found.
        """
        if prior not in get_args(Prior):
            raise ValueError(f"reconstruction: the prior must be one of {', '.join(get_args(Prior))}, got {prior!r}")
        if noise_mode not in ("none", "const"):
            raise ValueError(f"reconstruction: noise inputs must be 'none' or 'const', got {noise_mode!r}")
        like = torch.zeros((), device=device, dtype=dtype)
        labels = None if labels is None else labels.to(like)
        network = _frozen(generator, device, dtype)
        place = None if pose is None else pose.law(like)
        if prior == "z":
            return cls(network, prior, None, noise_mode, like, labels, place)
        found = statistics_of(generator, labels)
        mean, covariance = found.mean.to(like), found.covariance.to(like)
        layers = generator.num_ws if prior == "wplus" else 1
        if isotropic:
            variance = reference_variance(covariance.trace(), layers * generator.w_dim)
            covariance = torch.eye(generator.w_dim).to(mean) * variance
        law = LatentNormal.of(mean, covariance, layer_correlation(layers, rho, mean))
        if isotropic:  # its sds are a hundred times those of w: in units of them no step would be small enough
            law = law.in_steps_of(found.sd.to(like))
        return cls(network, prior, law, noise_mode, like, labels, place)

    @property
    def site(self) -> str:
        """Name of the latent site."""
        return "z" if self.law is None else "w"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        side = self.generator.img_resolution
        return self.generator.img_channels, side, side

    def whitenings(self) -> dict[str, Transform]:
        """Return transforms to the values of sites from numbers of about unit size, where these are others."""
        found: dict[str, Transform] = {} if self.pose is None else {"pose": self.pose.affine}
        return found if self.law is None else {"w": self.law.free} | found

    def sample(self) -> Tensor:
        """Sample the latent of each image of a plate."""
        if self.law is not None:
            w: Tensor = pyro.sample("w", self.law)
            return w
        zero = self.like.new_zeros(self.generator.z_dim)
        z: Tensor = pyro.sample("z", dist.Normal(zero, torch.ones_like(zero)).to_event(1))
        return z

    def mean_latents(self, count: int) -> dict[str, Tensor]:
        """Return the mean of w for ``count`` images, where there is a prior of w."""
        assert self.law is not None
        return {"w": self.law.affine.loc.expand(count, *self.law.event_shape).contiguous()}

    def w_of(self, latent: Tensor) -> Tensor:
        """Latents of the layers (*, num_ws, w_dim) of the site's value (*, ...)."""
        if self.law is not None:
            return latent.expand(*latent.shape[:-2], self.generator.num_ws, -1)
        flat = latent.reshape(-1, latent.shape[-1])
        labels = None if self.labels is None else self.labels.expand(*latent.shape[:-1], -1).flatten(0, -2)
        w: Tensor = self.generator.mapping(flat, labels)
        return w.reshape(*latent.shape[:-1], *w.shape[1:])

    def sample_pose(self) -> Tensor | None:
        """Sample where the head lies in each image of a plate."""
        if self.pose is None:
            return None
        pose: Tensor = pyro.sample("pose", self.pose)
        return pose

    def images(self, w: Tensor, pose: Tensor | None = None) -> Tensor:
        """Images (*, C, H, W) of w (*, num_ws, w_dim), moved by poses (*, 4)."""
        made: Tensor = self.generator.synthesis(w.reshape(-1, *w.shape[-2:]), noise_mode=self.noise_mode)
        made = made.reshape(*w.shape[:-2], *made.shape[1:])
        return made if pose is None else moved(made, pose)

    @torch.no_grad()
    def candidates(self, count: int, seed: int) -> Candidates:
        """Draw from the generator's own prior, z standard normal; the last draws are kept."""
        if (count, seed) not in self._kept:
            z = torch.randn(count, self.generator.z_dim, generator=torch.Generator().manual_seed(seed))
            label = None if self.labels is None else self.labels[:1].expand(count, -1)
            z = z.to(self.like)
            w = self.generator.mapping(z, label)
            images = torch.cat([self.images(part) for part in torch.split(w, BATCH)])
            latents = {"z": z, "w": w[:, :1], "wplus": w}[self.prior]
            self._kept.clear()
            self._kept[count, seed] = Candidates(latents, images)
        return self._kept[count, seed]


def _frozen(generator: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Copy of a generator, without gradients of its weights, on a device and in a dtype."""
    if hasattr(generator, "freeze"):
        return generator.freeze().to(device, dtype)
    if isinstance(generator, nn.Module):
        return copy.deepcopy(generator).eval().requires_grad_(False).to(device, dtype)
    return generator


def statistics_of(generator: Any, labels: Tensor | None = None) -> LatentStatistics:
    """Mean and covariance of w, from the generator's card where it has them, else from 10,000 draws of z.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> found = statistics_of(SimpleNamespace(z_dim=1, w_dim=1, mapping=lambda z, labels: 2 * z[:, None] + 3))
    >>> round(float(found.mean), 1), round(float(found.covariance), 1)
    (3.0, 4.0)
    """
    if isinstance(generator.mapping, nn.Module) and any(True for _ in generator.mapping.parameters()):
        return latent_statistics(generator, DRAWS, labels=None if labels is None else labels[:1])
    z = torch.randn(DRAWS, generator.z_dim, generator=torch.Generator().manual_seed(0))
    if isinstance(generator, nn.Module):
        z = z.to(next(generator.parameters(), z))
    with torch.no_grad():
        w = generator.mapping(z, labels=None if labels is None else labels[:1].expand(DRAWS, -1))[:, 0]
    return LatentStatistics(w.mean(0), torch.cov(w.T).reshape(generator.w_dim, generator.w_dim), DRAWS, 0)
