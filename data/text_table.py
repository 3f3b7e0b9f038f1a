"""Tables of text, from a CSV or TSV file or a DataFrame, whose errors name the file, the column and the line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.dates import is_date, years_of_dates
from neuropyro.data.errors import CohortError
from neuropyro.data.table_rows import kept_cells, separator_of, table_rows
from neuropyro.data.unknown_names import few, there_are
from neuropyro.data.visit_codes import side_by_side
from neuropyro.data.written_numbers import DECIMAL_COMMA, may_be_thousands

__all__ = ["MISSING", "TextTable", "column_names", "letters_of", "read_table", "table_of"]

MISSING = frozenset({"", "na", "n/a", "nan", "none", "null", "."})
"""Cells, in lower case, that stand for nothing."""
COMMAS_ARE_FREE = (";", "\t")  # separators of tables in which spreadsheets write 29,8
STRAY = 0.1  # share of a column's cells: fewer that are no numbers are a mistake


@dataclass(frozen=True)
class TextTable:
    """Columns of cells.

    Parameters
    ----------
    source
        What errors call it: the file's path, or ``"DataFrame"``.
    columns
        ``(rows,)`` arrays: text, or numbers of a DataFrame.
    places
        ``(rows,)``: where each row is, for errors; None where its number says it.
    missing
        Cells, in lower case, that stand for nothing.
    commas_are_free
        Whether a comma in a cell can be a decimal one: semicolons or tabs part the cells.
    readings
        How cells were read that are no plain numbers, in sentences.

    Examples
    --------
    >>> table = TextTable("visits.csv", {"MMSE": np.array(["28", "n/a", "-4"])})
    >>> table.with_missing(["-4"]).numbers("MMSE").tolist()
    [28.0, nan, nan]
    """

    source: str
    columns: Mapping[str, NDArray[Any]]
    places: Sequence[str] | None = None
    missing: frozenset[str] = MISSING
    commas_are_free: bool = False
    readings: Sequence[str] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def place(self, row: int) -> str:
        """Return where a row is, for errors."""
        return f"{self.source} row {row}" if self.places is None else self.places[row]

    def and_more(self, rows: Sized) -> str:
        """Return how many rows follow the first of some, for errors; nothing where none does."""
        more, what = len(rows) - 1, "row" if self.places is None else "line"
        return f" (and {more} more {what}{'s' * (more != 1)})" if more > 0 else ""

    def with_missing(self, codes: Iterable[str]) -> TextTable:
        """Return the table where some more cells, in any case, stand for nothing; 999 is 999.0 too."""
        return replace(self, missing=self.missing | {code.strip().lower() for code in codes})

    def has(self, code: str) -> bool:
        """Whether any cell is this code for a missing value."""
        alone = replace(self, missing=frozenset({code.strip().lower()}))
        return any(alone.empty(name).any() for name in self.columns)

    def column(self, name: str) -> NDArray[Any]:
        """Return the cells of a column, which must exist."""
        if name not in self.columns:
            raise CohortError(f"{self.source}: no column `{name}`; {there_are(name, list(self.columns))}")
        return self.columns[name]

    def first_of(self, names: Iterable[str]) -> str | None:
        """Return the first of some names that is a column, whatever its case and its underscores."""
        own = {letters_of(column): column for column in reversed(list(self.columns))}
        return next((own[letters_of(name)] for name in names if letters_of(name) in own), None)

    def refuse_without(self, lacking: Mapping[str, Sequence[str]]) -> None:
        """Refuse a table that lacks columns, by role: says the names that each may have, and what columns there are."""
        if lacking:
            each = [f"no column for the {role}; call one {', '.join(names)}" for role, names in lacking.items()]
            there = f"its columns are {', '.join(few(self.columns))}"
            options = " and ".join(f"--{role.split()[0]} COLUMN" for role in lacking)
            raise CohortError(
                f"{self.source}: {'; and '.join(each)} ({there}); or name it by {options}{side_by_side(self.columns)}"
            )

    def refuse_unknown(self, named: Mapping[str, str | None]) -> None:
        """Refuse a column that a user named and that is not there, by the option that named it."""
        for option, name in named.items():
            if name is not None and name not in self.columns:
                there = there_are(name, list(self.columns), option)
                raise CohortError(f"{self.source}: no column `{name}`; {there}")

    def empty(self, name: str) -> NDArray[np.bool_]:
        """``(rows,)``: whether a cell stands for nothing."""
        cells = self.column(name)
        codes = [float(m) for m in self.missing if _is_number(m)]
        if cells.dtype.kind in "fiub":
            lost = np.isnan(cells) if cells.dtype.kind == "f" else np.zeros(len(cells), np.bool_)
            return lost | np.isin(cells, codes)
        words = [str(cell).strip().lower() for cell in cells]
        return np.array([w in self.missing or (codes and _is_number(w) and float(w) in codes) for w in words], np.bool_)

    def is_numeric(self, name: str) -> bool:
        """Whether every cell is a number or stands for nothing."""
        cells, empty = self.column(name), self.empty(name)
        return cells.dtype.kind in "fiub" or all(_is_number(c) for c, e in zip(cells, empty, strict=True) if not e)

    def _strays(self, name: str) -> list[int]:
        """Rows of a column's cells that are neither a number nor stand for nothing."""
        cells = self.column(name)
        rows = [] if cells.dtype.kind in "fiub" else np.flatnonzero(~self.empty(name)).tolist()
        return [row for row in rows if not _is_number(cells[row])]

    def _refuse(self, name: str, rows: Sequence[int], fault: str, remedy: str) -> None:
        """Refuse some rows: the first is told with its cell, and how many more there are."""
        if len(rows):
            cell, more = str(self.column(name)[rows[0]]), self.and_more(rows)
            raise CohortError(f"{self.place(int(rows[0]))}: `{name}` is {cell!r}, {fault}{more}; {remedy}")

    def refuse_stray_text(self, name: str, remedy: str) -> None:
        """Refuse a column of numbers but for a few cells, which the user hardly means as text."""
        stray = self._strays(name)
        self._refuse_commas(name, stray)
        if len(stray) <= STRAY * (~self.empty(name)).sum():
            self._refuse(name, stray, "not a number as elsewhere", remedy)

    def _refuse_commas(self, name: str, rows: Sequence[int]) -> None:
        """Refuse cells that are no numbers where all of them would be, but for a comma."""
        words = [str(self.column(name)[row]).strip() for row in rows]
        if not all(DECIMAL_COMMA.fullmatch(word) for word in words):
            return
        if words and self.commas_are_free and may_be_thousands(words):
            both = f"{words[0].replace(',', '.')} or {words[0].replace(',', '')}"
            self._refuse(name, rows, f"which may be {both}", "write numbers with points, and thousands without a comma")
        self._refuse(name, rows, "with a decimal comma", "write numbers with points")

    def refuse_empty(self, name: str, remedy: str) -> None:
        """Refuse a column with an empty cell."""
        lost = np.flatnonzero(self.empty(name))
        if lost.size:
            raise CohortError(f"{self.place(int(lost[0]))}: `{name}` is empty{self.and_more(lost)}; {remedy}")

    def numbers(self, name: str, remedy: str = "correct it or leave it empty") -> NDArray[np.float64]:
        """Return a column of numbers, NaN where there is nothing; an error of one that is no number says the remedy."""
        stray = self._strays(name)
        self._refuse_commas(name, stray)
        self._refuse(name, stray, "not a number", remedy)
        cells, empty = self.column(name), self.empty(name)
        return np.array([np.nan if e else float(c) for c, e in zip(cells, empty, strict=True)], np.float64)

    def text(self, name: str) -> NDArray[np.str_]:
        """Return a column of text, empty where there is nothing."""
        cells, empty = self.column(name), self.empty(name)
        return np.array(["" if e else _plain(cell) for cell, e in zip(cells, empty, strict=True)], np.str_)

    def covariate(self, name: str) -> NDArray[Any]:
        """Return numbers where all cells are, else text."""
        return self.numbers(name) if self.is_numeric(name) else self.text(name)

    def is_dates(self, name: str) -> bool:
        """Whether a column begins with a date; numbers are none."""
        return not self.is_numeric(name) and is_date(next(filter(None, self.text(name).tolist()), ""))

    def years(self, name: str) -> NDArray[np.float64]:
        """Return a column of dates (a time of day is ignored) as years since 1970; NaN where there is none."""
        return years_of_dates(self.text(name).tolist(), name, self.place)


def read_table(path: str | Path, columns: Iterable[str] | None = None) -> TextTable:
    r"""Read a table with a header: tabs in ``.tsv``, blanks in ``.dat`` and ``.txt``, else comma, semicolon or tab.

    Parameters
    ----------
    columns
        Which columns to keep, of those that are there; None keeps all.

    Raises
    ------
    CohortError
        Where the file cannot be read, has no rows, a column twice, or a row of another length.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "visits.csv"
    >>> _ = path.write_text("ID;age\nanna;70\n")
    >>> read_table(path).text("ID").tolist(), read_table(path).numbers("age").tolist()
    (['anna'], [70.0])
    """
    path = Path(path)
    if not path.is_file():
        raise CohortError(f"{path}: no such file")
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            separator = separator_of(path, stream)
            header, rows = kept_cells(table_rows(stream, separator), columns, path)
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise CohortError(f"{path}: not a table of text ({error}); save it as CSV in UTF-8") from None
    if not rows:
        raise CohortError(f"{path}: no rows below the header; a table needs one row for each visit")
    cells = {name: np.array([row[i] for _, row in rows], np.str_) for i, name in enumerate(header)}
    places = [f"{path} line {line}" for line, _ in rows]
    return TextTable(str(path), cells, places, commas_are_free=separator in COMMAS_ARE_FREE)


def column_names(path: Path) -> list[str]:
    """Return the header of a table, without reading its rows; empty where it is no text.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "visits.csv"
    >>> _ = path.write_text("ID, age")
    >>> column_names(path)
    ['ID', 'age']
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = table_rows(stream, separator_of(path, stream))
            return [name.strip() for name in next(rows, (0, []))[1]]
    except (UnicodeDecodeError, csv.Error):
        return []


def table_of(frame: Any) -> TextTable:
    """Take the columns (and named levels of the index) of a pandas DataFrame.

    Raises
    ------
    CohortError
        Where it is no DataFrame, has no rows, or has a column twice.

    Examples
    --------
    >>> import pandas
    >>> table = table_of(pandas.DataFrame({"ID": ["anna", None], "site": [3, None]}))
    >>> table.text("ID").tolist(), table.text("site").tolist()
    (['anna', ''], ['3', ''])
    """
    if not (hasattr(frame, "columns") and hasattr(frame, "reset_index")):
        raise CohortError(f"table: must be the path of a CSV or TSV file, or a DataFrame, not {type(frame).__name__}")
    frame = frame.reset_index() if any(name is not None for name in frame.index.names) else frame
    if not len(frame):
        raise CohortError("DataFrame: it has no rows; a table needs one row for each visit")
    if (twice := frame.columns.astype(str).duplicated()).any():
        raise CohortError(f"DataFrame: the column `{frame.columns[twice][0]}` is there twice; drop one")
    return TextTable("DataFrame", {str(name): _cells(frame[name]) for name in frame.columns})


def _cells(series: Any) -> NDArray[Any]:
    array = np.asarray(series.to_numpy())
    if array.dtype.kind in "fiub":
        return array
    lost = np.asarray(series.isna(), np.bool_)
    return np.array(["" if gone else _plain(cell) for cell, gone in zip(array, lost, strict=True)], np.str_)


def _plain(cell: Any) -> str:
    """Text of a cell; whole numbers, which a gap elsewhere turned into floats, without their point."""
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        return str(int(cell))
    return str(cell).strip()


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # Python reads 1_2 as 12; in a table it is a name


def letters_of(name: str) -> str:
    """Return a column's name by its letters and digits alone, so that AgeAtScan is age_at_scan.

    Examples
    --------
    >>> letters_of("AgeAtScan"), letters_of("age_at_scan")
    ('ageatscan', 'ageatscan')
    """
    return re.sub(r"[^0-9a-z]", "", name.lower())
