"""Maps that hold nothing: a few among many are a small share of all values, and would not be seen in it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MissingMapsWarning", "empty_parts", "missing_in_words", "warn_of_missing"]

MOST = 3  # maps that are named
SIDES = {1: "left hemisphere", -1: "right hemisphere"}


class MissingMapsWarning(UserWarning):
    """Maps, or hemispheres of them, that are NaN throughout; the message names them and the remedy.

    Examples
    --------
    >>> try:
    ...     with warnings.catch_warnings():
    ...         warnings.simplefilter("error")
    ...         warn_of_missing(["lh.thickness.mgh"])
    ... except MissingMapsWarning as warning:
    ...     print(str(warning).partition(";")[0])
    lh.thickness.mgh: NaN throughout, and taken as missing
    """


def empty_parts(row: NDArray[Any], sides: NDArray[np.int64] | None = None) -> Iterator[str]:
    """Yield what of one visit's values is NaN throughout: ``""`` for all of them, or a hemisphere by name.

    Parameters
    ----------
    row
        ``(vertices,)`` values.
    sides
        ``(vertices,)``: 1 on the left, -1 on the right, 0 in neither, where it is known.

    Examples
    --------
    >>> list(empty_parts(np.array([np.nan, np.nan]))), list(empty_parts(np.array([np.nan, 2.5])))
    ([''], [])
    >>> list(empty_parts(np.array([np.nan, np.nan, 2.5]), sides=np.array([1, 1, -1])))
    ['left hemisphere']
    """
    missing = np.isnan(row)
    if not missing.any():
        return
    if missing.all():
        yield ""
        return
    for side, name in SIDES.items() if sides is not None else ():
        part = missing[sides == side]
        if part.size and part.all():
            yield name


def warn_of_missing(names: Sequence[str]) -> None:
    """Warn of maps by name, of some and how many more; not where there is none.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_of_missing([f"visit{i}.mgh" for i in range(5)])
    >>> print(str(caught[0].message).partition(",")[0])
    visit0.mgh
    """
    if names:
        warnings.warn(missing_in_words(names), MissingMapsWarning, stacklevel=2)


def missing_in_words(names: Sequence[str]) -> str:
    """Say which maps are missing, some by name.

    Examples
    --------
    >>> print(missing_in_words(["lh.mgh", "rh.mgh"]).partition(";")[0])
    lh.mgh, rh.mgh: NaN throughout, and taken as missing
    """
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    remedy = (
        "make that map again, or drop the visit" if len(names) == 1 else "make those maps again, or drop the visits"
    )
    return f"{', '.join(names[:MOST])}{more}: NaN throughout, and taken as missing; {remedy}, if that is not meant"
