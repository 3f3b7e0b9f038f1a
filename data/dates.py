"""Dates in text, in the order of day, month and year that a whole column leaves no doubt about."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.errors import CohortError

__all__ = ["DAYS_A_YEAR", "is_date", "order_of_dates", "years_of_dates"]

DAYS_A_YEAR = 365.25
_YEAR_FIRST = re.compile(r"(\d{4})([-/.]?)(\d{1,2})\2(\d{1,2})(?:[T ].*)?")
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})(?:[T ].*)?")
_ORDERS = {
    "year-month-day": (_YEAR_FIRST, (1, 3, 4)),
    "day/month/year": (_YEAR_LAST, (4, 3, 1)),
    "month/day/year": (_YEAR_LAST, (4, 1, 3)),
}
"""How a date looks, and where its year, month and day are in it."""


def is_date(cell: str) -> bool:
    """Whether a cell is a date, in any order.

    Examples
    --------
    >>> is_date("2017-06-30"), is_date("30.6.2017"), is_date("71.5")
    (True, True, False)
    """
    return any(_date(cell, order) is not None for order in _ORDERS)


def order_of_dates(cells: Sequence[str], name: str, place: Callable[[int], str]) -> str:
    """Return the one order in which all dates of a column, ``(rows,)`` text, can be read; empty cells are passed over.

    Parameters
    ----------
    name
        The column's, for errors.
    place
        Where a row is, for errors.

    Raises
    ------
    CohortError
        Where a cell is no date in the order of the others, or day and month can be told apart nowhere.

    Examples
    --------
    >>> order_of_dates(["3/4/2017", "", "30/6/2017"], "seen", "line {}".format)
    'day/month/year'
    >>> order_of_dates(["3/4/2017", "5/6/2017"], "seen", "line {}".format)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    neuropyro.data.errors.CohortError: line 0: `seen` is '3/4/2017', and no date of the column tells its day from ...
    """
    rows = [row for row, cell in enumerate(cells) if cell]
    read = {order: [_date(cells[row], order) for row in rows] for order in _ORDERS}
    best = max(read, key=lambda order: sum(found is not None for found in read[order]))
    for row, day in zip(rows, read[best], strict=True):
        if day is None:
            raise CohortError(
                f"{place(row)}: `{name}` is {str(cells[row])!r}, {_fault(str(cells[row]), best)}; correct it"
            )
    for found in (dates for dates in read.values() if None not in dates):
        unlike = [row for row, one, two in zip(rows, found, read[best], strict=True) if one != two]
        if unlike:
            said = f"{place(unlike[0])}: `{name}` is {str(cells[unlike[0]])!r}, and no date of the column tells its day"
            raise CohortError(f"{said} from its month; write dates as 2017-06-30")
    return best


def _fault(cell: str, order: str) -> str:
    """Say what is wrong with a cell that is no date in the order of the others."""
    if is_date(cell):
        return f"not a date like 2017-06-30 ({order}, as others are)"
    return f"a day that there is not ({order})" if _ORDERS[order][0].fullmatch(cell) else "not a date like 2017-06-30"


def years_of_dates(cells: Sequence[str], name: str, place: Callable[[int], str]) -> NDArray[np.float64]:
    """Return dates as ``(rows,)`` years since 1970, NaN where there is none; a time of day is ignored.

    A year has 365.25 days.  Parameters and errors are those of :func:`order_of_dates`.

    Examples
    --------
    >>> (1970 + years_of_dates(["2040-02-25", ""], "seen", "line {}".format)).round(2).tolist()
    [2040.15, nan]
    """
    order = order_of_dates(cells, name, place)
    epoch = date(1970, 1, 1).toordinal()
    found = (_date(cell, order) if cell else None for cell in cells)
    return np.array([np.nan if day is None else (day.toordinal() - epoch) / DAYS_A_YEAR for day in found], np.float64)


def _date(cell: str, order: str) -> date | None:
    looks, places = _ORDERS[order]
    match = looks.fullmatch(cell)
    try:
        return None if match is None else date(*(int(match[place]) for place in places))
    except ValueError:
        return None
