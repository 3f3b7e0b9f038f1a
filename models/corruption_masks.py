"""Pixels that are missing: A(x) = m x, m being 1 where observed and 0 in the hole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.data.image_files import read_image
from neuropyro.data.image_slices import ImageFileError
from neuropyro.models.corruption_mask_shapes import SHAPES, MaskShape
from neuropyro.models.corruption_operator import Corruption, CorruptionError, require_image
from neuropyro.models.corruption_options import options_text

__all__ = ["Mask", "reframed"]

MEANING = "a mask is 1 (white) where the image is observed, 0 (black) in the hole"


class Mask(Corruption):
    """Images with holes.

    Measurements have the image's shape and are 0 in the hole, where they do not count; whatever else a user's file
    holds there, not-a-number included, is not looked at.

    Parameters
    ----------
    mask
        Where the image is observed: an array or tensor (H, W), (C, H, W) or (B, C, H, W), of which any value but 0
        is observed; a file, of which all brighter than half its range is, so that black is the hole; or a shape of
        :mod:`~neuropyro.models.corruption_mask_shapes`.
    noise
        See :class:`~neuropyro.models.corruption_operator.Corruption`.

    Raises
    ------
    CorruptionError
        Where the mask is no such array, or hides everything.

    Examples
    --------
    >>> from neuropyro.models.corruption_mask_shapes import Rectangle
    >>> Mask(Rectangle(0.5, 0.5)).A(torch.ones(1, 1, 4, 4))[0, 0].tolist()
    [[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]]
    """

    mask: Tensor | None

    def __init__(self, mask: Tensor | NDArray[Any] | str | Path | MaskShape, noise: float | None = None) -> None:
        super().__init__(noise)
        self.path = str(mask) if isinstance(mask, str | Path) else None
        given = _read_mask(mask) if isinstance(mask, str | Path) else mask
        self.shape = given if callable(given) and not isinstance(given, Tensor) else None
        self.register_buffer("mask", None if self.shape is not None else _checked_mask(torch.as_tensor(given)))

    def arguments(self) -> dict[str, Any]:
        """Arguments from which its constructor makes the same corruption; what a file held is an array."""
        return {"mask": self.mask if self.shape is None else self.shape} | super().arguments()

    def A(self, x: Tensor) -> Tensor:  # noqa: N802
        """``x`` (B, C, H, W) with 0 in the hole."""
        require_image("Mask", x)
        return torch.where(self.at(x), x, 0.0)

    def A_adjoint(self, y: Tensor) -> Tensor:  # noqa: N802
        """Do the same as :meth:`A`."""
        return self.A(y)

    def seen_through(self, pixels: Tensor) -> Tensor:
        """Pixels outside the hole."""
        return torch.where(self.at(pixels), pixels, 0.0)

    def at(self, x: Tensor) -> Tensor:
        """Booleans (1 or B, 1 or C, H, W) for images like ``x``, on its device."""
        height, width = x.shape[-2:]
        mask = self.once((height, width), x, lambda: self.made_for(height, width))
        if mask.shape[0] not in (1, x.shape[-4]) and x.shape[-4] != 1:
            raise CorruptionError(f"Mask: {mask.shape[0]} masks for {x.shape[-4]} images; give one, or one each")
        if mask.shape[1] not in (1, x.shape[-3]) and x.shape[-3] != 1:
            raise CorruptionError(f"Mask: {mask.shape[1]} channels for images of {x.shape[-3]}; give one, or as many")
        return mask

    def made_for(self, height: int, width: int) -> Tensor:
        """Return the given mask, if it has this size, or the given shape in it."""
        if self.shape is not None:
            return _checked_mask(self.shape(height, width))
        assert self.mask is not None
        if tuple(self.mask.shape[2:]) != (height, width):
            found, name = "{} x {}".format(*self.mask.shape[2:]), self.path or "the mask"
            raise _refused(f"{name} has {found} px, the image {height} x {width}; resample it")
        return self.mask

    def _text(self) -> str:
        if self.path is not None:
            return f"inpaint:{self.path}"
        names = {kind: name for name, kind in SHAPES.items()}
        if type(self.shape) in names:
            return f"inpaint:{names[type(self.shape)]}{options_text(self.shape)}"
        return super()._text()


def reframed(corruption: Corruption, to_square: Callable[[NDArray[np.bool_]], Tensor]) -> Corruption:
    """Bring every mask that ``corruption`` has as an array to the generator's square, in place.

    Parameters
    ----------
    to_square
        From booleans (H, W) of the image's size to those of the generator's; see
        :meth:`neuropyro.data.image_frames.Frame.mask_to_square`.

    Raises
    ------
    CorruptionError
        Where a mask hides everything in the square.

    Examples
    --------
    >>> halves = Mask(torch.tensor([[1, 1, 0, 0]] * 2))  # of an image of 2 x 4 px: the right half is the hole
    >>> seen = reframed(halves, lambda plane: torch.from_numpy(plane).repeat(2, 1)).A(torch.ones(1, 1, 4, 4))
    >>> seen[0, 0, -1].tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    for part in corruption.modules():
        if isinstance(part, Mask) and part.mask is not None:
            planes = [to_square(plane.cpu().numpy()) for plane in part.mask.flatten(0, 1)]
            part.mask = _checked_mask(torch.stack(planes).reshape(*part.mask.shape[:2], *planes[0].shape))
            part._made.clear()
    return corruption


def _refused(said: str) -> CorruptionError:
    """Return the error that says so, and what a mask is."""
    return CorruptionError(f"{said}; {MEANING}")


def _checked_mask(mask: Tensor) -> Tensor:
    """``mask`` as booleans (1 or B, 1 or C, H, W)."""
    if mask.ndim not in (2, 3, 4):
        raise CorruptionError(f"Mask: it must be (H, W), (C, H, W) or (B, C, H, W), got {tuple(mask.shape)}")
    if not torch.isfinite(mask).all():
        raise _refused("Mask: it has values that are not finite")
    observed = mask.reshape((1,) * (4 - mask.ndim) + tuple(mask.shape)) != 0
    if not observed.any():
        raise _refused("Mask: it hides every pixel")
    return observed


def _read_mask(path: str | Path) -> NDArray[np.bool_]:
    """Read (H, W) booleans from an image file: True where brighter than half of its range."""
    try:
        image = read_image(path)
    except ImageFileError as error:
        raise _refused(str(error)) from error
    if len(image) != 1:
        raise _refused(f"{path} has {len(image)} slices; save the one that is meant")
    if (np.ptp(image.pixels[0], axis=0) > 0).any():
        raise _refused(f"{path} has colours; save it in black and white")
    pixels = image.pixels[0, 0]
    low, high = float(pixels.min()), float(pixels.max())
    if low == high:
        raise _refused(f"{path}, {pixels.shape[1]} x {pixels.shape[0]} pixels, has one value everywhere")
    observed: NDArray[np.bool_] = pixels > (low + high) / 2
    return observed
