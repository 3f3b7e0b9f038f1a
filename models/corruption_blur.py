"""Convolution with a kernel: Gaussian, motion, or any; borders are repeated.

A Gaussian is two kernels, one along each axis, so that its cost grows with its width and not its area.

References
----------
Borders as in ``scipy.ndimage`` with ``mode="nearest"``, Gaussians as in its ``gaussian_filter`` (cut at 4 sd).
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, pad

from neuropyro.models.corruption_operator import Corruption, CorruptionError, require_image
from neuropyro.models.corruption_options import number_text

__all__ = ["Blur", "motion_kernel"]

TRUNCATE = 4.0  # sds


class Blur(Corruption):
    """Images convolved with a kernel.

    Parameters
    ----------
    kernel
        A number is the sd of a Gaussian, px; an array or tensor (k, l) with odd sides is the kernel itself, applied as
        a convolution (it is flipped) and not normalised.
    noise
        See :class:`~neuropyro.models.corruption_operator.Corruption`.

    Raises
    ------
    CorruptionError
        Where the sd is not positive, or the kernel not a finite matrix with odd sides.

    Examples
    --------
    >>> round(float(Blur(2.0).A(torch.full((1, 1, 8, 8), -1.0)).max()), 4)
    -1.0
    """

    def __init__(self, kernel: float | Tensor | NDArray[Any], noise: float | None = None) -> None:
        super().__init__(noise)
        self._described: str | None = None
        self.sd = float(kernel) if isinstance(kernel, int | float) else None
        if isinstance(kernel, int | float):
            line = _gaussian_kernel(float(kernel))
            kernels = [line[:, None], line[None, :]]
            self._described = f"blur:{number_text(kernel)}"
        else:
            kernels = [_checked_kernel(torch.as_tensor(kernel))]
        self.names = [f"kernel{i}" for i in range(len(kernels))]
        for name, each in zip(self.names, kernels, strict=True):
            self.register_buffer(name, each)

    def arguments(self) -> dict[str, Any]:
        """Arguments from which its constructor makes the same corruption."""
        return {"kernel": self.get_buffer("kernel0") if self.sd is None else self.sd} | super().arguments()

    @classmethod
    def motion(cls, length: float, angle: float = 0.0, noise: float | None = None) -> Self:
        """Blur along a line of ``length`` px at ``angle`` degrees, counter-clockwise from the rows' direction."""
        blur = cls(motion_kernel(length, angle), noise)
        blur._described = f"motion:{number_text(length)},angle={number_text(angle)}"
        return blur

    @classmethod
    def from_file(cls, path: str | Path, noise: float | None = None) -> Self:
        """Kernel (k, l) in a ``.npy`` file."""
        try:
            kernel = np.load(path, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise CorruptionError(
                f"{path}: not a readable .npy file ({error}); save the kernel with numpy.save"
            ) from error
        blur = cls(np.asarray(kernel, np.float64), noise)
        blur._described = f"blur:{path}"
        return blur

    def A(self, x: Tensor) -> Tensor:  # noqa: N802
        """(B, C, H, W) to the same."""
        require_image("Blur", x)
        maps = x.reshape(-1, 1, *x.shape[-2:])
        for kernel in self.kernels(x):
            p, q = kernel.shape[0] // 2, kernel.shape[1] // 2
            maps = conv2d(pad(maps, (q, q, p, p), mode="replicate"), kernel.flip(0, 1)[None, None])
        return maps.reshape(x.shape)

    def A_adjoint(self, y: Tensor) -> Tensor:  # noqa: N802
        """(B, C, H, W) to the same: correlation, then what fell on repeated borders is added to the border."""
        require_image("Blur", y)
        maps = y.reshape(-1, 1, *y.shape[-2:])
        for kernel in reversed(self.kernels(y)):
            full = conv_transpose2d(maps, kernel.flip(0, 1)[None, None])
            maps = _folded(_folded(full, kernel.shape[0] // 2, 2), kernel.shape[1] // 2, 3)
        return maps.reshape(y.shape)

    def seen_through(self, pixels: Tensor) -> Tensor:
        """Say that a measurement counts if any pixel under its kernel does."""
        maps = pixels
        for kernel in self.kernels(pixels):
            p, q = kernel.shape[0] // 2, kernel.shape[1] // 2
            reach = (kernel.flip(0, 1).abs() > 1e-6 * kernel.abs().max()).to(pixels.dtype)
            maps = (conv2d(pad(maps, (q, q, p, p), mode="replicate"), reach[None, None]) > 0.5).to(pixels.dtype)
        return maps

    def kernels(self, like: Tensor) -> list[Tensor]:
        """Kernels (k, l), applied one after another, on ``like``'s device and in its dtype."""
        return [self.once(name, like, partial(self.get_buffer, name)) for name in self.names]

    def _text(self) -> str:
        return super()._text() if self._described is None else self._described


def _folded(padded: Tensor, width: int, dim: int) -> Tensor:
    """Adjoint of repeating the border ``width`` times on both sides of ``dim``."""
    if width == 0:
        return padded
    n = padded.shape[dim] - 2 * width
    inner = padded.narrow(dim, width, n).clone()
    inner.narrow(dim, 0, 1).add_(padded.narrow(dim, 0, width).sum(dim, keepdim=True))
    inner.narrow(dim, n - 1, 1).add_(padded.narrow(dim, width + n, width).sum(dim, keepdim=True))
    return inner


def _gaussian_kernel(sd: float) -> Tensor:
    """Normalised Gaussian (2 r + 1,) float64, r being 4 ``sd`` rounded."""
    if not (math.isfinite(sd) and sd > 0):
        raise CorruptionError(f"Blur: the Gaussian's standard deviation must be above 0 px, got {sd}")
    radius = int(TRUNCATE * sd + 0.5)
    weights = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sd).square())
    return weights / weights.sum()


def motion_kernel(length: float, angle: float) -> Tensor:
    """Normalised (k, k) float64 of a line through the middle: each pixel by its distance to the line.

    Parameters
    ----------
    length
        From end to end, px.
    angle
        Degrees, counter-clockwise from the rows' direction.

    Raises
    ------
    CorruptionError
        Where the length is not above 0, or the angle not finite.

    Examples
    --------
    >>> motion_kernel(3.0, angle=0.0)[2].mul(3).tolist()  # a third of each of three pixels of one row
    [0.0, 1.0, 1.0, 1.0, 0.0]
    """
    if not (math.isfinite(length) and length > 0 and math.isfinite(angle)):
        raise CorruptionError(f"Blur: motion needs a length above 0 px and an angle, got {length} and {angle}")
    radius = math.ceil(length / 2)
    across = torch.arange(-radius, radius + 1, dtype=torch.float64)
    down = across[:, None]
    cosine, sine = math.cos(math.radians(angle)), -math.sin(math.radians(angle))  # rows count downwards
    along = across * cosine + down * sine
    off = torch.hypot((along.abs() - (length - 1) / 2).clamp(min=0), across * sine - down * cosine)
    weights = (1 - off).clamp(min=0)
    return weights / weights.sum()


def _checked_kernel(kernel: Tensor) -> Tensor:
    """``kernel`` as float64, if it is a finite matrix with odd sides."""
    if kernel.ndim != 2 or any(side % 2 == 0 for side in kernel.shape):
        raise CorruptionError(
            f"Blur: a kernel must be (k, l) with odd sides, got {tuple(kernel.shape)}; pad it with zeros"
        )
    if not torch.isfinite(kernel).all() or not kernel.any():
        raise CorruptionError("Blur: the kernel must be finite, and not 0 everywhere")
    return kernel.double()
