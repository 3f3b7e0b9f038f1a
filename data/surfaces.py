"""The bundled template cortex: fsaverage5, and smooth noise on any mesh.

nilearn ships the fsaverage5 surfaces and maps, so that nothing is downloaded.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from neuropyro.data.errors import CohortError
from neuropyro.data.mesh import Mesh

__all__ = ["cortex_mesh", "cortical_thickness", "smooth_noise", "smoothed", "smoothing_steps", "template_surface"]

MEDIAL_WALL_THICKNESS = 0.1  # mm; the bundled map is about zero on the medial wall and nowhere else
Hemisphere = Literal["left", "right"]


def template_surface(
    name: str, hemisphere: Hemisphere, template: str = "fsaverage5"
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Return ``(vertices, 3)`` coordinates in mm and ``(faces, 3)`` triangles of a whole template hemisphere.

    ``name`` is ``"white_matter"``, ``"pial"``, ``"inflated"`` or ``"sphere"``.

    Raises
    ------
    CohortError
        Where the template is not bundled.

    Examples
    --------
    >>> coordinates, faces = template_surface("sphere", "left")
    >>> len(coordinates) - len(faces) // 2  # Euler: a closed surface without handles
    2
    """
    part = _fsaverage(template)[name].parts[hemisphere]
    return np.asarray(part.coordinates, np.float32), np.asarray(part.faces, np.int32)


def cortical_thickness() -> NDArray[np.float32]:
    """Return the bundled fsaverage5 thickness map in mm, ``(20484,)``, left hemisphere first.

    Examples
    --------
    >>> thickness = cortical_thickness()
    >>> len(thickness), round(float(thickness[thickness > MEDIAL_WALL_THICKNESS].mean()), 1)
    (20484, 2.4)
    """
    from nilearn.datasets import load_fsaverage_data

    parts = load_fsaverage_data(mesh="fsaverage5", data_type="thickness").data.parts
    return np.concatenate([np.asarray(parts[h], np.float32) for h in ("left", "right")])


def cortex_mesh(hemispheres: tuple[Hemisphere, ...] = ("left", "right")) -> Mesh:
    """Return the fsaverage5 cortex without its medial wall; coordinates are those of the white surface.

    Examples
    --------
    >>> cortex_mesh(("left",))
    Mesh(9,829 vertices, 29,359 edges, of fsaverage5)
    """
    left, right = (template_surface("white_matter", h) for h in ("left", "right"))
    n_left = len(left[0])
    whole = Mesh(
        n_vertices=n_left + len(right[0]),
        faces=np.concatenate([left[1], right[1] + n_left]).astype(np.int64),
        coordinates=np.concatenate([left[0], right[0]]),
        template="fsaverage5",
        template_index=np.arange(n_left + len(right[0])),
    )
    wanted = np.r_[np.full(n_left, "left" in hemispheres), np.full(len(right[0]), "right" in hemispheres)]
    return whole.subset(np.flatnonzero(wanted & (cortical_thickness() > MEDIAL_WALL_THICKNESS)))


def smoothing_steps(mesh: Mesh, fwhm: float) -> int:
    """Return how many nearest-neighbour averages smooth white noise to a given full width at half maximum in mm.

    One step replaces a vertex by the mean of itself and its neighbours.  A step spreads a point by the mean squared
    distance to the averaged vertices, which adds up over steps (a random walk); a Gaussian of that variance a
    dimension of the surface has FWHM = sqrt(8 ln 2 variance).

    Raises
    ------
    CohortError
        Where the mesh has no coordinates, or they are all the same.

    Examples
    --------
    >>> triangle = Mesh(3, faces=np.array([[0, 1, 2]]), coordinates=np.eye(3))
    >>> smoothing_steps(triangle, 10.0), smoothing_steps(triangle, 20.0)  # as the square of the width
    (27, 108)
    """
    if mesh.coordinates is None:
        raise CohortError("mesh: smooth noise needs `coordinates` in mm")
    i, j = mesh.adjacency.nonzero()
    squared = ((mesh.coordinates[i] - mesh.coordinates[j]) ** 2).sum(1)
    spread = np.bincount(i, squared, mesh.n_vertices) / (np.bincount(i, minlength=mesh.n_vertices) + 1)
    if not len(i):
        return 1  # vertices without neighbours: averaging leaves them as they are
    if not squared.any():
        raise CohortError("mesh: `coordinates` are the same at all vertices; give them in mm")
    variance = float(fwhm**2 / (8 * np.log(2)))
    return max(1, round(2 * variance / float(spread.mean())))


def smooth_noise(mesh: Mesh, n_maps: int, fwhm: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw Gaussian maps ``(n_maps, vertices)`` of unit variance at each vertex, smooth on the surface.

    Parameters
    ----------
    fwhm
        Full width at half maximum of the smoothing kernel, mm; 0 gives white noise.

    Raises
    ------
    CohortError
        Where the mesh has no coordinates.

    Examples
    --------
    >>> triangle = Mesh(3, faces=np.array([[0, 1, 2]]), coordinates=np.eye(3))
    >>> maps = smooth_noise(triangle, 1000, 5.0, np.random.default_rng(0))
    >>> round(float(maps.std()), 1), bool(np.ptp(maps, axis=1).max() < 1e-4)  # all are neighbours: one value
    (1.0, True)
    """
    maps = rng.standard_normal((mesh.n_vertices, n_maps), dtype=np.float32)
    if fwhm <= 0 or n_maps == 0:
        return maps.T
    return (smoothed(mesh, maps, fwhm) / _noise_sd(mesh, _averaging(mesh), fwhm)[:, None]).T


def smoothed(mesh: Mesh, maps: NDArray[np.float32], fwhm: float) -> NDArray[np.float32]:
    """Smooth maps ``(vertices, n_maps)`` on the surface, by a kernel of a given full width at half maximum in mm.

    Raises
    ------
    CohortError
        Where the mesh has no coordinates.

    Examples
    --------
    >>> triangle = Mesh(3, faces=np.array([[0, 1, 2]]), coordinates=np.eye(3))
    >>> smoothed(triangle, np.array([[3.0], [1.0], [0.5]], np.float32), 5.0).round(3).tolist()
    [[1.5], [1.5], [1.5]]
    """
    operator = _averaging(mesh)
    for _ in range(smoothing_steps(mesh, fwhm)):
        maps = operator @ maps
    return maps


def _averaging(mesh: Mesh) -> sp.csr_array:
    with_self = (mesh.adjacency + sp.eye_array(mesh.n_vertices, dtype=np.float32)).tocsr()
    return (sp.diags_array(1 / with_self.sum(axis=1)) @ with_self).tocsr().astype(np.float32)


def _noise_sd(mesh: Mesh, operator: sp.csr_array, fwhm: float) -> NDArray[np.float32]:
    """Exact sd of smoothed unit white noise: the norm of each row of the operator's power."""
    power = operator.astype(np.float32)
    for _ in range(smoothing_steps(mesh, fwhm) - 1):
        power = operator @ power
    return np.asarray(np.sqrt(power.multiply(power).sum(axis=1)), np.float32)


def _fsaverage(template: str) -> Any:
    from nilearn.datasets import load_fsaverage

    if template != "fsaverage5":
        raise CohortError(f"mesh: template {template!r} is not bundled; only fsaverage5 is")
    return load_fsaverage(template)
