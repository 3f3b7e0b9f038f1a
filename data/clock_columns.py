"""Columns of a table that only tell the time, as the age in months beside that in years does."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["goes_with_time"]

UNITS = np.array([1.0, 12.0, 52.18, 365.25])  # a year in years, months, weeks, days
NEAR = 0.02  # of a unit: visits are often told in whole months
LEFT = 0.01  # of a column's variance within people that may be none of the time's
SHOWN = 5  # people with several times


def goes_with_time(values: NDArray[np.float64], time: NDArray[np.float64], subject: NDArray[Any]) -> bool:
    """Whether a column is the time, or grows with it within every person by 1, 12, 52 or 365 a year and by no more.

    All are ``(rows,)``, NaN where missing; fewer than five people with several times show nothing but a copy of it.

    Examples
    --------
    >>> subject, year = np.arange(12) // 2, np.tile([0.0, 1.0], 6)
    >>> age = 60 + 3 * subject + year
    >>> goes_with_time(12 * year, age, subject), goes_with_time(30 - year, age, subject)
    (True, False)
    """
    seen = np.isfinite(values) & np.isfinite(time)
    x, t, who = values[seen], time[seen], np.unique(subject[seen], return_inverse=True)[1].reshape(-1)
    if x.size > 1 and np.ptp(t) > 0 and np.array_equal(x, t):
        return True
    x, t = _within(x, who), _within(t, who)
    moved = np.abs(t) > 0
    if np.unique(who[moved]).size < SHOWN:
        return False
    slope = float((x * t).sum() / (t**2).sum())
    a_unit = bool((np.abs(slope / UNITS - 1) < NEAR).any())
    return a_unit and float(((x - slope * t) ** 2).sum()) < LEFT * float((x**2).sum())


def _within(values: NDArray[np.float64], who: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return values from each person's mean."""
    count = np.bincount(who)
    means: NDArray[np.float64] = np.bincount(who, values) / np.maximum(count, 1)
    return values - means[who]
