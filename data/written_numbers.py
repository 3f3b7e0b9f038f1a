"""Numbers as spreadsheets write them: in per cent, and with a decimal comma."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # whose errors say what is wrong with a comma
    from neuropyro.data.text_table import TextTable

__all__ = ["DECIMAL_COMMA", "may_be_thousands", "with_plain_numbers", "without_comma", "without_sign"]

PER_CENT = re.compile(r"([+-]?\d+(?:[.,]\d+)?)\s*%")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
WHOLE = re.compile(r"[+-]?\d+")
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")


def with_plain_numbers(table: TextTable, but: Iterable[str | None] = ()) -> TextTable:
    """Return the table with plain numbers in place of percentages and, where commas are free, of decimal commas.

    A column is read so where all cells that stand for something are alike; the table's ``readings`` say it.

    Parameters
    ----------
    but
        Columns that stay as they are, being names.

    Examples
    --------
    >>> from neuropyro.data.text_table import TextTable
    >>> table = TextTable("t.csv", {"FDG": np.array(["92%", "", "87 %"]), "dose": np.array(["92%", "", "87"])})
    >>> plain = with_plain_numbers(table)
    >>> plain.numbers("FDG").tolist(), plain.is_numeric("dose"), plain.readings
    ([92.0, nan, 87.0], False, ("FDG: read as numbers in per cent ('92%' is 92)",))
    """
    names = [name for name, cells in table.columns.items() if name not in set(but) and cells.dtype.kind == "U"]
    table = _read_by(without_sign, "in per cent", table, names)
    return _read_by(without_comma, "with a decimal comma", table, names) if table.commas_are_free else table


def _read_by(plain: Callable[[Sequence[str]], list[str]], how: str, table: TextTable, names: list[str]) -> TextTable:
    """Return the table with those columns that ``plain`` makes numbers of."""
    columns, first = dict(table.columns), {}
    for name in names:
        seen = np.flatnonzero(~table.empty(name))
        words = table.text(name)[seen].tolist()
        if numbers := plain(words):
            columns[name] = columns[name].copy()
            columns[name][seen] = numbers
            first[name] = next((cell, n) for cell, n in zip(words, numbers, strict=True) if cell != n)
    if not first:
        return table
    cell, number = next(iter(first.values()))
    said = f"{', '.join(first)}: read as numbers {how} ({cell!r} is {number})"
    return replace(table, columns=columns, readings=(*table.readings, said))


def without_sign(words: Sequence[str]) -> list[str]:
    """Return words without their per cent signs, where all of them are a number and such a sign; else nothing.

    Examples
    --------
    >>> without_sign(["92%", "4.5 %"]), without_sign(["92%", "93"])
    (['92', '4.5'], [])
    """
    found = [PER_CENT.fullmatch(word) for word in words]
    return [match[1] for match in found if match] if all(found) else []


def without_comma(words: Sequence[str]) -> list[str]:
    """Return words with points, where all are whole numbers or have a decimal comma, as some do; else nothing.

    Where each comma may also part thousands, nothing is returned either.

    Examples
    --------
    >>> without_comma(["29,8", "30"]), without_comma(["1,234", "2,345"]), without_comma(["29,8", "30.5"])
    (['29.8', '30'], [], [])
    """
    commas = [word for word in words if DECIMAL_COMMA.fullmatch(word)]
    wholes = sum(WHOLE.fullmatch(word) is not None for word in words)
    if len(commas) + wholes < len(words) or may_be_thousands(commas):
        return []
    return [word.replace(",", ".") for word in words]


def may_be_thousands(words: Sequence[str]) -> bool:
    """Whether the comma of each word may part thousands as well as decimals; 0,125 and 1234,567 have decimals.

    Examples
    --------
    >>> may_be_thousands(["1,234", "12,000"]), may_be_thousands(["1,234", "0,125"])
    (True, False)
    """
    return all(THOUSANDS.fullmatch(word) for word in words)
