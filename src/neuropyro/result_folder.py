"""A folder of results that is used again: a fit is kept unless asked, and so are files that are no results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from neuropyro.data.unknown_names import few
from neuropyro.right_to_write import refuse_unwritable

__all__ = ["check_room", "keep_fits", "make_room", "refuse_file", "unfinished"]

MARK = "fit.json"  # which every fit leaves in its folder
BEGUN = "unfinished.txt"  # which is there from the first file on until the last is written
SAID = "A fit was begun here and has not ended; what it left is replaced by the next.\n"


def keep_fits(folders: Iterable[Path]) -> None:
    """Refuse folders that hold a fit; what a run left that did not end is none.

    Raises
    ------
    ValueError
        Naming the folders.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> keep_fits([folder])
    >>> (folder / "fit.json").touch()
    >>> keep_fits([folder])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: ...: it holds a fit already; give another --out, or --overwrite to replace it
    """
    held = [str(folder) for folder in folders if (folder / MARK).is_file() and not (folder / BEGUN).is_file()]
    if held:
        one = "it holds a fit already" if len(held) == 1 else "they hold fits already"
        it = "it" if len(held) == 1 else "them"
        raise ValueError(f"{', '.join(few(held))}: {one}; give another --out, or --overwrite to replace {it}")


def refuse_file(out: Path) -> None:
    """Refuse a file, or what would lie in one or may not be written, where a folder for results is named: before work.

    Raises
    ------
    ValueError
        Naming the file, or the folder that may not be written to.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "visits.csv"
    >>> refuse_file(path)
    >>> path.touch()
    >>> refuse_file(path)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: ...visits.csv: a file, where --out names a folder for the results; give another --out
    """
    for path in (out, *out.parents):
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path}: a file, where --out names a folder for the results; give another --out")
    there = next(path for path in (out, *out.parents) if path.exists())
    refuse_unwritable(there)


@contextlib.contextmanager
def unfinished(folder: Path) -> Iterator[None]:
    """Mark a folder as not finished until the block ends well, so that a run that fails can be run again.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with unfinished(folder):
    ...     (folder / "fit.json").touch()
    ...     keep_fits([folder])
    """
    folder.mkdir(parents=True, exist_ok=True)
    mark = folder / BEGUN
    mark.write_text(SAID, encoding="utf-8")
    yield
    mark.unlink(missing_ok=True)


def check_room(folder: Path, products: Iterable[str], inputs: Iterable[Path] = ()) -> list[Path]:
    """Find what of an earlier fit would be replaced in a folder, and remove nothing.

    Parameters
    ----------
    folder
        Where results will be written; it need not exist.
    products
        Names of what may be written, with ``*`` and ``?`` as in a shell.
    inputs
        Files that are read.

    Raises
    ------
    ValueError
        Where a file of such a name is read, or is there without a fit.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "subjects.csv").touch()
    >>> check_room(folder, ["subjects.csv"])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: ...: subjects.csv would be replaced, and is not from a fit; give another --out
    >>> (folder / "fit.json").touch()
    >>> [path.name for path in check_room(folder, ["fit.json", "subjects.csv"])]
    ['fit.json', 'subjects.csv']
    """
    there = {path.resolve(): path for name in products for path in sorted(folder.glob(name)) if path.is_file()}
    read = [there[path.resolve()].name for path in inputs if path.resolve() in there]
    if read:
        raise ValueError(f"{folder}: {read[0]} is read, and would be replaced; give another --out")
    names = sorted(path.name for path in there.values())
    if names and not any((folder / mark).is_file() for mark in (MARK, BEGUN)):
        raise ValueError(
            f"{folder}: {', '.join(few(names))} would be replaced, and is not from a fit; give another --out"
        )
    return list(there.values())


def make_room(folder: Path, products: Iterable[str], inputs: Iterable[Path] = ()) -> bool:
    """Remove what an earlier fit left in a folder, lest two fits' files lie side by side.

    This is done when all that can fail has been done, just before the new results are written: what is refused, or is
    stopped, leaves the earlier ones.

    Parameters
    ----------
    folder, products, inputs
        As for `check_room`.

    Returns
    -------
    Whether there was something.

    Raises
    ------
    ValueError
        As `check_room`; nothing is removed then.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("fit.json", "subjects.csv"):
    ...     (folder / name).touch()
    >>> make_room(folder, ["fit.json", "subjects.csv"]), list(folder.iterdir())
    (True, [])
    """
    there = check_room(folder, products, inputs)
    for path in there:
        path.unlink()
    return bool(there)
