"""What was given in a cohort's place: what it is, and how to make a cohort of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from neuropyro.data.cohort import Cohort
from neuropyro.data.errors import CohortError

__all__ = ["check_cohort"]


def check_cohort(given: Any) -> None:
    """Refuse what is no cohort.

    Raises
    ------
    CohortError
        Saying how to make one: of a file, of a DataFrame, or of arrays.

    Examples
    --------
    >>> check_cohort("visits.csv")
    Traceback (most recent call last):
        ...
    neuropyro.data.errors.CohortError: data: a Cohort is needed, not str; read the file, as Cohort.open('visits.csv')
    """
    if not isinstance(given, Cohort):
        raise CohortError(f"data: a Cohort is needed, not {type(given).__name__}; {_remedy(given)}")


def _remedy(given: Any) -> str:
    if isinstance(given, str | Path):
        return f"read the file, as Cohort.open({str(given)!r})"
    if hasattr(given, "columns"):
        return "make one, as Cohort.from_dataframe(frame, biomarkers=[...], subject=COLUMN, time=COLUMN)"
    return "make one, as Cohort(values, time=..., subject=...), values being (visits, columns)"
