"""A baseline of clustering: regions that are fixed in advance, an atlas' or else compact pieces of the mesh."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuropyro.data import Cohort, CohortError
from neuropyro.models import VertexClusterMixture

__all__ = ["compact_regions", "read_regions", "with_regions"]

REGIONS = 12


def compact_regions(cohort: Cohort, regions: int = REGIONS, seed: int = 0) -> NDArray[np.int64] | None:
    """Cut a cohort's mesh into compact pieces by k-means on its coordinates, ``(vertices,)``; None without any.

    Examples
    --------
    >>> from neuropyro.data import Mesh
    >>> place = np.array([[0, 0, 0], [0, 1, 0], [9, 0, 0], [9, 1, 0]], np.float32)  # mm
    >>> mesh = Mesh(4, edges=np.array([[0, 1], [2, 3]]), coordinates=place)
    >>> a, b, c, d = compact_regions(Cohort(np.ones((2, 4)), [70, 71], ["a", "a"], mesh=mesh), regions=2)
    >>> bool(a == b), bool(c == d), bool(a == c)
    (True, True, False)
    """
    from sklearn.cluster import KMeans

    if cohort.mesh is None or cohort.mesh.coordinates is None:
        return None
    pieces = KMeans(min(regions, cohort.n_vertices), n_init=2, random_state=seed).fit(cohort.mesh.coordinates)
    return np.asarray(pieces.labels_, np.int64)


def read_regions(path: Path, cohort: Cohort) -> NDArray[np.int64]:
    """Read regions from an ``.npy`` file of whole numbers, one for each vertex of a cohort; returned from 0 on.

    Raises
    ------
    CohortError
        Where the file holds something else.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "atlas.npy"
    >>> np.save(path, np.array([1002, 1002, 1030]))  # numbers of FreeSurfer's labels
    >>> read_regions(path, Cohort([[2.0] * 3] * 2, time=[70, 71], subject=["a", "b"])).tolist()
    [0, 0, 1]
    """
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise CohortError(
            f"{path}: not an .npy array ({error}); save one whole number a vertex with numpy.save"
        ) from None
    if found.shape != (cohort.n_vertices,) or found.dtype.kind not in "iu":
        raise CohortError(
            f"{path}: {found.dtype} of shape {found.shape}; give one whole number for each of "
            f"{cohort.n_vertices:,} vertices"
        )
    return np.asarray(np.unique(found, return_inverse=True)[1], np.int64)


def with_regions(model: VertexClusterMixture, regions: NDArray[np.int64]) -> VertexClusterMixture:
    """Return the model with each region a cluster of its own.

    Examples
    --------
    >>> regional = with_regions(VertexClusterMixture(3), np.array([0, 0, 1, 1]))
    >>> regional.n_clusters, regional.labels
    (2, (0, 0, 1, 1))
    """
    labels = tuple(int(region) for region in regions)
    return replace(model, n_clusters=max(labels) + 1, labels=labels, spatial=None)
