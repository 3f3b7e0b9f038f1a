"""Maps on surfaces in files: MGH and MGZ as FreeSurfer writes them, GIFTI as the Connectome Workbench does."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from neuropyro.data.errors import CohortError
from neuropyro.data.map_files import readable

__all__ = ["is_left", "map_suffix", "read_surface_map", "write_surface_map"]

SUFFIXES = (".mgh", ".mgz", ".func.gii", ".shape.gii")


def map_suffix(path: Path) -> str:
    """Return the suffix that tells a map's format.

    Raises
    ------
    CohortError
        Where the format is not one of these.

    Examples
    --------
    >>> map_suffix(Path("lh.thickness.func.gii")), map_suffix(Path("lh.thickness.gii"))
    ('.func.gii', '.shape.gii')
    """
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return suffix
    if path.suffix == ".gii":
        return ".shape.gii"
    raise CohortError(f"{path}: not a surface map; known are {', '.join(SUFFIXES)}")


def is_left(hemisphere: str) -> bool:
    """Whether a hemisphere's name (``lh``, ``L``, ``left``, ``hemi-L``) is the left one's.

    Examples
    --------
    >>> [is_left(name) for name in ("lh", "hemi-L", "rh")]
    [True, True, False]
    """
    return hemisphere.lower().removeprefix("hemi-").startswith("l")


def read_surface_map(path: Path) -> NDArray[Any]:
    """Return ``(frames, vertices)``: the frames of an MGH file, the data arrays of a GIFTI file.

    An uncompressed MGH file stays on the disk and is memory-mapped.

    Raises
    ------
    CohortError
        Where the file is damaged or holds no maps of a surface.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "lh.thickness.mgh"
    >>> nibabel.save(nibabel.freesurfer.MGHImage(np.array([[[2.5]], [[3.0]]], np.float32), np.eye(4)), path)
    >>> read_surface_map(path).tolist()
    [[2.5, 3.0]]
    """
    gifti = map_suffix(path).endswith(".gii")
    with readable(path, "a GIFTI map" if gifti else "an MGH map"):
        return _gifti_frames(path) if gifti else _mgh_frames(path)


def _mgh_frames(path: Path) -> NDArray[Any]:
    # Opened here, since nibabel leaves the file open where it opens it itself.
    with gzip.open(path) if path.suffix == ".mgz" else path.open("rb") as stream:
        image = nibabel.freesurfer.MGHImage.from_stream(stream)
        data = np.asanyarray(image.dataobj)  # (vertices, 1, 1[, frames]), big-endian
    data = data[..., None] if data.ndim == 3 else data
    if data.ndim != 4 or sorted(data.shape[:3])[:2] != [1, 1]:
        raise CohortError(f"{path}: a volume of {data.shape}, not a map of a surface; read volumes by from_nifti")
    frames: NDArray[Any] = data.reshape(-1, data.shape[3], order="F").T
    return frames


def _gifti_frames(path: Path) -> NDArray[Any]:
    arrays = [array.data for array in nibabel.load(path).darrays]
    if not arrays or any(a.ndim != 1 or len(a) != len(arrays[0]) or a.dtype.kind not in "fiu" for a in arrays):
        shapes = ", ".join(str(a.shape) for a in arrays) or "none"
        raise CohortError(f"{path}: its arrays are {shapes}, not maps of one surface; give .func.gii or .shape.gii")
    return np.stack(arrays)


def write_surface_map(path: Path, maps: NDArray[np.float32], names: Sequence[str], hemisphere: str) -> None:
    """Write ``(maps, vertices)`` float32 as the frames of one file; GIFTI keeps their names.

    Raises
    ------
    CohortError
        Where the file's name is that of no surface map.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "lh.result.shape.gii"
    >>> write_surface_map(path, np.array([[1.5, 2.0], [0.5, 0.25]], np.float32), ["onset", "speed"], "lh")
    >>> read_surface_map(path).tolist(), [array.meta["Name"] for array in nibabel.load(path).darrays]
    ([[1.5, 2.0], [0.5, 0.25]], ['onset', 'speed'])
    """
    if map_suffix(path).endswith(".gii"):
        nibabel.save(_gifti(maps, names, hemisphere), path)
    else:
        frames = np.ascontiguousarray(maps.T, np.float32)[:, None, None, :]
        frames = frames[..., 0] if len(maps) == 1 else frames  # MGH has no fourth axis of length one
        nibabel.save(nibabel.freesurfer.MGHImage(frames, np.eye(4)), path)


def _gifti(maps: NDArray[np.float32], names: Sequence[str], hemisphere: str) -> Any:
    gifti = nibabel.gifti
    structure = "CortexLeft" if is_left(hemisphere) else "CortexRight"
    image = gifti.GiftiImage(meta=gifti.GiftiMetaData(AnatomicalStructurePrimary=structure))
    for name, values in zip(names, maps, strict=True):
        array = np.ascontiguousarray(values, np.float32)
        meta = gifti.GiftiMetaData(Name=name)
        image.add_gifti_data_array(gifti.GiftiDataArray(array, intent="NIFTI_INTENT_SHAPE", meta=meta))
    return image
