"""The command that places new subjects on the course of a fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from neuropyro.console import say
from neuropyro.data.cohort_in_words import counted
from neuropyro.data.open_study import NO_OPTIONS, StudyOptions, check_path
from neuropyro.result_file import check_file, tell_replaced
from neuropyro.tables import write_csv
from neuropyro.verdict_cli import check_fit, load_with_cohort

if TYPE_CHECKING:
    import numpy as np

    from neuropyro.data import Cohort
    from neuropyro.models import Personalized

__all__ = ["register"]


def register(app: App) -> None:
    """Add the command to an app.

    Examples
    --------
    >>> app = App()
    >>> register(app)
    >>> app("personalize fit new.csv --data cohort.npz --out placed.csv", result_action="return_value")
    Traceback (most recent call last):
    FileNotFoundError: fit: no such folder; a fit is the folder that `neuropyro dive fit COHORT --out fit` writes
    """
    app.command(_personalize)


def _personalize(
    fit: Path,
    cohort: Path,
    *,
    out: Path,
    data: Path | None = None,
    draws: int = 200,
    study: Annotated[StudyOptions, Parameter(name="*")] = NO_OPTIONS,
) -> None:
    """Place new subjects on the course that was fitted to others: a row a visit, with 90 % intervals.

    Parameters
    ----------
    fit
        The folder that ``dive fit`` wrote.
    cohort
        Maps of the new subjects, of the same vertices in the same unit, in any form that ``dive fit`` takes; biomarkers
        are matched by name, whatever their order.
    out
        The .csv file to write; an earlier one is replaced. It has subject, time, dps, and the subject's alpha (scores a
        year) and beta (score at the mean time of the cohort that was fitted), of each the median and the 5th and 95th
        percentile.
    data
        The cohort (.npz) that was fitted; by default that in the fit's folder.
    draws
        Posterior draws.
    study
        How to read maps.
    """
    check_file(out, (cohort, *study.files(), check_fit(fit, data)))
    check_path(cohort, study)
    from neuropyro.models import VertexClusterMixture
    from neuropyro.new_cohort import naming, open_like

    result = load_with_cohort(fit, data)
    if not isinstance(result.model, VertexClusterMixture):
        raise ValueError(f"{fit}: a fit of {type(result.model).__name__}; give the folder of a `dive fit`")
    new = open_like(cohort, study, fit, result)
    with naming(cohort):
        placed = result.model.personalize(result, new, draws)
    out.parent.mkdir(parents=True, exist_ok=True)
    tell_replaced(out)
    write_csv(out, {"subject": new.subject, "time": new.time} | _columns(placed, new))
    facts = {"visits": new.n_visits, "subjects": new.n_subjects, "table": out.resolve()}
    say(f"{counted(new.n_visits, 'visit')} of {counted(new.n_subjects, 'subject')}: {out}", **facts)


def _columns(placed: Personalized, cohort: Cohort) -> dict[str, np.ndarray[Any, Any]]:
    import numpy as np

    columns = {}
    for name in ("dps", "alpha", "beta"):
        of_visit = slice(None) if name == "dps" else cohort.subject_index
        low, high = placed.interval(name)
        columns[name] = np.median(getattr(placed, name), 0)[of_visit]
        columns[f"{name}_5"], columns[f"{name}_95"] = low[of_visit], high[of_visit]
    return columns
