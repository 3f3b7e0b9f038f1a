"""Pictures as small as what a corruption leaves of the generator's images: their own pixels are what was measured.

``superres:4`` leaves 16 px of 64.  A picture of 16 px that was cropped to a brain shows less than the generator's
images do: it is a window of one, shrunk by less than 4.  Resampled to a square with more around it, it would be blurred
a second time, and what lies beyond it taken for black.
"""

from __future__ import annotations

import math

from torch import Tensor

from neuropyro.data.image_frames import Frame
from neuropyro.data.image_slices import ImageSlices
from neuropyro.models.corruption import Corruption
from neuropyro.models.corruption_resampling import downsampling

__all__ = ["enlargement", "window_of"]


def enlargement(image: ImageSlices, corruption: Corruption, size: int) -> int:
    """By how much a small picture's sides are enlarged to the generator's ``size`` px; 1 of another picture.

    It is 1 as well where the corruption says itself which window was seen.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from neuropyro.models.corruption import Downsample
    >>> small = ImageSlices(np.zeros((1, 1, 12, 16), np.float32), Path("a.png"), np.dtype(np.uint8), "png")
    >>> enlargement(small, Downsample(4), 64), enlargement(small, Downsample(2), 64)  # which leaves 32 px
    (4, 1)
    """
    found, own = downsampling(corruption), max(image.pixels.shape[-2:])
    if found is None or found.window is not None or image.spacing is not None or size < found.factor:
        return 1
    return round(size / own) if found.measurement_shape((1, 1, size, size))[-1] == own else 1


def window_of(corruption: Corruption, image: ImageSlices, frame: Frame) -> Tensor:
    """Pixels of a small picture in the generator's unit, ``(N, C, h, w)``; the corruption sees that window, in place.

    Parameters
    ----------
    frame
        Of the picture enlarged by a whole factor.  Pixels that it cuts are left out.

    Examples
    --------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from neuropyro.models.corruption import Downsample
    >>> small = ImageSlices(np.zeros((1, 1, 16, 16), np.float32), Path("a.png"), np.dtype(np.uint8), "png")
    >>> around = Frame(64, 64, 1, (-8, -8, 80, 80), 64, 0.0, 255.0)  # of 4 x 16 px: 2 x 4 more on each side
    >>> shrunk = Downsample(4)
    >>> window_of(shrunk, small, around).shape, shrunk.text
    (torch.Size([1, 1, 16, 16]), 'superres:3.2,size=64x64,window=6.4x6.4x51.2x51.2')
    """
    found = downsampling(corruption)
    assert found is not None
    (top, left, side, _), (height, width) = frame.box, image.pixels.shape[-2:]
    times, step = frame.height // height, frame.size / frame.box[2]
    (r0, r1), (c0, c1) = _inside(top, side, height, times), _inside(left, side, width, times)
    begins, sides = (times * r0 - top, times * c0 - left), (times * (r1 - r0), times * (c1 - c0))
    down, across, h, w = (step * at for at in (*begins, *sides))
    found.seeing(frame.size, step * times, None if sides == (side, side) else (down, across, h, w))
    whole = Frame.around(image.pixels, max(height, width), frame.square_channels, intensity=(frame.low, frame.high))
    pixels, (above, before, *_) = whole.to_square(image.pixels), whole.box  # without resampling
    return pixels[..., r0 - above : r1 - above, c0 - before : c1 - before]


def _inside(start: int, side: int, own: int, times: int) -> tuple[int, int]:
    """First and last of ``own`` pixels, of ``times`` each, that lie whole in a box's side."""
    return max(math.ceil(start / times), 0), min((start + side) // times, own)
