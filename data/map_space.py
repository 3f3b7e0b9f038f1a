"""Where a cohort's columns lie in the maps that came in, so that results go back in the same format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuropyro.data.errors import CohortError

__all__ = ["MapSpace", "filled_maps", "list_frames", "space_arrays"]


class MapSpace(Protocol):
    """A format of maps, and the place in it of each column of a cohort.

    Implementations: :class:`~neuropyro.data.surface_space.SurfaceSpace` (FreeSurfer, GIFTI),
    :class:`~neuropyro.data.cifti_maps.CiftiSpace` and :class:`~neuropyro.data.nifti_volumes.VolumeSpace`.

    Examples
    --------
    >>> from neuropyro.data import cortex_mesh
    >>> from neuropyro.data.surface_space import template_space
    >>> space: MapSpace = template_space(cortex_mesh(("left",)))
    >>> len(space.index), space.kind
    (9829, 'surface')
    """

    @property
    def kind(self) -> str:
        """Name of the implementation, under which files remember it."""

    @property
    def index(self) -> NDArray[np.int64]:
        """``(vertices,)``: the place of each column among all points of the maps."""

    @property
    def sides(self) -> NDArray[np.int64]:
        """``(vertices,)``: 1 for a column of the left hemisphere's surface, -1 for one of the right's, else 0."""

    def subset(self, columns: NDArray[np.int64]) -> Self:
        """Keep some columns."""

    def write(self, maps: Mapping[str, ArrayLike], stem: Path, outside: float = 0.0) -> list[Path]:
        """Write named maps of ``(vertices,)`` each and return the files written.

        Parameters
        ----------
        stem
            Folder and name of the files, without hemisphere and suffix.
        outside
            Value of the points that the cohort has no column for: the medial wall, and what a mask left out.
        """


def filled_maps(
    maps: Mapping[str, ArrayLike], index: NDArray[np.int64], n_points: int, outside: float
) -> NDArray[np.float32]:
    """Return ``(maps, points)`` float32, ``outside`` where there is no column.

    Raises
    ------
    CohortError
        Where a map has not one value for each column.

    Examples
    --------
    >>> filled_maps({"onset": [1.5, 2.0]}, np.array([0, 2]), n_points=4, outside=-1.0).tolist()
    [[1.5, -1.0, 2.0, -1.0]]
    """
    whole = np.full((len(maps), n_points), outside, np.float32)
    for row, (name, values) in zip(whole, maps.items(), strict=True):
        values = np.asarray(values)
        if values.shape != index.shape:
            raise CohortError(f"maps: `{name}` has shape {values.shape}, but the cohort has {len(index)} columns")
        row[index] = values
    return whole


def list_frames(maps: Mapping[str, ArrayLike], stem: Path) -> Path:
    """Write the names of the frames beside a file whose format has none, one a line; return where.

    Examples
    --------
    >>> import tempfile
    >>> path = list_frames({"onset": [1.5], "speed": [0.2]}, Path(tempfile.mkdtemp()) / "result")
    >>> path.name, path.read_text().split()
    ('result.frames.txt', ['onset', 'speed'])
    """
    path = stem.with_name(stem.name + ".frames.txt")
    path.write_text("".join(f"{name}\n" for name in maps), encoding="utf-8")
    return path


def space_arrays(space: MapSpace) -> dict[str, NDArray[Any]]:
    """Return a space as arrays by their names in an ``.npz`` file.

    Examples
    --------
    >>> from neuropyro.data.surface_space import SurfaceSpace
    >>> arrays = space_arrays(SurfaceSpace(".mgh", ("lh",), sizes=(12,), index=np.array([3, 5])))
    >>> {name: array.tolist() for name, array in arrays.items() if name != "space_suffix"}
    {'space_kind': 'surface', 'space_hemispheres': ['lh'], 'space_sizes': [12], 'space_index': [3, 5]}
    """
    own = {f.name: getattr(space, f.name) for f in fields(space) if getattr(space, f.name) is not None}  # type: ignore[arg-type]
    return {f"space_{name}": np.asarray(value) for name, value in ({"kind": space.kind} | own).items()}
