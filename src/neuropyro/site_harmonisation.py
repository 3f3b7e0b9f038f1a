"""Harmonisation over sites by ComBat, of the kept library combatlearn, before a model is fitted.

Where subjects have several visits it is the longitudinal ComBat of Beer et al., which has a random intercept for each
subject; else that of Fortin et al.  Covariates that are named are protected: their effects stay in the values.
combatlearn is imported here alone; it comes with ``pip install neuropyro[combat]``.

References
----------
Johnson et al., Biostatistics 2007; Fortin et al., NeuroImage 2018; Beer et al., "Longitudinal ComBat", NeuroImage 2020.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data import Cohort, CohortError
from neuropyro.data.cohort_checks import visit_in_words
from neuropyro.data.unknown_names import unknown_covariate

__all__ = ["Harmonisation", "harmonise_sites"]

FEWEST = 2  # visits of a site, for a variance of its own


@dataclass(frozen=True)
class Harmonisation:
    """What was done.

    Parameters
    ----------
    method
        ``"longitudinal"`` or ``"fortin"``.
    sites
        Visits of each site.
    protected
        Covariates whose effects were kept.
    site_sd_before, site_sd_after
        Sd over sites of a vertex's site mean, averaged over vertices, in the values' unit.

    Examples
    --------
    >>> done = Harmonisation("fortin", {"A": 20, "B": 18}, ("age",), site_sd_before=0.2, site_sd_after=0.01)
    >>> done.lines()[1]
    'Sd of site means, average over vertices: 0.2 before, 0.01 after.'
    """

    method: str
    sites: dict[str, int]
    protected: tuple[str, ...]
    site_sd_before: float
    site_sd_after: float

    def lines(self) -> list[str]:
        """Return what was done, in sentences, for a report."""
        kind = "longitudinal ComBat" if self.method == "longitudinal" else "ComBat"
        counts = ", ".join(f"{site} ({n})" for site, n in self.sites.items())
        kept = f", keeping the effects of {', '.join(self.protected)}" if self.protected else ""
        before, after = self.site_sd_before, self.site_sd_after
        return [
            f"Sites harmonised by {kind}{kept}. Visits of each site: {counts}.",
            f"Sd of site means, average over vertices: {before:.4g} before, {after:.4g} after.",
        ]


def harmonise_sites(
    cohort: Cohort, site: str = "site", protect: Sequence[str] = ("age", "diagnosis")
) -> tuple[Cohort, Harmonisation]:
    """Remove sites' shifts and scales from a cohort's values.

    Parameters
    ----------
    site
        The covariate that names a visit's site or scanner.
    protect
        Covariates whose effects stay; ``"age"`` is the visits' time where there is no covariate of that name,
        ``"diagnosis"`` the diagnosis.  Those that differ between sites must be among them, or their effects go with the
        sites'.

    Returns
    -------
    Cohort
        The harmonised cohort; a column that is missing at some visits cannot be harmonised, a visit without any value
        stays without.
    Harmonisation
        What was done.

    Raises
    ------
    CohortError
        Where the library is not installed, a covariate is missing, a site has fewer than two visits, or a value is
        missing.

    Examples
    --------
    >>> one_site = {"site": np.array(["A", "A"])}
    >>> harmonise_sites(Cohort([[2.5], [2.4]], time=[70, 71], subject=["a", "b"], covariates=one_site))
    Traceback (most recent call last):
    neuropyro.data.errors.CohortError: covariate site: all visits are of one site; there is nothing to harmonise
    """
    sites = _column(cohort, site, "--site").astype(np.str_)
    rows = np.flatnonzero(cohort.observed_rows)
    values = np.asarray(cohort.values[rows], np.float64)
    _check_sites(sites[rows], site)
    _check_whole(values, cohort, rows)
    wanted = [name for name in protect if name != "diagnosis" or cohort.diagnosis is not None]
    columns = {name: _column(cohort, name)[rows] for name in wanted}
    varying = {name: cells for name, cells in columns.items() if len(np.unique(cells)) > 1}
    moving = values.std(0) > 0  # the library divides by each column's sd
    method = "longitudinal" if len(np.unique(cohort.subject[rows])) < len(rows) else "fortin"
    adjusted = values.copy()
    adjusted[:, moving] = _combat(method, values[:, moving], sites[rows], cohort.subject[rows], varying)
    whole = np.array(cohort.values)
    whole[rows] = adjusted
    counts = {str(name): int(n) for name, n in zip(*np.unique(sites[rows], return_counts=True), strict=True)}
    done = Harmonisation(method, counts, tuple(varying), _site_sd(values, sites[rows]), _site_sd(adjusted, sites[rows]))
    return replace(cohort, values=whole), done


def _combat(
    method: str,
    values: NDArray[np.float64],
    sites: NDArray[np.str_],
    subjects: NDArray[Any],
    protected: dict[str, NDArray[Any]],
) -> NDArray[np.float64]:
    try:
        import pandas as pd
        from combatlearn import ComBat
        from combatlearn.transductive import TransductiveComBat
    except ImportError as error:
        raise CohortError(f"sites: ComBat needs combatlearn ({error}); pip install 'neuropyro[combat]'") from None
    text = {name: cells for name, cells in protected.items() if cells.dtype.kind == "U"}
    number = {name: cells.astype(np.float64) for name, cells in protected.items() if cells.dtype.kind != "U"}
    options = {
        "discrete_covariates": pd.DataFrame(text) if text else None,
        "continuous_covariates": pd.DataFrame(number) if number else None,
    }
    batch = pd.Series(sites)
    if method == "longitudinal":
        model = TransductiveComBat(batch, subject_id=pd.Series(subjects.astype(np.str_)), **options)
    else:
        model = ComBat(batch, method="fortin", **options)
    try:
        return np.asarray(model.fit_transform(values), np.float64)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise CohortError(f"sites: ComBat cannot tell sites and covariates apart ({error}); protect fewer") from error


def _column(cohort: Cohort, name: str, option: str = "") -> NDArray[Any]:
    own = {"diagnosis": cohort.diagnosis, "age": cohort.time} | dict(cohort.covariates)
    cells = own.get(name)
    if cells is None:
        raise unknown_covariate(cohort, name, option, ["age"] if cohort.diagnosis is None else ["diagnosis", "age"])
    if name == "diagnosis":  # what is not known is a level of its own
        cells = np.where(cells.astype(np.str_) == "", "unknown", cells.astype(np.str_))
    cells = np.asarray(cells)
    lost = np.flatnonzero(cells == "") if cells.dtype.kind == "U" else np.flatnonzero(~np.isfinite(cells.astype(float)))
    if lost.size:
        visit = visit_in_words(cohort.subject, cohort.time, int(lost[0]))
        raise CohortError(f"covariate {name}: missing for {visit}; give it, or drop the visit (Cohort.subset)")
    return cells


def _check_sites(sites: NDArray[np.str_], name: str) -> None:
    found, counts = np.unique(sites, return_counts=True)
    if len(found) < 2:
        raise CohortError(f"covariate {name}: all visits are of one site; there is nothing to harmonise")
    few = np.flatnonzero(counts < FEWEST)
    if few.size:
        raise CohortError(f"covariate {name}: site {found[few[0]]} has one visit; join it to another or leave it out")


def _check_whole(values: NDArray[np.float64], cohort: Cohort, rows: NDArray[np.int64]) -> None:
    lost = np.argwhere(np.isnan(values))
    if len(lost):
        row, column = lost[0].tolist()
        visit = visit_in_words(cohort.subject, cohort.time, int(rows[row]))
        what = f"column {column}" if cohort.feature_names is None else str(cohort.feature_names[column])
        raise CohortError(
            f"values: {what} is missing for {visit}; ComBat needs complete maps: leave that column out (Cohort.subset)"
        )


def _site_sd(values: NDArray[np.float64], sites: NDArray[np.str_]) -> float:
    means = [values[sites == site].mean(0) for site in np.unique(sites)]
    return float(np.std(means, axis=0).mean())
