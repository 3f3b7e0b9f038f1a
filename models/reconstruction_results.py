"""What a fit says of the clean images: draws, their mean, sd and quantiles, and whether to trust them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.corruption_operator import Corruption
from neuropyro.models.posterior import Posterior
from neuropyro.models.reconstruction_conditioning import conditional_residual
from neuropyro.models.reconstruction_data import Measurements, in_reals
from neuropyro.models.reconstruction_spread import MeasuredNormal

__all__ = ["Drawn", "OfImages"]


@dataclass(frozen=True, eq=False)
class Drawn:
    """The model at one posterior draw.

    Attributes
    ----------
    corruption, measured
        What happened, and what was measured.
    latent
        Value (B, ...) of the latent site.
    sigma, scale
        sigma and tau, (B,).
    pose
        Where the head lies, (B, 4); None where that is not found.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> grey = SimpleNamespace(z_dim=1, w_dim=1, num_ws=1, img_resolution=4, img_channels=1)  # images as bright as z
    >>> grey.mapping = lambda z, labels=None: z[:, None]
    >>> grey.synthesis = lambda w, noise_mode: w[..., None].expand(-1, 1, 4, 4)
    >>> from neuropyro.models import LatentReconstruction
    >>> from neuropyro.models.corruption import Identity
    >>> model = LatentReconstruction(grey, Identity(noise=0.1), "z")
    >>> measured = model.prepare(torch.full((1, 1, 4, 4), 0.7))
    >>> drawn = Drawn.at(model.corruption, measured, {"z": torch.tensor([[0.5]])}, sigma=torch.tensor([0.1]))
    >>> drawn.checks()["misfit"].round(decimals=3)  # off by .2, two sds of the noise
    tensor([2.])
    """

    corruption: Corruption
    measured: Measurements
    latent: Tensor
    sigma: Tensor
    scale: Tensor
    pose: Tensor | None = None

    @classmethod
    def at(cls, corruption: Corruption, measured: Measurements, values: Mapping[str, Tensor], sigma: Tensor) -> Drawn:
        """Make it of the sites' ``values``; ``sigma`` (B,) is taken where it is no site."""
        scale = values.get("residual_scale", torch.ones_like(sigma))
        latent, pose = values[measured.source.site], values.get("pose")
        return cls(corruption, measured, latent, values.get("sigma", sigma), scale, pose)

    def generated(self) -> Tensor:
        """G(w), moved where there is a pose, (B, C, H, W)."""
        source = self.measured.source
        return source.images(source.w_of(self.latent), self.pose)

    def clean(self, generated: Tensor, rng: torch.Generator | None = None) -> Tensor:
        """Clean images (B, C, H, W): the generated ones plus the residual image, its mean or a draw."""
        measured = self.measured
        if measured.residual is None:
            return generated
        values = measured.values - in_reals(self.corruption.A(generated))
        deviation = measured.as_given(torch.where(measured.observed, values, 0.0))
        white = None if rng is None else (_white(generated, rng), self.noise(rng))
        arguments = (self.corruption, measured.residual, measured.spread, deviation, self.sigma, self.scale)
        return generated + conditional_residual(*arguments, white)

    def noise(self, rng: torch.Generator) -> Tensor:
        """White noise (B, ...) in the measurements' own type, 0 where they do not count."""
        values = _white(self.measured.values, rng)
        return self.measured.as_given(torch.where(self.measured.observed, values, 0.0))

    def law(self) -> MeasuredNormal:
        """Distribution of the measurements."""
        expected = in_reals(self.corruption.A(self.generated()))
        return MeasuredNormal(expected, self.measured.spread, self.sigma, self.scale, self.measured.event)

    def checks(self) -> dict[str, Tensor]:
        """See :meth:`OfImages.checks`."""
        measured, law = self.measured, self.measured.source.law
        free = self.latent if law is None else law.affine.inv(self.latent).flatten(1)
        away = measured.values - in_reals(self.corruption.A(self.clean(self.generated())))
        square = torch.where(measured.observed, away, 0.0).square().flatten(1).sum(1)
        misfit = (square / measured.observed.flatten(1).sum(1)).sqrt() / self.sigma
        return {
            "latent_distance": free.square().mean(1).sqrt(),
            "residual_scale": self.scale,
            "surprise": self.surprise(),
            "misfit": misfit,
            "noise": self.sigma,
        }

    def surprise(self) -> Tensor:
        """Root mean square (B,) of the measurements' deviations, in sds at the residual's typical scale."""
        measured, spread = self.measured, self.measured.spread
        typical = 1.0 if measured.residual is None else measured.residual.typical_scale
        away = measured.values - in_reals(self.corruption.A(self.generated()))
        return (spread.distance(away.flatten(1), self.sigma, typical) / spread.counts.sum(1)).sqrt()


def _white(like: Tensor, rng: torch.Generator) -> Tensor:
    """Draw standard normal numbers, the same on every device."""
    return torch.randn(like.shape, generator=rng, dtype=like.dtype).to(like.device)


class OfImages(ABC):
    """What a model of images says of a fit, whichever guide made it.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> grey = SimpleNamespace(z_dim=1, w_dim=1, num_ws=1, img_resolution=4, img_channels=1)  # images as bright as z
    >>> grey.mapping = lambda z, labels=None: z[:, None]
    >>> grey.synthesis = lambda w, noise_mode: w[..., None].expand(-1, 1, 4, 4)
    >>> from neuropyro.models import LatentReconstruction
    >>> from neuropyro.models.corruption import Identity
    >>> model = LatentReconstruction(grey, Identity(noise=0.1), "z")
    >>> two = {"z": np.array([[[0.4]], [[0.6]]])}  # posterior draws
    >>> measured = model.prepare(torch.full((1, 1, 4, 4), 0.5))
    >>> result = SimpleNamespace(data=measured, posterior=lambda draws: two, is_point=False, seed=0)
    >>> model.estimate(result, draws=2).round(3).ravel().tolist()[:3]
    [0.5, 0.5, 0.5]
    """

    corruption: Corruption
    features: Any

    @abstractmethod
    def known_sigma(self, like: Tensor) -> Tensor:
        """Sigma (B,), where it is given and not learned, for measurements ``like`` (B, ...)."""

    def observe(self, measured: Measurements, values: dict[str, NDArray[Any]]) -> Measurements:
        """Return prepared data with other measurements."""
        return measured.with_values(torch.tensor(np.asarray(values["y"]))).with_features(self.features)

    def observed_values(self, measured: Measurements) -> dict[str, NDArray[Any]]:
        """Return the measurements (B, ...), NaN where they do not count."""
        return {"y": torch.where(measured.observed, measured.values, math.nan).cpu().numpy()}

    @torch.no_grad()
    def predictive(self, result: Posterior, draws: int = 64) -> dict[str, NDArray[Any]]:
        """Draw from the posterior of clean images.

        Returns
        -------
        ``clean`` (draws, B, C, H, W), G(w) plus a draw of the residual image; ``corrupted`` (draws, B, ...), what the
        corruption makes of them; and ``y``, the same with noise, complex numbers as pairs.
        """
        rng = torch.Generator().manual_seed(int(getattr(result, "seed", 0)))
        collected: dict[str, list[NDArray[Any]]] = {"clean": [], "corrupted": [], "y": []}
        for drawn in self._draws(result, draws):
            clean = drawn.clean(drawn.generated(), rng)
            corrupted = self.corruption.A(clean)
            sd = drawn.sigma.reshape(-1, *[1] * (corrupted.ndim - 1))
            y = in_reals(corrupted + sd * drawn.noise(rng))
            for name, value in {"clean": clean, "corrupted": corrupted, "y": y}.items():
                collected[name].append(value.cpu().numpy())
        return {name: np.stack(values) for name, values in collected.items()}

    @torch.no_grad()
    def estimate(self, result: Posterior, draws: int = 64) -> NDArray[Any]:
        """Return the posterior mean of the clean images (B, C, H, W), the residual's mean included.

        Of a point guide, such as MAP, it is the image at the point.
        """
        images = [drawn.clean(drawn.generated()) for drawn in self._draws(result, 1 if result.is_point else draws)]
        mean: NDArray[Any] = torch.stack(images).mean(0).cpu().numpy()
        return mean

    def summary(self, result: Posterior, draws: int = 200, level: float = 0.9) -> dict[str, NDArray[Any]]:
        """Return ``mean``, ``sd``, ``lower`` and ``upper`` of each clean pixel, (B, C, H, W).

        Parameters
        ----------
        level
            Probability between ``lower`` and ``upper``.
        """
        if not 0 < level < 1:
            raise ValueError(f"summary: the level must lie between 0 and 1, got {level}")
        clean = self.predictive(result, draws)["clean"]
        ends = [(1 - level) / 2, (1 + level) / 2]
        lower, upper = np.quantile(clean, ends, axis=0, method="weibull")  # another draw is as likely to lie between
        return {"mean": self.estimate(result, draws), "sd": clean.std(0), "lower": lower, "upper": upper}

    @torch.no_grad()
    def log_likelihood(self, result: Posterior, draws: int = 100) -> NDArray[np.float64]:
        """Return log p(y of an image | draw), (draws, B)."""
        count = 1 if result.is_point else draws
        terms = [drawn.law().log_prob(drawn.measured.values) for drawn in self._draws(result, count)]
        return np.asarray(torch.stack(terms).double().cpu())

    @torch.no_grad()
    def checks(self, result: Posterior, draws: int = 64) -> dict[str, NDArray[np.float64]]:
        """Tell how far the images are from what the generator was trained on; means over draws, (B,) each.

        Returns
        -------
        ``latent_distance``: root mean square of the latent in sds of its prior, about 1 where an image is like those
        of the training, or below where little was measured; ``residual_scale``: tau; ``surprise``: root mean square of
        the measurements' deviations from those of the generated image, in sds of their scatter (noise, and residual of
        the training's size): well above 1 for images of another kind than the training's; ``misfit``: root mean square
        of the measurements' deviations from what the corruption makes of the clean image, in units of sigma: well above
        1 the result contradicts its input; ``noise``: sigma, given or learned.  Learned, it may be as large as it needs
        to be for a picture of another kind to be no surprise.
        """
        each = [drawn.checks() for drawn in self._draws(result, 1 if result.is_point else draws)]
        return {name: np.stack([c[name].double().cpu().numpy() for c in each]).mean(0) for name in each[0]}

    def _draws(self, result: Posterior, draws: int) -> Iterator[Drawn]:
        """Yield the model at one posterior draw after the other."""
        measured: Measurements = result.data
        posterior, sigma = result.posterior(draws), self.known_sigma(measured.values)
        for s in range(draws):
            values = {site: torch.tensor(drawn[s]).to(measured.values) for site, drawn in posterior.items()}
            yield Drawn.at(self.corruption, measured, values, sigma)
