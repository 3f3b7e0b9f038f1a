"""A surface mesh: which vertices are neighbours, and where they lie."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from neuropyro.data.errors import CohortError, read_only

__all__ = ["Mesh"]


@dataclass(frozen=True, eq=False)
class Mesh:
    """The mesh that a cohort's vertices lie on.

    Parameters
    ----------
    n_vertices
        Number of vertices L.
    edges
        ``(E, 2)`` int, each undirected edge once; derived from ``faces`` when left out.
    faces
        ``(F, 3)`` int triangles, or None where only the neighbourhood is known.
    coordinates
        ``(L, 3)`` float32, mm, or None.
    template
        Name of the template that the vertices belong to (``"fsaverage5"``), or None.
    template_index
        ``(L,)`` int: the place of each vertex in the template, left hemisphere first, or None.

    Raises
    ------
    CohortError
        Where shapes disagree or an index points outside the mesh.

    Examples
    --------
    >>> square = Mesh(4, faces=np.array([[0, 1, 2], [0, 2, 3]]))
    >>> square.edges.tolist()
    [[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]]
    """

    n_vertices: int
    edges: NDArray[np.int64] | None = None
    faces: NDArray[np.int64] | None = None
    coordinates: NDArray[np.float32] | None = None
    template: str | None = None
    template_index: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.faces is None and self.edges is None:
            raise CohortError("mesh: give `edges` (E, 2) or `faces` (F, 3)")
        if self.faces is not None:
            self._set("faces", _indices("faces", self.faces, 3, self.n_vertices))
        edges = _edges_of(self.faces) if self.edges is None and self.faces is not None else self.edges
        assert edges is not None
        self._set("edges", np.unique(np.sort(_indices("edges", edges, 2, self.n_vertices), axis=1), axis=0))
        if self.coordinates is not None:
            self._set("coordinates", self._sized("coordinates", np.asarray(self.coordinates, np.float32), (3,)))
        if self.template_index is not None:
            self._set("template_index", self._sized("template_index", np.asarray(self.template_index, np.int64), ()))

    def _set(self, name: str, array: NDArray[np.generic]) -> None:
        object.__setattr__(self, name, read_only(array))

    def _sized(self, name: str, array: NDArray[np.generic], tail: tuple[int, ...]) -> NDArray[np.generic]:
        if array.shape != (self.n_vertices, *tail):
            raise CohortError(
                f"mesh: `{name}` has shape {array.shape}, but there are {self.n_vertices} vertices; "
                "give the mesh of the same vertices as the columns of `values`"
            )
        return array

    @cached_property
    def adjacency(self) -> sp.csr_array:
        """Symmetric ``(L, L)`` matrix with a one for each pair of neighbours."""
        assert self.edges is not None
        i, j = self.edges.T
        ones = np.ones(2 * len(i), np.float32)
        shape = (self.n_vertices, self.n_vertices)
        return sp.csr_array((ones, (np.r_[i, j], np.r_[j, i])), shape=shape)

    @cached_property
    def colours(self) -> NDArray[np.int64]:
        """``(L,)`` int from 0: neighbours never share a colour, so that all vertices of one can change at once.

        Greedy, in the order of the vertices: two colours on a grid, six on fsaverage5.
        """
        start, neighbour = self.adjacency.indptr, self.adjacency.indices
        colours = np.full(self.n_vertices, -1)
        for vertex in range(self.n_vertices):
            taken = set(colours[neighbour[start[vertex] : start[vertex + 1]]].tolist())
            colours[vertex] = next(colour for colour in itertools.count() if colour not in taken)
        return read_only(colours)

    @classmethod
    def grid(cls, rows: int, columns: int) -> Mesh:
        """Return a flat grid, each vertex a neighbour of those above, below, left and right; numbered row by row."""
        place = np.arange(rows * columns).reshape(rows, columns)
        down = np.stack([place[:-1], place[1:]], -1).reshape(-1, 2)
        right = np.stack([place[:, :-1], place[:, 1:]], -1).reshape(-1, 2)
        return cls(rows * columns, edges=np.concatenate([down, right]))

    def subset(self, vertices: ArrayLike) -> Mesh:
        """Keep the vertices given by index, and the edges and faces among them."""
        keep = np.asarray(vertices)
        place = np.full(self.n_vertices, -1)
        place[keep] = np.arange(len(keep))
        return Mesh(
            n_vertices=len(keep),
            edges=_renumbered(self.edges, place),
            faces=_renumbered(self.faces, place),
            coordinates=None if self.coordinates is None else self.coordinates[keep],
            template=self.template,
            template_index=None if self.template_index is None else self.template_index[keep],
        )

    def __repr__(self) -> str:
        edges = 0 if self.edges is None else len(self.edges)
        template = f", of {self.template}" if self.template else ""
        return f"Mesh({self.n_vertices:,} vertices, {edges:,} edges{template})"


def _edges_of(faces: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def _renumbered(cells: NDArray[np.int64] | None, place: NDArray[np.int64]) -> NDArray[np.int64] | None:
    if cells is None:
        return None
    moved = place[cells]
    return moved[(moved >= 0).all(axis=1)]


def _indices(name: str, cells: ArrayLike, width: int, n_vertices: int) -> NDArray[np.int64]:
    array = np.asarray(cells)
    if array.ndim != 2 or array.shape[1] != width or array.dtype.kind not in "iu":
        raise CohortError(
            f"mesh: `{name}` must be whole numbers of shape (any, {width}), not {array.dtype} {array.shape}"
        )
    if array.size and (array.min() < 0 or array.max() >= n_vertices):
        outside = array.min() if array.min() < 0 else array.max()
        raise CohortError(
            f"mesh: `{name}` points at vertex {int(outside)}, but `values` has {n_vertices} columns "
            "(numbered from 0); give the mesh of the same vertices"
        )
    return array.astype(np.int64)
