"""What a generator cannot make: the spread of real images about their nearest generated ones.

A clean image is ``G(w) + r`` with ``r ~ Normal(0, S)``.  S is learned from residuals of validation images that were
inverted.  Here it is ``diag(sd) C diag(sd)``, sd the residual's size at each pixel and C a stationary correlation,
diagonal in the Fourier basis, with one power for each band of spatial frequency: a dozen images tell it.  From some
hundred images :mod:`neuropyro.generators.residual_conditionals` learns more.  S is never formed: ``root(z)``, z white,
has it as its covariance.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

__all__ = ["ResidualCovariance", "ResidualSpread", "band_power", "frequency_bands"]

BANDS = 16
FLOOR = 1e-3  # of the largest sd: the background of every image may be exactly black


def frequency_bands(size: tuple[int, int], bands: int = BANDS) -> Tensor:
    """Return the band of each frequency of :func:`torch.fft.fft2`, (H, W) int64, 0 the lowest.

    Bands are rings of equal width in cycles per pixel, from 0 to the corner of the spectrum.

    Examples
    --------
    >>> frequency_bands((4, 4), bands=3)
    tensor([[0, 1, 2, 1],
            [1, 1, 2, 1],
            [2, 2, 2, 2],
            [1, 1, 2, 1]])
    """
    rows, columns = (torch.fft.fftfreq(n, dtype=torch.float64) for n in size)
    radius = torch.hypot(rows[:, None], columns)
    return (radius / radius.max() * bands).long().clamp(max=bands - 1)


def band_power(images: Tensor, bands: int = BANDS) -> Tensor:
    """Mean squared magnitude of the orthonormal Fourier transform in each band.

    Parameters
    ----------
    images
        (N, C, H, W).
    bands
        Number of bands.

    Returns
    -------
    Tensor
        (bands,); white noise of variance v has v in every band, bands without a frequency have 0.

    Examples
    --------
    >>> band_power(torch.full((1, 1, 4, 4), 0.5), bands=3).round(decimals=3)  # all of 16 squares of .5 in the lowest
    tensor([4., 0., 0.])
    """
    power = torch.fft.fft2(images, norm="ortho").abs().square().mean(dim=(0, 1))
    place = frequency_bands((images.shape[2], images.shape[3]), bands).flatten().to(images.device)
    sums: Tensor = power.new_zeros(bands).index_add(0, place, power.flatten())
    return sums / torch.bincount(place, minlength=bands).clamp(min=1)  # small images leave bands empty


class ResidualCovariance(Protocol):
    """What is asked of S, whichever way it is kept.

    Attributes
    ----------
    typical_scale
        By how much residuals of a reconstruction are expected to be larger than those from which it was learned.

    Examples
    --------
    >>> spread: ResidualCovariance = ResidualSpread(sd=torch.full((1, 4, 4), 3.0), power=torch.ones(2))  # white, S = 9
    >>> x = torch.randn(1, 4, 4)
    >>> torch.allclose(spread.root(x), 3 * x, atol=1e-4), torch.allclose(spread.multiply(x), 9 * x, atol=1e-4)
    (True, True)
    """

    typical_scale: ClassVar[float]

    def root(self, z: Tensor) -> Tensor:
        """Turn white noise ``z`` (..., C, H, W) into residuals, whose covariance is S."""

    def multiply(self, x: Tensor) -> Tensor:
        """S times ``x`` (..., C, H, W)."""

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Return it on a device and in a dtype."""

    def to_arrays(self) -> dict[str, Tensor]:
        """Arrays by the names under which a card keeps them."""


@dataclass(frozen=True)
class ResidualSpread:
    """Covariance S of the residual image, of stationary correlation.

    Attributes
    ----------
    sd
        Standard deviation of each pixel, (C, H, W), in the images' unit.
    power
        Of ``r / sd`` in each band of frequency, (bands,), see :func:`band_power`; their mean over frequencies is 1.

    Examples
    --------
    >>> residuals = 0.2 * torch.randn(400, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> spread = ResidualSpread.of(residuals, bands=2)
    >>> round(spread.sd.mean().item(), 2), [round(p, 1) for p in spread.power.tolist()]  # white: as much in each band
    (0.2, [1.0, 1.0])
    """

    sd: Tensor
    power: Tensor
    typical_scale: ClassVar[float] = math.exp(
        0.35
    )  # inversions without a prior fit an image better than a few measurements can

    @classmethod
    def of(cls, residuals: Tensor, bands: int = BANDS) -> Self:
        """Learn it from residuals (N, C, H, W); sd is pooled over 3 x 3 pixels, since N is small."""
        variance = avg_pool2d(residuals.square().mean(dim=0), 3, stride=1, padding=1, count_include_pad=False)
        sd = variance.sqrt()
        sd = sd.clamp(min=float(sd.max()) * FLOOR)
        power = band_power(residuals / sd, bands)
        counts = torch.bincount(frequency_bands((sd.shape[1], sd.shape[2]), bands).flatten(), minlength=bands)
        return cls(sd, power / ((power * counts.to(power)).sum() / counts.sum()))

    @classmethod
    def from_card(cls, card: Any) -> Self | None:
        """Read it from a generator's card; None where the card has none, or there is no card."""
        return cls.from_arrays(getattr(card, "arrays", {}))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Tensor]) -> Self | None:
        """Read it from a card's arrays; None where they have none."""
        names = ("residual.sd", "residual.power")
        return cls(*(arrays[name] for name in names)) if all(name in arrays for name in names) else None

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Return it on a device and in a dtype."""
        return replace(self, sd=self.sd.to(device, dtype), power=self.power.to(device, dtype))

    def to_arrays(self) -> dict[str, Tensor]:
        """Arrays by the names under which a card keeps them."""
        return {"residual.sd": self.sd, "residual.power": self.power}

    def root(self, z: Tensor) -> Tensor:
        """Turn white noise ``z`` (..., C, H, W) into residuals: their covariance is S."""
        return self.sd.to(z) * self._coloured(z)

    def multiply(self, x: Tensor) -> Tensor:
        """S times ``x`` (..., C, H, W)."""
        sd = self.sd.to(x)
        return sd * self._coloured(self._coloured(sd * x))

    def _coloured(self, x: Tensor) -> Tensor:
        place = frequency_bands((x.shape[-2], x.shape[-1]), len(self.power)).to(x.device)
        coloured: Tensor = torch.fft.ifft2(torch.fft.fft2(x) * self.power.to(x).sqrt()[place]).real
        return coloured
