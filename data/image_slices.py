"""Images as they stand in a file, with what is needed to write others like them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImageFileError", "ImageSlices", "Which", "chosen_indices", "finite", "stored"]

Which = Literal["all", "middle"] | int | Sequence[int]
"""Which slices of a volume: all, the middle one, or these (negative ones count from the end)."""


class ImageFileError(ValueError):
    """A file that cannot be used as an image; the message names it and the remedy."""


@dataclass(frozen=True)
class ImageSlices:
    """The slices of one file; a picture has one.

    Attributes
    ----------
    pixels
        (N, C, H, W) float32 in the file's own unit; C is 1 (grey) or 3 (red, green, blue).
    path
        Where they are from.
    dtype
        How the file stores them: uint8, uint16, int16, float32, ...
    kind
        ``"png"``, ``"jpeg"``, ``"tiff"``, ``"bmp"``, ``"npy"`` or ``"nifti"``.
    plane
        ``"coronal"``, ``"axial"`` or ``"sagittal"`` for a volume: row 0 is superior (axial: anterior), column 0 the
        subject's left (sagittal: posterior).
    indices
        The slices' places in the volume, in RAS+ order.
    spacing
        Size of a pixel along rows' and columns' direction (down, across), mm, where it is known.
    affine
        (4, 4) of the volume as stored, voxels to mm.
    """

    pixels: NDArray[np.float32]
    path: Path
    dtype: np.dtype[Any]
    kind: str
    plane: str | None = None
    indices: tuple[int, ...] = (0,)
    spacing: tuple[float, float] | None = None
    affine: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.pixels)


def chosen_indices(which: Which, count: int, path: Path) -> tuple[int, ...]:
    """Places, 0 and up, of the slices that are wanted of ``count``.

    Raises
    ------
    ImageFileError
        Where there is no such slice.
    """
    if isinstance(which, str):
        if which not in ("all", "middle"):
            raise ImageFileError(f"{path}: slices are 'all', 'middle' or numbers, got {which!r}")
        return tuple(range(count)) if which == "all" else (count // 2,)
    wanted = (which,) if isinstance(which, int) else tuple(which)
    outside = [i for i in wanted if not -count <= i < count]
    if outside or not wanted:
        raise ImageFileError(f"{path}: it has no slice {outside or wanted}; slices are 0 to {count - 1}")
    return tuple(i % count for i in wanted)


def finite(pixels: NDArray[Any], path: Path) -> NDArray[np.float32]:
    """``pixels`` as float32; not-a-number, as some programs write outside the brain, becomes the smallest value.

    Raises
    ------
    ImageFileError
        Where they are empty, complex, infinite, or not numbers.
    """
    if pixels.dtype.kind not in "buif" or pixels.size == 0:
        raise ImageFileError(f"{path}: an image needs real numbers, got {pixels.shape} of {pixels.dtype}")
    missing = np.isnan(pixels)
    if np.isinf(pixels).any() or missing.all():
        raise ImageFileError(f"{path}: it has infinite values, or no finite one; replace them")
    filled = np.where(missing, np.nanmin(pixels), pixels) if missing.any() else pixels
    return np.asarray(filled, np.float32)


def stored(pixels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """``pixels`` as ``dtype``: rounded to the nearest number that it holds, if it is one of whole numbers."""
    if dtype.kind == "b":
        return np.asarray(pixels > 0.5)
    if dtype.kind not in "ui":
        return np.asarray(pixels, dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(np.asarray(pixels, np.float64)), limits.min, limits.max).astype(dtype)
