"""What a cohort's rows must be: finite times, named subjects, readable diagnoses, each visit once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuropyro.data.errors import CohortError

__all__ = [
    "chosen",
    "finite_times",
    "identifiers",
    "labels",
    "numbers",
    "one_row_a_visit",
    "pictures",
    "refuse_days",
    "refuse_repeats",
    "visit_in_words",
    "years_followed",
]

NUMBERS_AT_ONCE = 1 << 22
OLDEST = 130  # years
CALENDAR = (1800, 2200)  # years of it: no ages, and no years since a visit


def numbers(values: ArrayLike) -> NDArray[np.floating[Any]]:
    """Return ``(visits, vertices)`` values, NaN where masked; float64 is kept, anything else becomes float32.

    Raises
    ------
    CohortError
        Where they are no numbers, of another shape, or none.

    Examples
    --------
    >>> numbers(np.ma.masked_less([[2, -1]], 0)).tolist()
    [[2.0, nan]]
    """
    try:
        array = np.asanyarray(values)
    except ValueError:
        raise CohortError("values: rows of different lengths; a visit needs a number (or NaN) at each vertex") from None
    if array.ndim != 2 or array.dtype.kind not in "fiub" or 0 in array.shape:
        raise CohortError(f"values: must be numbers of shape (visits, vertices), not {array.dtype} {array.shape}")
    numeric = array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)
    return np.ma.filled(numeric, np.nan)


def one_row_a_visit(name: str, array: ArrayLike, n_visits: int) -> NDArray[Any]:
    """Return an array whose first axis is the visits, ``(visits, ...)``.

    Raises
    ------
    CohortError
        Where it has another number of rows; ``name`` says of what.

    Examples
    --------
    >>> one_row_a_visit("time", [70, 71], n_visits=3)
    Traceback (most recent call last):
        ...
    neuropyro.data.errors.CohortError: time: 2 entries for 3 visits; give one for each row of `values`
    """
    rows = np.asarray(array)
    if rows.ndim == 0 or len(rows) != n_visits:
        given = "a single value" if rows.ndim == 0 else f"{len(rows)} entries"
        raise CohortError(f"{name}: {given} for {n_visits} visits; give one for each row of `values`")
    return rows


def finite_times(array: NDArray[Any]) -> NDArray[np.float64]:
    """Return ``(visits,)`` times in years.

    Raises
    ------
    CohortError
        Where they are not one number a visit, or one is missing or infinite.

    Examples
    --------
    >>> finite_times(np.array([70, np.nan]))
    Traceback (most recent call last):
        ...
    neuropyro.data.errors.CohortError: time: missing or infinite in row 1; drop that visit or give its time in years
    """
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise CohortError(f"time: must be one number a visit, in years, not {array.dtype} {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise CohortError(f"time: missing or infinite in row {bad[0]}; drop that visit or give its time in years")
    return array.astype(np.float64)


def years_followed(time: NDArray[np.float64], who: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the years from each subject's first visit to the last, ``(subjects,)``.

    Parameters
    ----------
    time, who
        ``(visits,)`` in years, and the place of each visit's subject.

    Examples
    --------
    >>> years_followed(np.array([70.0, 65.0, 73.0]), np.array([0, 1, 0])).tolist()
    [3.0, 0.0]
    """
    low, high = (np.full(who.max() + 1, end) for end in (np.inf, -np.inf))
    np.minimum.at(low, who, time)
    np.maximum.at(high, who, time)
    return high - low


def refuse_days(time: NDArray[np.float64], who: NDArray[np.int64], source: str) -> None:
    """Refuse times that are no years: those of one subject over a century apart, or no age and no date.

    Parameters
    ----------
    who
        ``(visits,)`` the place of each visit's subject.

    Raises
    ------
    CohortError
        Where they are such; ``source`` says whose.

    Examples
    --------
    >>> refuse_days(np.array([0.0, 730.0]), np.array([0, 0]), "visits.csv")
    Traceback (most recent call last):
        ...
    neuropyro.data.errors.CohortError: visits.csv: time: 0 to 730 are no years; divide days by 365.25, months by 12
    """
    no_date = time.min() < CALENDAR[0] or time.max() > CALENDAR[1]
    if years_followed(time, who).max() > OLDEST or (time.max() > OLDEST and no_date):
        raise CohortError(
            f"{source}: time: {time.min():g} to {time.max():g} are no years; divide days by 365.25, months by 12"
        )


def identifiers(array: NDArray[Any]) -> NDArray[Any]:
    """Return ``(visits,)`` subjects, whole numbers or text, none of it empty.

    Raises
    ------
    CohortError
        Where one is empty, or they are neither whole numbers nor text.

    Examples
    --------
    >>> identifiers(np.array([7.0, 8.0])).tolist(), identifiers(np.array(["anna", "ben"])).tolist()
    ([7, 8], ['anna', 'ben'])
    """
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.round(array)).all():
        return array.astype(np.int64)  # a table with one gap elsewhere turns whole numbers into floats
    named = labels(array, "subject")
    if named.dtype.kind == "U" and (named == "").any():
        raise CohortError(f"subject: empty in row {np.flatnonzero(named == '')[0]}; name the subject or drop the visit")
    return named


def labels(array: NDArray[Any], name: str = "diagnosis") -> NDArray[Any]:
    """Return ``(visits,)`` whole numbers or text; a missing diagnosis is -1 or empty.

    Raises
    ------
    CohortError
        Where they are neither whole numbers nor text; ``name`` says what they are.

    Examples
    --------
    >>> labels(np.array([1.0, np.nan])).tolist(), labels(np.array(["CN", None])).tolist()
    ([1, -1], ['CN', ''])
    """
    if array.dtype.kind == "O" and all(isinstance(x, str) or x is None or x != x for x in array):
        array = np.array([x if isinstance(x, str) else "" for x in array])
    if name == "diagnosis" and array.dtype.kind == "f":
        filled = np.where(np.isnan(array), -1, array)
        whole = np.isfinite(filled).all() and (filled == np.round(filled)).all()
        array = filled.astype(np.int64) if whole else array
    if array.ndim != 1 or array.dtype.kind not in "iuUS":
        raise CohortError(f"{name}: must be one whole number or text a visit, not {array.dtype} {array.shape}")
    return array.astype(np.str_) if array.dtype.kind == "S" else array


def pictures(array: NDArray[Any]) -> NDArray[Any]:
    """Return ``(visits, channels, height, width)`` images as float32; a visit without one is NaN throughout.

    Raises
    ------
    CohortError
        Where they are of another shape, or one is infinite or missing in part.

    Examples
    --------
    >>> pictures(np.array([[[[0.5, np.nan]]]]))
    Traceback (most recent call last):
        ...
    neuropyro.data.errors.CohortError: images: row 0 is infinite or missing in part; a visit without an image is all NaN
    """
    if array.ndim != 4 or array.dtype.kind not in "fiub" or 0 in array.shape:
        raise CohortError(
            f"images: must be numbers of shape (visits, channels, height, width), not {array.dtype} {array.shape}"
        )
    images = array if array.dtype == np.float32 else array.astype(np.float32)
    for n, image in enumerate(images):
        if not np.isfinite(image).all() and not np.isnan(image).all():
            raise CohortError(f"images: row {n} is infinite or missing in part; a visit without an image is all NaN")
    return images


def refuse_repeats(
    values: NDArray[Any], subject: NDArray[Any], time: NDArray[np.float64], places: Sequence[str] | None = None
) -> None:
    """Refuse infinite values ``(visits, vertices)``, and one visit in two rows; ``places`` say where the rows are.

    It goes by some rows at a time, so that a memory-mapped array larger than memory is never copied.

    Raises
    ------
    CohortError
        Where there are such.

    Examples
    --------
    >>> try:
    ...     refuse_repeats(np.array([[2.5, 2.4], [2.5, 2.4]]), np.array(["anna", "anna"]), np.array([70.0, 70.0]))
    ... except CohortError as error:
    ...     print(error)
    values: there are two rows with the same values for subject anna at 70 years; drop one of them
    """
    step = max(1, NUMBERS_AT_ONCE // values.shape[1])
    for begin in range(0, len(values), step):
        infinite = np.isinf(values[begin : begin + step]).any(1)
        if infinite.any():
            where = visit_in_words(subject, time, begin + int(infinite.argmax()))
            raise CohortError(f"values: infinite for {where}; mark missing values by NaN")
    for n, m in sorted((n, m) for rows in _same_visits(subject, time) for m, n in itertools.combinations(rows, 2)):
        if np.array_equal(values[m], values[n], equal_nan=True) and not np.isnan(values[n]).all():
            where = visit_in_words(subject, time, n)
            rows = "there are two rows" if places is None else f"{places[m]} and {places[n]} are rows"
            raise CohortError(f"values: {rows} with the same values for {where}; drop one of them")


def visit_in_words(subject: NDArray[Any], time: NDArray[np.float64], row: int) -> str:
    """Return whose visit ``(visits,)`` a row is, and when, which is known where its line in a file is not.

    Examples
    --------
    >>> visit_in_words(np.array(["anna", "ben"]), np.array([70.0, 65.5]), 1)
    'subject ben at 65.5 years'
    """
    return f"subject {subject[row].item()} at {time[row]:.6g} years"


def _same_visits(subject: NDArray[Any], time: NDArray[np.float64]) -> list[list[int]]:
    """Rows, in order, of each subject and time that is there more than once."""
    who = np.unique(subject, return_inverse=True)[1]
    order = np.lexsort((np.arange(len(who)), time, who))
    new = np.r_[True, (np.diff(who[order]) != 0) | (np.diff(time[order]) != 0)]
    starts = np.flatnonzero(new)
    ends = np.r_[starts[1:], len(order)]
    many = ends - starts > 1
    return [order[a:b].tolist() for a, b in zip(starts[many], ends[many], strict=True)]


def chosen(name: str, wanted: ArrayLike | None, size: int) -> NDArray[np.int64]:
    """Return the numbers ``(kept,)`` of the rows or columns chosen by mask or number; None chooses all.

    Raises
    ------
    CohortError
        Where a mask has another length or a number is beyond ``size``.

    Examples
    --------
    >>> chosen("vertices", [True, False, True], size=3).tolist(), chosen("vertices", [-1], size=3).tolist()
    ([0, 2], [2])
    """
    try:
        return np.arange(size)[slice(None) if wanted is None else np.asarray(wanted)]
    except IndexError as error:
        raise CohortError(f"subset: `{name}` must be a mask of, or numbers below, {size} ({error})") from None
