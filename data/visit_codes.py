"""Visits that are no times: codes of a study's own, and columns side by side; what errors say of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["remedy_of_times", "side_by_side"]

CODE = re.compile(r"bl|sc|baseline|m\d+|month\s?\d+|v\d+|visit\s?\d+", re.IGNORECASE)
NUMBERED = re.compile(r"(.+?)[ _.-]*\d+")


def remedy_of_times(words: Iterable[str]) -> str:
    """Return what to do where a time is no number, by the words of its column.

    Examples
    --------
    >>> remedy_of_times(["bl", "m06"]), remedy_of_times(["71", "?"])
    ('write years in its place, as 0 for bl and .5 for m06', 'correct it or drop the visit')
    """
    if any(CODE.fullmatch(word.strip()) for word in words):
        return "write years in its place, as 0 for bl and .5 for m06"
    return "correct it or drop the visit"


def side_by_side(columns: Iterable[str]) -> str:
    """Return what to do where columns look like one's visits side by side; nothing where none do.

    Examples
    --------
    >>> side_by_side(["ID", "MMSE_0", "MMSE_1"]), side_by_side(["ID", "MMSE", "tau181"])
    ('; if MMSE_0 and MMSE_1 are visits side by side, write a row for each visit, with its time', '')
    """
    stems: dict[str, list[str]] = {}
    for column in map(str, columns):
        if found := NUMBERED.fullmatch(column):
            stems.setdefault(found[1], []).append(column)
    first = next((names for names in stems.values() if len(names) > 1), None)
    if first is None:
        return ""
    return f"; if {first[0]} and {first[1]} are visits side by side, write a row for each visit, with its time"
