"""The rows of a table's file: tabs in ``.tsv``, blanks in ``.dat`` and ``.txt``, else comma, semicolon or tab."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from neuropyro.data.errors import CohortError

__all__ = ["Row", "kept_cells", "separator_of", "table_rows"]

Row = tuple[int, list[str]]
"""The number of a line, and its cells."""


def separator_of(path: Path, stream: TextIO) -> str:
    r"""Return what parts a file's cells; a blank stands for any number of them.

    Examples
    --------
    >>> import io
    >>> separator_of(Path("visits.csv"), io.StringIO("ID;age")), separator_of(Path("visits.tsv"), io.StringIO("ID"))
    (';', '\t')
    """
    if path.suffix in (".dat", ".txt"):
        return " "
    first = stream.readline()
    stream.seek(0)
    return "\t" if path.suffix == ".tsv" else max(",;\t", key=first.count)


def table_rows(stream: TextIO, separator: str) -> Iterator[Row]:
    r"""Yield each row that is not blank, with the number of its line.

    Examples
    --------
    >>> import io
    >>> list(table_rows(io.StringIO("ID;age\n\nanna;70"), ";"))
    [(1, ['ID', 'age']), (3, ['anna', '70'])]
    """
    if separator == " ":
        lines: Iterable[Row] = ((n, line.split()) for n, line in enumerate(stream, start=1))
    else:
        reader = csv.reader(stream, delimiter=separator)
        lines = ((reader.line_num, row) for row in reader)
    return ((n, row) for n, row in lines if any(cell.strip() for cell in row))


def kept_cells(rows: Iterator[Row], columns: Iterable[str] | None, path: Path) -> tuple[list[str], list[Row]]:
    """Return the names of the columns wanted and their cells; of a wide table nothing else is kept in memory.

    Raises
    ------
    CohortError
        Where a column is there twice, or a row has another length.

    Examples
    --------
    >>> kept_cells(iter([(1, ["ID", "age"]), (2, ["anna", "70 "])]), ["age"], Path("visits.csv"))
    (['age'], [(2, ['70'])])
    """
    header = [name.strip() for name in next(rows, (0, []))[1]]
    wanted = set(header if columns is None else columns) - {""}
    repeated = sorted(name for name in wanted if header.count(name) > 1)
    if repeated:
        raise CohortError(f"{path}: the column `{repeated[0]}` is there twice; drop one")
    places = [i for i, name in enumerate(header) if name in wanted]
    kept: list[Row] = []
    for line, row in rows:
        if len(row) != len(header):
            raise CohortError(f"{path} line {line}: {len(row)} cells below a header of {len(header)}; correct it")
        kept.append((line, [row[i].strip() for i in places]))
    return [header[i] for i in places], kept
