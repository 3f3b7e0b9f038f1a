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
    folders, no_folder = _visit_folders(root, visits)
    parts, no_file = _map_files(folders, [f"{h}.{measure}{smoothed}.{space}" for h in hemispheres], visits)
    if no_folder or no_file:  # both at once: a table is corrected once
        raise CohortError(". And ".join(filter(None, (no_folder, no_file))))
    own = root / space  # FreeSurfer links its templates into the subjects folder
    whites = {h: own / "surf" / f"{h}.white" for h in hemispheres}
    cortex = {h: own / "label" / f"{h}.cortex.label" for h in hemispheres}
    if mask is None and all(path.is_file() for path in cortex.values()):
        mask = cortex
    surfaces = whites if all(path.is_file() for path in whites.values()) else None
    fields = surface_cohort(visits, parts, hemispheres, space, surfaces, mask, memory_map)
    return fields | {"unit": UNITS.get(measure.partition(".")[0])}  # area.pial is an area, too


def _visit_folders(root: Path, visits: StudyTable) -> tuple[list[Path | None], str]:
    """Return the folder of each visit, and what to say of visits that have none; nothing where all have theirs.

    The longitudinal stream's ``SUBJ_SESS.long.SUBJ`` (or another base after ``.long.``) goes before the cross-sectional
    ``SUBJ_SESS``, for all visits alike: the two are not comparable.  A table without sessions has folders ``SUBJ``;
    names may lack BIDS' prefixes ``sub-`` and ``ses-``; a column ``folder`` goes before all.

    Raises
    ------
    CohortError
        Where a visit has several folders, or two visits are one.
    """
    if visits.folder is not None:
        named = [root / str(name) if name else None for name in visits.folder]
        folders, why = [path if path is not None and path.is_dir() else None for path in named], _not_as_named
    else:
        folders, why = [_longitudinal(root, visits, row) for row in range(len(visits))], _not_longitudinal
        if not any(folders):
            folders, why = [_cross_sectional(root, visits, row) for row in range(len(visits))], _no_folder
    absent = [row for row, path in enumerate(folders) if path is None]
    return _distinct(folders, visits), why(root, visits, absent) if absent else ""


def _not_as_named(root: Path, visits: StudyTable, rows: Sequence[int]) -> str:
    assert visits.folder is not None
    asks = f"{visits.place(rows[0])} asks for it{visits.and_more(rows)}"
    return f"{root / str(visits.folder[rows[0]])}: no such folder, but {asks}; correct the table"


def _not_longitudinal(root: Path, visits: StudyTable, rows: Sequence[int]) -> str:
    row, name = rows[0], _folder_names(visits, rows[0])[0]
    return (
        f"{root / name}.long.{visits.subject[row]}: no such folder, but {visits.place(row)} asks for it"
        f"{visits.and_more(rows)} and other visits have theirs; run the longitudinal stream on it or drop that visit"
    )


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


def _cross_sectional(root: Path, visits: StudyTable, row: int) -> Path | None:
    return next((root / name for name in _folder_names(visits, row) if (root / name).is_dir()), None)


def _no_folder(root: Path, visits: StudyTable, rows: Sequence[int]) -> str:
    """Say which visits have no folder: what that of the first would be, and what the subject has."""
    name, who = _folder_names(visits, rows[0])[0], str(visits.subject[rows[0]])
    there = _listed(path.name for path in root.glob(f"*{_escaped(who)}*") if path.is_dir()) or "none"
    correct = "" if visits.session is None else "correct its session, "
    return (
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


def _map_files(
    folders: Sequence[Path | None], names: Sequence[str], visits: StudyTable
) -> tuple[list[list[Path]], str]:
    """Return the maps that there are, of each hemisphere, and what to say of visits whose folders lack one."""
    found = [[None if folder is None else _map_file(folder / "surf" / name) for folder in folders] for name in names]
    lacking = [row for row, own in enumerate(zip(*found, strict=True)) if folders[row] is not None and None in own]
    files = [[path for path in own if path is not None] for own in found]
    return files, _no_file(folders, names, found, lacking, visits) if lacking else ""


def _map_file(path: Path) -> Path | None:
    files = (path.with_name(path.name + suffix) for suffix in (".mgh", ".mgz"))
    return next((file for file in files if file.is_file()), None)


def _no_file(
    folders: Sequence[Path | None],
    names: Sequence[str],
    found: Sequence[Sequence[Path | None]],
    rows: Sequence[int],
    visits: StudyTable,
) -> str:
    surf = Path(str(folders[rows[0]])) / "surf"
    name = next(name for name, own in zip(names, found, strict=True) if own[rows[0]] is None)
    return (
        f"{surf / name}.mgh: no such file, but {visits.place(rows[0])} asks for it{visits.and_more(rows)}; make it "
        "(recon-all -qcache, mri_surf2surf), choose another measure, fwhm, space or hemispheres (there: "
        f"{_maps_there(surf, name) or 'none'}), or drop that visit"
    )


def _maps_there(surf: Path, name: str) -> str:
    """Return which maps of a measure there are: of the hemisphere, or else of others."""
    hemisphere, measure = name.split(".")[:2]
    own, others = ([p.name for p in surf.glob(f"{h}.{measure}*.mg[hz]")] for h in (hemisphere, "*"))
    return _listed(own or others)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)[:6])


def _distinct(folders: list[Path | None], visits: StudyTable) -> list[Path | None]:
    first: dict[Path, int] = {}
    for row, path in enumerate(folders):
        if path is None:
            continue
        if path in first:
            raise CohortError(
                f"{path}: {visits.place(first[path])} and {visits.place(row)} are both this folder; drop "
                f"one{_or_session(visits)}"
            )
        first[path] = row
    return folders
