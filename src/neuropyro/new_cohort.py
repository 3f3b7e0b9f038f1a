"""A cohort of new subjects, read for a fit: its columns, prepared as its own; errors name the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from neuropyro.console import warn
from neuropyro.data.errors import CohortError
from neuropyro.new_times import check_times
from neuropyro.study_memory import read_alike

if TYPE_CHECKING:  # PyTorch takes seconds to import, and --help needs none of it
    from neuropyro.data import Cohort, StudyOptions
    from neuropyro.inference import Fit

__all__ = ["naming", "open_like"]

FAR = 0.5  # of the range of what was fitted


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors of data name the file that the data are of.

    Examples
    --------
    >>> try:
    ...     with naming(Path("new.csv")):
    ...         raise CohortError("time: missing in row 3")
    ... except CohortError as error:
    ...     print(error)
    new.csv: time: missing in row 3
    """
    try:
        yield
    except CohortError as error:
        said = str(error)
        raise CohortError(said if said.startswith(str(path)) else f"{path}: {said}") from None


def open_like(path: Path, study: StudyOptions, fit: Path, result: Fit) -> Cohort:
    r"""Read new subjects, with the columns in the order of a fit and prepared as its cohort was.

    Parameters
    ----------
    path, study
        Where the subjects' visits are, and what was said of how to read them; of the rest the fit's folder knows.
    fit, result
        The fit's folder, and the fit.

    Raises
    ------
    CohortError
        Where the file cannot be read, lacks a column of the fit, or has times that count from elsewhere than the fit's,
        see :func:`~neuropyro.new_times.check_times`; it is named.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.data import Cohort, StudyOptions
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import VertexClusterMixture
    >>> folder, visits = Path(tempfile.mkdtemp()), {"time": [70, 71, 66, 68], "subject": list("aabb")}
    >>> fitted = Cohort([[28, 7.1], [25, 6.8], [29, 7.5], [28, 7.3]], **visits, feature_names=["MMSE", "volume"])
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> result = fit(VertexClusterMixture(1, scatter=False), fitted, "map", schedule=short, progress=False)
    >>> _ = (folder / "new.csv").write_text("ID,age,volume,MMSE\nc,70,7.0,27\n")
    >>> open_like(folder / "new.csv", StudyOptions(), folder, result).values.tolist()  # MMSE first, as in the fit
    [[27.0, 7.0]]
    """
    from neuropyro.data import Cohort
    from neuropyro.data.named_columns import columns_like
    from neuropyro.study_preparation import prepare_alike

    with naming(path):
        names = result.data.names.get("vertex")
        reading = _of_the_fit(read_alike(study, path, fit), path, names)
        new = columns_like(names, Cohort.open(path, reading))
        off = _off_in_time(new, result, path, reading)
        new = prepare_alike(new, fit)
    for said in (*off, *_far_off(new, result)):
        warn(f"warning: {path}: {said}")
    return new


def _of_the_fit(study: StudyOptions, path: Path, names: Iterable[str] | None) -> StudyOptions:
    """Return how to read a table that has all biomarkers of the fit: as those, whatever other numbers it has."""
    from neuropyro.data.text_table import column_names

    wanted = tuple(str(name) for name in ([] if names is None else names))
    columns = column_names(path) if path.suffix in (".csv", ".tsv") else []
    has_all = bool(wanted) and set(wanted) <= set(columns) and not any("," in name for name in wanted)
    return replace(study, biomarkers=wanted) if has_all and not study.biomarkers else study


def _off_in_time(new: Cohort, result: Fit, path: Path, study: StudyOptions) -> list[str]:
    """Refuse times that count from elsewhere than the fit's; say where they lie off its range."""
    import numpy as np

    fitted = np.asarray((result.data.origin + result.data.years).double().cpu())
    said = check_times(np.asarray(new.time, np.float64), fitted, _time_column(path, study))
    return [said] if said else []


def _time_column(path: Path, study: StudyOptions) -> str:
    """Return what a table of biomarkers calls the time; of other studies what was said, or nothing."""
    from neuropyro.data.biomarkers_table import biomarkers_table
    from neuropyro.data.open_study import is_of_biomarkers

    return biomarkers_table(path, study).time if is_of_biomarkers(path, study) else study.time or ""


def _far_off(new: Cohort, result: Fit) -> Iterator[str]:
    """Say of which named columns all values lie far from those that were fitted, as in another unit."""
    import numpy as np

    data, names = result.data, new.feature_names
    if names is None or new.n_vertices != len(data.values):
        return
    fitted, location, scale = (np.asarray(x.double().cpu()) for x in (data.values, data.location, data.scale))
    seen = np.isfinite(fitted) if data.observed is None else np.asarray(data.observed.cpu()) > 0
    for name, values, own, known, centre, unit in zip(names, new.values.T, fitted, seen, location, scale, strict=True):
        values, own = values[np.isfinite(values)], centre + unit * own[known]
        if not values.size or not own.size:
            continue
        low, high = own.min(), own.max()
        if np.abs(values - np.clip(values, low, high)).min() > FAR * (high - low):
            yield f"{name}: {np.median(values):.4g} (median), where the fit saw {low:.4g} to {high:.4g}; the same unit?"
