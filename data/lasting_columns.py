"""Columns of a table that never change within a person, as a gene does: shown by who came twice, or else supposed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.text_table import letters_of

__all__ = ["lasts", "seems_to_last"]

SHOWN = 5  # people with several values, from which on a column that never changes within one lasts
PEOPLE = 10  # of one value each, from which on few whole values are those of a kind of person
LEVELS = 3  # such values: a rating that has more may be of a disease's stage
SEX = ("sex", "gender", "ptgender", "male", "female", "is_male", "is_female", "sex_code")
SCHOOL = ("education", "educ", "edu", "pteducat", "education_years", "years_of_education", "years_education")
GENES = ("apoe", "apoe4", "apoe_e4", "apoe_status", "apoe_genotype", "apoe4_count", "apoe4_alleles", "apoe4_carrier")
ORIGIN = ("race", "ptraccat", "ethnicity", "ptethcat", "handedness", "birth_year", "year_of_birth")
PLACE = ("site", "site_id", "scanner", "centre", "center")
HEAD = ("icv", "etiv", "tiv", "intracranial_volume")
NAMES = frozenset(letters_of(name) for name in (*SEX, *SCHOOL, *GENES, *ORIGIN, *PLACE, *HEAD))


def lasts(values: NDArray[np.float64], subject: NDArray[Any]) -> bool:
    """Whether a column is the same at all visits of every subject, as genes are, and several subjects show it.

    Both are ``(rows,)``, values NaN where missing.

    Examples
    --------
    >>> lasts(np.repeat([0.0, 1, 2, 1, 0], 2), np.repeat(list("abcde"), 2))
    True
    """
    repeated = _repeated(values, subject)
    return len(repeated) >= SHOWN and all(np.ptp(own) == 0 for own in repeated)


def seems_to_last(name: str, values: NDArray[np.float64], subject: NDArray[Any]) -> bool:
    """Whether a column that no subject has twice is called as what lasts is, or has three whole values at most.

    Both arrays are ``(rows,)``, values NaN where missing.

    Examples
    --------
    >>> people = np.arange(12)
    >>> seems_to_last("PTEDUCAT", people + 8.0, people), seems_to_last("carrier", people % 2.0, people)
    (True, True)
    >>> seems_to_last("MMSE", people + 18.0, people), seems_to_last("tau", people % 2 / 2, people)
    (False, False)
    """
    if _repeated(values, subject):
        return False
    seen = values[~np.isnan(values)]
    levels = np.unique(seen)
    is_few = seen.size >= PEOPLE and levels.size <= LEVELS and bool((levels == np.round(levels)).all())
    return letters_of(name) in NAMES or is_few


def _repeated(values: NDArray[np.float64], subject: NDArray[Any]) -> list[NDArray[np.float64]]:
    """Return the values of each subject that has several."""
    known = ~np.isnan(values)
    who, count = np.unique(subject[known], return_counts=True)
    return [values[known & (subject == one)] for one in who[count > 1]]
