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
from neuropyro.data.mesh import Mesh
from neuropyro.data.truth import Truth

__all__ = ["mesh_of_arrays", "read_npz", "truth_of_arrays", "write_npz"]


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Read every array of an ``.npz`` file.

    Raises
    ------
    CohortError
        Where there is no such file, it is no ``.npz`` file or is damaged, or an array holds Python objects.
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
    """Write arrays to ``path``, through a temporary file so that a broken write leaves nothing half done."""
    part = path.with_name(path.name + ".part")
    with part.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    part.replace(path)


def mesh_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> Mesh | None:
    """Return the mesh that a file's arrays describe; None where they describe none."""
    values = np.asarray(arrays["values"])
    if ("edges" not in arrays and "faces" not in arrays) or values.ndim != 2:
        return None  # what is wrong with `values`, Cohort says
    return Mesh(
        n_vertices=values.shape[1],
        template=str(arrays["template"]) if "template" in arrays else None,
        **{k: arrays[k] for k in ("edges", "faces", "coordinates", "template_index") if k in arrays},
    )


def truth_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> Truth:
    """Return what a simulation wrote of its truth, as ``truth_<group>_<name>``."""
    groups: dict[str, dict[str, NDArray[Any]]] = {group: {} for group in Truth().groups()}
    for name, array in arrays.items():
        head, _, rest = name.partition("_")
        group, _, node = rest.partition("_")
        if head == "truth" and group in groups:
            groups[group][node] = array
    return Truth(**groups)
