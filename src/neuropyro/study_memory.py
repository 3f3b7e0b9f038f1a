"""How the study of a fit was read, kept in the fit's folder: new subjects come in the same form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from neuropyro.data.errors import CohortError
from neuropyro.data.open_study import StudyOptions, is_study
from neuropyro.data.text_table import column_names

__all__ = ["STUDY", "keep_reading", "read_alike"]

STUDY = "study.json"
COLUMNS = ("subject", "time", "diagnosis")
KEPT = (*COLUMNS, "control", "missing", "measure", "fwhm", "space", "hemispheres", "pattern")
"""What new subjects have in common with those fitted: files are their own, and the fit knows its biomarkers."""


def keep_reading(options: StudyOptions, study: Path, folder: Path) -> None:
    """Write what was said of a study, in so far as it goes for others of the kind, into a fit's folder.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> keep_reading(StudyOptions(missing=("-4",)), Path("visits.csv"), folder)
    >>> _ = (folder / "new.csv").write_text("ID,age,MMSE")
    >>> read_alike(StudyOptions(), folder / "new.csv", folder).missing
    ('-4',)
    """
    said = {name: getattr(options, name) for name in _said(options)}
    if said:
        kept = {"kind": _kind(study), "options": said}
        (folder / STUDY).write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def read_alike(options: StudyOptions, study: Path, folder: Path) -> StudyOptions:
    """Return how to read new subjects: as is said of them, and else as the study of the fit in the folder was read.

    Raises
    ------
    CohortError
        Where what the folder keeps is damaged.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> keep_reading(StudyOptions(missing=("-4",), control="SCD"), Path("visits.csv"), folder)
    >>> _ = (folder / "new.csv").write_text("ID,age,MMSE")
    >>> options = read_alike(StudyOptions(missing=("-9",)), folder / "new.csv", folder)
    >>> options.missing, options.control  # as was said of the new ones; as of those fitted
    (('-9',), 'SCD')
    """
    kept = _kept(folder / STUDY)
    if kept.get("kind") != _kind(study):
        return options
    lost = _lost(kept["options"], study) | set(_said(options))
    same: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in kept["options"].items()
        if name not in lost
    }
    return replace(options, **same)


def _lost(kept: dict[str, Any], study: Path) -> set[str]:
    """Return which columns a table does not have under the names that were kept."""
    there = column_names(study) if study.is_file() else list(kept.values())
    return {name for name in COLUMNS if kept.get(name) not in there}


def _kept(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        options = {name: value for name, value in dict(kept["options"]).items() if name in KEPT}
        if not all(_is_one(name, value) for name, value in options.items()):
            raise ValueError
        return {"kind": kept["kind"], "options": options}
    except (ValueError, KeyError, TypeError):
        raise CohortError(f"{file}: damaged; fit again, or delete it and say how to read the new subjects") from None


def _is_one(name: str, value: object) -> bool:
    """Whether a value read from a file can be that option's."""
    if isinstance(getattr(StudyOptions(), name), tuple):
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    return isinstance(value, (int, float)) if name == "fwhm" else isinstance(value, str)


def _said(options: StudyOptions) -> Iterator[str]:
    return (f.name for f in fields(options) if f.name in KEPT and getattr(options, f.name) != f.default)


def _kind(study: Path) -> str:
    return "folder" if study.is_dir() else "table" if is_study(study) else "file"
