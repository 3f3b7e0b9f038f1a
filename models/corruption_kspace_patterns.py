"""Which points of k-space a scanner reads: lines of a Cartesian grid, or single points.

Each pattern is called with a height and width in px and returns (H, W) booleans, True where sampled; zero frequency is
in the middle, at (H // 2, W // 2).  The last axis is the phase-encoding direction: a line is a column, as in fastMRI.
All sample the same number of lines (or points) at one acceleration, the fully sampled centre included.

References
----------
Lustig, Donoho and Pauly, *Sparse MRI*, MRM 2007 (variable density); Zbontar et al., *fastMRI*, arXiv
1811.08839, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.corruption_operator import CorruptionError

__all__ = ["Density", "Lines", "Pattern", "Points"]

Pattern = Callable[[int, int], Tensor]
Density = Literal["random", "variable", "equispaced"]


@dataclass(frozen=True)
class Lines:
    """Cartesian lines.

    Parameters
    ----------
    acceleration
        One in so many lines is sampled.
    centre
        Fraction of all lines that are the fully sampled ones in the middle.
    density
        How the others lie: ``"random"`` uniformly, ``"variable"`` with probability (1 - |k|)^3, |k| being 1 at the
        edge, or ``"equispaced"``.
    seed
        Of the random ones, and of the first of the equispaced.

    Raises
    ------
    CorruptionError
        Where an argument has no meaning, or the centre alone has more lines than the acceleration leaves.

    Examples
    --------
    >>> sampled = Lines(acceleration=4.0, centre=0.1)(64, 320)
    >>> int(sampled[0].sum()), bool(sampled[:, 144:176].all())  # a quarter of 320 lines, with the 32 in the middle
    (80, True)
    """

    acceleration: float = 4.0
    centre: float = 0.08
    density: Density = "random"
    seed: int = 0

    def __post_init__(self) -> None:
        _check("k-space lines", self.acceleration, self.centre)
        if self.density not in get_args(Density):
            raise CorruptionError(
                f"k-space lines: density must be one of {', '.join(get_args(Density))}, got {self.density!r}"
            )

    def __call__(self, height: int, width: int) -> Tensor:
        """(H, W), True where sampled."""
        wanted = max(1, round(width / self.acceleration))
        central = _middle_lines(width, self.centre)
        outer, count = np.flatnonzero(~central), wanted - int(central.sum())
        _check_centre("k-space lines", count, central.sum(), wanted)
        sampled = central.copy()
        sampled[self.chosen(outer, count, width)] = True
        return torch.from_numpy(sampled).expand(height, width).clone()

    def chosen(self, outer: NDArray[Any], count: int, width: int) -> NDArray[Any]:
        """``count`` of the ``outer`` lines' indices."""
        rng = np.random.default_rng(self.seed)
        if self.density == "equispaced":
            step = len(outer) / max(count, 1)
            places = np.floor(rng.random() * step + step * np.arange(count)).astype(int).clip(max=len(outer) - 1)
            return np.asarray(outer[places])
        weights = _falling(np.abs(_frequencies(width)[outer]) / (width / 2)) if self.density == "variable" else None
        return _chosen_without_replacement(rng, outer, count, weights)


@dataclass(frozen=True)
class Points:
    """Single points at random, their density falling with (1 - r)^3 from a fully sampled disc in the middle.

    Parameters
    ----------
    acceleration
        One in so many points is sampled.
    centre
        Radius of the disc relative to that of k-space.
    seed
        Of the points.

    Raises
    ------
    CorruptionError
        As for :class:`Lines`.

    Examples
    --------
    >>> sampled = Points(acceleration=4.0, seed=1)(32, 32)
    >>> int(sampled.sum()), bool(sampled[16, 16])  # a quarter of 1,024 points, zero frequency among them
    (256, True)
    """

    acceleration: float = 4.0
    centre: float = 0.08
    seed: int = 0

    def __post_init__(self) -> None:
        _check("k-space points", self.acceleration, self.centre)

    def __call__(self, height: int, width: int) -> Tensor:
        """(H, W), True where sampled."""
        radius = np.hypot(
            _frequencies(height)[:, None] / (height / 2), _frequencies(width)[None, :] / (width / 2)
        ).ravel()
        wanted = max(1, round(height * width / self.acceleration))
        central = (radius <= self.centre) | (radius == 0)
        outer, count = np.flatnonzero(~central), wanted - int(central.sum())
        _check_centre("k-space points", count, central.sum(), wanted)
        sampled = central.copy()
        rng = np.random.default_rng(self.seed)
        sampled[_chosen_without_replacement(rng, outer, count, _falling(radius[outer] / math.sqrt(2)))] = True
        return torch.from_numpy(sampled).reshape(height, width)


def _frequencies(n: int) -> NDArray[Any]:
    """Whole frequencies (n,) of a centred spectrum: -(n // 2) ... 0 ..."""
    return np.arange(n) - n // 2


def _middle_lines(n: int, centre: float) -> NDArray[Any]:
    """Booleans (n,): the ``centre`` ``n`` frequencies, but at least one, that are nearest to zero."""
    nearest = np.argsort(np.abs(_frequencies(n)), kind="stable")
    middle = np.zeros(n, bool)
    middle[nearest[: max(1, round(centre * n))]] = True
    return middle


def _falling(r: NDArray[Any]) -> NDArray[Any]:
    """Weights of variable density at radius ``r`` of 0..1, never 0."""
    weights: NDArray[Any] = np.clip(1 - r, 0, 1) ** 3 + 1e-3
    return weights


def _chosen_without_replacement(
    rng: np.random.Generator, among: NDArray[Any], count: int, weights: NDArray[Any] | None
) -> NDArray[Any]:
    """``count`` of ``among``, likelier where ``weights`` are large."""
    share = None if weights is None else weights / weights.sum()
    return rng.choice(among, size=count, replace=False, p=share)


def _check(name: str, acceleration: float, centre: float) -> None:
    """Raise where the numbers have no meaning."""
    if not (math.isfinite(acceleration) and acceleration >= 1):
        raise CorruptionError(f"{name}: acceleration must be 1 or more, got {acceleration}")
    if not 0 <= centre <= 1:
        raise CorruptionError(f"{name}: centre is a fraction of k-space, 0 to 1, got {centre}")


def _check_centre(name: str, left: int, central: int, wanted: int) -> None:
    """Raise where the centre has more samples than are wanted in all."""
    if left < 0:
        raise CorruptionError(
            f"{name}: the centre alone has {central} of the {wanted} samples; lower centre or acceleration"
        )
