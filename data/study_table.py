"""Whose visit each map is, and when: the table that a study's maps come with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.bids_tables import ENTRY_AGE, read_bids
from neuropyro.data.errors import CohortError
from neuropyro.data.text_table import TextTable, read_table, table_of
from neuropyro.data.unknown_names import few
from neuropyro.data.visit_codes import remedy_of_times
from neuropyro.data.wild_times import refuse_wild_times
from neuropyro.data.written_numbers import with_plain_numbers

__all__ = ["SESSION_REMEDY", "StudyTable", "study_table"]

MOST_TOLD = 12  # visits that lack something, in an error

SUBJECT = (
    "subject",
    "subject_id",
    "participant_id",
    "participant",
    "patient_id",
    "patient",
    "id",
    "rid",
    "ptid",
    "fsid-base",
)
SESSION = (
    "session",
    "session_id",
    "visit",
    "visit_id",
    "visit_number",
    "visit_no",
    "visit_num",
    "timepoint",
    "wave",
    "viscode",
    "viscode2",
    "fsid",
)
SESSION_REMEDY = f"add a column for the session to the table, called one of {', '.join(SESSION[:-1])}"  # not fsid
TIME = ("time", "age", "age_at_visit", "age_at_scan", "age_years", "years", "years_since_baseline")
DATE = ("acq_time", "date", "exam_date", "examdate", "scan_date", "visit_date")
DIAGNOSIS = (
    "diagnosis",
    "dx",
    "diag",
    "clinical_diagnosis",
    "clinical_dx",
    "clinical_diag",
    "current_diagnosis",
    "visit_diagnosis",
    "diagnosis_group",
    "diagnostic_group",
    "diag_group",
    "dx_group",
    "research_group",
    "group",
    "pathology",
)
FILE = ("file", "filename", "path")
FOLDER = ("folder",)


@dataclass(frozen=True)
class StudyTable:
    """The visits of a study, a row each.

    Parameters
    ----------
    source
        What errors call it.
    subject
        ``(visits,)`` text, as in file names.
    time
        ``(visits,)`` years.
    session
        ``(visits,)`` text, as in file names, or None where a subject has one visit.
    diagnosis
        ``(visits,)`` whole numbers or text, or None.
    file, folder
        ``(visits,)`` paths of the visits' maps, and of their FreeSurfer folders, or None.
    covariates
        ``(visits,)`` arrays by name.
    places
        ``(visits,)``: where each row is, for errors.

    Examples
    --------
    >>> visits = StudyTable("mine", np.array(["a", "b"]), np.array([70.0, 65.0]), places=["line 2", "line 3"])
    >>> len(visits), visits.place(1)
    (2, 'line 3')
    """

    source: str
    subject: NDArray[np.str_]
    time: NDArray[np.float64]
    session: NDArray[np.str_] | None = None
    diagnosis: NDArray[Any] | None = None
    file: NDArray[np.str_] | None = None
    folder: NDArray[np.str_] | None = None
    covariates: dict[str, NDArray[Any]] = field(default_factory=dict)
    places: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.subject)

    def place(self, row: int) -> str:
        """Return where a row is, for errors."""
        return self.places[row]

    def and_more(self, rows: Sequence[int]) -> str:
        """Return which visits lack the same beside the first of some, for errors; nothing where none does."""
        more = len(rows) - 1
        return f" (and so with {more} more visit{'s' * (more != 1)}{self._where(rows[1:])})" if more > 0 else ""

    def _where(self, rows: Sequence[int]) -> str:
        """Return the numbers of rows, ``: lines 3, 5``; nothing where they are of several files."""
        places = [self.places[row].rpartition(" ") for row in rows]
        if len({before for before, _, _ in places}) > 1:
            return ""
        what = places[0][0].rpartition(" ")[2] + "s" * (len(rows) > 1)
        return f": {what} {', '.join(few([number for _, _, number in places], MOST_TOLD))}"

    def names(self, row: int) -> dict[str, str]:
        """Return what names a visit in paths."""
        session = {} if self.session is None else {"session": str(self.session[row])}
        return {"subject": str(self.subject[row])} | session

    def fields(self) -> dict[str, Any]:
        """Return what a `Cohort` takes, but for its values."""
        return {
            "time": self.time,
            "subject": self.subject,
            "diagnosis": self.diagnosis,
            "covariates": self.covariates,
        }


def study_table(
    table: Any,
    *,
    subject: str | None = None,
    time: str | None = None,
    session: str | None = None,
    diagnosis: str | None = None,
    file: str | None = None,
    covariates: Sequence[str] | None = None,
) -> StudyTable:
    """Read the table of a study.

    Parameters
    ----------
    table
        Path of a CSV or TSV file, a pandas DataFrame, or a `StudyTable` as it is.  A BIDS ``participants.tsv`` (or its
        folder) is read together with the ``sub-*/*_sessions.tsv`` beside it; FreeSurfer's ``long.qdec.table.dat``
        (``fsid``, ``fsid-base``) works too.
    subject, time, session, diagnosis, file
        Columns.  By default the first that is there, in any case and with underscores or without, of: subject,
        subject_id, participant_id, patient_id, ID, RID, PTID; time, age, age_at_scan, years; session, session_id,
        visit, timepoint, VISCODE; diagnosis, dx, diag, diagnosis_group, group; file, filename, path.  ``folder`` names
        FreeSurfer's folders.  A time that is a date, or without a time a column of dates (acq_time, date, EXAMDATE,
        visit_date), counts from the subject's first.
    covariates
        Columns to keep; by default every other one.

    Raises
    ------
    CohortError
        Naming the table, the column and the line: no such column, a time that is missing or no number, a subject
        without a name, one session twice.

    Examples
    --------
    >>> import pandas as pd
    >>> visits = study_table(pd.DataFrame({"ID": ["a", "a"], "age": [70.0, 71.0], "dx": ["CN", "AD"], "apoe4": [1, 1]}))
    >>> visits.subject.tolist(), visits.time.tolist(), list(visits.covariates)
    (['a', 'a'], [70.0, 71.0], ['apoe4'])
    """
    if isinstance(table, StudyTable):
        return table
    cells = _cells(table)
    given = {"subject": subject, "time": time, "session": session, "diagnosis": diagnosis, "file": file}
    known = {"subject": SUBJECT, "time": TIME, "session": SESSION, "diagnosis": DIAGNOSIS, "file": FILE}
    cells.refuse_unknown({f"--{role}": given[role] for role in ("subject", "time", "diagnosis")})
    use = {role: given[role] or cells.first_of(names) for role, names in known.items()}
    use["folder"] = cells.first_of(FOLDER)
    roles = {"subject": SUBJECT, "time": (*TIME, *DATE)}
    found = {"subject": use["subject"], "time": use["time"] or cells.first_of(DATE)}
    cells.refuse_without({role: names for role, names in roles.items() if found[role] is None})
    cells = with_plain_numbers(cells, but=[use[role] for role in use if role != "time"])
    who = _required(cells, str(use["subject"]))
    when, taken = _times(cells, who, use["time"])
    rest = [c for c in cells.columns if c not in {*use.values(), taken}] if covariates is None else covariates
    made = StudyTable(
        source=cells.source,
        subject=who,
        time=when,
        session=None if use["session"] is None else _required(cells, use["session"]),
        diagnosis=None if use["diagnosis"] is None else _diagnosis(cells, use["diagnosis"]),
        file=None if use["file"] is None else cells.text(use["file"]),
        folder=None if use["folder"] is None else cells.text(use["folder"]),
        covariates={name: cells.covariate(name) for name in rest},
        places=[cells.place(row) for row in range(len(cells))],
    )
    _refuse_repeats(made)
    _refuse_ages_at_entry(made, use["time"])
    return made


def _cells(table: Any) -> TextTable:
    if isinstance(table, TextTable):
        return table
    if not isinstance(table, str | Path):
        return table_of(table)
    path = Path(table)
    participants = path / "participants.tsv" if path.is_dir() else path
    return read_bids(participants) if participants.name == "participants.tsv" else read_table(path)


def _required(cells: TextTable, name: str) -> NDArray[np.str_]:
    cells.refuse_empty(name, "fill it in or drop the visit")
    return cells.text(name)


def _times(cells: TextTable, who: NDArray[np.str_], name: str | None) -> tuple[NDArray[np.float64], str | None]:
    """Return years, and the column of dates that they were made from."""
    dates = cells.first_of(DATE) if name is None else name if cells.is_dates(name) else None
    if dates is None:
        when = cells.numbers(str(name), remedy_of_times(cells.text(str(name)).tolist()))
    else:
        when = cells.years(dates)
    lost = np.flatnonzero(~np.isfinite(when))
    if lost.size:
        said = f"{cells.place(int(lost[0]))}: `{name or dates}` is missing or infinite{cells.and_more(lost)}"
        raise CohortError(f"{said}; give the time or drop the visit")
    if dates is None:
        refuse_wild_times(cells, str(name), when)
    else:
        _, place = np.unique(who, return_inverse=True)
        first = np.full(place.max() + 1, np.inf)
        np.minimum.at(first, place, when)
        when = when - first[place] + (cells.numbers(ENTRY_AGE) if ENTRY_AGE in cells.columns else 0.0)
        if not np.isfinite(when).all():
            row = int(np.flatnonzero(~np.isfinite(when))[0])
            raise CohortError(f"{cells.place(row)}: the age at entry is missing; give it or drop the subject")
    return when, dates


def _diagnosis(cells: TextTable, name: str) -> NDArray[Any]:
    """Return whole numbers, NaN where unknown, where all cells are, else text."""
    if not cells.is_numeric(name) or cells.empty(name).all():
        return cells.text(name)
    numbers = cells.numbers(name)
    known = numbers[~np.isnan(numbers)]
    return numbers if (known == np.round(known)).all() else cells.text(name)


def _refuse_repeats(table: StudyTable) -> None:
    if table.session is None:
        return
    first: dict[tuple[str, str], int] = {}
    for row, key in enumerate(zip(table.subject.tolist(), table.session.tolist(), strict=True)):
        if key in first:
            raise CohortError(
                f"{table.place(row)}: session {key[1]} of subject {key[0]} is there twice "
                f"(first: {table.place(first[key])}); drop one"
            )
        first[key] = row


def _refuse_ages_at_entry(table: StudyTable, name: str | None) -> None:
    """Refuse a time that no subject's sessions differ in: it is that of the first visit, repeated."""
    if table.session is None:
        return
    subjects = table.subject.tolist()
    varies = {(who, when) for who, when in zip(subjects, table.time.tolist(), strict=True)}
    if len(set(subjects)) < len(subjects) and len(varies) == len(set(subjects)):
        raise CohortError(
            f"{table.source}: `{name or 'date'}` is the same at all sessions of every subject; give the age at each "
            "visit, or its date instead"
        )
