"""Spaces of maps from the arrays of an ``.npz`` file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from numpy.typing import NDArray

from neuropyro.data.errors import CohortError
from neuropyro.data.map_space import MapSpace

__all__ = ["space_of_arrays"]


def space_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> MapSpace | None:
    """Return the space that :func:`~neuropyro.data.map_space.space_arrays` put down; None where there is none.

    Raises
    ------
    CohortError
        Where the kind is not known, or an array of it is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from neuropyro.data.map_space import space_arrays
    >>> from neuropyro.data.surface_space import SurfaceSpace
    >>> arrays = space_arrays(SurfaceSpace(".mgh", ("lh",), sizes=(12,), index=np.array([3, 5])))
    >>> space = space_of_arrays(arrays)
    >>> space, space.index.tolist()
    (.mgh maps of lh, [3, 5])
    """
    if "space_kind" not in arrays:
        return None
    from neuropyro.data.cifti_maps import CiftiSpace
    from neuropyro.data.nifti_volumes import VolumeSpace
    from neuropyro.data.surface_space import SurfaceSpace

    kinds: dict[str, Any] = {cls.kind: cls for cls in (SurfaceSpace, CiftiSpace, VolumeSpace)}
    kind = str(arrays["space_kind"])
    if kind not in kinds:
        raise CohortError(f"space_kind: {kind!r} is not known; known are {', '.join(kinds)}")
    own = {f.name: arrays[f"space_{f.name}"] for f in fields(kinds[kind]) if f"space_{f.name}" in arrays}
    try:
        made: MapSpace = kinds[kind](**{name: _plain(name, array) for name, array in own.items()})
    except TypeError as error:
        raise CohortError(f"space: an array is missing ({error}); save the cohort again") from None
    return made


def _plain(name: str, array: NDArray[Any]) -> Any:
    if array.ndim == 0:
        return array.item()
    return tuple(array.tolist()) if name in ("hemispheres", "sizes", "shape", "surfaces") else array
