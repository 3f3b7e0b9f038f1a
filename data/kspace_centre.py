"""Where the zero frequency of k-space lies: in the middle, as it is read, or in the corner, as a plain FFT leaves it.

An image's energy lies at low frequencies.  Of k-space as numpy.fft.fft2 leaves it they are at the ends of both axes;
where only one axis was shifted, at the ends of the other.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["axes_off_centre"]

PART = 8  # low frequencies are taken to be that part of an axis, on either side of zero
SHARE = 0.5  # of all energy; whole images have .9 or more at low frequencies
TIMES = 10  # the energy that is in the middle; white noise has as much there as elsewhere


def axes_off_centre(kspace: NDArray[Any]) -> tuple[int, ...]:
    """Return the axes, of the last two, along which the zero frequency is first and not in the middle.

    It is so only where the low frequencies of k-space that is shifted along them would have most of the energy, and ten
    times as much as those of k-space as it is: what lacks lines, coils or signal, or is all noise, is left alone.

    Parameters
    ----------
    kspace
        Complex (..., H, W); 0 where it was not sampled.

    Examples
    --------
    >>> image = np.hanning(32)[:, None] * np.hanning(24)
    >>> corner = np.fft.fft2(image)
    >>> axes_off_centre(corner), axes_off_centre(np.fft.fftshift(corner)), axes_off_centre(np.fft.fftshift(corner, -1))
    ((-2, -1), (), (-2,))
    """
    energy = np.square(np.abs(kspace)).reshape(-1, *kspace.shape[-2:]).sum(0, dtype=np.float64)
    low = {ends: _low(energy, ends) for ends in product((False, True), repeat=2)}
    ends = max(low, key=low.__getitem__)
    if low[ends] <= max(SHARE * energy.sum(), TIMES * low[False, False]):
        return ()
    return tuple(axis for axis, end in zip((-2, -1), ends, strict=True) if end)


def _low(energy: NDArray[np.float64], ends: tuple[bool, ...]) -> float:
    """Return the energy (H, W) at low frequencies, were zero at the ends of some axes and else in the middle."""
    rows, columns = (_near_zero(size, end) for size, end in zip(energy.shape, ends, strict=True))
    return float(energy[np.ix_(rows, columns)].sum())


def _near_zero(size: int, at_end: bool) -> NDArray[np.bool_]:
    frequency = np.fft.fftfreq(size, 1 / size)
    return np.abs(frequency if at_end else np.fft.fftshift(frequency)) <= max(1, size // (2 * PART))
