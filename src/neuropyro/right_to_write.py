"""Whether a file can be made in a folder: tried, for what the folder's mode says does not hold for root or /proc."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["refuse_unwritable"]


def refuse_unwritable(there: Path) -> None:
    """Refuse a folder in which no file can be made, or a file that may not be written to.

    Raises
    ------
    ValueError
        Naming it and the remedy.

    Examples
    --------
    >>> folder = Path(tempfile.mkdtemp())
    >>> refuse_unwritable(folder)
    >>> list(folder.iterdir())  # nothing is left of the trial
    []
    """
    try:
        may = os.access(there, os.W_OK)
        if may and there.is_dir():
            tempfile.TemporaryFile(dir=there).close()
    except OSError:
        may = False
    if not may:
        raise ValueError(f"{there}: may not be written to; give another --out, or the right to write")
