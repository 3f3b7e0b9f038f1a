"""The command that forecasts subjects' maps at later times."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from neuropyro.console import say, warn
from neuropyro.data.cohort_in_words import counted
from neuropyro.data.open_study import NO_OPTIONS, StudyOptions, check_path
from neuropyro.one_subject import one_subject
from neuropyro.result_folder import refuse_file
from neuropyro.tables import write_csv
from neuropyro.verdict_cli import check_fit, load_with_cohort

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from neuropyro.data import Cohort
    from neuropyro.inference import Fit
    from neuropyro.models.forecasting import Forecasted

__all__ = ["register"]

FAR_AHEAD = 3  # times the years for which anybody was followed


def register(app: App) -> None:
    """Add the command to an app.

    Examples
    --------
    >>> app = App()
    >>> register(app)
    >>> app("forecast fit --years 0 --out forecast", result_action="return_value")
    Traceback (most recent call last):
    ValueError: --years 0: not after the last visit; give numbers above 0
    """
    app.command(_forecast)


def _forecast(
    fit: Path,
    cohort: Path | None = None,
    *,
    out: Path,
    years: tuple[float, ...] = (1.0, 2.0),
    person: str | None = None,
    data: Path | None = None,
    draws: int = 200,
    maps: bool = True,
    study: Annotated[StudyOptions, Parameter(name="*")] = NO_OPTIONS,
) -> None:
    """Forecast subjects' maps some years after their last visit, with 90 % intervals.

    Parameters
    ----------
    fit
        The folder that ``dive fit`` wrote.
    cohort
        The visits so far of the subjects, new ones or those that were fitted, of the same vertices in the same unit, in
        any form that ``dive fit`` takes; by default the cohort that was fitted.
    out
        Folder for ``forecasts.csv`` (subject, time, the median of dps; where the fit's cohort has diagnoses, their
        probabilities; biomarkers by name), ``forecasts.npz`` (mean, lower and upper ``(rows, vertices)``), and the
        maps; of one subject also ``forecast.png``, each biomarker or cluster over time.
    years
        After each subject's last visit, as 1,2.
    person
        Name of the one subject to forecast; by default all.
    data
        The cohort (.npz) that was fitted; by default that in the fit's folder.
    draws
        Predictive draws.
    maps
        Whether to write a map of mean and interval for each subject and time, in the cohort's own format.
    study
        How to read maps.
    """
    if not all(year > 0 for year in years):
        raise ValueError(f"--years {min(years):g}: not after the last visit; give numbers above 0")
    if cohort is None and study != NO_OPTIONS:
        raise ValueError("how to read a cohort was said, but none was given; of those fitted --person NAME takes one")
    refuse_file(out)
    check_fit(fit, data)
    if cohort is not None:
        check_path(cohort, study)
    import numpy as np

    from neuropyro.data import Cohort
    from neuropyro.models import VertexClusterMixture
    from neuropyro.new_cohort import naming, open_like
    from neuropyro.study_preparation import STEPS

    result = load_with_cohort(fit, data)
    if not isinstance(result.model, VertexClusterMixture):
        raise ValueError(f"{fit}: a fit of {type(result.model).__name__}; give the folder of a `dive fit`")
    fitted = Cohort.load(data or fit / "cohort.npz")
    new = fitted if cohort is None else open_like(cohort, study, fit, result)
    if far := _far_ahead(max(years), fitted):
        warn(f"warning: {far}")
    with naming(cohort or data or fit / "cohort.npz"):
        new = new if person is None else one_subject(new, person)
        kept = new.n_subjects == 1 and new.feature_names is None  # clusters' means need them
        found = result.model.forecast(result, new, years, draws=draws, keep_draws=kept, progress=True)
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "forecasts.csv", _columns(found, result, fitted))
    arrays = {name: getattr(found, name).astype(np.float32) for name in ("mean", "lower", "upper")}
    np.savez(out / "forecasts.npz", subject=found.subject.astype(str), time=found.time, **arrays)
    if maps and new.can_write_maps:
        _write_maps(found, new, out / "maps")
    if new.n_subjects == 1:
        _draw(found, new, result).savefig(out / "forecast.png", dpi=130)
    of_what = "values as adjusted before the fit" if any((fit / name).is_file() for name in STEPS) else "values"
    facts = {"forecasts": len(found.time), "subjects": new.n_subjects, "out": out.resolve()}
    whose = f"subject {new.subjects[0]}" if new.n_subjects == 1 else f"{new.n_subjects} subjects"
    say(f"{counted(len(found.time), 'forecast')} of the {of_what} of {whose}: {out}", **facts)


def _far_ahead(years: float, fitted: Cohort) -> str:
    """Say that a forecast reaches far beyond the years in which anybody was followed; nothing where it does not.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> seen = Cohort([[2.5], [2.4], [2.6]], time=[70, 72, 65], subject=["a", "a", "b"])
    >>> _far_ahead(6, seen), _far_ahead(50, seen)[:60]
    ('', '--years 50: nobody whom the fit saw was followed for more th')
    """
    from neuropyro.data.cohort_checks import years_followed

    longest = float(years_followed(fitted.time, fitted.subject_index).max())
    if years <= max(FAR_AHEAD * longest, 1):
        return ""
    followed = f"nobody whom the fit saw was followed for more than {longest:.2g}" if longest else "nobody came twice"
    return f"--years {years:g}: {followed}, so that forecasts rest on speeds that stay and on curves' ends"


def _draw(found: Forecasted, new: Cohort, result: Fit) -> Figure:
    """Draw the one subject's forecast."""
    import numpy as np

    from neuropyro.data.named_columns import columns_like
    from neuropyro.forecast_plots import plot_forecast

    if new.feature_names is not None:
        return plot_forecast(found, columns_like(result.data.names.get("vertex"), new))
    likeliest = result.model.assignments(result).argmax(1)  # type: ignore[attr-defined]
    return plot_forecast(found, new, np.where(result.data.is_informative.cpu().numpy(), likeliest, -1))


def _columns(found: Forecasted, result: Fit, fitted: Cohort) -> dict[str, np.ndarray[Any, Any]]:
    import numpy as np

    low, middle, high = np.quantile(
        found.dps, [0.05, 0.5, 0.95], axis=0
    )  # a mean may lie beyond: speeds' tails are long
    columns = {"subject": found.subject, "time": found.time, "dps": middle, "dps_5": low, "dps_95": high}
    return columns | _probabilities(found, result, fitted) | _biomarkers(found, fitted)


def _biomarkers(found: Forecasted, fitted: Cohort) -> dict[str, np.ndarray[Any, Any]]:
    """Return mean and interval of each column that has a name."""
    columns: dict[str, np.ndarray[Any, Any]] = {}
    for j, name in enumerate([] if fitted.feature_names is None else fitted.feature_names):
        columns |= {name: found.mean[:, j], f"{name}_5": found.lower[:, j], f"{name}_95": found.upper[:, j]}
    return columns


def _probabilities(found: Forecasted, result: Fit, fitted: Cohort) -> dict[str, np.ndarray[Any, Any]]:
    """Return the probability of each diagnosis at the scores forecast; nothing where fewer than two are known."""
    from neuropyro.score_diagnosis import fit_score_diagnosis, known_diagnoses

    names = known_diagnoses(fitted)
    if len(names) < 2:
        return {}
    by_score = fit_score_diagnosis(result.posterior(200)["dps"], fitted.diagnosis, names)  # type: ignore[arg-type]
    shares = by_score.averaged(found.dps)
    return {f"p_{name}": share for name, share in zip(names, shares.T, strict=True)}


def _write_maps(found: Forecasted, cohort: Cohort, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    ends = [f"{100 * (1 + sign * found.level) / 2:.3g}%" for sign in (-1, 1)]
    for row, (subject, time) in enumerate(zip(found.subject, found.time, strict=True)):
        name = re.sub(r"[^\w.-]", "_", f"{subject}_{time:.2f}")
        named = {"mean": found.mean[row], ends[0]: found.lower[row], ends[1]: found.upper[row]}
        cohort.write_maps(named, folder / name)
