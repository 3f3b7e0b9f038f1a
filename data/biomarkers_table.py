"""A study's table of biomarkers: which of its columns is what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuropyro.data.clock_columns import goes_with_time
from neuropyro.data.dates import order_of_dates
from neuropyro.data.lasting_columns import lasts, seems_to_last
from neuropyro.data.long_table import long_table
from neuropyro.data.naming_columns import number_in_words, only_names
from neuropyro.data.study_table import DATE, DIAGNOSIS, SESSION, SUBJECT, TIME
from neuropyro.data.text_table import TextTable, letters_of, read_table
from neuropyro.data.written_numbers import with_plain_numbers

if TYPE_CHECKING:
    from neuropyro.data.open_study import StudyOptions

__all__ = ["BiomarkersTable", "biomarkers_table"]

NO_YEARS = re.compile(r"month|week|day", re.IGNORECASE)  # in the name of a column of times


@dataclass(frozen=True)
class BiomarkersTable:
    """A table and the names of its columns.

    Parameters
    ----------
    cells
        The table.
    subject, time, diagnosis
        Columns; of dates the time becomes years of the calendar.
    values, others
        Columns of biomarkers, and of covariates.
    lasting
        Those of the latter that are numbers and never change within a subject.
    clocks
        Those that are numbers and only tell the time.
    supposed
        Those that are numbers which no subject has twice, and seem never to change by their names or few values.
    empty
        Columns of no value, which are neither.
    named
        Those that are numbers and by their names only tell people, records or machines apart.
    unused
        Codes for a missing value that no cell is.

    Examples
    --------
    >>> import pandas
    >>> from neuropyro.data.text_table import table_of
    >>> cells = table_of(pandas.DataFrame({"ID": ["a"], "seen": ["30.6.2017"], "MMSE": [28]}))
    >>> table = BiomarkersTable(cells, "ID", "seen", None, ["MMSE"])
    >>> table.fields()["time"].round(2).tolist()
    [2017.49]
    >>> table.roles()
    'people are told by `ID`, the time by `seen`, no column for a diagnosis'
    >>> table.remarks()
    ['seen: dates, read as day/month/year, are taken as years of the calendar: 30.6.2017 is 2017.49']
    """

    cells: TextTable
    subject: str
    time: str
    diagnosis: str | None
    values: Sequence[str]
    others: Sequence[str] = ()
    lasting: Sequence[str] = ()
    clocks: Sequence[str] = ()
    supposed: Sequence[str] = ()
    empty: Sequence[str] = ()
    named: Sequence[str] = ()
    unused: Sequence[str] = ()

    def fields(self) -> dict[str, Any]:
        """Return what a `Cohort` takes."""
        return long_table(self.cells, self.values, self.subject, self.time, self.diagnosis, self.others)

    def lines(self) -> list[str]:
        """Return where each row is, ``(rows,)``, without the file."""
        return [place.removeprefix(f"{self.cells.source} ") for place in self.cells.places or ()]

    def remarks(self) -> list[str]:
        """Say what of the reading a user may not expect."""
        told = list(self.cells.readings)
        if self.unused:
            told.append(f"--missing {','.join(self.unused)}: no cell of the table is that")
        if self.empty:
            has = "has no value at any visit, and is" if len(self.empty) == 1 else "have no value at any visit, and are"
            told.append(f"{', '.join(self.empty)}: {has} left out")
        if self.lasting:
            never = "never changes" if len(self.lasting) == 1 else "never change"
            told.append(_not_biomarkers(self.lasting, f"{never} within a subject, as a gene does"))
        if self.supposed:
            by, it = ("its name", "it") if len(self.supposed) == 1 else ("their names", "them")
            what = f"by {by} or few values what never changes within a subject (no subject has {it} twice)"
            told.append(_not_biomarkers(self.supposed, what))
        if self.clocks:
            goes = "goes" if len(self.clocks) == 1 else "go"
            told.append(_not_biomarkers(self.clocks, f"{goes} with the time (`{self.time}`)"))
        if self.named:
            by, tells = ("its name", "tells") if len(self.named) == 1 else ("their names", "tell")
            told.append(_not_biomarkers(self.named, f"by {by} only {tells} people, records or machines apart"))
        told += self._remarks_on_words()
        if not self.cells.is_dates(self.time):
            return told
        dates = self.cells.text(self.time).tolist()
        order = order_of_dates(dates, self.time, self.cells.place)
        example = f"{dates[0]} is {1970 + self.cells.years(self.time)[0]:.2f}"
        return [*told, f"{self.time}: dates, read as {order}, are taken as years of the calendar: {example}"]

    def roles(self) -> str:
        """Say which columns tell people, the time and the diagnosis."""
        unit = ", which is taken as years" if NO_YEARS.search(self.time) else ""
        of_diagnosis = "no column for a diagnosis" if self.diagnosis is None else f"the diagnosis by `{self.diagnosis}`"
        return f"people are told by `{self.subject}`, the time by `{self.time}`{unit}, {of_diagnosis}"

    def _remarks_on_words(self) -> list[str]:
        """Say which covariates are words that may have been meant as numbers."""
        texts = [name for name in self.others if not self.cells.is_numeric(name) and not self.cells.is_dates(name)]
        found = {name: number_in_words(self.cells.text(name)) for name in texts}
        return [
            f"{name}: its cells are numbers with something beside them ({cell!r}), and it is taken for a covariate, "
            "not for a biomarker; write bare numbers if it is one"
            for name, cell in found.items()
            if cell
        ]


def biomarkers_table(path: Path, options: StudyOptions) -> BiomarkersTable:
    r"""Read a table of biomarkers: those chosen, or numbers that are not subject, visit, time or diagnosis.

    What else there is becomes covariates; so do, unless chosen, numbers that never change within a subject, or that no
    subject has twice and that seem not to (:mod:`neuropyro.data.lasting_columns`), those that only tell the time, and
    those that only name (:mod:`neuropyro.data.naming_columns`).  Columns of no value are left out, unless chosen.
    Columns of percentages are numbers, and so are those of decimal commas, where semicolons or tabs part the cells.

    Raises
    ------
    CohortError
        Naming the table and the column: one that was named is not there, or none is of the subject or the time.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.data.open_study import NO_OPTIONS
    >>> path = Path(tempfile.mkdtemp()) / "visits.csv"
    >>> _ = path.write_text("ID,age,sex,MMSE\na,70,F,28\n")
    >>> table = biomarkers_table(path, NO_OPTIONS)
    >>> table.time, table.values, table.others, table.lines()
    ('age', ['MMSE'], ['sex'], ['line 2'])
    """
    chosen = [name.strip() for words in options.biomarkers for name in words.split(",")]
    codes = [code for words in options.missing for code in words.split(",")]
    cells = read_table(path).with_missing(codes)
    unused = [code for code in codes if not cells.has(code)]
    cells.refuse_unknown({"--subject": options.subject, "--time": options.time, "--diagnosis": options.diagnosis})
    for name in chosen:
        cells.refuse_unknown({"--biomarkers": name})
    subject = options.subject or cells.first_of(SUBJECT)
    time = options.time or cells.first_of(TIME) or cells.first_of(DATE)
    diagnosis = options.diagnosis or cells.first_of(DIAGNOSIS)
    found = {"subject": (subject, SUBJECT), "time in years": (time, (*TIME, *DATE))}
    cells.refuse_without({role: names for role, (name, names) in found.items() if name is None})
    cells = with_plain_numbers(cells, but=(subject, diagnosis))
    rest = [name for name in cells.columns if name not in (subject, time, diagnosis)]
    empty = [name for name in rest if name not in chosen and cells.empty(name).all()]
    rest = [name for name in rest if name not in empty]
    measured = [] if chosen else _measured(cells, rest)
    who = cells.text(str(subject))
    named = _unless_all(measured, [name for name in measured if only_names(name)])
    left = [name for name in measured if name not in named]
    lasting = _unless_all(left, [name for name in left if lasts(cells.numbers(name), who)])
    left = [name for name in left if name not in lasting]
    supposed = _unless_all(left, [name for name in left if seems_to_last(name, cells.numbers(name), who)])
    left = [name for name in left if name not in supposed]
    clocks = _clocks(cells, left, str(subject), str(time))
    values = chosen or [name for name in left if name not in clocks]
    others = [name for name in rest if name not in values]
    return BiomarkersTable(
        cells, str(subject), str(time), diagnosis, values, others, lasting, clocks, supposed, empty, named, unused
    )


def _not_biomarkers(names: Sequence[str], why: str) -> str:
    one = "is taken for a covariate, not for a biomarker"
    taken = one if len(names) == 1 else "are taken for covariates, not for biomarkers"
    return f"{', '.join(names)}: {why}, and {taken}; --biomarkers says otherwise"


def _unless_all(names: Sequence[str], found: Sequence[str]) -> Sequence[str]:
    """Return which of some columns were found to be no biomarkers; none where no biomarker would be left."""
    return found if len(found) < len(names) else []


def _clocks(cells: TextTable, names: Sequence[str], subject: str, time: str) -> Sequence[str]:
    """Return which columns only tell the time; none where that would be all, or the time is neither number nor date."""
    dates = cells.is_dates(time)
    if not dates and not cells.is_numeric(time):
        return []
    when, who = cells.years(time) if dates else cells.numbers(time), cells.text(subject)
    return _unless_all(names, [name for name in names if goes_with_time(cells.numbers(name), when, who)])


def _measured(cells: TextTable, names: Sequence[str]) -> list[str]:
    """Return which of some columns are biomarkers, of numbers; a few words among them are a mistake."""
    reserved = {letters_of(name) for name in (*SUBJECT, *SESSION, *DATE, *TIME)}
    measured = [name for name in names if letters_of(name) not in reserved]
    for name in measured:
        cells.refuse_stray_text(name, "correct it, leave it empty, or say by --biomarkers which columns are some")
    return [name for name in measured if cells.is_numeric(name)]
