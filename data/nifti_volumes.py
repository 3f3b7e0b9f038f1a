"""Studies of NIfTI volumes: the voxels of a mask are a cohort's columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import nibabel
import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuropyro.data.errors import CohortError
from neuropyro.data.map_files import readable, stack_maps, visit_files
from neuropyro.data.map_space import filled_maps, list_frames
from neuropyro.data.mesh import Mesh
from neuropyro.data.study_table import study_table
from neuropyro.data.voxels import voxel_coordinates, voxel_edges

__all__ = ["VolumeSpace", "nifti_study"]

SAME_PLACE = 1e-3  # mm: affines that differ less are one grid


@dataclass(frozen=True, eq=False)
class VolumeSpace:
    """Voxels of a grid.

    Parameters
    ----------
    suffix
        ``.nii`` or ``.nii.gz``.
    shape
        ``(3,)`` of the grid.
    affine
        ``(4, 4)`` from voxels to mm.
    index
        ``(vertices,)``: the place of each column among the voxels, the last axis running fastest.

    Examples
    --------
    >>> space = VolumeSpace(".nii.gz", (2, 2, 2), np.diag([3.0, 3, 3, 1]), index=np.array([0, 1, 7]))
    >>> mesh = space.mesh()
    >>> mesh.edges.tolist(), mesh.coordinates.tolist()
    ([[0, 1]], [[0.0, 0.0, 0.0], [0.0, 0.0, 3.0], [3.0, 3.0, 3.0]])
    """

    suffix: str
    shape: tuple[int, ...]
    affine: NDArray[np.float64]
    index: NDArray[np.int64]

    kind: ClassVar[str] = "volume"

    @property
    def sides(self) -> NDArray[np.int64]:
        """``(vertices,)`` zeros: voxels are of no surface."""
        return np.zeros_like(self.index)

    def subset(self, columns: NDArray[np.int64]) -> VolumeSpace:
        """Keep some columns."""
        return replace(self, index=self.index[columns])

    def write(self, maps: Mapping[str, ArrayLike], stem: Path, outside: float = 0.0) -> list[Path]:
        """Write ``<stem>.nii.gz``, a volume a map; see :class:`~neuropyro.data.map_space.MapSpace`."""
        whole = filled_maps(maps, self.index, int(np.prod(self.shape)), outside)
        volumes = np.moveaxis(whole.reshape(len(whole), *self.shape), 0, -1)
        image = nibabel.Nifti1Image(volumes, self.affine)
        image.header.set_xyzt_units("mm")
        path = stem.with_name(stem.name + self.suffix)
        nibabel.save(image, path)
        return [path, list_frames(maps, stem)]

    def mesh(self) -> Mesh:
        """Return the columns' mesh: voxels that share a face are neighbours."""
        voxels = np.stack(np.unravel_index(self.index, self.shape), 1).astype(np.int64)
        return Mesh(len(voxels), edges=voxel_edges(voxels), coordinates=voxel_coordinates(voxels, self.affine))

    def __repr__(self) -> str:
        return f"{self.suffix} volumes of {' x '.join(str(n) for n in self.shape)} voxels"


def nifti_study(
    folder: str | Path,
    table: Any,
    mask: str | Path,
    pattern: str | None = None,
    memory_map: str | Path | None = None,
) -> dict[str, Any]:
    """Read the voxels of a mask in each visit's volume; see `Cohort.from_nifti`.

    It returns what a `Cohort` takes: values ``(visits, voxels)``, their mesh and more.

    Raises
    ------
    CohortError
        Naming the file (or the table and its line) and the remedy.

    Examples
    --------
    >>> import pandas, tempfile
    >>> folder, grid = Path(tempfile.mkdtemp()), VolumeSpace(".nii", (1, 1, 3), np.eye(4), np.arange(3))
    >>> for name, values in {"mask": [0, 1, 1], "anna": [0.25, 0.5, 0.75]}.items():
    ...     _ = grid.write({name: values}, folder / name)
    >>> visits = pandas.DataFrame({"subject": ["anna"], "age": [70]})
    >>> fields = nifti_study(folder, visits, folder / "mask.nii", "{subject}.nii")
    >>> fields["values"].tolist(), fields["mesh"].edges.tolist()
    ([[0.5, 0.75]], [[0, 1]])
    """
    visits = study_table(table)
    files = visit_files(Path(folder), visits, pattern)
    suffix = ".nii.gz" if files[0].name.endswith(".gz") else ".nii"
    grid = _masked(Path(mask), suffix)

    def read(path: Path) -> NDArray[Any]:
        return _volumes(path, grid)

    # Files have the first axis running fastest, so that a volume on the disk is seen as it is, not copied.
    places = np.ravel_multi_index(np.unravel_index(grid.index, grid.shape), grid.shape, order="F")
    return visits.fields() | {
        "values": stack_maps([files], read, visits, np.asarray(places, np.int64), memory_map),
        "mesh": grid.mesh(),
        "space": grid,
    }


def _masked(path: Path, suffix: str) -> VolumeSpace:
    with readable(path, "a NIfTI mask"):
        image: Any = nibabel.load(path)
        data = np.asarray(image.dataobj)
    data = data[..., 0] if data.ndim == 4 and data.shape[3] == 1 else data
    if data.ndim != 3 or not (data > 0).any():
        raise CohortError(f"{path}: a mask is one volume that is above 0 where values are kept; this is {data.shape}")
    return VolumeSpace(suffix, data.shape, np.asarray(image.affine, np.float64), np.flatnonzero(data > 0))


def _volumes(path: Path, grid: VolumeSpace) -> NDArray[Any]:
    """Return ``(volumes, voxels)``, the first axis of the grid running fastest."""
    with readable(path, "a NIfTI volume"):
        image: Any = nibabel.load(path)
        data = np.asanyarray(image.dataobj)
        data = data[..., None] if data.ndim == 3 else data
        if data.shape[:3] != grid.shape or not np.allclose(image.affine, grid.affine, atol=SAME_PLACE):
            raise CohortError(
                f"{path}: a grid of {data.shape[:3]} voxels that is not the mask's, {grid.shape}; resample one to the "
                "other (nilearn.image.resample_to_img)"
            )
        volumes: NDArray[Any] = data.reshape(-1, data.shape[3], order="F").T
        return volumes
