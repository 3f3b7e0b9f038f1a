"""Whether new subjects' times count as those of a fit do: ages, dates, or years since a visit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.cohort_checks import CALENDAR
from neuropyro.data.errors import CohortError

__all__ = ["check_times"]

ADULT, OLDEST = 18, 110  # years: of ages that may be
SHORTEST = 10.0  # years by which the range of a fit reaches on, where it is shorter itself
FEW = 0.1  # of the new visits

Times = NDArray[np.floating[Any]]


def check_times(new: Times, fitted: Times, column: str = "") -> str:
    """Refuse new times that count from elsewhere than a fit's, and say where few of them lie in the fit's range.

    They count from elsewhere where they are dates and the fit's are ages, or the reverse; and where they lie beyond all
    of the fit's, and either some are those of children while the fit's are ages, or their median is further off than
    that range is long (10 years at least), unless both are ages or both dates: people may be younger than any fitted.

    Parameters
    ----------
    new, fitted
        ``(visits,)`` years each.
    column
        What a table calls the new times.

    Returns
    -------
    str
        A sentence; empty where there is nothing to say.

    Raises
    ------
    CohortError
        Naming the column, both ranges and the remedy.

    Examples
    --------
    >>> ages = np.linspace(58, 92, 100)
    >>> check_times(np.array([50.0, 57.0]), ages)
    "time: 50 to 57, where the fit's times are 58 to 92: its scores there are extrapolated"
    >>> check_times(np.array([-8.0, 15.0]), ages, "AGE")
    Traceback (most recent call last):
        ...
    neuropyro.data.errors.CohortError: time (column `AGE`): -8 to 15, where the fit's times are 58 to 92, which are \
ages; give the new subjects' times as those of the fit were, or name another column by --time
    """
    (first, last), (low, high) = ((float(x.min()), float(x.max())) for x in (new, fitted))
    ranges = f"{first:.4g} to {last:.4g}, where the fit's times are {low:.4g} to {high:.4g}"
    if (first >= CALENDAR[0]) != (float(fitted.mean()) >= CALENDAR[0]):
        raise CohortError(
            f"time: {ranges}; ages and dates do not mix: give the new subjects' times as those of the fit were"
        )
    if _from_elsewhere(new, fitted):
        called = f" (column `{column}`)" if column else ""
        kind = ", which are ages" if _are_ages(fitted) else ""
        remedy = "give the new subjects' times as those of the fit were, or name another column by --time"
        raise CohortError(f"time{called}: {ranges}{kind}; {remedy}")
    inside = float(((new >= low) & (new <= high)).mean())
    return f"time: {ranges}: its scores there are extrapolated" if inside < FEW else ""


def _from_elsewhere(new: Times, fitted: Times) -> bool:
    low, high = float(fitted.min()), float(fitted.max())
    alike = low >= CALENDAR[0] or (_are_ages(new) and _are_ages(fitted))
    if alike or (new.max() >= low and new.min() <= high):
        return False
    reach = max(high - low, SHORTEST)
    far = not low - reach <= float(np.median(new)) <= high + reach
    return far or (_are_ages(fitted) and float(new.min()) < ADULT)


def _are_ages(times: Times) -> bool:
    """Whether times may be those of adults."""
    return float(times.min()) >= ADULT and float(times.max()) <= OLDEST
