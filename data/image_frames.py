"""From a file's image to the generator's square on -1..1, and back.

A frame is a box in the file's image, which is turned and flipped upright, cut out (padded where it reaches outside),
resampled to a square of the generator's side, and whose brightness is mapped from ``low..high`` to -1..1 without
clipping, so that the map can be inverted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

__all__ = ["Frame", "foreground_centre", "foreground_extent", "robust_range"]

Fit = Literal["pad", "crop"]
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue, ITU-R BT.601
PERCENTILES = (0.5, 99.5)


def robust_range(pixels: NDArray[np.floating], percentiles: tuple[float, float] = PERCENTILES) -> tuple[float, float]:
    """Dark and bright end of ``pixels``, robust against a few outliers; the whole range where these are one.

    Raises
    ------
    ValueError
        Where all pixels have one value.

    Examples
    --------
    >>> robust_range(np.append(np.arange(1000.0), 1e6))  # one pixel is far too bright
    (5.0, 995.0)
    """
    low, high = (float(v) for v in np.percentile(pixels, percentiles))
    if low == high:  # nearly all is background
        low, high = float(pixels.min()), float(pixels.max())
    if low == high:
        raise ValueError(f"image: every pixel is {low}, so that there is nothing to see; check the file")
    return low, high


def foreground_centre(pixels: NDArray[np.floating], low: float, high: float) -> tuple[float, float]:
    """Middle (row, column), px, of the box around all of ``pixels`` (..., H, W) brighter than a fifth of low..high.

    Raises
    ------
    ValueError
        Where nothing is.

    Examples
    --------
    >>> head = np.zeros((1, 1, 8, 8))
    >>> head[..., 2:4, 1:7] = 1.0  # rows 2 and 3, columns 1 to 6
    >>> foreground_centre(head, 0.0, 1.0)
    (3.0, 4.0)
    """
    return tuple((first + last) / 2 for first, last in _foreground(pixels, low, high))  # type: ignore[return-value]


def foreground_extent(pixels: NDArray[np.floating], low: float, high: float) -> float:
    """Side, px, of the square as large as the box of :func:`foreground_centre`.

    Raises
    ------
    ValueError
        Where nothing is brighter than the background.

    Examples
    --------
    >>> head = np.zeros((1, 1, 8, 8))
    >>> head[..., 2:4, :] = 1.0  # 2 by 8
    >>> foreground_extent(head, 0.0, 1.0)
    4.0
    """
    down, across = (last - first for first, last in _foreground(pixels, low, high))
    return math.sqrt(down * across)


def _foreground(pixels: NDArray[np.floating], low: float, high: float) -> list[tuple[float, float]]:
    """First and last edge of the box, px, down and across."""
    bright = np.asarray((pixels > low + 0.2 * (high - low)).any(axis=tuple(range(pixels.ndim - 2))))
    if not bright.any():
        raise ValueError(f"image: nothing is brighter than the background, {low} to {high}; check its intensities")
    ends = [np.flatnonzero(bright.any(axis=1 - axis))[[0, -1]] for axis in (0, 1)]
    return [(float(first), float(last + 1)) for first, last in ends]


@dataclass(frozen=True)
class Frame:
    """Where and how the generator's square lies in an image.

    Attributes
    ----------
    height, width
        Of the file's image, px.
    channels
        Of the file's image, 1 or 3.
    box
        Top, left, height and width, px of the upright image; it may reach outside.
    size
        Side of the square, px.
    low, high
        Brightness in the file that becomes -1 and 1.
    square_channels
        Of the generator's images, 1 or 3.
    turns
        Quarter turns, counter-clockwise, that bring the file's image upright.
    flipped
        Whether it is flipped left to right, after the turns.

    Examples
    --------
    >>> picture = np.array([[[[0.0, 100.0, 200.0]]]])
    >>> frame = Frame.around(picture, size=3, intensity=(0.0, 200.0))
    >>> frame.to_square(picture)  # black above and below
    tensor([[[[-1., -1., -1.],
              [-1.,  0.,  1.],
              [-1., -1., -1.]]]])
    >>> frame.from_square(frame.to_square(picture)).tolist()
    [[[[0.0, 100.0, 200.0]]]]
    """

    height: int
    width: int
    channels: int
    box: tuple[int, int, int, int]
    size: int
    low: float
    high: float
    square_channels: int = 1
    turns: int = 0
    flipped: bool = False

    @classmethod
    def around(
        cls,
        pixels: NDArray[np.floating],
        size: int,
        square_channels: int = 1,
        fit: Fit = "pad",
        intensity: tuple[float, float] | None = None,
        turns: int = 0,
        flipped: bool = False,
    ) -> Self:
        """Find the frame of whole images: the middle square, around the longer side (pad) or within the shorter (crop).

        Parameters
        ----------
        pixels
            (N, C, H, W) in the file's unit.
        size
            Side of the generator's images, px.
        intensity
            Brightness that becomes -1 and 1; a robust range of all images if None.

        Raises
        ------
        ValueError
            Where pixels are of another shape or all one, ``fit`` is neither, or ``intensity`` no range.
        """
        if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or square_channels not in (1, 3):
            raise ValueError(f"frame: images must be (N, 1 or 3, H, W), got {pixels.shape}")
        if fit not in ("pad", "crop"):
            raise ValueError(f"frame: fit must be pad or crop, got {fit!r}")
        low, high = robust_range(pixels) if intensity is None else intensity
        if not low < high:
            raise ValueError(f"frame: the brightness of black must be below that of white, got {low} and {high}")
        height, width = pixels.shape[2:]
        upright = (width, height) if turns % 2 else (height, width)
        side = max(upright) if fit == "pad" else min(upright)
        box = ((upright[0] - side) // 2, (upright[1] - side) // 2, side, side)
        return cls(height, width, pixels.shape[1], box, size, low, high, square_channels, turns % 4, flipped)

    def with_field_of_view(
        self, field_of_view: float, spacing: tuple[float, float], centre: tuple[float, float] | None = None
    ) -> Self:
        """Box of ``field_of_view`` mm, for generators whose pixels have a size.

        Parameters
        ----------
        spacing
            Size of the upright image's pixels down and across, mm.
        centre
            Row and column of the box's middle, px of the upright image; the image's middle if None.
        """
        sides = [max(1, round(field_of_view / step)) for step in spacing]
        upright = self._upright_sides
        middle = centre if centre is not None else (upright[0] / 2, upright[1] / 2)
        top, left = (round(m - side / 2) for m, side in zip(middle, sides, strict=True))
        return replace(self, box=(top, left, sides[0], sides[1]))

    @property
    def _upright_sides(self) -> tuple[int, int]:
        return (self.width, self.height) if self.turns % 2 else (self.height, self.width)

    def within(self) -> Self:
        """Return it with the box moved as little as leaves it in the image, or, where it is larger, around all of it.

        Examples
        --------
        >>> Frame(8, 4, 1, (-3, 2, 6, 6), 3, 0.0, 1.0).within().box  # 6 of 8 rows, all 4 columns
        (0, 0, 6, 6)
        """
        spare = [whole - side for whole, side in zip(self._upright_sides, self.box[2:], strict=True)]
        starts = [min(max(at, min(room, 0)), max(room, 0)) for at, room in zip(self.box[:2], spare, strict=True)]
        return replace(self, box=(starts[0], starts[1], *self.box[2:]))

    def enlarged(self, times: int) -> Self:
        """Return the same place in an image whose sides are ``times`` as long.

        Examples
        --------
        >>> Frame(8, 4, 1, (0, -2, 8, 8), 32, 0.0, 1.0).enlarged(4).box
        (0, -8, 32, 32)
        """
        top, left, height, width = (times * at for at in self.box)
        return replace(self, height=times * self.height, width=times * self.width, box=(top, left, height, width))

    def at(self, size: int) -> Self:
        """Return the same frame on a square of another side, for images of another resolution and their truth."""
        return replace(self, size=size)

    def to_square(self, pixels: NDArray[np.floating] | Tensor) -> Tensor:
        """Return the generator's images (N, C, size, size) float32 of the file's (N, C, H, W); padding is -1."""
        images = torch.as_tensor(np.asarray(pixels), dtype=torch.float32)
        self.require(tuple(images.shape))
        images = (images - self.low) * (2 / (self.high - self.low)) - 1
        images = _resampled(self.cut(self.upright(images), -1.0), (self.size, self.size))
        return _in_channels(images, self.square_channels)

    def from_square(self, images: Tensor, original: NDArray[np.floating] | None = None) -> NDArray[np.float32]:
        """File's images (N, C, H, W), in its unit, of the generator's (N, C, size, size).

        Parameters
        ----------
        original
            (N, C, H, W), what stands outside the box; ``low`` if None.
        """
        n = images.shape[0]
        if images.ndim != 4 or tuple(images.shape[2:]) != (self.size, self.size):
            raise ValueError(f"frame: images must be (N, C, {self.size}, {self.size}), got {tuple(images.shape)}")
        inner = _resampled(images.detach().float().cpu(), self.box[2:])
        inner = (_in_channels(inner, self.channels) + 1) * ((self.high - self.low) / 2) + self.low
        outer = torch.full((n, self.channels, self.height, self.width), self.low)
        outer = outer if original is None else torch.as_tensor(np.asarray(original), dtype=torch.float32)
        whole = self.upright(outer).clone()
        (r0, r1), (c0, c1) = self.overlap(whole)
        top, left = self.box[:2]
        whole[..., r0:r1, c0:c1] = inner[..., r0 - top : r1 - top, c0 - left : c1 - left]
        return np.ascontiguousarray(self.as_filed(whole).numpy())

    def mask_to_square(self, observed: NDArray[np.generic]) -> Tensor:
        """Booleans (size, size) of those (H, W) of the file: pixels all of whose area was observed; padding was not."""
        images = torch.as_tensor(np.asarray(observed) != 0, dtype=torch.float32)[None, None]
        if tuple(images.shape[2:]) != (self.height, self.width):
            found = tuple(images.shape[2:])
            raise ValueError(f"frame: the mask must be {(self.height, self.width)} px as its image, got {found}")
        cut = self.cut(self.upright(images), 0.0)
        return interpolate(cut, size=(self.size, self.size), mode="area")[0, 0] > 1 - 1e-4

    def upright(self, images: Tensor) -> Tensor:
        """(..., H, W) turned, then flipped."""
        turned = torch.rot90(images, self.turns, (-2, -1))
        return turned.flip(-1) if self.flipped else turned

    def as_filed(self, images: Tensor) -> Tensor:
        """Inverse of :meth:`upright`."""
        return torch.rot90(images.flip(-1) if self.flipped else images, -self.turns, (-2, -1))

    def overlap(self, images: Tensor) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns (from, to) of upright ``images`` that the box covers."""
        top, left, height, width = self.box
        rows = (max(top, 0), max(min(top + height, images.shape[-2]), 0))
        columns = (max(left, 0), max(min(left + width, images.shape[-1]), 0))
        return rows, columns

    def cut(self, images: Tensor, fill: float) -> Tensor:
        """Box (N, C, h, w) of upright ``images``, ``fill`` where it reaches outside."""
        top, left, height, width = self.box
        inner = images.new_full((*images.shape[:2], height, width), fill)
        (r0, r1), (c0, c1) = self.overlap(images)
        inner[..., r0 - top : r1 - top, c0 - left : c1 - left] = images[..., r0:r1, c0:c1]
        return inner

    def require(self, shape: tuple[int, ...]) -> None:
        """Raise unless images have the shape for which the frame was made."""
        if len(shape) != 4 or shape[1:] != (self.channels, self.height, self.width):
            wanted = f"(N, {self.channels}, {self.height}, {self.width})"
            raise ValueError(f"frame: it is for images {wanted}, got {shape}")


def _resampled(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """``images`` (N, C, H, W) at another size, by anti-aliased bicubic interpolation."""
    return images if tuple(images.shape[2:]) == size else interpolate(images, size=size, mode="bicubic", antialias=True)


def _in_channels(images: Tensor, channels: int) -> Tensor:
    """``images`` (N, 1 or 3, H, W) as grey (their luminance) or as three equal colours."""
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.expand(-1, 3, -1, -1)
    weights = torch.tensor(LUMINANCE, dtype=images.dtype, device=images.device)
    return (images * weights[:, None, None]).sum(dim=1, keepdim=True)
