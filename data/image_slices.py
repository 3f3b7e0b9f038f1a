"""Images as they stand in a file, with what is needed to write others like them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["ImageFileError", "ImageSlices", "Which", "chosen_indices", "finite", "stored"]

Which = Literal["all", "middle"] | int | Sequence[int]
"""Which slices of a volume: all, the middle one, or these (negative ones count from the end)."""


class ImageFileError(ValueError):
    """A file that cannot be used as an image; the message names it and the remedy.

    Examples
    --------
    >>> try:
    ...     finite(np.array(["grey"]), Path("notes.npy"))
    ... except ValueError as error:
    ...     print(error)
    notes.npy: an image needs real numbers, got (1,) of <U4
    """


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
    positions
        Of the slices' middles, mm along the axis at right angles to the plane (y of coronal ones), where the header
        calls the affine's space a shared one: MNI's, Talairach's or another image's.
    missing
        How many of the pixels were NaN, and have the smallest value of the others now.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.data.image_files import read_image
    >>> path = Path(tempfile.mkdtemp()) / "stack.npy"
    >>> np.save(path, np.zeros((5, 8, 6), np.int16))
    >>> slices = read_image(path, slices=[2, -1])
    >>> len(slices), slices.indices, slices.pixels.shape, str(slices.dtype)
    (2, (2, 4), (2, 1, 8, 6), 'int16')
    """

    pixels: NDArray[np.float32]
    path: Path
    dtype: np.dtype[Any]
    kind: str
    plane: str | None = None
    indices: tuple[int, ...] = (0,)
    spacing: tuple[float, float] | None = None
    affine: NDArray[np.float64] | None = None
    positions: tuple[float, ...] | None = None
    missing: int = 0

    def __len__(self) -> int:
        return len(self.pixels)

    def resized(self, height: int, width: int) -> Self:
        """Return pictures of other sides, px, by anti-aliased bicubic interpolation.

        Examples
        --------
        >>> picture = ImageSlices(np.ones((1, 1, 4, 4), np.float32), Path("a.png"), np.dtype("u1"), "png")
        >>> picture.resized(8, 6).pixels.shape
        (1, 1, 8, 6)
        """
        if self.pixels.shape[-2:] == (height, width):
            return self
        import torch  # takes seconds, which commands that need none of it should not wait for
        from torch.nn.functional import interpolate

        pixels = interpolate(torch.as_tensor(self.pixels), size=(height, width), mode="bicubic", antialias=True)
        return replace(self, pixels=pixels.numpy())


def chosen_indices(which: Which, count: int, path: Path) -> tuple[int, ...]:
    """Places, 0 and up, of the slices that are wanted of ``count``.

    Raises
    ------
    ImageFileError
        Where there is no such slice.

    Examples
    --------
    >>> [chosen_indices(which, 5, Path("t1.nii")) for which in ("middle", -1, (0, 3))]
    [(2,), (4,), (0, 3)]
    >>> chosen_indices(7, 5, Path("t1.nii"))
    Traceback (most recent call last):
        ...
    neuropyro.data.image_slices.ImageFileError: t1.nii: it has no slice [7]; slices are 0 to 4
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
    """``pixels``, of any shape, as float32; NaN, as some programs write outside the brain, becomes the smallest value.

    Raises
    ------
    ImageFileError
        Where they are empty, complex, infinite, or not numbers.

    Examples
    --------
    >>> finite(np.array([[3, np.nan], [5, 4]]), Path("t1.npy")).tolist()
    [[3.0, 3.0], [5.0, 4.0]]
    """
    if pixels.dtype.kind not in "buif" or pixels.size == 0:
        raise ImageFileError(f"{path}: an image needs real numbers, got {pixels.shape} of {pixels.dtype}")
    missing = np.isnan(pixels)
    if np.isinf(pixels).any() or missing.all():
        raise ImageFileError(f"{path}: it has infinite values, or no finite one; replace them")
    filled = np.where(missing, np.nanmin(pixels), pixels) if missing.any() else pixels
    return np.asarray(filled, np.float32)


def stored(pixels: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """``pixels``, of any shape, as ``dtype``: where it is of whole numbers, rounded to the nearest one that it holds.

    Examples
    --------
    >>> stored(np.array([-3.0, 99.6, 300.0]), np.dtype("uint8")).tolist()
    [0, 100, 255]
    """
    if dtype.kind == "b":
        return np.asarray(pixels > 0.5)
    if dtype.kind not in "ui":
        return np.asarray(pixels, dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(np.asarray(pixels, np.float64)), limits.min, limits.max).astype(dtype)
