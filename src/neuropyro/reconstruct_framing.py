"""How a file's images are brought to the generator's square: which part of them, and which brightness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.data.image_frames import Frame, foreground_centre, foreground_extent, robust_range
from neuropyro.data.image_slices import ImageSlices, Which
from neuropyro.data.phantom_recipe import FIELD_OF_VIEW

__all__ = ["Framing", "brightness"]

FULL = 0.25  # of a whole-number type's range: pictures that use less of it are stretched by their own range
BRIGHT = 99.5  # percentile
ALIKE = 1.25  # ratio of sizes within which a head is taken to fill the image as the generator's do
NEARLY = 1.18  # likewise, where no pixel is resampled for it: heads of the training's differ by as much
INVERTED = 1.0  # of a range of 2: how much brighter edges are where a background is white in place of black


@dataclass(frozen=True)
class Framing:
    """How images are brought to the generator's frame.

    Parameters
    ----------
    size, channels
        Of the generator's images.
    bright
        Bright end of its images, -1..1.
    slices, plane
        Of volumes.
    intensity
        Brightness in the file that becomes -1 and 1; see :func:`brightness` if None.
    field_of_view
        Of the generator's square, mm, or px of a file that does not say how large these are; the whole image if None.
    head
        Side of the heads that the generator makes, as a share of its square.  Where the file does not say how large
        pixels are, and a head is clearly smaller or larger in it, the square is cut so that it fills it as much.
    centre
        Where their middle lies, down and across, as shares of it.
    edge
        Median brightness, -1..1, of the outermost pixels of the generator's images; unknown if None.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "brain.npy"
    >>> np.save(path, np.linspace(0, 1, 96, dtype=np.float32).reshape(8, 12))
    >>> from neuropyro.data.image_files import read_image
    >>> frame = Framing(size=16, channels=1).frame(read_image(path))
    >>> frame.low, frame.high  # of numbers from 0 to 1, what becomes -1 and 1
    (0.0, 1.0)
    """

    size: int
    channels: int
    bright: float = 1.0
    slices: Which = "all"
    plane: str = "coronal"
    intensity: tuple[float, float] | None = None
    field_of_view: float | None = None
    head: float | None = None
    centre: tuple[float, float] = (0.5, 0.5)
    edge: float | None = None

    @classmethod
    def of(cls, generator: Any, images: Tensor, **given: Any) -> Framing:
        """Find it for a generator, of which ``images`` (N, C, H, W) are samples."""
        bright = float(np.percentile(images.numpy(), BRIGHT))
        details = getattr(getattr(generator, "card", None), "details", {})
        size, plane = generator.img_resolution, given.get("plane", "coronal")
        if "recipe" in details and plane in FIELD_OF_VIEW:
            head, centre = _heads(images.numpy(), bright)
            given["centre"] = centre
            if given.get("field_of_view") is None:
                edges = size / (size - 1)  # from the outermost pixels' middles to their edges
                given |= {"field_of_view": FIELD_OF_VIEW[plane] * edges, "head": head}
        return cls(size, generator.img_channels, bright, edge=_edge(images.numpy()), **given)

    def frame(self, image: ImageSlices, times: int = 1) -> Frame:
        """Find the frame of a file's images, or of small ones enlarged, ``times``, of which no pixel is resampled."""
        intensity, alike = self.intensity or brightness(image, self.bright), ALIKE if times == 1 else NEARLY
        image = image.resized(*(times * side for side in image.pixels.shape[-2:]))
        frame = Frame.around(image.pixels, self.size, self.channels, intensity=intensity)
        if self.field_of_view is None:
            return frame
        if image.spacing is not None:
            middle = foreground_centre(image.pixels, *intensity)  # of MNI's slices no worse than where heads lie
            return frame.with_field_of_view(self.field_of_view, image.spacing, middle)
        if self.head is None:
            return self._around(image, frame, times * self.field_of_view).within()
        side = foreground_extent(image.pixels, *intensity) / self.head
        return frame if 1 / alike < side / frame.box[2] < alike else self._around(image, frame, side)

    def _around(self, image: ImageSlices, frame: Frame, side: float) -> Frame:
        """Square of ``side``, px, in which the content's middle lies where that of the generator's heads does."""
        middle = foreground_centre(image.pixels, frame.low, frame.high)
        down, across = (at + (0.5 - share) * side for at, share in zip(middle, self.centre, strict=True))
        return frame.with_field_of_view(side, (1.0, 1.0), (down, across))

    def remarks(self, image: ImageSlices, frame: Frame) -> list[str]:
        """Say where a picture's content lies in it as it does not in the generator's images.

        Examples
        --------
        >>> from pathlib import Path
        >>> full = ImageSlices(np.full((1, 1, 16, 16), 200.0), Path("cropped.png"), np.dtype(np.uint8), "png")
        >>> framing = Framing(size=64, channels=1, field_of_view=179.0, head=0.8, edge=-1.0)
        >>> for line in framing.remarks(full, framing.frame(full)):
        ...     print(line.partition(":")[0])
        its content fills 100 % of the picture's side, and 80 % of that of the generator's images
        its edges are bright, and those of the generator's images dark
        """
        said, whole, times = [], max(image.pixels.shape[-2:]), frame.height // image.pixels.shape[-2]
        if self.head is not None and image.spacing is None and (side := frame.box[2] / times) != whole:
            fills, usual = (f"{100 * share:.0f} %" for share in (self.head * side / whole, self.head))
            beyond = "unseen beyond the picture" if times > 1 else "black beyond the picture"
            where = beyond if side > whole else "of the picture alone"
            said.append(
                f"its content fills {fills} of the picture's side, and {usual} of that of the generator's images: it "
                f"is reconstructed in a square of {side:g} px around it, {where}; --field-of-view {whole} takes the "
                "picture as it is"
            )
        edge = (_edge(image.pixels) - frame.low) * 2 / (frame.high - frame.low) - 1
        if self.edge is not None and edge > self.edge + INVERTED:
            said.append(
                "its edges are bright, and those of the generator's images dark: if it is a negative, invert it, as by "
                "PIL.ImageOps.invert"
            )
        return said


def _heads(images: NDArray[np.floating], bright: float) -> tuple[float | None, tuple[float, float]]:
    """Side and middle of the heads in images (N, C, H, W), as shares of it; none and its middle where none is seen."""
    seen, size = [image for image in images if (image > bright - 0.5).any()], images.shape[-1]
    if not seen:
        return None, (0.5, 0.5)
    down, across = np.median([foreground_centre(image, -1.0, bright) for image in seen], 0) / size
    head = float(np.median([foreground_extent(image, -1.0, bright) for image in seen])) / size
    return head, (float(down), float(across))


def _edge(pixels: NDArray[np.floating]) -> float:
    """Median brightness of the outermost pixels of images (..., H, W)."""
    sides = (pixels[..., 0, :], pixels[..., -1, :], pixels[..., 0], pixels[..., -1])
    return float(np.median(np.concatenate([side.ravel() for side in sides])))


def brightness(image: ImageSlices, bright: float) -> tuple[float, float]:
    """Brightness in the file of -1 and 1.

    Pictures of 8 or 16 bits: the type's whole range, if they use it.  Other numbers within -1..1 or 0..1: that range.
    Else the bright end of the image becomes ``bright``, the generator's, on -1..1.

    Examples
    --------
    >>> from pathlib import Path
    >>> ramp, path = np.linspace(0, 200, 101, dtype=np.float32).reshape(1, 1, 1, 101), Path("scan")
    >>> brightness(ImageSlices(ramp, path, np.dtype(np.uint8), "png"), bright=1.0)
    (0.0, 255.0)
    >>> [round(x) for x in brightness(ImageSlices(ramp, path, np.dtype(np.int16), "nifti"), bright=0.0)]
    [1, 397]
    """
    pixels = image.pixels
    low, high = float(pixels.min()), float(pixels.max())
    if image.kind != "nifti":
        if image.dtype.kind == "u" and high >= FULL * np.iinfo(image.dtype).max:
            return 0.0, float(np.iinfo(image.dtype).max)
        if image.dtype.kind == "f" and low >= -1 and high <= 1 and high > 0.1:
            return (-1.0, 1.0) if low < -0.05 else (0.0, 1.0)
    low, high = robust_range(pixels, (100 - BRIGHT, BRIGHT))
    return low, low + (high - low) * 2 / (bright + 1)
