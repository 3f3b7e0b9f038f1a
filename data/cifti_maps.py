"""Studies of CIFTI dense scalars: vertices of the cortex and voxels below it, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import nibabel
import numpy as np
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, ScalarAxis
from numpy.typing import ArrayLike, NDArray

from neuropyro.data.errors import CohortError
from neuropyro.data.map_files import readable, seen_points, stack_maps, visit_files
from neuropyro.data.map_space import filled_maps
from neuropyro.data.mesh import Mesh
from neuropyro.data.study_table import study_table
from neuropyro.data.surface_files import mesh_of_surfaces, surface_mask
from neuropyro.data.surface_maps import is_left
from neuropyro.data.voxels import voxel_coordinates, voxel_edges

__all__ = ["CiftiSpace", "cifti_study"]

CORTEX = {True: "CIFTI_STRUCTURE_CORTEX_LEFT", False: "CIFTI_STRUCTURE_CORTEX_RIGHT"}


@dataclass(frozen=True, eq=False)
class CiftiSpace:
    """Brain models of a CIFTI file, as plain arrays.

    Parameters
    ----------
    structure
        ``(points,)`` name of each point's structure.
    vertex
        ``(points,)`` vertex on its surface, -1 for a voxel.
    voxel
        ``(points, 3)`` place in the grid, -1 for a vertex.
    surfaces, sizes
        Names of the structures that are surfaces, and the number of vertices of each.
    affine, shape
        Of the grid; None where there are no voxels.
    index
        ``(vertices,)``: the place of each column among the points.

    Examples
    --------
    >>> axis = BrainModelAxis.from_mask(np.array([True, False, True]), name="CORTEX_LEFT")
    >>> space = CiftiSpace.of(axis)
    >>> space, space.vertex.tolist(), space.sides.tolist()
    (.dscalar.nii maps of cortex_left, [0, 2], [1, 1])
    >>> space.axis() == axis
    True
    """

    structure: NDArray[np.str_]
    vertex: NDArray[np.int64]
    voxel: NDArray[np.int64]
    surfaces: tuple[str, ...]
    sizes: tuple[int, ...]
    index: NDArray[np.int64]
    affine: NDArray[np.float64] | None = None
    shape: tuple[int, ...] | None = None

    kind: ClassVar[str] = "cifti"

    @classmethod
    def of(cls, axis: Any) -> CiftiSpace:
        """Take all points of nibabel's axis."""
        return cls(
            structure=np.asarray(axis.name).astype(np.str_),
            vertex=np.asarray(axis.vertex, np.int64),
            voxel=np.asarray(axis.voxel, np.int64),
            surfaces=tuple(axis.nvertices),
            sizes=tuple(int(n) for n in axis.nvertices.values()),
            index=np.arange(len(axis)),
            affine=None if axis.affine is None else np.asarray(axis.affine, np.float64),
            shape=None if axis.volume_shape is None else tuple(int(n) for n in axis.volume_shape),
        )

    def axis(self) -> Any:
        """Return nibabel's axis of all points."""
        return BrainModelAxis(
            self.structure.astype(object),
            voxel=self.voxel,
            vertex=self.vertex,
            affine=self.affine,
            volume_shape=self.shape,
            nvertices=dict(zip(self.surfaces, self.sizes, strict=True)),
        )

    @property
    def sides(self) -> NDArray[np.int64]:
        """``(vertices,)``: 1 on the left cortex, -1 on the right, 0 elsewhere."""
        own = self.structure[self.index]
        return np.where(own == CORTEX[True], 1, np.where(own == CORTEX[False], -1, 0))

    def subset(self, columns: NDArray[np.int64]) -> CiftiSpace:
        """Keep some columns."""
        return replace(self, index=self.index[columns])

    def write(self, maps: Mapping[str, ArrayLike], stem: Path, outside: float = 0.0) -> list[Path]:
        """Write ``<stem>.dscalar.nii``, a named map each; see :class:`~neuropyro.data.map_space.MapSpace`."""
        whole = filled_maps(maps, self.index, len(self.structure), outside)
        image = Cifti2Image(whole, header=(ScalarAxis(list(maps)), self.axis()))
        image.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_SCALARS")
        path = stem.with_name(stem.name + ".dscalar.nii")
        nibabel.save(image, path)
        return [path]

    def mesh(self, surfaces: Mapping[str, str | Path]) -> Mesh:
        """Return the columns' mesh.

        Parameters
        ----------
        surfaces
            Surface files of the hemispheres (``lh`` or ``L``, ``rh`` or ``R``).

        Raises
        ------
        CohortError
            Where a cortex has no surface, or one of another number of vertices.
        """
        files = {CORTEX[is_left(name)]: path for name, path in surfaces.items()}
        edges, points = [], np.full((len(self.structure), 3), np.nan, np.float32)
        for name, size in zip(self.surfaces, self.sizes, strict=True):
            rows = np.flatnonzero(self.structure == name)
            edges.append(rows[_surface_part(name, files, size, self.vertex[rows], points, rows)])
        rows = np.flatnonzero(self.vertex < 0)
        if rows.size and self.affine is not None:
            edges.append(rows[voxel_edges(self.voxel[rows])])
            points[rows] = voxel_coordinates(self.voxel[rows], self.affine)
        return Mesh(len(self.structure), edges=np.concatenate(edges), coordinates=points).subset(self.index)

    def __repr__(self) -> str:
        names = dict.fromkeys(name.removeprefix("CIFTI_STRUCTURE_").lower() for name in self.structure)
        return f".dscalar.nii maps of {', '.join(names)}"


def _surface_part(
    name: str,
    files: Mapping[str, str | Path],
    size: int,
    vertices: NDArray[np.int64],
    points: NDArray[np.float32],
    rows: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the edges among a structure's vertices, and put down where they lie."""
    if name not in files:
        raise CohortError(f"surfaces: none for {name}; give the surface of that hemisphere")
    whole = mesh_of_surfaces([files[name]])
    if whole.n_vertices != size:
        raise CohortError(f"{files[name]}: it has {whole.n_vertices} vertices, but {name} of the maps has {size}")
    part = whole.subset(vertices)
    assert part.coordinates is not None and part.edges is not None  # noqa: PT018
    points[rows] = part.coordinates
    return np.asarray(part.edges)


def cifti_study(
    folder: str | Path,
    table: Any,
    pattern: str | None = None,
    surfaces: Mapping[str, str | Path] | None = None,
    mask: ArrayLike | str | Path | None = None,
    memory_map: str | Path | None = None,
) -> dict[str, Any]:
    """Read dense scalars of every visit: what a `Cohort` takes, values ``(visits, points)``; see `Cohort.from_cifti`.

    Raises
    ------
    CohortError
        Naming the file (or the table and its line) and the remedy.

    Examples
    --------
    >>> import pandas, tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> space = CiftiSpace.of(BrainModelAxis.from_mask(np.array([True, False, True]), name="CORTEX_LEFT"))
    >>> _ = space.write({"thickness": [2.5, 3.0]}, folder / "anna")
    >>> visits = pandas.DataFrame({"subject": ["anna"], "age": [70]})
    >>> cifti_study(folder, visits, "{subject}.dscalar.nii")["values"].tolist()
    [[2.5, 3.0]]
    """
    visits = study_table(table)
    files = visit_files(Path(folder), visits, pattern)
    axis = _axes(files[0])[1]
    space = CiftiSpace.of(axis)

    def read(path: Path) -> NDArray[Any]:
        return _maps(path, axis, files[0])

    if mask is None:
        kept = seen_points([files], read, visits)
    elif isinstance(mask, str | Path):
        kept = read(Path(mask))[0] > 0
    else:
        kept = surface_mask(np.asarray(mask), ("maps",), (len(space.structure),))
    space = space.subset(np.flatnonzero(kept))
    return visits.fields() | {
        "values": stack_maps([files], read, visits, space.index, memory_map, space.sides),
        "mesh": None if surfaces is None else space.mesh(surfaces),
        "space": space,
    }


def _axes(path: Path) -> tuple[Any, Any]:
    with readable(path, "a CIFTI file"):
        image = nibabel.load(path)
        if not isinstance(image, Cifti2Image):
            raise CohortError(f"{path}: not a CIFTI file; give .dscalar.nii, or read volumes by from_nifti")
        axes = [image.header.get_axis(i) for i in range(image.ndim)]
        if len(axes) != 2 or not isinstance(axes[1], BrainModelAxis):
            kinds = " x ".join(type(axis).__name__ for axis in axes)
            raise CohortError(f"{path}: its axes are {kinds}, not maps x brain models; give .dscalar.nii")
        return image, axes[1]


def _maps(path: Path, axis: Any, first: Path) -> NDArray[Any]:
    image, own = _axes(path)
    with readable(path, "a CIFTI file"):
        if own != axis:
            raise CohortError(f"{path}: its brain models are not those of {first}; bring the maps to one space")
        return np.asanyarray(image.dataobj)
