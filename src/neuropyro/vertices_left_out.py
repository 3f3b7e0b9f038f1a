"""Which vertices of a study's surface maps were left out as they were read, and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from neuropyro.data import Cohort, StudyOptions
from neuropyro.data.surface_maps import is_left
from neuropyro.data.surface_space import TEMPLATE_VERTICES, SurfaceSpace
from neuropyro.data.surfaces import MEDIAL_WALL_THICKNESS, cortical_thickness

__all__ = ["vertices_left_out"]

UNSEEN = "0 or missing at every visit"


def vertices_left_out(cohort: Cohort, path: Path, study: StudyOptions) -> list[str]:
    """Say how many vertices there are and why; nothing where none is.

    Parameters
    ----------
    path, study
        What the cohort was read from, and how.

    Examples
    --------
    >>> space = SurfaceSpace(".mgh", ("lh",), sizes=(4,), index=np.array([0, 1, 3]))
    >>> cohort = Cohort(np.ones((2, 3)), time=[70, 71], subject=["a", "b"], space=space)
    >>> vertices_left_out(cohort, Path("maps"), StudyOptions())
    ['1 of 4 vertices of the maps is left out: what is 0 or missing at every visit']
    """
    space = cohort.space
    if not isinstance(space, SurfaceSpace) or len(space.index) == sum(space.sizes):
        return []
    out = np.ones(sum(space.sizes), np.bool_)
    out[space.index] = False
    on_wall = int((out & _medial_wall(cohort, space)).sum())
    counts = {"the medial wall": on_wall, _why(path, study): int(out.sum()) - on_wall}
    why = {reason: count for reason, count in counts.items() if count}
    said = [f"{reason} ({count:,})" if len(why) > 1 else reason for reason, count in why.items()]
    are = "is" if out.sum() == 1 else "are"
    return [f"{out.sum():,} of {len(out):,} vertices of the maps {are} left out: {', and '.join(said)}"]


def _medial_wall(cohort: Cohort, space: SurfaceSpace) -> NDArray[np.bool_]:
    """Return where it lies, ``(all vertices of the maps,)``; nowhere on meshes of which that is not known."""
    template = None if cohort.mesh is None else cohort.mesh.template
    if template not in TEMPLATE_VERTICES:
        return np.zeros(sum(space.sizes), np.bool_)
    left, right = np.split(cortical_thickness() <= MEDIAL_WALL_THICKNESS, 2)
    return np.concatenate([left if is_left(hemisphere) else right for hemisphere in space.hemispheres])


def _why(path: Path, study: StudyOptions) -> str:
    """Say why vertices are left out that are not known to be the medial wall: once by a mask, either may be why."""
    if study.mask is not None:
        return f"what is outside the mask, or {UNSEEN}"
    if (path / str(study.space) / "label").is_dir():
        return f"what is outside FreeSurfer's cortex label, or {UNSEEN}"
    return f"what is {UNSEEN}"
