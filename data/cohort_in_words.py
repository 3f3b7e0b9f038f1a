"""A cohort in one line of words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.cohort_checks import CALENDAR
from neuropyro.data.control_diagnosis import words_of_controls

if TYPE_CHECKING:
    from neuropyro.data.cohort import Cohort

__all__ = ["counted", "in_words"]

MOST_WORDS = 8  # of diagnoses
MOST_COLUMNS = 30  # and covariates: none that was taken by mistake may be hidden


def counted(number: int, what: str) -> str:
    """Return a number of things, in words.

    Examples
    --------
    >>> counted(1, "visit"), counted(1200, "visit")
    ('1 visit', '1,200 visits')
    """
    return f"{number:,} {what}{'s' * (number != 1)}"


def in_words(cohort: Cohort) -> str:
    """Return its size, what is missing, and what it has beside values.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> in_words(Cohort(np.array([[2.5, 2.4], [2.4, np.nan]]), [70, 71], ["a", "a"])).split("; ")[::2]
    ['Cohort(2 visits of 1 subject x 2 vertices', '25.0% missing)']
    """
    few, many = (int(count) for count in np.sort(np.bincount(cohort.subject_index))[[0, -1]])
    each = counted(few, "visit") if few == many else f"{few} to {many} visits"
    missing = sum(int(np.isnan(row).sum()) for row in cohort.values) / cohort.values.size
    parts = [
        f"{counted(cohort.n_visits, 'visit')} of {counted(cohort.n_subjects, 'subject')} x {_columns(cohort)}",
        f"{each} a subject, {_times(cohort.time)}",
        f"{missing:.1%} missing" if missing else "nothing missing",
    ]
    if cohort.diagnosis is not None:
        controls = counted(int(cohort.is_control[cohort.is_first_visit].sum()), "control")
        parts.append(f"{controls} at first visit{_diagnoses(cohort.diagnosis)}")
    parts += [repr(cohort.mesh)] if cohort.mesh is not None else []
    parts += [repr(cohort.space)] if cohort.space is not None else []
    parts += [f"covariates {_first_of(list(cohort.covariates), MOST_COLUMNS)}"] if cohort.covariates else []
    return f"Cohort({'; '.join(parts)})"


def _times(time: NDArray[np.float64]) -> str:
    first, last = time.min(), time.max()
    if first > CALENDAR[0]:
        return f"dates {first:.2f} to {last:.2f} (years of the calendar)"
    return f"ages or times {first:.4g} to {last:.4g} years"


def _diagnoses(diagnosis: NDArray[Any]) -> str:
    """Say which words were taken for a control's and which not: one that was mistaken would not be seen."""
    controls, others = words_of_controls(diagnosis)
    if not controls:
        return ""
    return f" (by {_first_of(controls)}{f'; not {_first_of(others)}' if others else ''})"


def _columns(cohort: Cohort) -> str:
    if cohort.feature_names is None:
        return f"{cohort.n_vertices:,} vertices"
    return f"{cohort.n_vertices:,} columns ({_first_of(cohort.feature_names.tolist(), MOST_COLUMNS)})"


def _first_of(names: list[str], most: int = MOST_WORDS) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
