"""Tables as .csv files."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["write_csv"]


def write_csv(path: Path, columns: dict[str, NDArray[Any]]) -> None:
    """Write columns of equal length, by name, to a .csv file; NaN is left blank."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(_cells(row) for row in zip(*columns.values(), strict=True))


def _cells(row: Sequence[Any]) -> Iterable[str]:
    """Format numbers to seven digits; what is not known stays empty."""
    for cell in row:
        if isinstance(cell, float | np.floating):
            yield "" if np.isnan(cell) else f"{cell:.7g}"
        else:
            yield str(cell)
