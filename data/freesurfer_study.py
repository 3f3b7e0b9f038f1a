"""A FreeSurfer subjects folder: which folder is whose visit, and the maps, surfaces and labels in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from neuropyro.data.errors import CohortError
from neuropyro.data.study_table import SESSION_REMEDY, StudyTable, study_table
from neuropyro.data.surface_files import Mask
from neuropyro.data.surface_study import surface_cohort

__all__ = ["freesurfer_study"]

UNITS = {"thickness": "mm", "area": "mm²", "volume": "mm³", "sulc": "mm", "curv": "1/mm"}


def freesurfer_study(
    folder: str | Path,
    table: Any,
    measure: str = "thickness",
    fwhm: float | None = None,
    space: str = "fsaverage5",
    hemispheres: Sequence[str] = ("lh", "rh"),
    mask: Mask | None = None,
    memory_map: str | Path | None = None,
) -> dict[str, Any]:
    """Read a study's maps from its subjects folder; see `Cohort.from_freesurfer`.

    It returns what a `Cohort` takes: values ``(visits, vertices)`` in ``unit``, their mesh and more.

    Raises
    ------
    CohortError
        Naming the file (or the table and its line) and the remedy.

    Examples
    --------
    >>> import numpy, pandas, tempfile
    >>> from neuropyro.data.surface_maps import write_surface_map
    >>> surf = Path(tempfile.mkdtemp()) / "anna" / "surf"
    >>> surf.mkdir(parents=True)
    >>> write_surface_map(surf / "lh.area.own.mgh", numpy.array([[0.5, 0.0, 0.75]]), ["area"], "lh")
    >>> visits = pandas.DataFrame({"subject": ["anna"], "age": [70]})
    >>> fields = freesurfer_study(surf.parents[1], visits, "area", space="own", hemispheres=["lh"])
    >>> fields["values"].tolist(), fields["unit"]  # the vertex that is 0 in every map is no cortex
    ([[0.5, 0.75]], 'mm²')
    """
    root = Path(folder)
    if not root.is_dir():
        raise CohortError(f"{root}: no such folder; give FreeSurfer's SUBJECTS_DIR")
    visits = study_table(table)
    smoothed = "" if fwhm is None else f".fwhm{fwhm:g}"
    folders = _visit_folders(root, visits)
    parts = _map_files(folders, [f"{h}.{measure}{smoothed}.{space}" for h in hemispheres], visits)
    own = root / space  # FreeSurfer links its templates into the subjects folder
    whites = {h: own / "surf" / f"{h}.white" for h in hemispheres}
    cortex = {h: own / "label" / f"{h}.cortex.label" for h in hemispheres}
    if mask is None and all(path.is_file() for path in cortex.values()):
        mask = cortex
    surfaces = whites if all(path.is_file() for path in whites.values()) else None
    fields = surface_cohort(visits, parts, hemispheres, space, surfaces, mask, memory_map)
    return fields | {"unit": UNITS.get(measure.partition(".")[0])}  # area.pial is an area, too


def _visit_folders(root: Path, visits: StudyTable) -> list[Path]:
    """Return the folder of each visit.

    The longitudinal stream's ``SUBJ_SESS.long.SUBJ`` (or another base after ``.long.``) goes before the cross-sectional
    ``SUBJ_SESS``, for all visits alike: the two are not comparable.  A table without sessions has folders ``SUBJ``;
    names may lack BIDS' prefixes ``sub-`` and ``ses-``; a column ``folder`` goes before all.

    Raises
    ------
    CohortError
        Where a visit has no folder or several, or some visits have a longitudinal folder and others do not.
    """
    if visits.folder is not None:
        folders = [root / str(name) for name in visits.folder]
        absent = [row for row, path in enumerate(folders) if not visits.folder[row] or not path.is_dir()]
        if absent:
            asks = f"{visits.place(absent[0])} asks for it{visits.and_more(absent)}"
            raise CohortError(f"{folders[absent[0]]}: no such folder, but {asks}; correct the table")
        return _distinct(folders, visits)
    longitudinal = [_longitudinal(root, visits, row) for row in range(len(visits))]
    if not any(longitudinal):
        return _distinct(_cross_sectional(root, visits), visits)
    absent = [row for row, found in enumerate(longitudinal) if found is None]
    if absent:
        row, name = absent[0], _folder_names(visits, absent[0])[0]
        raise CohortError(
            f"{root / name}.long.{visits.subject[row]}: no such folder, but {visits.place(row)} asks for it"
            f"{visits.and_more(absent)} and other visits have theirs; run the longitudinal stream on it or drop that "
            "visit"
        )
    return _distinct([found for found in longitudinal if found is not None], visits)


def _longitudinal(root: Path, visits: StudyTable, row: int) -> Path | None:
    names, bases = _folder_names(visits, row), _prefixed("sub-", str(visits.subject[row]))
    # FreeSurfer's long.qdec.table.dat has the visit's own name (fsid) for a session, which says nothing of the subject.
    whole = names if visits.session is None else [*names, str(visits.session[row])]
    found = [root / f"{name}.long.{base}" for name in whole for base in bases]
    found = [path for path in found if path.is_dir()]
    found = found or [p for name in names for p in root.glob(f"{_escaped(name)}.long.*") if p.is_dir()]
    if len(found) > 1:
        raise CohortError(
            f"{found[0]}: and {found[1].name} both fit {visits.place(row)}; name one in a column `folder`"
        )
    return found[0] if found else None


def _cross_sectional(root: Path, visits: StudyTable) -> list[Path]:
    names = [_folder_names(visits, row) for row in range(len(visits))]
    found = [next((root / name for name in some if (root / name).is_dir()), None) for some in names]
    absent = [row for row, path in enumerate(found) if path is None]
    if absent:
        raise _no_folder(root, visits, absent)
    return [path for path in found if path is not None]


def _no_folder(root: Path, visits: StudyTable, rows: Sequence[int]) -> CohortError:
    """Return the error of visits without a folder, which names that of the first, and what the subject has."""
    name, who = _folder_names(visits, rows[0])[0], str(visits.subject[rows[0]])
    there = _listed(path.name for path in root.glob(f"*{_escaped(who)}*") if path.is_dir()) or "none"
    correct = "" if visits.session is None else "correct its session, "
    return CohortError(
        f"{root / name}.long.{who}: no such folder (nor {name}; there: {there}), but {visits.place(rows[0])} asks for "
        f"it{visits.and_more(rows)}; {correct}drop that visit or name its folder in a column `folder`"
        f"{_or_session(visits)}"
    )


def _folder_names(visits: StudyTable, row: int) -> list[str]:
    """Return what a visit's folder may be called, the likeliest first."""
    subjects = _prefixed("sub-", str(visits.subject[row]))
    if visits.session is None:
        return subjects
    sessions = _prefixed("ses-", str(visits.session[row]))
    return [f"{subject}_{session}" for subject in subjects for session in sessions]


def _or_session(visits: StudyTable) -> str:
    """Return the remedy that is left where a table has no sessions, of which folders' names are made."""
    return f", or {SESSION_REMEDY}" if visits.session is None else ""


def _prefixed(prefix: str, name: str) -> list[str]:
    return [name] if name.startswith(prefix) else [name, prefix + name]


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _map_files(folders: Sequence[Path], names: Sequence[str], visits: StudyTable) -> list[list[Path]]:
    """Return each visit's map, of each hemisphere; all visits that lack one are told at once."""
    files = [[[f / "surf" / (name + suffix) for suffix in (".mgh", ".mgz")] for f in folders] for name in names]
    found = [[next((path for path in some if path.is_file()), None) for some in own] for own in files]
    absent = [row for row in range(len(folders)) if any(own[row] is None for own in found)]
    if absent:
        row, surf = absent[0], folders[absent[0]] / "surf"
        name = next(name for name, own in zip(names, found, strict=True) if own[row] is None)
        raise CohortError(
            f"{surf / name}.mgh: no such file, but {visits.place(row)} asks for it{visits.and_more(absent)}; make it "
            "(recon-all -qcache, mri_surf2surf), choose another measure, fwhm, space or hemispheres (there: "
            f"{_maps_there(surf, name) or 'none'}), or drop that visit"
        )
    return [[path for path in own if path is not None] for own in found]


def _maps_there(surf: Path, name: str) -> str:
    """Return which maps of a measure there are: of the hemisphere, or else of others."""
    hemisphere, measure = name.split(".")[:2]
    own, others = ([p.name for p in surf.glob(f"{h}.{measure}*.mg[hz]")] for h in (hemisphere, "*"))
    return _listed(own or others)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:6])


def _distinct(folders: list[Path], visits: StudyTable) -> list[Path]:
    first: dict[Path, int] = {}
    for row, path in enumerate(folders):
        if path in first:
            raise CohortError(
                f"{path}: {visits.place(first[path])} and {visits.place(row)} are both this folder; drop "
                f"one{_or_session(visits)}"
            )
        first[path] = row
    return folders
