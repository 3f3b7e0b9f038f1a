"""Studies of surface maps, MGH or GIFTI, in files that a pattern or a table names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.errors import CohortError
from neuropyro.data.map_files import map_sizes, seen_points, stack_maps, visit_files
from neuropyro.data.mesh import Mesh
from neuropyro.data.study_table import StudyTable, study_table
from neuropyro.data.surface_files import Mask, mesh_of_surfaces, surface_mask
from neuropyro.data.surface_maps import is_left, map_suffix, read_surface_map
from neuropyro.data.surface_space import TEMPLATE_VERTICES, SurfaceSpace
from neuropyro.data.surfaces import MEDIAL_WALL_THICKNESS, Hemisphere, cortical_thickness, template_surface

__all__ = ["surface_cohort", "surface_study"]


def surface_study(
    folder: str | Path,
    table: Any,
    pattern: str | None = None,
    hemispheres: Sequence[str] = ("lh", "rh"),
    template: str | None = None,
    surfaces: Mapping[str, str | Path] | None = None,
    mask: Mask | None = None,
    memory_map: str | Path | None = None,
) -> dict[str, Any]:
    """Read MGH or GIFTI maps, a file a hemisphere, of one visit each or of all visits; see `Cohort.from_gifti`.

    It returns what a `Cohort` takes: values ``(visits, vertices)``, their mesh and more.

    Raises
    ------
    CohortError
        Naming the file (or the table and its line) and the remedy.

    Examples
    --------
    >>> import pandas, tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> space = SurfaceSpace(".shape.gii", ("lh",), sizes=(3,), index=np.array([1, 2]))
    >>> _ = space.write({"area": [0.5, 0.75]}, folder / "anna")
    >>> visits = pandas.DataFrame({"subject": ["anna"], "age": [70]})
    >>> fields = surface_study(folder, visits, "{hemisphere}.{subject}.shape.gii", hemispheres=["lh"])
    >>> fields["values"].tolist(), fields["space"].index.tolist()  # a vertex that is always 0 is left out
    ([[0.5, 0.75]], [1, 2])
    """
    visits = study_table(table)
    parts = [visit_files(Path(folder), visits, pattern, hemisphere=h) for h in hemispheres]
    if len(parts) > 1 and set(parts[0]) & set(parts[1]):
        raise CohortError(f"{parts[0][0]}: both hemispheres are this file; put {{hemisphere}} into the file names")
    return surface_cohort(visits, parts, hemispheres, template, surfaces, mask, memory_map)


def surface_cohort(
    visits: StudyTable,
    parts: Sequence[Sequence[Path]],
    hemispheres: Sequence[str],
    template: str | None,
    surfaces: Mapping[str, str | Path] | None,
    mask: Mask | None,
    memory_map: str | Path | None = None,
) -> dict[str, Any]:
    """Return what a cohort takes: the maps of every visit, without the medial wall, on their mesh.

    The vertices kept are those of ``mask``; without one, of the bundled template's cortex; without a template, those
    where any map is neither 0 nor missing.

    Raises
    ------
    CohortError
        Naming the file, what is wrong with it and the remedy.

    Examples
    --------
    >>> import tempfile
    >>> stem = Path(tempfile.mkdtemp()) / "area"
    >>> space = SurfaceSpace(".shape.gii", ("lh",), sizes=(3,), index=np.array([1, 2]))
    >>> files = space.write({"anna": [0.5, 0.75], "ben": [0.5, 1.0]}, stem)  # one file, a frame a visit
    >>> visits = StudyTable("visits.csv", np.array(["anna", "ben"]), np.array([70.0, 65.0]))
    >>> surface_cohort(visits, [2 * files], ["lh"], template=None, surfaces=None, mask=None)["values"].tolist()
    [[0.5, 0.75], [0.5, 1.0]]
    """
    sizes = map_sizes(parts, read_surface_map)
    whole = _whole_mesh(hemispheres, sizes, template, surfaces)
    kept = _kept(visits, parts, hemispheres, sizes, template, mask)
    index = np.flatnonzero(kept)
    if not index.size:
        raise CohortError(f"{parts[0][0]}: every map is 0 or missing everywhere; there is nothing to fit")
    return visits.fields() | {
        "values": stack_maps(parts, read_surface_map, visits, index, memory_map),
        "mesh": None if whole is None else whole.subset(index),
        "space": SurfaceSpace(map_suffix(parts[0][0]), tuple(hemispheres), sizes, index),
    }


def _kept(
    visits: StudyTable,
    parts: Sequence[Sequence[Path]],
    hemispheres: Sequence[str],
    sizes: Sequence[int],
    template: str | None,
    mask: Mask | None,
) -> NDArray[np.bool_]:
    seen = seen_points(parts, read_surface_map, visits)
    if mask is not None:
        return surface_mask(mask, hemispheres, sizes) & seen
    if template in TEMPLATE_VERTICES:
        return np.concatenate([_bundled_cortex(h) for h in hemispheres]) & seen
    return seen


def _whole_mesh(
    hemispheres: Sequence[str],
    sizes: Sequence[int],
    template: str | None,
    surfaces: Mapping[str, str | Path] | None,
) -> Mesh | None:
    if surfaces is not None:
        absent = [h for h in hemispheres if h not in surfaces]
        if absent:
            raise CohortError(f"surfaces: none for hemisphere {absent[0]}; give one for each of {hemispheres}")
        paths = [surfaces[h] for h in hemispheres]
        for path, n, hemisphere in zip(paths, sizes, hemispheres, strict=True):
            found = mesh_of_surfaces([path]).n_vertices
            if found != n:
                raise CohortError(f"{path}: it has {found} vertices, but the maps of {hemisphere} have {n}")
        mesh = mesh_of_surfaces(paths)
        return mesh if template not in TEMPLATE_VERTICES else _bundled_mesh(hemispheres, sizes, template, mesh)
    return _bundled_mesh(hemispheres, sizes, template) if template in TEMPLATE_VERTICES else None


def _bundled_mesh(
    hemispheres: Sequence[str], sizes: Sequence[int], template: str | None, mesh: Mesh | None = None
) -> Mesh:
    """Return the bundled template (or another mesh of its vertices), with each vertex's place in it."""
    assert template is not None
    n = TEMPLATE_VERTICES[template]
    wrong = [h for h, size in zip(hemispheres, sizes, strict=True) if size != n]
    if wrong:
        raise CohortError(
            f"{template}: its hemispheres have {n} vertices, but the maps of {wrong[0]} have "
            f"{sizes[list(hemispheres).index(wrong[0])]}; give maps of {template}, or say which template they are of"
        )
    faces, points = [], []
    for k, hemisphere in enumerate(hemispheres):
        coordinates, triangles = template_surface("white_matter", _side(hemisphere), template)
        points.append(coordinates)
        faces.append(triangles.astype(np.int64) + k * n)
    return Mesh(
        n_vertices=n * len(hemispheres),
        faces=np.concatenate(faces) if mesh is None else mesh.faces,
        coordinates=np.concatenate(points) if mesh is None else mesh.coordinates,
        template=template,
        template_index=np.concatenate([np.arange(n) + (0 if is_left(h) else n) for h in hemispheres]),
    )


def _bundled_cortex(hemisphere: str) -> NDArray[np.bool_]:
    left, right = np.split(cortical_thickness() > MEDIAL_WALL_THICKNESS, 2)
    return np.asarray(left if is_left(hemisphere) else right)


def _side(hemisphere: str) -> Hemisphere:
    return "left" if is_left(hemisphere) else "right"
