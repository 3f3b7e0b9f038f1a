"""A single file of results that is used again: it is replaced, which is said, unless it is read itself."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from neuropyro.right_to_write import refuse_unwritable

__all__ = ["check_file", "tell_replaced"]


def check_file(out: Path, inputs: Iterable[Path | None] = ()) -> None:
    """Refuse a name for a file of results that cannot be written, or is of a file that is read: before any work.

    Parameters
    ----------
    out
        The file to write.
    inputs
        Files that are read; None is no file.

    Raises
    ------
    ValueError
        Naming the file and the remedy.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> check_file(folder / "placed.csv", [folder / "new.csv", None])
    >>> check_file(folder / "new.csv", [folder / "new.csv"])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: ...new.csv: is read, and would be replaced; give another --out
    >>> check_file(folder)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: ...: a folder, where --out names a file for the results; give another --out
    """
    if out.is_dir():
        raise ValueError(f"{out}: a folder, where --out names a file for the results; give another --out")
    if out.resolve() in {path.resolve() for path in inputs if path is not None}:
        raise ValueError(f"{out}: is read, and would be replaced; give another --out")
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if there != out and not there.is_dir():
        raise ValueError(f"{there}: a file, where --out has a folder; give another --out")
    refuse_unwritable(there)


def tell_replaced(out: Path) -> None:
    """Say on standard error that a file is there, which what follows replaces.

    Examples
    --------
    >>> import contextlib, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "placed.csv"
    >>> tell_replaced(path)
    >>> path.touch()
    >>> with contextlib.redirect_stderr(sys.stdout):
    ...     tell_replaced(path)  # doctest: +ELLIPSIS
    /...placed.csv: the earlier file of that name is replaced
    """
    if out.is_file():
        print(f"{out}: the earlier file of that name is replaced", file=sys.stderr)
