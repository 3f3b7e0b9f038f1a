"""Maps of many visits, each in a file of its own or all in one, brought into one array."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.errors import CohortError
from neuropyro.data.missing_maps import empty_parts, warn_of_missing
from neuropyro.data.study_table import SESSION_REMEDY, StudyTable

__all__ = ["Read", "fill_pattern", "map_sizes", "readable", "seen_points", "stack_maps", "visit_files"]

Read = Callable[[Path], NDArray[Any]]
"""Reads a file as ``(frames, points)``."""


@contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a reader raises on a damaged file into one error that names it.

    Raises
    ------
    CohortError
        Where there is no such file, it is empty, or the reader raises anything.

    Examples
    --------
    >>> try:
    ...     with readable(Path(__file__), "an MGH map"):
    ...         raise EOFError("ends early")
    ... except CohortError as error:
    ...     print(str(error).removeprefix(__file__))
    : damaged, or not an MGH map (EOFError: ends early); write it again
    """
    if not path.is_file():
        raise CohortError(f"{path}: no such file")
    if not path.stat().st_size:
        raise CohortError(f"{path}: an empty file, of 0 bytes; write or copy it again")
    try:
        yield
    except CohortError:
        raise
    except Exception as error:  # parsers of damaged files raise anything: struct, zlib, expat, index, memory errors
        why = " ".join(str(error).split())[:160]
        raise CohortError(f"{path}: damaged, or not {kind} ({type(error).__name__}: {why}); write it again") from error


def fill_pattern(pattern: str, known: Mapping[str, str], source: str) -> str:
    """Put names in braces into a pattern; nothing else of a format string is understood.

    Raises
    ------
    CohortError
        Where a name in braces is not known; ``source`` says whose pattern it is.

    Examples
    --------
    >>> fill_pattern("{subject}/{hemisphere}.area.mgh", {"subject": "s1", "hemisphere": "lh"}, "table.csv")
    's1/lh.area.mgh'
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in known:
            remedy = SESSION_REMEDY if match[1] == "session" else f"known are {', '.join(known)}"
            raise CohortError(f"{source}: {{{match[1]}}} in {pattern!r} is not known; {remedy}")
        return known[match[1]]

    return re.sub(r"\{(\w+)\}", value, pattern)


def visit_files(folder: Path, table: StudyTable, pattern: str | None, **fields: str) -> list[Path]:
    """Return the file of each visit.

    Parameters
    ----------
    folder
        What relative paths start from.
    pattern
        Path with ``{subject}`` and ``{session}``, and the names in ``fields``; wildcards must match one file.  None:
        the table's column of files, which may hold patterns too.

    Raises
    ------
    CohortError
        Where a visit's file does not exist or is not the only one, or two visits share one (all may).

    Examples
    --------
    >>> import pandas, tempfile
    >>> from neuropyro.data.study_table import study_table
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("anna.lh.mgh", "ben.lh.mgz", "ben.rh.mgz"):
    ...     (folder / name).touch()
    >>> visits = study_table(pandas.DataFrame({"subject": ["anna", "ben"], "age": [70, 65]}))
    >>> [path.name for path in visit_files(folder, visits, "{subject}.{hemisphere}.*", hemisphere="lh")]
    ['anna.lh.mgh', 'ben.lh.mgz']
    """
    if pattern is None and table.file is None:
        raise CohortError(f"{table.source}: no column `file`; add one, or give `pattern`")
    names = []
    for row in range(len(table)):
        text = pattern if pattern is not None else str(table.file[row])  # type: ignore[index]
        names.append(fill_pattern(text, table.names(row) | fields, table.source))
    found = [_files_of(folder, name) for name in names]
    wrong = [row for row, files in enumerate(found) if len(files) != 1]
    if wrong:
        raise _not_one(folder, names[wrong[0]], len(found[wrong[0]]), table.place(wrong[0]), table.and_more(wrong))
    return _distinct([files[0] for files in found], table)


def _files_of(folder: Path, name: str) -> list[Path]:
    """Return what a name, which may be a pattern, is the name of."""
    path = folder / name
    if not name or not _is_pattern(name):
        return [path] if name and path.is_file() else []
    return sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor)) if path.anchor else str(path)))


def _is_pattern(name: str) -> bool:
    return any(c in name for c in "*?[")


def _not_one(folder: Path, name: str, found: int, place: str, more: str) -> CohortError:
    if not name:
        return CohortError(f"{place}: the file is missing{more}; name it or drop the visit")
    path = folder / name
    if not _is_pattern(name):
        return CohortError(f"{path}: no such file, but {place} asks for it{more}; drop that visit or correct the path")
    remedy = "make the pattern narrower" if found else "drop that visit or correct the pattern"
    return CohortError(f"{path}: {found or 'no'} files match, but {place} asks for one{more}; {remedy}")


def _distinct(files: list[Path], table: StudyTable) -> list[Path]:
    """Refuse a file that serves some visits but not all."""
    first: dict[Path, int] = {}
    for row, path in enumerate(files):
        if path in first and len(set(files)) > 1:
            raise CohortError(f"{path}: {table.place(first[path])} and {table.place(row)} share it; drop one of them")
        first.setdefault(path, row)
    return files


def map_sizes(parts: Sequence[Sequence[Path]], read: Read) -> tuple[int, ...]:
    """Return the number of points of each part (hemisphere), by its first file.

    Examples
    --------
    >>> maps = {Path("lh.mgh"): np.zeros((1, 12)), Path("rh.mgh"): np.zeros((1, 15))}
    >>> map_sizes([[path] for path in maps], read=maps.__getitem__)
    (12, 15)
    """
    return tuple(read(files[0]).shape[1] for files in parts)


def seen_points(parts: Sequence[Sequence[Path]], read: Read, table: StudyTable) -> NDArray[np.bool_]:
    """``(points,)``: where any map is neither 0 nor missing; nowhere else is there a cortex.

    Raises
    ------
    CohortError
        Naming the file that is damaged or of another size.

    Examples
    --------
    >>> visits = StudyTable("visits.csv", np.array(["anna", "ben"]), np.array([70.0, 65.0]))
    >>> maps = {Path("anna.mgh"): np.array([[0.0, 2.5, np.nan]]), Path("ben.mgh"): np.array([[0.0, 0.0, np.nan]])}
    >>> seen_points([list(maps)], maps.__getitem__, visits).tolist()
    [False, True, False]
    """
    seen = []
    for files, size in zip(parts, map_sizes(parts, read), strict=True):
        part = np.zeros(size, np.bool_)
        for _, frame in _frames(files, read, size, table):
            part |= (frame != 0) & ~np.isnan(frame)
        seen.append(part)
    return np.concatenate(seen)


def stack_maps(
    parts: Sequence[Sequence[Path]],
    read: Read,
    table: StudyTable,
    index: NDArray[np.int64],
    memory_map: str | Path | None = None,
    sides: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """Return the visits' values ``(visits, len(index))``; of files that are NaN throughout it is warned.

    Parameters
    ----------
    parts
        For each part (hemisphere) the file of each visit; where all are one file, its frames are the visits in order.
    read
        Reader of one file.
    index
        Points to keep, counted over all parts in order.
    memory_map
        An ``.npy`` file to write, which is then memory-mapped: for studies larger than memory.
    sides
        ``(len(index),)``: 1 on the left, -1 on the right, where one file has both; warned is then of either, too.

    Raises
    ------
    CohortError
        Naming the file that is damaged, of another size, infinite, or 0 throughout.

    Examples
    --------
    >>> visits = StudyTable("visits.csv", np.array(["anna", "ben"]), np.array([70.0, 65.0]))
    >>> maps = {Path("anna.mgh"): np.array([[0.0, 2.5, 3.0]]), Path("ben.mgh"): np.array([[0.0, 2.25, np.nan]])}
    >>> stack_maps([list(maps)], maps.__getitem__, visits, index=np.array([1, 2])).tolist()
    [[2.5, 3.0], [2.25, nan]]
    """
    shape = (len(table), len(index))
    values: NDArray[np.float32] = (
        np.empty(shape, np.float32)
        if memory_map is None
        else np.lib.format.open_memmap(memory_map, "w+", np.float32, shape)
    )
    offset, empty = 0, []
    for files, size in zip(parts, map_sizes(parts, read), strict=True):
        columns = np.flatnonzero((index >= offset) & (index < offset + size))
        for row, frame in _frames(files, read, size, table):
            kept = frame[index[columns] - offset]
            _check_frame(kept, files[row])
            values[row, columns] = kept
            empty += [_named(files, row, table, part) for part in empty_parts(kept, sides)]
        offset += size
    warn_of_missing(empty)
    if isinstance(values, np.memmap):
        values.flush()
        return np.load(Path(str(memory_map)), mmap_mode="r")  # type: ignore[no-any-return]
    return values


def _named(files: Sequence[Path], row: int, table: StudyTable, part: str) -> str:
    """Return the name of a visit's map, or of a part of it."""
    where = [table.place(row)] if len(table) > 1 and len(set(files)) == 1 else []
    said = ", ".join([*where, part] if part else where)
    return f"{files[row]} ({said})" if said else str(files[row])


def _frames(files: Sequence[Path], read: Read, size: int, table: StudyTable) -> Iterator[tuple[int, NDArray[Any]]]:
    stacked = len(table) > 1 and len(set(files)) == 1
    if stacked:
        frames = read(files[0])
        if len(frames) != len(table):
            raise CohortError(
                f"{files[0]}: it has {len(frames)} frames for the {len(table)} visits of {table.source}; "
                "give one frame for each row of the table, in its order"
            )
        yield from enumerate(frames)
        return
    for row, path in enumerate(files):
        frames = read(path)
        if frames.shape != (1, size):
            what = f"{len(frames)} maps" if len(frames) != 1 else f"{frames.shape[1]} values"
            wanted = "one map" if len(frames) != 1 else f"{size}, as {files[0].name} of {table.place(0)}"
            raise CohortError(f"{path}: it has {what}, not {wanted}; give maps of one space, one a visit")
        yield row, frames[0]


def _check_frame(frame: NDArray[Any], path: Path) -> None:
    if np.isinf(frame).any():
        raise CohortError(f"{path}: infinite values; mark missing values by NaN")
    if frame.size and not frame.any():  # NaN counts as something: a map may be missing
        raise CohortError(f"{path}: 0 throughout the mask; make that map again or drop the visit")
