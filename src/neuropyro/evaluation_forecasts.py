"""How well later visits are predicted from the first ones, by the model and by what it has to beat.

All subjects' first visits are fitted; their later ones are held back, forecast, and compared.  Beside the model stand
the same model with regions fixed in advance, without staging, a linear mixed model at each vertex, and the last value.

Named biomarkers have units of their own, of which no mean makes sense: it would be that of the largest numbers.  Each
has its own errors then, and those of all are in sds of each, by which it is standardised (controls' visits about
people's own lines, where there are controls).

References
----------
Marinescu et al., NeuroImage 2019 (DIVE), section on the prediction of later scans; Marinescu et al., "TADPOLE
challenge", 2018 (mean absolute error and coverage).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from neuropyro.data import Cohort, CohortError
from neuropyro.fixed_regions import with_regions
from neuropyro.inference import fit
from neuropyro.map_baselines import Baseline, last_value, linear_mixed
from neuropyro.models import VertexClusterMixture
from neuropyro.models.forecasting import requested
from neuropyro.models.standardise import location_and_scale
from neuropyro.unstaged import unstaged

__all__ = ["Errors", "evaluate_forecasts", "hold_back"]

Floats = NDArray[np.float64]
LEVEL = 0.9
TOGETHER = "all"  # biomarkers, in their sds


@dataclass(frozen=True, eq=False)
class Errors:
    """Of one method's forecasts, at each visit held back, averaged over the values seen there.

    Parameters
    ----------
    method
        Its name.
    subject
        ``(rows,)`` whose visit.
    years
        ``(rows,)`` since the last visit that was known, in whole years.
    absolute, squared
        ``(rows,)`` mean errors, in the cohort's unit, or of named biomarkers in sds of each.
    inside
        ``(rows,)`` share of values in the 90 % intervals; NaN of a method without.
    biomarkers
        By name, the errors of each biomarker alone, in its own unit; empty where columns have no names.
    sd
        Of one biomarker, in its unit, by which it is standardised; 0 of one that does not vary.

    Examples
    --------
    >>> subject, years = np.array(["a", "a", "b"]), np.array([1, 2, 1])
    >>> absolute, inside = np.array([1.0, 3.0, 5.0]), np.array([1.0, 0.5, 0.0])
    >>> row = Errors("last value", subject, years, absolute, absolute**2, inside).row(years=1)
    >>> row["visits"], row["mae"], row["coverage90"]
    (2, 3.0, 0.5)
    """

    method: str
    subject: NDArray[Any]
    years: NDArray[np.int64]
    absolute: Floats
    squared: Floats
    inside: Floats
    biomarkers: Mapping[str, Errors] = field(default_factory=dict)
    sd: float = 1.0

    def rows(self, years: int | None = None) -> list[dict[str, Any]]:
        """Return `row`; of named biomarkers one of all in sds, and one of each in its own unit and in sds."""
        if not self.biomarkers:
            return [self.row(years)]
        own = {name: errors for name, errors in self.biomarkers.items() if errors._chosen(years).any()}
        each = [_of_biomarker(name, errors.row(years), errors.sd) for name, errors in own.items()]
        return [_of_biomarker(TOGETHER, self.row(years)), *each]

    def _chosen(self, years: int | None) -> NDArray[np.bool_]:
        return np.ones(len(self.years), np.bool_) if years is None else self.years == years

    def row(self, years: int | None = None) -> dict[str, Any]:
        """Return what the visits of one distance, or all, have in common; the error's standard error over subjects."""
        some = self._chosen(years)
        who, index = np.unique(self.subject[some], return_inverse=True)
        each = np.bincount(index, self.absolute[some]) / np.bincount(index)
        error = each.std(ddof=1) / np.sqrt(len(who)) if len(who) > 1 else np.nan
        return {
            "method": self.method,
            "years": "all" if years is None else str(years),
            "visits": int(some.sum()),
            "mae": float(self.absolute[some].mean()),
            "mae_error": float(error),
            "rmse": float(np.sqrt(self.squared[some].mean())),
            "coverage90": float(self.inside[some].mean()),
        }


def _of_biomarker(name: str, row: dict[str, Any], sd: float | None = None) -> dict[str, Any]:
    """Return a row whose columns say the unit; without an sd it is in sds already."""
    columns: dict[str, Any] = {"method": row["method"], "biomarker": name, "years": row["years"]}
    columns["visits"] = row["visits"]
    for error in ("mae", "mae_error", "rmse"):
        columns[f"{error}_own_unit"] = np.nan if sd is None else row[error]
        columns[f"{error}_sds"] = row[error] if sd is None else row[error] / sd if sd else np.nan
    return columns | {"coverage90": row["coverage90"]}


def hold_back(cohort: Cohort, first: int) -> tuple[Cohort, Cohort]:
    """Return each subject's first visits with a value, and the later ones of the subjects that have more.

    Raises
    ------
    CohortError
        Where ``first`` is below 1, or no subject has more visits.

    Examples
    --------
    >>> cohort = Cohort(np.ones((4, 2)), time=[70, 72, 71, 66], subject=["a", "a", "a", "b"])
    >>> known, later = hold_back(cohort, 2)
    >>> known.time.tolist(), later.time.tolist()
    ([70.0, 71.0, 66.0], [72.0])
    """
    if first < 1:
        raise CohortError(f"evaluate: {first} first visits; give 1 or more")
    seen = cohort.observed_rows
    order = np.lexsort((cohort.time, cohort.subject_index, ~seen))
    order = order[: seen.sum()]
    of_subject = cohort.subject_index[order]
    begin = np.searchsorted(of_subject, of_subject)
    rank = np.full(cohort.n_visits, -1)
    rank[order] = np.arange(len(order)) - begin
    if not (rank >= first).any():
        raise CohortError(f"evaluate: no subject has more than {first} visits; none is left to predict")
    return cohort.subset(visits=(rank >= 0) & (rank < first)), cohort.subset(visits=rank >= first)


def evaluate_forecasts(
    cohort: Cohort,
    model: VertexClusterMixture,
    first: int = 2,
    *,
    regions: NDArray[np.int64] | None = None,
    draws: int = 200,
    progress: bool = True,
    **options: Any,
) -> list[Errors]:
    """Forecast the visits after each subject's first ones, by several methods.

    Parameters
    ----------
    cohort
        All visits.
    model
        With its number of clusters and switches.
    first
        Visits of each subject that are known.
    regions
        ``(vertices,)`` fixed in advance; None leaves that method out.
    draws
        Predictive draws.
    progress
        Whether to show a bar on standard error.
    options
        Passed to ``fit``: guide, seed, schedule, device.

    Raises
    ------
    CohortError
        As `hold_back`.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule
    >>> cohort, short = simulate_reference(6, 12, 1, seed=0), Schedule(max_steps=2, warm_up=0, window=2)
    >>> options = {"draws": 4, "guide": "map", "schedule": short, "progress": False}
    >>> [errors.method for errors in evaluate_forecasts(cohort, VertexClusterMixture(1), 3, **options)]
    ['clusters', 'no staging', 'linear mixed model', 'last value']
    """
    known, later = hold_back(cohort, first)
    request = requested(known, later.time, later.subject)
    sd = _sds(known, model)
    found = []
    with tqdm(total=4 if regions is None else 5, desc="evaluate", disable=not progress) as bar:
        for name, forecast in _models(known, later, model, regions, draws, options):
            found.append(_errors(name, forecast, known, later, sd))
            bar.update()
        for name, forecast in (
            ("linear mixed model", linear_mixed(known, request)),
            ("last value", last_value(known, request)),
        ):
            found.append(_errors(name, forecast, known, later, sd))
            bar.update()
    return found


def _models(
    known: Cohort,
    later: Cohort,
    model: VertexClusterMixture,
    regions: NDArray[np.int64] | None,
    draws: int,
    options: dict[str, Any],
) -> Iterator[tuple[str, Baseline]]:
    methods: dict[str, Any] = {"clusters": model}
    if regions is not None:
        methods["fixed regions"] = with_regions(model, regions)
    methods["no staging"] = unstaged(model, known)
    for name, method in methods.items():
        result = fit(method, known, progress=False, **options)
        drawn = method.forecast(result, known, later.time, later.subject, draws=draws, level=LEVEL)
        yield name, Baseline(drawn.mean, drawn.lower, drawn.upper)


def _sds(known: Cohort, model: VertexClusterMixture) -> Floats | None:
    """Return the sds ``(biomarkers,)`` that named biomarkers are standardised by; None of one unit."""
    if known.feature_names is None:
        return None
    return location_and_scale(known, model.standardise or "all", alike=False)[1]


def _errors(method: str, forecast: Baseline, known: Cohort, later: Cohort, sd: Floats | None) -> Errors:
    last = np.full(known.n_subjects, -np.inf)
    np.maximum.at(last, known.subject_index, known.time)
    years = np.rint(later.time - last[np.searchsorted(known.subjects, later.subject)]).astype(np.int64)
    with np.errstate(invalid="ignore"):
        error = forecast.mean - later.values
        inside = np.where((forecast.lower <= later.values) & (later.values <= forecast.upper), 1.0, 0.0)
    inside[np.isnan(forecast.lower)] = np.nan
    whose = method, later.subject, years
    if sd is None or later.feature_names is None:
        return _averaged(*whose, error, inside)
    columns = (slice(j, j + 1) for j in range(len(sd)))
    own = {
        str(name): replace(_averaged(*whose, error[:, column], inside[:, column]), sd=float(sd[column][0]))
        for name, column in zip(later.feature_names, columns, strict=True)
    }
    in_sds = error / np.where(sd > 0, sd, np.nan)
    return replace(_averaged(*whose, in_sds, inside), biomarkers=own)


def _averaged(method: str, subject: NDArray[Any], years: NDArray[np.int64], error: Floats, inside: Floats) -> Errors:
    """Average errors ``(rows, vertices)`` over what was seen of each visit; visits of which nothing was go."""
    usable = ~np.isnan(error)
    count = usable.sum(1)
    absolute, squared, held = (
        np.where(usable, x, 0).sum(1) / np.maximum(count, 1) for x in (np.abs(error), error**2, inside)
    )
    some = count > 0
    return Errors(method, subject[some], years[some], absolute[some], squared[some], held[some])
