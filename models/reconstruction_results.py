"""What a fit says of the clean images: draws, their mean, sd and quantiles, and whether to trust them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.corruption_operator import Corruption
from neuropyro.models.posterior import Posterior
from neuropyro.models.reconstruction_data import Measurements, in_reals
from neuropyro.models.reconstruction_spread import MeasuredNormal, conditional_residual

__all__ = ["Drawn", "drawn_images", "draws_of", "log_likelihoods"]


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
    """

    corruption: Corruption
    measured: Measurements
    latent: Tensor
    sigma: Tensor
    scale: Tensor

    def generated(self) -> Tensor:
        """G(w), (B, C, H, W)."""
        source = self.measured.source
        return source.images(source.w_of(self.latent))

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


def _white(like: Tensor, rng: torch.Generator) -> Tensor:
    """Draw standard normal numbers, the same on every device."""
    return torch.randn(like.shape, generator=rng, dtype=like.dtype).to(like.device)


def draws_of(corruption: Corruption, sigma: Tensor, result: Posterior, draws: int) -> Iterator[Drawn]:
    """Yield the model at one posterior draw after the other.

    Parameters
    ----------
    sigma
        (B,), where it is given and not learned.
    """
    measured: Measurements = result.data
    posterior = result.posterior(draws)
    for s in range(draws):
        at = {site: torch.tensor(values[s]).to(measured.values) for site, values in posterior.items()}
        scale = at.get("residual_scale", torch.ones_like(sigma))
        yield Drawn(corruption, measured, at[measured.source.site], at.get("sigma", sigma), scale)


@torch.no_grad()
def drawn_images(steps: Iterator[Drawn], seed: int) -> dict[str, NDArray[Any]]:
    """Draw clean images, what the corruption makes of them, and measurements like the data; (draws, B, ...) each."""
    rng = torch.Generator().manual_seed(seed)
    collected: dict[str, list[NDArray[Any]]] = {"clean": [], "corrupted": [], "y": []}
    for step in steps:
        clean = step.clean(step.generated(), rng)
        corrupted = step.corruption.A(clean)
        sd = step.sigma.reshape(-1, *[1] * (corrupted.ndim - 1))
        y = in_reals(corrupted + sd * step.noise(rng))
        for name, value in {"clean": clean, "corrupted": corrupted, "y": y}.items():
            collected[name].append(value.cpu().numpy())
    return {name: np.stack(values) for name, values in collected.items()}


@torch.no_grad()
def log_likelihoods(steps: Iterator[Drawn]) -> NDArray[np.float64]:
    """Log-density (draws, B) of each image's measurements."""
    terms = [step.law().log_prob(step.measured.values).double().cpu().numpy() for step in steps]
    return np.stack(terms)
