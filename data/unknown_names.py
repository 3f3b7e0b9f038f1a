"""A name that is not among those known: what there are, and which of them was probably meant."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from neuropyro.data.errors import CohortError

if TYPE_CHECKING:  # cohorts are read from tables, whose errors say this
    from neuropyro.data.cohort import Cohort

__all__ = ["few", "nearest", "there_are", "unknown_covariate"]

MOST = 12  # names that an error lists
ALIKE = 0.75  # of two names' letters: a slip in four; "site" and "visit" share fewer


def few(names: Iterable[str], most: int = MOST) -> list[str]:
    """Return names, with dots for those beyond the first ``most``.

    Examples
    --------
    >>> few(["sex", "site", "apoe4"], most=2)
    ['sex', 'site', '...']
    """
    shown = list(names)
    return [*shown[:most], "..."] if len(shown) > most else shown


def nearest(asked: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most like the one asked for, in any case; None where none is like it.

    Examples
    --------
    >>> nearest("APOE", ["sex", "apoe4"]), nearest("hippo", ["sex", "hippocampus_mm3"])
    ('apoe4', 'hippocampus_mm3')
    """
    own = {name.lower(): name for name in known}
    begun = [name for name in own if asked and name.startswith(asked.lower())]
    alike = begun if len(begun) == 1 else get_close_matches(asked.lower(), own, n=1, cutoff=ALIKE)
    return own[alike[0]] if alike else None


def there_are(asked: str, known: Sequence[str], option: str = "") -> str:
    """Say which names there are, and the nearest with the option that takes it.

    Parameters
    ----------
    asked
        The name that is not among them.
    option
        Of the command line, as ``--covariates``; empty where the name came from elsewhere.

    Examples
    --------
    >>> there_are("apoe", ["sex", "apoe4"], "--covariates")
    'there are sex, apoe4; did you mean --covariates apoe4?'
    >>> there_are("visit_date", ["Visit date"], "--time")
    "there are Visit date; did you mean --time 'Visit date'?"
    >>> there_are("weight", ["sex"])
    'there are sex'
    """
    alike = nearest(asked, known)
    meant = "" if alike is None else f"; did you mean {_typed(option, alike)}?"
    return f"there are {', '.join(few(known)) or 'none'}{meant}"


def unknown_covariate(cohort: Cohort, name: str, option: str = "", others: Sequence[str] = ()) -> CohortError:
    """Return the error of a covariate that a cohort lacks, which may be there as a biomarker.

    Parameters
    ----------
    option
        Of the command line, that takes it.
    others
        What may be named beside the cohort's covariates.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> cohort = Cohort([[2.5]], time=[70], subject=["anna"], covariates={"apoe4": [1]})
    >>> unknown_covariate(cohort, "apoe", "--covariates")
    CohortError('covariate apoe: not in the cohort; there are apoe4; did you mean --covariates apoe4?')
    """
    known = [*others, *(c for c in cohort.covariates if c not in others)]
    said = f"covariate {name}: not in the cohort; {there_are(name, known, option)}"
    columns = [] if cohort.feature_names is None else [str(column) for column in cohort.feature_names]
    alike = nearest(name, columns)
    if alike is not None and nearest(name, known) is None:
        rest = ",".join(few(column for column in columns if column != alike))
        said += f"; {alike} is a biomarker in it: give {_typed(option, alike)} and --biomarkers {shlex.quote(rest)}"
    return CohortError(said)


def _typed(option: str, name: str) -> str:
    """Return an option with a name as a shell takes it, or the name alone."""
    return f"{option} {shlex.quote(name)}" if option else name
