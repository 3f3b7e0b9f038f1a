"""Long tables of biomarkers: a row a visit, a column a biomarker."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.cohort_checks import refuse_repeats
from neuropyro.data.errors import CohortError
from neuropyro.data.study_table import DATE, SUBJECT, TIME
from neuropyro.data.text_table import TextTable, read_table, table_of
from neuropyro.data.unknown_names import few
from neuropyro.data.visit_codes import remedy_of_times
from neuropyro.data.wild_times import refuse_wild_times
from neuropyro.data.written_numbers import with_plain_numbers

__all__ = ["long_table"]


def long_table(
    frame: Any,
    biomarkers: Sequence[str] | None = None,
    subject: str = "ID",
    time: str = "TIME",
    diagnosis: str | None = None,
    covariates: Sequence[str] = (),
) -> dict[str, Any]:
    """Read a table of biomarkers: what a `Cohort` takes, values ``(visits, biomarkers)``; see `Cohort.from_dataframe`.

    Raises
    ------
    CohortError
        Naming the table, the column and the line: no such column, no biomarker, a value that is no number, a time
        or a subject that is missing, or a visit twice.

    Examples
    --------
    >>> import pandas
    >>> visits = pandas.DataFrame({"ID": ["a", "a"], "TIME": [70, 71], "MMSE": [28, None], "sex": ["F", "F"]})
    >>> fields = long_table(visits, covariates=["sex"])
    >>> fields["feature_names"].tolist(), fields["values"].tolist()
    (['MMSE'], [[28.0], [nan]])
    """
    table = _table(frame, subject, diagnosis)
    _refuse_absent(table, subject, time)
    taken = {subject, time, diagnosis, *covariates}
    names = [c for c in table.columns if c not in taken] if biomarkers is None else list(biomarkers)
    if not names:
        raise _no_column(table)
    table.refuse_empty(subject, "fill it in or drop the visit")
    known = table.column(subject) if table.column(subject).dtype.kind in "iu" else table.text(subject)
    values, when = np.stack([table.numbers(name) for name in names], 1), _filled(table, time)
    if table.places is not None:
        _refuse_repeats(table, values, known, when)
    return {
        "values": values,
        "time": when,
        "subject": known,
        "diagnosis": None if diagnosis is None else table.covariate(diagnosis),
        "feature_names": np.array(names),
        "covariates": {name: table.covariate(name) for name in covariates},
    }


def _table(frame: Any, subject: str, diagnosis: str | None) -> TextTable:
    if isinstance(frame, TextTable):
        return frame
    table = read_table(frame) if isinstance(frame, str | Path) else table_of(frame)
    return with_plain_numbers(table, but=(subject, diagnosis))


def _refuse_absent(table: TextTable, subject: str, time: str) -> None:
    """Refuse a table without the column of subjects or of times, and say which arguments name the ones that it has."""
    named = {"subject": (subject, SUBJECT), "time": (time, (*TIME, *DATE))}
    absent = {role: known for role, (name, known) in named.items() if name not in table.columns}
    if not absent:
        return
    columns = " or ".join(f"`{named[role][0]}`" for role in absent)
    remedy = ", ".join(f'{role}="{table.first_of(known) or "COLUMN"}"' for role, known in absent.items())
    there = ", ".join(few(table.columns))
    raise CohortError(f"{table.source}: no column {columns}; there are {there}; pass {remedy} as an argument")


def _refuse_repeats(table: TextTable, values: NDArray[Any], subject: NDArray[Any], time: NDArray[Any]) -> None:
    """Refuse one visit in two rows, by the lines of a file; a cohort knows its rows alone."""
    lines = [place.removeprefix(f"{table.source} ") for place in table.places or ()]
    try:
        refuse_repeats(values, subject, time, lines)
    except CohortError as error:
        raise CohortError(f"{table.source}: {error}") from None


def _filled(table: TextTable, name: str) -> Any:
    """Return years, of dates those of the calendar."""
    remedy = remedy_of_times(table.text(name).tolist())
    values = 1970 + table.years(name) if table.is_dates(name) else table.numbers(name, remedy)
    lost = np.flatnonzero(~np.isfinite(values))
    if lost.size:
        said = f"{table.place(int(lost[0]))}: `{name}` is missing or infinite{table.and_more(lost)}"
        raise CohortError(f"{said}; give it or drop the visit")
    refuse_wild_times(table, name, values)
    return values


def _no_column(table: TextTable) -> CohortError:
    """Return the error of a table without biomarkers; a file may be that of visits whose maps lie elsewhere."""
    of_maps = (
        f"; where it tells of maps in a FreeSurfer folder, give that first, as SUBJECTS_DIR --table {table.source}"
    )
    return CohortError(
        f"{table.source}: no column is left for the biomarkers, which are numbers; name them by --biomarkers A,B,C, in "
        f"Python `biomarkers`{'' if table.places is None else of_maps}"
    )
