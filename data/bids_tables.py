"""BIDS tables: ``participants.tsv`` and, beside it, ``sub-*/sub-*_sessions.tsv``, as one table of visits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from neuropyro.data.errors import CohortError
from neuropyro.data.text_table import TextTable, read_table

__all__ = ["ENTRY_AGE", "read_bids"]

SUBJECT, SESSION, DATE, AGE = "participant_id", "session_id", "acq_time", "age"
ENTRY_AGE = "age_at_entry"


def read_bids(participants: Path) -> TextTable:
    r"""Return a row for each session, with its participant's columns; a session's own column goes before.

    Where sessions have a date (``acq_time``) and no age of their own, the participant's age becomes ``age_at_entry``,
    from which the years since the first session count.

    Raises
    ------
    CohortError
        Where a table lacks its first column, a participant has no sessions while others do, sessions of one
        participant cannot be told apart in time, or a participant is there twice.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "participants.tsv").write_text("participant_id\tsex\nsub-01\tF\n")
    >>> (folder / "sub-01").mkdir()
    >>> _ = (folder / "sub-01" / "sub-01_sessions.tsv").write_text("session_id\tage\nses-1\t70\nses-2\t71.5\n")
    >>> visits = read_bids(folder / "participants.tsv")
    >>> visits.text("participant_id").tolist(), visits.numbers("age").tolist(), visits.text("sex").tolist()
    (['sub-01', 'sub-01'], [70.0, 71.5], ['F', 'F'])
    """
    people = read_table(participants)
    names = people.text(SUBJECT)
    for row in range(len(names)):
        if names[row] in names[:row]:
            raise CohortError(f"{people.place(row)}: participant {names[row]} is there twice; drop one row")
    tables = {str(name): participants.parent / str(name) / f"{name}_sessions.tsv" for name in names}
    if not any(path.is_file() for path in tables.values()):
        return people
    sessions = [_sessions(tables[str(name)], people.place(row)) for row, name in enumerate(names)]
    return _joined(people, sessions)


def _sessions(path: Path, place: str) -> TextTable:
    if not path.is_file():
        raise CohortError(f"{path}: no such file, but {place} has that participant; add the file or drop the row")
    table = read_table(path)
    table.column(SESSION)
    if len(table) > 1 and DATE not in table.columns and AGE not in table.columns:
        raise CohortError(f"{path}: neither `{AGE}` nor `{DATE}` tells its {len(table)} sessions apart; add one")
    return table


def _joined(people: TextTable, sessions: list[TextTable]) -> TextTable:
    counts = [len(table) for table in sessions]
    columns = {name: np.repeat(cells, counts) for name, cells in people.columns.items()}
    own = dict.fromkeys(name for table in sessions for name in table.columns)
    if DATE in own and AGE not in own and AGE in columns:
        columns[ENTRY_AGE] = columns.pop(AGE)
    for name in own:
        parts = []
        for row, table in enumerate(sessions):
            inherited = people.columns.get(name, np.full(len(people), ""))[row]
            parts.append(table.columns.get(name, np.full(len(table), inherited)))
        columns[name] = np.concatenate(parts)
    places = [table.place(row) for table in sessions for row in range(len(table))]
    return TextTable(people.source, columns, places=places)
