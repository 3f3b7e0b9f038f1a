"""Holes of known shapes, relative to the image, so that one shape fits every size.

Each is called with a height and width in px and returns (H, W) booleans, True where observed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.corruption_operator import CorruptionError

__all__ = ["SHAPES", "Ellipse", "FreeForm", "Half", "MaskShape", "Pixels", "Rectangle", "Stripes"]

MaskShape = Callable[[int, int], Tensor]
Side = Literal["left", "right", "top", "bottom"]


def _pixel_centres(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Positions (H, 1) and (1, W) of the pixels' centres, as fractions of the image."""
    rows = (torch.arange(height, dtype=torch.float64) + 0.5) / height
    columns = (torch.arange(width, dtype=torch.float64) + 0.5) / width
    return rows[:, None], columns[None, :]


def _require_fraction(name: str, **values: float) -> None:
    """Raise unless each of ``values`` lies within 0..1."""
    for field, value in values.items():
        if not 0 <= value <= 1:
            raise CorruptionError(f"{name}: {field} is a fraction of the image, 0 to 1, got {value}")


@dataclass(frozen=True)
class _Box:
    """Where a hole lies: its ``height`` and ``width`` and its middle's ``row`` and ``column`` as fractions."""

    height: float = 0.5
    width: float = 0.5
    row: float = 0.5
    column: float = 0.5

    def __post_init__(self) -> None:
        name = type(self).__name__.lower()
        _require_fraction(name, height=self.height, width=self.width, row=self.row, column=self.column)

    def from_middle(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Positions (H, 1) and (1, W) of the pixels' centres from the hole's middle."""
        rows, columns = _pixel_centres(height, width)
        return rows - self.row, columns - self.column


class Rectangle(_Box):
    """A rectangular hole.

    Raises
    ------
    CorruptionError
        Where a part is no fraction of 0..1.

    Examples
    --------
    >>> Rectangle(height=1.0, width=0.5)(1, 8).int().tolist()
    [[1, 1, 0, 0, 0, 0, 1, 1]]
    """

    def __call__(self, height: int, width: int) -> Tensor:
        """(H, W), True where observed."""
        down, across = self.from_middle(height, width)
        return (down.abs() > self.height / 2) | (across.abs() > self.width / 2)


class Ellipse(_Box):
    """An elliptic hole.

    Raises
    ------
    CorruptionError
        Where a part is no fraction of 0..1, or a side is 0.

    Examples
    --------
    >>> hidden = ~Ellipse(height=1.0, width=1.0)(100, 100)
    >>> round(float(hidden.double().mean()), 2)  # pi / 4 of the image
    0.79
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.height * self.width:
            raise CorruptionError("ellipse: its height and width must be above 0")

    def __call__(self, height: int, width: int) -> Tensor:
        """(H, W), True where observed."""
        down, across = self.from_middle(height, width)
        return (down / self.height).square() + (across / self.width).square() > 0.25


@dataclass(frozen=True)
class Half:
    """The ``fraction`` of the image nearest to one ``side`` is hidden.

    Raises
    ------
    CorruptionError
        Where the fraction is none of 0..1, or the side unknown.

    Examples
    --------
    >>> Half("right", fraction=0.25)(1, 8).int().tolist()
    [[1, 1, 1, 1, 1, 1, 0, 0]]
    """

    side: Side = "left"
    fraction: float = 0.5

    def __post_init__(self) -> None:
        _require_fraction("half", fraction=self.fraction)
        if self.side not in get_args(Side):
            raise CorruptionError(f"half: side must be one of {', '.join(get_args(Side))}, got {self.side!r}")

    def __call__(self, height: int, width: int) -> Tensor:
        """(H, W), True where observed."""
        rows, columns = _pixel_centres(height, width)
        along = {"left": columns, "right": 1 - columns, "top": rows, "bottom": 1 - rows}[self.side]
        return (along > self.fraction).expand(height, width).clone()


@dataclass(frozen=True)
class Stripes:
    """``count`` horizontal stripes, evenly spaced, that together hide a ``fraction`` of the image.

    Raises
    ------
    CorruptionError
        Where the fraction is none of 0..1, or ``count`` below 1.

    Examples
    --------
    >>> Stripes(count=2, fraction=0.5)(8, 1).flatten().int().tolist()
    [1, 0, 0, 1, 1, 0, 0, 1]
    """

    count: int = 4
    fraction: float = 0.5

    def __post_init__(self) -> None:
        _require_fraction("stripes", fraction=self.fraction)
        if self.count < 1:
            raise CorruptionError(f"stripes: count must be 1 or more, got {self.count}")

    def __call__(self, height: int, width: int) -> Tensor:
        """(H, W), True where observed."""
        rows, _ = _pixel_centres(height, width)
        phase = (rows * self.count) % 1
        return ((phase - 0.5).abs() > self.fraction / 2).expand(height, width).clone()


@dataclass(frozen=True)
class Pixels:
    """Single pixels hidden at random, a ``fraction`` of all.

    Raises
    ------
    CorruptionError
        Where the fraction is none of 0..1.

    Examples
    --------
    >>> int(Pixels(fraction=0.25, seed=1)(8, 8).sum())
    48
    """

    fraction: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        _require_fraction("pixels", fraction=self.fraction)

    def __call__(self, height: int, width: int) -> Tensor:
        """(H, W), True where observed."""
        order = np.random.default_rng(self.seed).permutation(height * width)
        return torch.from_numpy(order >= round(self.fraction * height * width)).reshape(height, width)


@dataclass(frozen=True)
class FreeForm:
    """Strokes of a brush, drawn at random until a ``fraction`` of the image is hidden.

    A stroke is a walk of up to eight straight pieces, each an eighth to a third of the image long, whose direction
    turns little by little; ``brush`` is its width as a fraction of the image.  After Yu et al., *Free-form image
    inpainting with gated convolution*, ICCV 2019, algorithm 1.

    Raises
    ------
    CorruptionError
        Where ``brush`` or ``fraction`` is none of 0..1, the one 0 or the other 1.

    Examples
    --------
    >>> hidden = ~FreeForm(fraction=0.25, seed=1)(64, 64)
    >>> bool(0.25 <= hidden.double().mean() < 0.35)
    True
    """

    fraction: float = 0.25
    brush: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        _require_fraction("freeform", fraction=self.fraction, brush=self.brush)
        if self.brush == 0 or self.fraction == 1:
            raise CorruptionError("freeform: brush must be above 0 and fraction below 1")

    def __call__(self, height: int, width: int) -> Tensor:
        """(H, W), True where observed; the last stroke ends where the fraction is reached."""
        rows, columns = (axis.numpy() for axis in _pixel_centres(height, width))
        hidden = np.zeros((height, width), bool)
        for start, end in self.pieces():
            if hidden.mean() >= self.fraction:
                break
            hidden |= _distance_to_segment(rows, columns, start, end) < self.brush / 2
        return torch.from_numpy(~hidden)

    def pieces(self) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Endless (start, end) of straight pieces, each (row, column)."""
        rng = np.random.default_rng(self.seed)
        while True:
            place, angle = rng.random(2), rng.uniform(0, 2 * np.pi)
            for _ in range(rng.integers(2, 9)):
                angle += rng.uniform(-1, 1)
                step = rng.uniform(1 / 8, 1 / 3) * np.array([np.sin(angle), np.cos(angle)])
                end = np.clip(place + step, 0, 1)
                yield place, end
                place = end


def _distance_to_segment(
    rows: NDArray[Any], columns: NDArray[Any], start: NDArray[Any], end: NDArray[Any]
) -> NDArray[Any]:
    """Distance (H, W) of points at ``rows`` (H, 1) and ``columns`` (1, W) to the segment from ``start`` to ``end``."""
    along = end - start
    share = ((rows - start[0]) * along[0] + (columns - start[1]) * along[1]) / max(float(along @ along), 1e-12)
    share = np.clip(share, 0, 1)
    distance: NDArray[Any] = np.hypot(rows - start[0] - share * along[0], columns - start[1] - share * along[1])
    return distance


SHAPES: dict[str, type] = {
    "rectangle": Rectangle,
    "ellipse": Ellipse,
    "half": Half,
    "stripes": Stripes,
    "pixels": Pixels,
    "freeform": FreeForm,
}
"""Shape of each name in short texts."""
