"""Forecasts in the TADPOLE challenge's format, and their evaluation against its test set (D4).

A submission has a row for each subject and month, with relative probabilities of CN, MCI and AD, and ADAS13 and
Ventricles/ICV with 50 % intervals.

References
----------
Marinescu et al., arXiv 1805.03909 (the format, the matching of months, the measures).
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import date as calendar_date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuropyro import tadpole_metrics as measures
from neuropyro.data import Cohort, CohortError
from neuropyro.data.dates import DAYS_A_YEAR
from neuropyro.data.tadpole import DIAGNOSES
from neuropyro.data.text_table import TextTable, read_table, table_of

__all__ = ["Forecast", "ForecastMonths", "evaluate_forecast", "forecast_months", "read_submission"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
PROBABILITIES = tuple(f"{name} relative probability" for name in DIAGNOSES)
TARGETS = {"adas13": "ADAS13", "ventricles": "Ventricles_ICV"}
QUARTILES = (50, 25, 75)  # a best guess, and an interval of 50 %


@dataclass(frozen=True, eq=False)
class ForecastMonths:
    """The months to forecast, subject by subject.

    Parameters
    ----------
    rid, month, date
        ``(rows,)`` subjects, numbers 1, 2, ... within each, and names as ``"2018-01"``.
    time
        ``(rows,)`` ages in years, on the cohort's time axis, at the month's first day.

    Examples
    --------
    >>> visits = Cohort([[10.0], [9.0]], [70.0, 80.0], subject=[2, 3], covariates={"exam_date": np.full(2, 2017.0)})
    >>> plan: ForecastMonths = forecast_months(visits, months=2)
    >>> plan.rid.tolist(), plan.month.tolist(), plan.time.round().tolist()
    ([2, 2, 3, 3], [1, 2, 1, 2], [71.0, 71.0, 81.0, 81.0])
    """

    rid: Integers
    month: Integers
    date: NDArray[np.str_]
    time: Floats


def forecast_months(
    cohort: Cohort, rids: ArrayLike | None = None, start: str = "2018-01", months: int = 60
) -> ForecastMonths:
    """Return the challenge's months for some subjects of a cohort that `Cohort.from_tadpole` read.

    Parameters
    ----------
    rids
        Subjects; by default those of D2 where the table had that column, else all.
    start, months
        First month and their number; the challenge's are 60 from January 2018.

    Raises
    ------
    CohortError
        Where exam dates are missing, a subject is not in the cohort, or ``start`` is no month.

    Examples
    --------
    >>> visit = Cohort([[10.0]], time=[70.0], subject=[2], covariates={"exam_date": np.array([2016.0])})
    >>> months = forecast_months(visit, months=2)
    >>> months.date.tolist(), months.time.round(2).tolist()  # a month is a twelfth of a year
    (['2018-01', '2018-02'], [72.0, 72.08])
    """
    year, month = _month(start)
    exam = cohort.covariates.get("exam_date")
    if exam is None:
        raise CohortError("covariate exam_date: not in the cohort; read it by Cohort.from_tadpole, with EXAMDATE")
    wanted = _subjects(cohort, rids)
    birthdays = []
    for rid in wanted.tolist():
        own = (cohort.subject == rid) & np.isfinite(np.asarray(exam, np.float64))
        if not own.any():
            raise CohortError(f"subject {rid}: no visit with an exam date; forecasts need one to know ages by month")
        birthdays.append(float(np.mean(exam[own] - cohort.time[own])))
    numbers = range(12 * year + month - 1, 12 * year + month - 1 + months)
    dates = np.array([f"{n // 12:04d}-{n % 12 + 1:02d}" for n in numbers])
    time = np.tile([_start_of(d) for d in dates], len(wanted)) - np.repeat(birthdays, months)
    number = np.tile(np.arange(1, months + 1), len(wanted))
    return ForecastMonths(np.repeat(wanted, months), number, np.tile(dates, len(wanted)), time)


@dataclass(frozen=True, eq=False)
class Forecast:
    """What a submission says of each subject and month.

    Parameters
    ----------
    rid, month, date
        As in `ForecastMonths`.
    probabilities
        ``(rows, 3)`` relative probabilities of CN, MCI, AD.
    adas13, ventricles
        ``(rows, 3)``: best guess, lower and upper end of the 50 % interval; ventricles are over ICV.
    """

    rid: Integers
    month: Integers
    date: NDArray[np.str_]
    probabilities: Floats
    adas13: Floats
    ventricles: Floats

    @classmethod
    def from_draws(
        cls, months: ForecastMonths, adas13: ArrayLike, ventricles: ArrayLike, probabilities: ArrayLike
    ) -> Forecast:
        """Summarise predictive draws: medians and quartiles; none goes below 0, which neither target can.

        Parameters
        ----------
        adas13, ventricles
            ``(draws, rows)`` predictive draws (points; fraction of ICV); of another shape they raise a CohortError.
        probabilities
            ``(rows, 3)`` of CN, MCI, AD.

        Examples
        --------
        >>> plan = ForecastMonths(np.array([2]), np.array([1]), np.array(["2018-01"]), np.array([72.0]))
        >>> draws = np.arange(101.0)[:, None]
        >>> Forecast.from_draws(plan, draws, draws - 60, [[1, 0, 0]]).ventricles.tolist()
        [[0.0, 0.0, 15.0]]
        """
        made = {}
        for name, draws in (("adas13", adas13), ("ventricles", ventricles)):
            drawn = np.asarray(draws, np.float64)
            if drawn.ndim != 2 or drawn.shape[1] != len(months.rid):
                raise CohortError(f"{name}: draws of shape {drawn.shape} for {len(months.rid)} rows")
            made[name] = np.maximum(np.percentile(drawn, QUARTILES, axis=0).T, 0.0)
        return cls(months.rid, months.month, months.date, np.asarray(probabilities, np.float64), **made)

    def __post_init__(self) -> None:
        rows = len(self.rid)
        for name in ("probabilities", "adas13", "ventricles"):
            array = getattr(self, name)
            if array.shape != (rows, 3) or not np.isfinite(array).all():
                raise CohortError(f"{name}: must be {rows} x 3 finite numbers, one row a subject and month")
        for name in ("adas13", "ventricles"):
            best, low, high = getattr(self, name).T
            if (outside := np.flatnonzero(~((low <= best) & (best <= high)))).size:
                of = f"RID {self.rid[outside[0]]} in month {self.month[outside[0]]}"
                raise CohortError(f"{name}: the best guess of {of} is outside its interval; correct it")

    def write(self, path: str | Path) -> None:
        """Write the submission as CSV."""
        columns = {"RID": self.rid, "Forecast Month": self.month, "Forecast Date": self.date}
        columns |= dict(zip(PROBABILITIES, self.probabilities.T, strict=True))
        for name, title in TARGETS.items():
            columns |= dict(zip(_titles(title), getattr(self, name).T, strict=True))
        with Path(path).open("w", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows([columns, *zip(*map(_texts, columns.values()), strict=True)])


def read_submission(path: str | Path) -> Forecast:
    """Read a submission.

    Raises
    ------
    CohortError
        Naming the file and the column.

    Examples
    --------
    >>> import tempfile
    >>> path, points = Path(tempfile.mkdtemp()) / "submission.csv", np.array([[10.0, 9.0, 12.0]])
    >>> made = Forecast(np.array([2]), np.array([1]), np.array(["2018-01"]), np.ones((1, 3)), points, points / 500)
    >>> made.write(path)
    >>> read_submission(path).adas13.tolist()
    [[10.0, 9.0, 12.0]]
    """
    table = read_table(path)
    numbers = {name: np.stack([table.numbers(t) for t in _titles(title)], 1) for name, title in TARGETS.items()}
    try:
        rid, month, date = _whole(table, "RID"), _whole(table, "Forecast Month"), table.text("Forecast Date")
        return Forecast(rid, month, date, np.stack([table.numbers(name) for name in PROBABILITIES], 1), **numbers)
    except CohortError as error:
        raise CohortError(str(error) if str(path) in str(error) else f"{path}: {error}") from None


def evaluate_forecast(forecast: Forecast, truth: Any) -> dict[str, float]:
    """Return the challenge's measures: mAUC, BCA, and MAE, WES and CPA of ADAS13 and Ventricles/ICV.

    Each visit is compared with its subject's forecast of the nearest month: by the date of assessment for diagnosis and
    ADAS13, by that of the scan for the ventricles.  What is missing in the truth is left out; a measure of
    which nothing is left is not given.

    Parameters
    ----------
    truth
        D4: path or DataFrame with RID, CognitiveAssessmentDate, Diagnosis (CN, MCI, AD), ADAS13, ScanDate and
        Ventricles (over ICV).

    Raises
    ------
    CohortError
        Where a subject or date has no forecast, a column is missing, or a diagnosis is none of the three.

    Examples
    --------
    >>> import pandas
    >>> points, dates = np.array([[10.0, 9.0, 12.0]]), {"CognitiveAssessmentDate": ["2018-01-20"], "ScanDate": [""]}
    >>> made = Forecast(np.array([2]), np.array([1]), np.array(["2018-01"]), np.ones((1, 3)), points, points / 500)
    >>> seen = pandas.DataFrame({"RID": [2], "Diagnosis": ["CN"], "ADAS13": [11.0], "Ventricles": [np.nan]} | dates)
    >>> evaluate_forecast(made, seen)
    {'ADAS13 MAE': 1.0, 'ADAS13 WES': 1.0, 'ADAS13 CPA': 0.5}
    """
    table = read_table(truth) if isinstance(truth, str | Path) else table_of(truth)
    rid = _whole(table, "RID")
    state = table.text("Diagnosis")
    if (unknown := np.setdiff1d(state, ["", *DIAGNOSES])).size:
        raise CohortError(f"{table.source}: Diagnosis {str(unknown[0])!r} is not one of {', '.join(DIAGNOSES)}")
    known = np.flatnonzero(state != "")
    scores = {}
    if len(np.unique(state[known])) > 1:
        label = np.array([DIAGNOSES.index(name) for name in state[known]])
        given = forecast.probabilities[_nearest(forecast, rid, table, "CognitiveAssessmentDate", known)]
        scores = {"mAUC": measures.multiclass_auc(label, given), "BCA": measures.balanced_accuracy(label, given)}
    columns = {"adas13": ("ADAS13", "CognitiveAssessmentDate"), "ventricles": ("Ventricles", "ScanDate")}
    for name, (column, date) in columns.items():
        true = table.numbers(column)
        if not (seen := np.flatnonzero(~np.isnan(true))).size:
            continue
        best, low, high = getattr(forecast, name)[_nearest(forecast, rid, table, date, seen)].T
        scores[f"{TARGETS[name]} MAE"] = measures.mean_absolute_error(true[seen], best)
        scores[f"{TARGETS[name]} WES"] = measures.weighted_error_score(true[seen], best, low, high)
        scores[f"{TARGETS[name]} CPA"] = measures.coverage_accuracy(true[seen], low, high)
    return scores


def _nearest(forecast: Forecast, rid: Integers, table: TextTable, column: str, rows: Integers) -> list[int]:
    """Row of the forecast of the nearest month to each date of a column, in some of its rows."""
    when, found = 1970 + table.years(column), []
    months, which = np.unique(forecast.date, return_inverse=True)
    first = np.array([_start_of(month) for month in months])[which]
    for row in rows.tolist():
        own = np.flatnonzero(forecast.rid == rid[row])
        if not own.size or np.isnan(when[row]):
            what = f"no forecast of RID {rid[row]}" if not own.size else f"`{column}` is missing"
            raise CohortError(f"{table.place(row)}: {what}; forecast every subject of the test set")
        found.append(int(own[np.abs(first[own] - when[row]).argmin()]))
    return found


def _subjects(cohort: Cohort, rids: ArrayLike | None) -> Integers:
    in_d2 = cohort.covariates.get("D2")
    of_challenge = cohort.subject if in_d2 is None else cohort.subject[np.asarray(in_d2) == 1]
    wanted = np.unique(of_challenge if rids is None else np.asarray(rids))
    absent = np.setdiff1d(wanted, cohort.subjects)
    if absent.size or not wanted.size:
        raise CohortError(f"subject: {absent[0] if absent.size else 'none of D2'} is not in this cohort")
    if wanted.dtype.kind not in "iu":
        raise CohortError(f"subject: {wanted[0]!r} is no RID; the challenge's subjects are whole numbers")
    return wanted.astype(np.int64)


def _month(name: str) -> tuple[int, int]:
    """Return year and month of ``"2018-01"``."""
    if (match := re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", str(name))) is None:
        raise CohortError(f"month: {str(name)!r} is not like 2018-01")
    return int(match[1]), int(match[2])


def _start_of(month: str) -> float:
    """Return a month's first day as a year, as exam dates are."""
    return 1970 + (calendar_date(*_month(month), 1) - calendar_date(1970, 1, 1)).days / DAYS_A_YEAR


def _titles(target: str) -> tuple[str, str, str]:
    return target, f"{target} 50% CI lower", f"{target} 50% CI upper"


def _whole(table: TextTable, name: str) -> Integers:
    numbers = table.numbers(name)
    if (bad := np.flatnonzero(~np.isfinite(numbers) | (numbers != np.round(numbers)))).size:
        raise CohortError(f"{table.place(int(bad[0]))}: `{name}` must be a whole number")
    return numbers.astype(np.int64)


def _texts(column: NDArray[Any]) -> list[str]:
    return [f"{cell:.9g}" if column.dtype.kind == "f" else str(cell) for cell in column.tolist()]
