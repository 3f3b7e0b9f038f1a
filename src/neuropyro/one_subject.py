"""One subject of a cohort, by the name that a command line gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuropyro.data import Cohort

__all__ = ["one_subject"]


def one_subject(cohort: Cohort, name: str) -> Cohort:
    """Return the visits of the subject of that name, which may be a number.

    Raises
    ------
    CohortError
        Where there is no such subject.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> one_subject(simulate_reference(n_subjects=9, n_vertices=3, seed=1), "7").subjects.tolist()
    [7]
    """
    named: Any = int(name) if cohort.subject.dtype.kind != "U" and name.isdigit() else name
    return cohort.subset(subjects=[named])
