"""Downsampling: bicubic with or without anti-aliasing, and the mean over areas.

Each axis has its own dense matrix, applied as M_h x M_w', so that the adjoint is exact: M_h' y M_w.

References
----------
Keys, *Cubic convolution interpolation for digital image processing*, IEEE TASSP 1981, eq. 15 (a = -0.5); the
anti-aliased kernel is stretched by the factor, as Pillow and torch's ``antialias=True`` do.  Without anti-aliasing, a
is -0.75 and borders are repeated, as in torch's plain bicubic, which is the downsampling of the BRGM paper.
"""

from __future__ import annotations

import math
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor

from neuropyro.models.corruption_operator import Corruption, CorruptionError, Shape, require_image, require_shape

__all__ = ["Downsample", "Window", "area_matrix", "downsampling"]

Kernel = Literal["bicubic", "area"]
Span = tuple[float, float]
Window = tuple[float, float, float, float]
ROUNDED = 1e-3  # px: 64 shrunk by 3.0476, which is 64 / 21 in five digits, are 21


def _cubic(t: Tensor, a: float) -> Tensor:
    """Keys's cubic convolution kernel at distances ``t`` in pixels."""
    t = t.abs()
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = a * (((t - 5) * t + 8) * t - 4)
    return torch.where(t <= 1, near, torch.where(t < 2, far, 0.0))


def _cubic_matrix(n: int, m: int, span: Span | None = None) -> Tensor:
    """Anti-aliased bicubic from ``span`` of ``n`` pixels to ``m``: (m, n) float64, rows sum to 1."""
    start, length = span or (0.0, float(n))
    scale = length / m
    centres = start + (torch.arange(m, dtype=torch.float64) + 0.5) * scale
    pixels = torch.arange(n, dtype=torch.float64) + 0.5
    weights = _cubic((pixels - centres[:, None]) / max(scale, 1.0), -0.5) * area_matrix(n, 1, span).sign()
    return weights / weights.sum(dim=1, keepdim=True)


def _plain_cubic_matrix(n: int, m: int, span: Span | None = None) -> Tensor:
    """Aliased bicubic from ``span`` of ``n`` pixels to ``m``, four taps each, borders repeated: (m, n) float64."""
    start, length = span or (0.0, float(n))
    centres = start + (torch.arange(m, dtype=torch.float64) + 0.5) * (length / m) - 0.5
    taps = centres.floor()[:, None] + torch.arange(-1, 3, dtype=torch.float64)
    weights = _cubic(taps - centres[:, None], -0.75)
    within = taps.clamp(math.floor(start), math.ceil(start + length) - 1).long()
    return torch.zeros(m, n, dtype=torch.float64).scatter_add_(1, within, weights)


def area_matrix(n: int, m: int, span: Span | None = None) -> Tensor:
    """Mean over areas from ``span`` of ``n`` pixels to ``m``, pixels that are cut count by their share: (m, n) float64.

    Parameters
    ----------
    span
        Where it starts and how long it is, px; all if None.

    Examples
    --------
    >>> area_matrix(3, 2).round(decimals=2).tolist()  # the pixel in the middle is cut in two
    [[0.67, 0.33, 0.0], [0.0, 0.33, 0.67]]
    """
    start, length = span or (0.0, float(n))
    edges = start + torch.arange(m + 1, dtype=torch.float64) * (length / m)
    pixels = torch.arange(n, dtype=torch.float64)
    upper = torch.minimum(edges[1:, None], pixels + 1)
    lower = torch.maximum(edges[:-1, None], pixels)
    return (upper - lower).clamp(min=0) * (m / length)


class Downsample(Corruption):
    """Images at a fraction of their resolution.

    Parameters
    ----------
    factor
        By which sides shrink, 1 or more, whole or not.  A side that is no multiple of it shrinks to the next whole
        number below, and the adjoint then needs ``image_size``.
    kernel
        ``"bicubic"``, or ``"area"``, the mean of each block (a box).  The wrong one is an error that is no noise: of a
        phantom at 16 of 64 pixels the two differ by .03 (root mean square, on -1..1).
    antialias
        Whether the bicubic kernel is as wide as the factor (True), or four pixels of the large image (False, the
        BRGM paper's).
    image_size
        Side, or (height, width), of the large image, px.  Any that the measurements allow, if None.
    noise
        See :class:`~neuropyro.models.corruption_operator.Corruption`.
    window
        Top, left, height and width, px of the large image, of the part that was seen, shrunk by itself like a picture
        that was cropped first; the whole if None.  It needs ``image_size``.

    Raises
    ------
    CorruptionError
        Where an argument has no meaning.

    Examples
    --------
    >>> Downsample(8).A(torch.ones(1, 1, 64, 64)).shape
    torch.Size([1, 1, 8, 8])
    >>> Downsample(4, image_size=64, window=(8, 0, 48, 64)).A(torch.ones(1, 1, 64, 64)).shape
    torch.Size([1, 1, 12, 16])
    """

    def __init__(
        self,
        factor: float,
        kernel: Kernel = "bicubic",
        antialias: bool = True,
        image_size: int | tuple[int, int] | None = None,
        noise: float | None = None,
        window: Window | None = None,
    ) -> None:
        super().__init__(noise)
        if not 1 <= factor < math.inf:
            raise CorruptionError(f"Downsample: the factor must be a number of 1 or more, got {factor}")
        if kernel not in get_args(Kernel):
            raise CorruptionError(f"Downsample: the kernel must be bicubic or area (means of blocks), got {kernel!r}")
        if kernel == "area" and not antialias:
            raise CorruptionError("Downsample: means over areas are anti-aliased; leave out antialias, or use bicubic")
        self.factor, self.kernel, self.antialias = float(factor), kernel, antialias
        self.image_size = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.window = _checked_window(window, self.image_size)

    def arguments(self) -> dict[str, Any]:
        """Arguments from which its constructor makes the same corruption."""
        own = {"factor": self.factor, "kernel": self.kernel, "antialias": self.antialias, "image_size": self.image_size}
        return own | {"window": self.window} | super().arguments()

    def seeing(self, size: int, factor: float, window: Window | None) -> Self:
        """Let it, in place, shrink the ``window`` of images of ``size`` px by ``factor``."""
        self.factor, self.image_size = float(factor), (size, size)
        self.window = _checked_window(window, self.image_size)
        self._made.clear()
        return self

    def measurement_shape(self, image: Shape) -> Shape:
        """(B, C, H, W) to (B, C, H / factor, W / factor), whole numbers that are not larger."""
        if self.image_size is not None:
            require_shape("Downsample", "the image's height and width", image[-2:], self.image_size)
        if min(image[-2:]) < self.factor:
            few = f"{image[-2]} x {image[-1]} px are too few for a factor of {self.factor:g}"
            raise CorruptionError(f"Downsample: {few}")
        seen = image[-2:] if self.window is None else self.window[2:]
        return (*image[:-2], *(int(side / self.factor + ROUNDED) for side in seen))

    def image_shape(self, measurement: Shape) -> Shape:
        """(B, C, h, w) to (B, C, h factor, w factor), or the ``image_size`` that was given."""
        height, width = self.image_size or [round(side * self.factor) for side in measurement[-2:]]
        shape = (*measurement[:-2], height, width)
        require_shape("Downsample", "measurements", measurement, self.measurement_shape(shape))
        return shape

    def A(self, x: Tensor) -> Tensor:  # noqa: N802
        """(B, C, H, W) to (B, C, h, w)."""
        require_image("Downsample", x)
        h, w = self.measurement_shape(tuple(x.shape))[-2:]
        return self.matrix(x.shape[-2], h, x, 0) @ x @ self.matrix(x.shape[-1], w, x, 1).T

    def A_adjoint(self, y: Tensor) -> Tensor:  # noqa: N802
        """(B, C, h, w) to (B, C, H, W)."""
        require_image("Downsample", y)
        height, width = self.image_shape(tuple(y.shape))[-2:]
        return self.matrix(height, y.shape[-2], y, 0).T @ y @ self.matrix(width, y.shape[-1], y, 1)

    def seen_through(self, pixels: Tensor) -> Tensor:
        """Say that a measurement counts if any pixel under its kernel does."""
        h, w = self.measurement_shape(tuple(pixels.shape))[-2:]
        rows, columns = (
            self.matrix(*of).abs() for of in ((pixels.shape[2], h, pixels, 0), (pixels.shape[3], w, pixels, 1))
        )
        return (rows @ pixels @ columns.T > 1e-6).to(pixels.dtype)

    def matrix(self, n: int, m: int, like: Tensor, axis: int) -> Tensor:
        """Weights (m, n) down (0) or across (1), on ``like``'s device and in its dtype."""
        make = area_matrix if self.kernel == "area" else _cubic_matrix if self.antialias else _plain_cubic_matrix
        span = None if self.window is None else (self.window[axis], self.window[axis + 2])
        return self.once((n, m, span), like, lambda: make(n, m, span))

    def _text(self) -> str:
        kernel = "" if self.kernel == "bicubic" else f",kernel={self.kernel}"
        size = "" if self.image_size is None else f",size={self.image_size[0]}x{self.image_size[1]}"
        window = "" if self.window is None else f",window={'x'.join(f'{side:g}' for side in self.window)}"
        return f"superres:{self.factor:g}{kernel}{'' if self.antialias else ',antialias=no'}{size}{window}"


def _checked_window(window: Window | None, image_size: tuple[int, int] | None) -> Window | None:
    """``window``, or an error where it does not lie in the image."""
    if window is None:
        return None
    if image_size is None:
        raise CorruptionError("Downsample: a window of an image needs its size; give image_size")
    top, left, height, width = (float(at) for at in window)
    beyond = max(-top, -left, top + height - image_size[0], left + width - image_size[1])
    if not (beyond <= ROUNDED and height > 0 and width > 0):
        raise CorruptionError(f"Downsample: the window {window} does not lie in an image of {image_size} px")
    return top, left, height, width


def downsampling(corruption: Corruption) -> Downsample | None:
    """Return the part that shrinks images, where there is one alone.

    Examples
    --------
    >>> from neuropyro.models.corruption import parse_corruption
    >>> found = downsampling(parse_corruption("blur:2+superres:4"))
    >>> found.factor, downsampling(parse_corruption("blur:2"))
    (4.0, None)
    """
    found = [part for part in corruption.modules() if isinstance(part, Downsample)]
    return found[0] if len(found) == 1 else None
