"""Tables as .csv files, and as .tsv files as BIDS has them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["write_csv", "write_tsv"]


def write_csv(path: Path, columns: dict[str, NDArray[Any]]) -> None:
    """Write columns of equal length, by name, to a .csv file; NaN is left blank.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scores.csv"
    >>> write_csv(path, {"subject": np.array(["a", "b"]), "score": np.array([0.5, np.nan])})
    >>> path.read_text().splitlines()
    ['subject,score', 'a,0.5', 'b,']
    """
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(_cells(row) for row in zip(*columns.values(), strict=True))


def write_tsv(path: Path, columns: dict[str, NDArray[Any]]) -> None:
    """Write columns of equal length, by name, to a .tsv file; NaN is n/a.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "scores.tsv"
    >>> write_tsv(path, {"subject": np.array(["a", "b"]), "score": np.array([0.5, np.nan])})
    >>> [line.split() for line in path.read_text().splitlines()]
    [['subject', 'score'], ['a', '0.5'], ['b', 'n/a']]
    """
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(_cells(row, "n/a") for row in zip(*columns.values(), strict=True))


def _cells(row: Sequence[Any], missing: str = "") -> Iterable[str]:
    """Format numbers to seven digits; what is not known stays empty."""
    for cell in row:
        if isinstance(cell, float | np.floating):
            yield missing if np.isnan(cell) else f"{cell:.7g}"
        else:
            yield str(cell)
