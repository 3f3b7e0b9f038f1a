"""Rows of a benchmark that runs for long, kept one by one, so that it can be gone on with."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return what is there already."""
    return list(csv.DictReader(path.open(newline=""))) if path.exists() else []


def keep_row(path: Path, found: dict[str, Any]) -> dict[str, str]:
    """Append a row, print it, and return it as it will be read; four decimals."""
    row = {name: f"{x:.4f}" if isinstance(x, float) else str(x) for name, x in found.items()}
    new = not path.exists()
    with path.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)
    print(", ".join(f"{name} {x}" for name, x in row.items()), flush=True)
    return row
