"""Surfaces and their vertex sets in files: FreeSurfer geometry and labels, GIFTI surfaces, masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuropyro.data.errors import CohortError
from neuropyro.data.map_files import fill_pattern, readable
from neuropyro.data.mesh import Mesh
from neuropyro.data.surface_maps import read_surface_map

__all__ = ["mesh_of_surfaces", "read_label", "read_surface", "surface_mask"]

Mask = ArrayLike | str | Path | Mapping[str, str | Path]


def read_surface(path: str | Path) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return ``(vertices, 3)`` coordinates in mm and ``(faces, 3)`` triangles.

    The file is GIFTI (``.surf.gii``) or, with any other name, FreeSurfer's (``lh.white``).

    Raises
    ------
    CohortError
        Where the file is damaged or holds no surface.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "lh.white"
    >>> nibabel.freesurfer.write_geometry(path, np.eye(3), np.array([[0, 1, 2]]))
    >>> coordinates, faces = read_surface(path)
    >>> coordinates.tolist(), faces.tolist()
    ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], [[0, 1, 2]])
    """
    path = Path(path)
    with readable(path, "a surface"):
        if path.suffix == ".gii":
            image = nibabel.load(path)
            coordinates, faces = (image.agg_data(f"NIFTI_INTENT_{kind}") for kind in ("POINTSET", "TRIANGLE"))
            if not (isinstance(coordinates, np.ndarray) and isinstance(faces, np.ndarray)):
                raise CohortError(f"{path}: no surface (one point set and its triangles) in it; give a .surf.gii file")
        else:
            coordinates, faces = nibabel.freesurfer.read_geometry(path)
        # FreeSurfer's arrays come big-endian
        return np.asarray(coordinates).astype(np.float32), np.asarray(faces).astype(np.int64)


def mesh_of_surfaces(paths: Sequence[str | Path], template: str | None = None) -> Mesh:
    """Return the mesh of one or more hemispheres, in the order given, which do not touch.

    Parameters
    ----------
    template
        Name of the template that they are, whole and in the order left, right.

    Raises
    ------
    CohortError
        Where a file is damaged or holds no surface.

    Examples
    --------
    >>> import nibabel, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "lh.white"
    >>> nibabel.freesurfer.write_geometry(path, np.eye(3), np.array([[0, 1, 2]]))
    >>> mesh_of_surfaces([path]).n_vertices
    3
    """
    coordinates, faces, offset = [], [], 0
    for path in paths:
        points, triangles = read_surface(path)
        if triangles.size and (triangles.min() < 0 or triangles.max() >= len(points)):
            raise CohortError(f"{path}: a triangle points at vertex {triangles.max()} of {len(points)}; it is damaged")
        coordinates.append(points)
        faces.append(triangles + offset)
        offset += len(points)
    return Mesh(
        n_vertices=offset,
        faces=np.concatenate(faces),
        coordinates=np.concatenate(coordinates),
        template=template,
        template_index=None if template is None else np.arange(offset),
    )


def read_label(path: str | Path) -> NDArray[np.int64]:
    r"""Return the vertices ``(labelled,)`` of a FreeSurfer ``.label`` file, numbered from 0.

    Raises
    ------
    CohortError
        Where the file is missing, damaged or no label.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "lh.cortex.label"
    >>> _ = path.write_text("#!ascii label\n2\n3 -1.5 0.0 2.0 0.0\n7 -1.0 0.5 2.0 0.0\n")
    >>> read_label(path).tolist()
    [3, 7]
    """
    path = Path(path)
    with readable(path, "a FreeSurfer label"):
        return np.atleast_1d(nibabel.freesurfer.read_label(path)).astype(np.int64)


def surface_mask(mask: Mask, hemispheres: Sequence[str], sizes: Sequence[int]) -> NDArray[np.bool_]:
    """Return ``(vertices,)``, which vertices of all hemispheres to keep.

    Parameters
    ----------
    mask
        ``(vertices,)`` bool or numbers of vertices, over all hemispheres in order; or files, one for each
        hemisphere: a mapping, or a path with ``{hemisphere}`` in it.  A ``.label`` file lists vertices, a map (MGH,
        GIFTI) is kept where it is above 0.

    Raises
    ------
    CohortError
        Where a mask or a file is of another size, or of no whole numbers, or nothing is kept.

    Examples
    --------
    >>> surface_mask([0, 4], ("lh", "rh"), (2, 3)).tolist()
    [True, False, False, False, True]
    """
    if isinstance(mask, str | Path):
        if len(hemispheres) > 1 and "{hemisphere}" not in str(mask):
            raise CohortError(f"{mask}: put {{hemisphere}} into the masks' name; each has its own")
        mask = {h: fill_pattern(str(mask), {"hemisphere": h}, "mask") for h in hemispheres}
    if isinstance(mask, Mapping):
        absent = [h for h in hemispheres if h not in mask]
        if absent:
            raise CohortError(f"mask: none for hemisphere {absent[0]}; give one for each of {', '.join(hemispheres)}")
        kept = np.concatenate([_mask_file(Path(mask[h]), n) for h, n in zip(hemispheres, sizes, strict=True)])
    else:
        kept = _mask_array(np.asarray(mask), sum(sizes))
    if not kept.any():
        raise CohortError("mask: it keeps no vertex")
    return kept


def _mask_array(mask: NDArray[Any], n: int) -> NDArray[np.bool_]:
    if mask.dtype.kind == "b" and mask.shape != (n,):
        raise CohortError(f"mask: it has {mask.size} entries, but the maps have {n} vertices")
    if mask.shape == (n,) and np.isin(mask, (0, 1)).all():
        return mask.astype(np.bool_)
    return _marked(mask, n, "mask")


def _mask_file(path: Path, n: int) -> NDArray[np.bool_]:
    if path.suffix == ".label":
        return _marked(read_label(path), n, str(path))
    frames = read_surface_map(path)
    if frames.shape != (1, n):
        raise CohortError(f"{path}: it has {frames.shape[1]} values, but the maps have {n} vertices")
    return np.asarray(frames[0] > 0)


def _marked(vertices: NDArray[Any], n: int, source: str) -> NDArray[np.bool_]:
    kept = np.zeros(n, np.bool_)
    if not vertices.size:
        return kept
    if vertices.dtype.kind not in "iu":
        raise CohortError(f"{source}: vertices are whole numbers, or it is True or False at each, not {vertices.dtype}")
    if not 0 <= vertices.min() <= vertices.max() < n:
        raise CohortError(f"{source}: it names vertices beyond the maps' {n}; give the mask of that space")
    kept[vertices] = True
    return kept
