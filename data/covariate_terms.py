"""Covariates as numbers: text becomes an indicator of each level but its first, numbers stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.errors import CohortError

__all__ = ["check_terms", "is_missing", "levels_of", "terms_of"]

Cells = Mapping[str, NDArray[np.generic]]
ENOUGH = 1e-8  # smallest over largest singular value of a design that tells its terms apart


def levels_of(cells: Cells) -> tuple[str, ...]:
    """Return ``name=level`` of each level of text in ``(rows,)`` columns, in alphabetical order; numbers have none.

    Examples
    --------
    >>> levels_of({"sex": np.array(["M", "F", "M"]), "age": np.array([70.0, 65.0, 80.0])})
    ('sex=F', 'sex=M')
    """
    text = {name: np.unique(column) for name, column in cells.items() if column.dtype.kind == "U"}
    return tuple(f"{name}={level}" for name, levels in text.items() for level in levels)


def terms_of(cells: Cells, levels: Sequence[str], among: str) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return ``(rows, terms)`` numbers, and the names of the terms.

    Parameters
    ----------
    cells
        ``(rows,)`` columns by the covariate's name, nothing missing.
    levels
        ``name=level`` of the levels that text may have, the first of each covariate being left out.
    among
        Who had those levels, for the error.

    Raises
    ------
    CohortError
        Where a row has another level.

    Examples
    --------
    >>> cells = {"sex": np.array(["M", "F"]), "age": np.array([70.0, 65.0])}
    >>> numbers, names = terms_of(cells, levels_of(cells), among="the fit's subjects")
    >>> numbers.tolist(), names
    ([[1.0, 70.0], [0.0, 65.0]], ('sex=M', 'age'))
    """
    columns: list[NDArray[np.float64]] = []
    terms: list[str] = []
    for name, column in cells.items():
        own = [level.removeprefix(f"{name}=") for level in levels if level.startswith(f"{name}=")]
        if column.dtype.kind != "U" and own:
            said = f"covariate {name}: {column[0]} is a number, but {among} had {', '.join(own)}"
            raise CohortError(f"{said}; write it as there")
        if column.dtype.kind != "U":
            columns.append(column.astype(np.float64))
            terms.append(name)
            continue
        unknown = np.setdiff1d(column, own)
        if unknown.size:
            raise CohortError(f"covariate {name}: {str(unknown[0])!r} was not among {among} ({', '.join(own)})")
        columns += [(column == level).astype(np.float64) for level in own[1:]]
        terms += [f"{name}={level}" for level in own[1:]]
    rows = len(next(iter(cells.values())))
    return np.stack(columns, 1) if columns else np.empty((rows, 0)), tuple(terms)


def is_missing(column: NDArray[np.generic]) -> NDArray[np.bool_]:
    """``(rows,)``: whether a covariate's cell says nothing: empty text, or no finite number.

    Examples
    --------
    >>> is_missing(np.array(["F", ""])).tolist(), is_missing(np.array([70.0, np.nan])).tolist()
    ([False, True], [False, True])
    """
    if column.dtype.kind == "U":
        return np.asarray(column == "")
    return np.asarray(~np.isfinite(column.astype(np.float64)))


def check_terms(
    design: NDArray[np.float64], terms: Sequence[str], what: str, who: str, unit: str = "", spare: int = 0
) -> None:
    """Refuse terms that do not vary, or that cannot be told apart.

    Parameters
    ----------
    design
        ``(rows, terms)``, centred.
    what, who, unit
        Who asks, whose rows these are, and what a row is (``"visits of "``), for the error.
    spare
        How many more rows than terms there must be.

    Raises
    ------
    CohortError
        Where a term is the same in all rows, or some cannot be told apart.

    Examples
    --------
    >>> check_terms(np.array([[-2.5, 0.0], [2.5, 0.0]]), ("age", "sex=M"), "covariates", "subjects")
    Traceback (most recent call last):
        ...
    neuropyro.data.errors.CohortError: covariates: sex=M is the same in all subjects; leave it out
    """
    size = np.sqrt((design**2).mean(0))
    constant = np.flatnonzero(size <= ENOUGH * np.maximum(1, np.abs(design).max(initial=0)))
    if constant.size:
        raise CohortError(f"{what}: {terms[constant[0]]} is the same in all {who}; leave it out")
    values = np.linalg.svd(design / size, compute_uv=False)
    if len(design) < len(terms) + spare or values[-1] < ENOUGH * values[0]:
        names = ", ".join(terms)
        raise CohortError(f"{what}: {names} cannot be told apart in {len(design)} {unit}{who}; leave one out")
