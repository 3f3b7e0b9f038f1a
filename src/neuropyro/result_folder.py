"""A folder of results that is used again: an earlier fit's make room, and files that are no results are kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from neuropyro.data.unknown_names import few

__all__ = ["make_room"]

MARK = "fit.json"  # which every fit leaves in its folder


def make_room(folder: Path, products: Iterable[str], inputs: Iterable[Path] = ()) -> bool:
    """Remove what an earlier fit left in a folder, lest two fits' files lie side by side.

    Parameters
    ----------
    folder
        Where results will be written; it need not exist.
    products
        Names of what may be written, with ``*`` and ``?`` as in a shell.
    inputs
        Files that are read.

    Returns
    -------
    Whether there was something.

    Raises
    ------
    ValueError
        Where a file of such a name is read, or is there without a fit; nothing is removed then.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "subjects.csv").touch()
    >>> make_room(folder, ["subjects.csv"])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: ...: subjects.csv would be replaced, and is not from a fit; give another --out
    >>> (folder / "fit.json").touch()
    >>> make_room(folder, ["fit.json", "subjects.csv"]), list(folder.iterdir())
    (True, [])
    """
    there = {path.resolve(): path for name in products for path in sorted(folder.glob(name)) if path.is_file()}
    read = [there[path.resolve()].name for path in inputs if path.resolve() in there]
    if read:
        raise ValueError(f"{folder}: {read[0]} is read, and would be replaced; give another --out")
    names = sorted(path.name for path in there.values())
    if names and not (folder / MARK).is_file():
        raise ValueError(
            f"{folder}: {', '.join(few(names))} would be replaced, and is not from a fit; give another --out"
        )
    for path in there.values():
        path.unlink()
    return bool(names)
