"""Plain ``.npz`` files of arrays, read without executing anything in them."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.errors import CohortError

__all__ = ["read_npz", "write_npz"]


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Read every array of an ``.npz`` file.

    Raises
    ------
    CohortError
        Where there is no such file, it is no ``.npz`` file or is damaged, or an array holds Python objects.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "study.npz"
    >>> np.savez(path, time=[70.0, 71.5], subject=["anna", "anna"])
    >>> {name: array.tolist() for name, array in read_npz(path).items()}
    {'time': [70.0, 71.5], 'subject': ['anna', 'anna']}
    """
    if not path.is_file():
        raise CohortError(f"{path}: no such file{'' if path.suffix else ' or folder'}")
    if not zipfile.is_zipfile(path):
        raise CohortError(f"{path}: not an .npz file, or cut short; write it by numpy.savez or Cohort.save")
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for name in archive.files:
                arrays[name] = _read(archive, name, path)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise CohortError(f"{path}: damaged ({error}); write it again") from None
    return arrays


def _read(archive: Any, name: str, path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = archive[name]
    except ValueError as error:
        raise CohortError(
            f"{path}: `{name}` holds Python objects or is damaged ({error}); save plain numbers or text "
            "(for text: array.astype(str))"
        ) from None
    return array


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to ``path``, through a temporary file so that a broken write leaves nothing half done.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "study.npz"
    >>> write_npz(path, {"time": np.array([70.0, 71.5])})
    >>> read_npz(path)["time"].tolist(), [file.name for file in path.parent.iterdir()]
    ([70.0, 71.5], ['study.npz'])
    """
    part = path.with_name(path.name + ".part")
    with part.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    part.replace(path)
