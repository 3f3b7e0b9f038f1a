"""What the columns of a DIVE fit's tables are, and their units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from neuropyro.data import Cohort

__all__ = ["described_tables"]

Columns = dict[str, dict[str, str]]


def described_tables(cohort: Cohort, unit: str, written: Mapping[str, Iterable[str]]) -> dict[str, Columns]:
    """Return, by table, what its columns are, those of interval ends too, and their units.

    Parameters
    ----------
    unit
        Of the clusters' trajectories, in words.
    written
        Names of the columns that each table has: by the model and the data, not all have all.

    Raises
    ------
    KeyError
        Where it is not known what a column is.

    Examples
    --------
    >>> import numpy as np
    >>> cohort = Cohort(np.ones((2, 3)), time=[70, 71], subject=["a", "a"])
    >>> described_tables(cohort, "mm", {"trajectories.csv": ["a"]})
    {'trajectories.csv': {'a': {'Description': 'whole change of the cluster: median', 'Units': 'mm'}}}
    """
    known = _described(cohort, unit, f"sds of {cohort.reference_in_words}")
    return {table: {name: known[table][name] for name in columns} for table, columns in written.items()}


def _described(cohort: Cohort, unit: str, score: str) -> dict[str, Columns]:
    whose = {"subject": _column("subject"), "diagnosis": _column("in the study's own words")}
    return {
        "subjects.csv": whose
        | _with_intervals(
            alpha=_column("speed of the subject", f"{score} a year"),
            beta=_column(f"its score at {cohort.time.mean():.5g}, the mean time of all visits", score),
        ),
        "stages.csv": whose
        | {"time": _column("time of the visit", "years")}
        | _with_intervals(dps=_column("progression score at the visit", score)),
        "trajectories.csv": {
            "cluster": _column("number of the cluster, by onset; or the biomarker that is alone in it"),
            "vertices": _column("number of those that vary, of which this is the likeliest cluster"),
            "biomarkers": _column("number of those that vary, of which this is the likeliest cluster"),
            "unit_of_a_d_sigma": _column("unit of the columns a, d, sigma and their intervals, in words"),
            "share": _column("share of the columns that vary, of which this is the likeliest cluster"),
        }
        | _with_intervals(
            pi=_column("share of the columns, by the model"),
            a=_column("whole change of the cluster", unit),
            b=_column("steepness at the onset", f"1 / {score}"),
            c=_column("onset: the score at the middle of the change", score),
            d=_column("value long before the onset", unit),
            sigma=_column("sd of the residuals", unit),
            ageing=_column("change by time alone, beside the progression", f"{unit} a year"),
        ),
        "covariates.csv": {
            "term": _column("covariate, or a level of it"),
            "mean": _column("its mean over the subjects", "the covariate's"),
        }
        | _with_intervals(
            log_alpha=_column("change of the log speed per unit of the covariate"),
            speed_ratio=_column("factor on the speed per unit of the covariate"),
            beta=_column("change of the score at like times per unit of the covariate", score),
        ),
    }


def _with_intervals(**columns: dict[str, str]) -> Columns:
    """Return columns of medians, each followed by those of the ends of its 90 % interval."""
    found = {}
    for name, column in columns.items():
        what = column["Description"]
        found[name] = column | {"Description": f"{what}: median"}
        for end, words in (("5", "lower"), ("95", "upper")):
            found[f"{name}_{end}"] = column | {"Description": f"{what}: {words} end of the 90 % interval"}
    return found


def _column(what: str, unit: str = "") -> dict[str, str]:
    return {"Description": what} | ({"Units": unit} if unit else {})
