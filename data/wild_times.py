"""A few times that cannot be what the others are: a slip of the pen, told by its line."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.cohort_checks import CALENDAR, OLDEST
from neuropyro.data.errors import CohortError
from neuropyro.data.text_table import TextTable

__all__ = ["refuse_wild_times"]

FEW = 0.1  # of the times: where more are no years, none of them are, and their unit is another
ADULT = 18


def refuse_wild_times(table: TextTable, name: str, when: NDArray[np.float64]) -> None:
    """Refuse a few times ``(rows,)`` that are no years, where most are: ages, of the calendar, or since a visit.

    Raises
    ------
    CohortError
        Naming the table, the column, the first one's line, and where the others lie.

    Examples
    --------
    >>> ages = np.array(["71", "780", "68", "75"])
    >>> refuse_wild_times(TextTable("t.csv", {"age": ages}), "age", ages.astype(float))
    Traceback (most recent call last):
        ...
    neuropyro.data.errors.CohortError: t.csv row 1: `age` is 780, where all others lie from 68 to 75; correct it or \
drop the visit
    """
    limits = _limits(float(np.median(when)))
    wild = np.zeros(len(when), np.bool_) if limits is None else (when < limits[0]) | (when > limits[1])
    if 0 < wild.sum() <= max(1, FEW * len(when)):
        first, others = int(wild.argmax()), when[~wild]
        more = table.and_more(np.flatnonzero(wild))
        said = f"{table.place(first)}: `{name}` is {when[first]:g}, where all others lie from"
        raise CohortError(f"{said} {others.min():g} to {others.max():g}{more}; correct it or drop the visit")


def _limits(middle: float) -> tuple[Any, Any] | None:
    """Return what times can be, of which half are less; None where they are no years."""
    if CALENDAR[0] <= middle <= CALENDAR[1]:
        return CALENDAR
    if abs(middle) > OLDEST:
        return None
    return (0 if middle >= ADULT else -OLDEST), OLDEST
