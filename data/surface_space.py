"""Maps on the vertices of one or both hemispheres: how a cohort's columns lie in them, and are written back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuropyro.data.errors import CohortError
from neuropyro.data.map_space import filled_maps, list_frames
from neuropyro.data.mesh import Mesh
from neuropyro.data.surface_maps import is_left, write_surface_map

__all__ = ["TEMPLATE_VERTICES", "SurfaceSpace", "template_space"]

TEMPLATE_VERTICES = {"fsaverage5": 10242}
"""Vertices of one hemisphere of the bundled template."""


@dataclass(frozen=True, eq=False)
class SurfaceSpace:
    """Maps of one or both hemispheres, a file each.

    Parameters
    ----------
    suffix
        ``.mgh``, ``.mgz``, ``.func.gii`` or ``.shape.gii``.
    hemispheres
        Their names as in file names.
    sizes
        Number of vertices of each.
    index
        ``(vertices,)``: the place of each column among all vertices, hemisphere by hemisphere.

    Examples
    --------
    >>> import tempfile
    >>> space = SurfaceSpace(".shape.gii", ("lh", "rh"), sizes=(2, 3), index=np.array([0, 4]))
    >>> space.sides.tolist()
    [1, -1]
    >>> [path.name for path in space.write({"onset": [1.5, 2.0]}, Path(tempfile.mkdtemp()) / "result")]
    ['lh.result.shape.gii', 'rh.result.shape.gii']
    """

    suffix: str
    hemispheres: tuple[str, ...]
    sizes: tuple[int, ...]
    index: NDArray[np.int64]

    kind: ClassVar[str] = "surface"

    @property
    def sides(self) -> NDArray[np.int64]:
        """``(vertices,)``: 1 on the left, -1 on the right."""
        signs = [1 if is_left(name) else -1 for name in self.hemispheres]
        return np.repeat(signs, self.sizes)[self.index]

    def subset(self, columns: NDArray[np.int64]) -> SurfaceSpace:
        """Keep some columns."""
        return replace(self, index=self.index[columns])

    def write(self, maps: Mapping[str, ArrayLike], stem: Path, outside: float = 0.0) -> list[Path]:
        """Write ``lh.<stem><suffix>`` and the like, a frame a map; see :class:`~neuropyro.data.map_space.MapSpace`."""
        whole = filled_maps(maps, self.index, sum(self.sizes), outside)
        written = []
        parts = np.split(whole, np.cumsum(self.sizes)[:-1], axis=1)
        for hemisphere, part in zip(self.hemispheres, parts, strict=True):
            path = stem.with_name(f"{hemisphere}.{stem.name}{self.suffix}")
            write_surface_map(path, part, list(maps), hemisphere)
            written.append(path)
        return written if self.suffix.endswith(".gii") else [*written, list_frames(maps, stem)]

    def __repr__(self) -> str:
        return f"{self.suffix} maps of {' and '.join(self.hemispheres)}"


def template_space(mesh: Mesh | None) -> SurfaceSpace | None:
    """Return the GIFTI maps of the template that a mesh is part of; None where it is of none.

    Raises
    ------
    CohortError
        Where the template is not known, or has fewer vertices.

    Examples
    --------
    >>> mesh = Mesh(2, edges=np.array([[0, 1]]), template="fsaverage5", template_index=np.array([0, 10242]))
    >>> template_space(mesh).sides.tolist()  # the first vertex of either hemisphere
    [1, -1]
    """
    if mesh is None or mesh.template_index is None or mesh.template is None:
        return None
    if mesh.template not in TEMPLATE_VERTICES:
        known = ", ".join(TEMPLATE_VERTICES)
        raise CohortError(f"mesh: template {mesh.template!r} is not known; known are {known}")
    n_vertices = 2 * TEMPLATE_VERTICES[mesh.template]
    if not ((mesh.template_index >= 0) & (mesh.template_index < n_vertices)).all():
        raise CohortError(f"mesh: `template_index` names vertices beyond the {n_vertices} of {mesh.template}")
    return SurfaceSpace(".shape.gii", ("lh", "rh"), 2 * (TEMPLATE_VERTICES[mesh.template],), mesh.template_index)
