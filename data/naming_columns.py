"""Columns of a table whose numbers are no measurements, since they only name, or not read as such, being in words."""

from __future__ import annotations

import re
from collections.abc import Iterable

from neuropyro.data.text_table import letters_of

__all__ = ["number_in_words", "only_names"]

PEOPLE = ("phone", "phone_number", "telephone", "mobile", "fax", "zip", "zip_code", "postcode", "postal_code", "mrn")
RECORDS = ("record", "record_id", "row", "row_id", "index", "unnamed_0", "image_id", "image_uid", "loni_uid", "scan_id")
MACHINES = ("serial", "serial_number", "scanner_id", "scanner_sn", "scanner_serial", "scanner_serial_number")
NAMES = frozenset(letters_of(name) for name in (*PEOPLE, *RECORDS, *MACHINES))
NUMBER = re.compile(r"[<>=~]*\s*[+-]?\d+(?:[.,]\d+)?\s*(?:%|[^\W\d]\S*)?")
FEW = 3  # different words: "1.5T" and "3T" are two kinds of scanner


def only_names(name: str) -> bool:
    """Whether by its name a column's numbers only tell people, records or machines apart.

    Examples
    --------
    >>> only_names("Phone number"), only_names("Unnamed: 0"), only_names("MMSE")
    (True, True, False)
    """
    return letters_of(name) in NAMES


def number_in_words(cells: Iterable[str]) -> str | None:
    """Return the first of a column's words if all seem to be numbers with something beside them; else None.

    Examples
    --------
    >>> number_in_words(["37%", "40.5%", "", "12%", "9 %"])
    '37%'
    >>> number_in_words(["1.5T", "3T", "3T"]) is None  # two kinds of scanner
    True
    """
    words = [cell.strip() for cell in cells if cell.strip()]
    numbers = all(NUMBER.fullmatch(word) for word in words)
    return words[0] if numbers and len(set(words)) > FEW else None
