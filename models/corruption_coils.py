r"""Phase of an image and sensitivities of receive coils: simulated, or estimated from the centre of k-space.

Both are smooth, so that the fully sampled centre of k-space, tapered, gives images whose phase is theirs.

References
----------
McKenzie et al., *Self-calibrating parallel imaging with automatic coil sensitivity extraction*, MRM 2002 (estimates);
Roemer et al., *The NMR phased array*, MRM 1990 (combination of coils).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from neuropyro.models.corruption_intensity import slow_waves
from neuropyro.models.corruption_operator import CorruptionError

__all__ = ["SmoothPhase", "birdcage_maps", "estimate_maps", "estimate_phase", "fft", "inverse_fft"]

AXES = (-2, -1)


def fft(x: Tensor) -> Tensor:
    """Centred orthonormal Fourier transform of images (..., H, W): zero frequency at (H // 2, W // 2).

    Examples
    --------
    >>> flat = fft(torch.ones(4, 4)).abs()  # zero frequency alone, of the image's own norm
    >>> flat.round(decimals=3).nonzero().tolist(), float(flat.norm())
    ([[2, 2]], 4.0)
    """
    spectrum: Tensor = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(x, AXES), norm="ortho"), AXES)
    return spectrum


def inverse_fft(k: Tensor) -> Tensor:
    """Inverse, and adjoint, of :func:`fft`.

    Examples
    --------
    >>> inverse_fft(fft(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))).real.round(decimals=3)
    tensor([[1., 2.],
            [3., 4.]])
    """
    image: Tensor = torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(k, AXES), norm="ortho"), AXES)
    return image


@dataclass(frozen=True)
class SmoothPhase:
    """A slow random phase of ``strength`` radians (sd over the image); 0 is none.

    Called with a height and width, px, it returns (H, W) float64.

    Raises
    ------
    CorruptionError
        Where ``strength`` is negative or not finite.

    Examples
    --------
    >>> phase = SmoothPhase(0.8, seed=1)(32, 32)
    >>> round(float(phase.std(correction=0)), 3), bool(phase.diff(dim=0).abs().max() < 0.3)
    (0.8, True)
    """

    strength: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise CorruptionError(f"phase: its standard deviation must be 0 radians or more, got {self.strength}")

    def __call__(self, height: int, width: int) -> Tensor:
        """Radians (H, W)."""
        return self.strength * slow_waves(height, width, self.seed)


def birdcage_maps(coils: int, height: int, width: int, distance: float = 1.5) -> Tensor:
    """Sensitivities (coils, H, W) complex128 of coils evenly on a circle, as of a birdcage.

    Each falls with the distance to its coil and turns in phase around it; the sum over coils of |S|^2 is 1 everywhere.

    Parameters
    ----------
    distance
        Radius of the circle, in halves of the image; above 1, so that the coils are outside.

    Raises
    ------
    CorruptionError
        Where there is no coil.

    Examples
    --------
    >>> maps = birdcage_maps(4, 32, 32)
    >>> maps.abs().square().sum(0).round(decimals=3).unique().tolist()
    [1.0]
    >>> int(maps[0].abs().sum(0).argmax())  # the first coil stands at the right
    31
    """
    if coils < 1:
        raise CorruptionError(f"coils: 1 or more are needed, got {coils}")
    angles = 2 * math.pi * torch.arange(coils, dtype=torch.float64)[:, None, None] / coils
    rows = ((torch.arange(height, dtype=torch.float64) + 0.5) * 2 / height - 1)[None, :, None]
    columns = ((torch.arange(width, dtype=torch.float64) + 0.5) * 2 / width - 1)[None, None, :]
    down, across = rows - distance * torch.sin(angles), columns - distance * torch.cos(angles)
    towards = across * torch.cos(angles) + down * torch.sin(angles)  # turned, so that each coil sees itself at angle 0
    aside = down * torch.cos(angles) - across * torch.sin(angles)
    maps = torch.polar(torch.hypot(down, across).reciprocal(), torch.atan2(aside, -towards) + angles)
    return maps / maps.abs().square().sum(dim=0, keepdim=True).sqrt()


def _central_block(sampled: Tensor) -> Tensor:
    """Taper (H, W) over the largest fully sampled block around zero frequency of ``sampled`` (H, W) booleans."""
    sides = [_run_of_true(sampled.all(dim=1 - axis)) for axis in (0, 1)]
    if not all(sides):  # lines are full along one axis only
        sides = [_run_of_true(sampled[:, sampled.shape[1] // 2]), _run_of_true(sampled[sampled.shape[0] // 2])]
    windows = [_taper(n, side).to(sampled.device) for n, side in zip(sampled.shape, sides, strict=True)]
    return windows[0][:, None] * windows[1][None, :]


def _run_of_true(line: Tensor) -> int:
    """Half-length of the run of True that is symmetric around the middle, n // 2, that included; 0 if it is False."""
    values: list[bool] = line.tolist()
    middle, reach = len(values) // 2, 0
    while reach <= middle and values[middle - reach] and values[(middle + reach) % len(values)]:
        reach += 1
    return reach


def _taper(n: int, reach: int) -> Tensor:
    """Hann window (n,) that falls to 0 at ``reach`` from the middle, n // 2."""
    distance = (torch.arange(n, dtype=torch.float64) - n // 2).abs() / reach
    return 0.5 * (1 + torch.cos(math.pi * distance.clamp(max=1)))


def _low_resolution(y: Tensor, sampled: Tensor) -> Tensor:
    """Complex image of each coil (B, coils, H, W) from the fully sampled centre of ``y``.

    Parameters
    ----------
    sampled
        (H, W), 1 or True where k-space was sampled.

    Raises
    ------
    CorruptionError
        Where zero frequency was not sampled.
    """
    sampled = sampled.bool()
    if not bool(sampled[sampled.shape[0] // 2, sampled.shape[1] // 2]):
        raise CorruptionError(
            "k-space: its centre is not sampled, so that phase and coils cannot be estimated; zero frequency must be "
            "in the middle (numpy.fft.fftshift puts it there)"
        )
    return inverse_fft(y * _central_block(sampled).to(y.real.dtype))


def estimate_phase(y: Tensor, sampled: Tensor, maps: Tensor | None = None) -> Tensor:
    """Phase (B, H, W), radians, of the images whose k-space ``y`` (B, coils, H, W) is.

    Parameters
    ----------
    sampled
        (H, W), 1 or True where k-space was sampled.
    maps
        Sensitivities (coils, H, W); may be left out where there is one coil.

    Raises
    ------
    CorruptionError
        Where zero frequency was not sampled, or several coils come without maps.

    Examples
    --------
    >>> turned = torch.polar(torch.ones(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.5))  # a flat image, turned by .5
    >>> estimate_phase(fft(turned), sampled=torch.ones(8, 8)).round(decimals=3).unique().tolist()
    [0.5]
    """
    images = _low_resolution(y, sampled)
    if maps is None and images.shape[1] > 1:
        raise CorruptionError("k-space: the phase of several coils' data needs their maps; or use estimate_maps alone")
    combined = images[:, 0] if maps is None else (maps.to(images).conj() * images).sum(dim=1)
    return combined.angle()


def estimate_maps(y: Tensor, sampled: Tensor) -> Tensor:
    """Sensitivities (B, coils, H, W), of unit norm over coils, that hold the image's phase too.

    Parameters
    ----------
    sampled
        (H, W), 1 or True where k-space was sampled.

    Raises
    ------
    CorruptionError
        Where zero frequency was not sampled.

    Examples
    --------
    >>> seen = torch.tensor([3.0, 4.0]).reshape(2, 1, 1) * torch.ones(1, 2, 8, 8)  # by two coils
    >>> estimate_maps(fft(seen), sampled=torch.ones(8, 8))[0, :, 0, 0].abs()
    tensor([0.6000, 0.8000])
    """
    images = _low_resolution(y, sampled)
    norm = images.abs().square().sum(dim=1, keepdim=True).sqrt()
    return images / norm.clamp(min=1e-12)
