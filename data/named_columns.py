"""A cohort's named columns (biomarkers), put into the order of another's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.cohort import Cohort
from neuropyro.data.errors import CohortError
from neuropyro.data.unknown_names import few

__all__ = ["columns_like", "other_columns"]


def columns_like(names: NDArray[Any] | None, cohort: Cohort) -> Cohort:
    """Return a cohort with the columns of those names, in their order; others are left out.

    Parameters
    ----------
    names
        ``(vertices,)`` text; None keeps the cohort as it is, as does a cohort whose columns have no names.

    Raises
    ------
    CohortError
        Where names are missing, or two columns have one name.

    Examples
    --------
    >>> given = Cohort(np.array([[26.0, 3.1]]), [70], ["a"], feature_names=np.array(["MMSE", "volume"]))
    >>> columns_like(np.array(["volume", "MMSE"]), given).values.tolist()
    [[3.1, 26.0]]
    """
    given = cohort.feature_names
    if names is None or given is None or np.array_equal(names, given):
        return cohort
    place = {str(name): column for column, name in enumerate(given)}
    missing = [str(name) for name in names if name not in place]
    if missing:
        raise CohortError(_absent(missing, list(place)))
    if len(place) < len(given) or len(set(names)) < len(names):
        raise CohortError("two columns have one name; give each its own, or the order of the fit")
    return cohort.subset(vertices=np.array([place[str(name)] for name in names]))


def other_columns(names: NDArray[Any] | None, count: int, cohort: Cohort) -> CohortError:
    """Return the error of a cohort that has another number of columns than a fit.

    Parameters
    ----------
    names, count
        Of the fit's columns; names are None where it is of maps.

    Examples
    --------
    >>> given = Cohort(np.array([[26.0, 3.1]]), [70], ["a"], feature_names=np.array(["MMSE", "volume"]))
    >>> print(other_columns(None, 20484, given))
    values: biomarkers (MMSE, volume), where the fit is of maps of 20484 vertices; give such maps or another fit
    """
    if names is None and cohort.feature_names is not None:
        given = ", ".join(few(str(name) for name in cohort.feature_names))
        return CohortError(
            f"values: biomarkers ({given}), where the fit is of maps of {count} vertices; give such maps or another fit"
        )
    if names is not None:
        fitted = ", ".join(few(str(name) for name in names))
        return CohortError(
            f"values: maps of {cohort.n_vertices} vertices, where the fit is of biomarkers ({fitted}); give a table "
            "with these columns or another fit"
        )
    return CohortError(f"values: {cohort.n_vertices} vertices, where the fit is of {count}; give maps on the same mesh")


def _absent(missing: Sequence[str], there: Sequence[str]) -> str:
    """Say which columns are missing, and that empty ones do: what was never measured need not be."""
    several = len(missing) > 1
    named = ", ".join(repr(name) for name in few(missing))
    remedy = "rename columns, or add empty ones of these names" if several else "rename the column, or add it, empty"
    return (
        f"no biomarker{'s' * several} {named}, which the fit has; there are {', '.join(few(there))}: {remedy} where "
        "nothing was measured"
    )
