"""Commands that simulate studies of disease progression."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import App

from neuropyro.console import say
from neuropyro.result_file import check_file, tell_replaced

if TYPE_CHECKING:
    from neuropyro.data import Cohort

__all__ = ["register"]


def register(simulate: App) -> None:
    """Add the commands to an app.

    Examples
    --------
    >>> import tempfile
    >>> app, file = App(), Path(tempfile.mkdtemp()) / "reference.npz"
    >>> register(app)
    >>> asked = ["reference", "--subjects", "6", "--vertices", "9", "--out", str(file)]
    >>> app(asked, result_action="return_value")  # doctest: +ELLIPSIS
    Cohort(24 visits of 6 subjects x 9 vertices; 4 visits a subject, ...
    """
    simulate.command(_simulate_cohort_study, name="cohort")
    simulate.command(_simulate_reference_study, name="reference")


def _simulate_cohort_study(
    *, out: Path, subjects: int = 200, visits: int = 4, clusters: int = 3, missing_values: float = 0.0, seed: int = 0
) -> None:
    """Simulate a longitudinal study of cortical thickness on fsaverage5.

    Parameters
    ----------
    out
        The .npz file to write; the truth is in it.
    subjects, visits, clusters
        How many; visits are planned, some are missing.
    missing_values
        Fraction of the values that are NaN.
    seed
        Seed.
    """
    _require_npz(out)
    from neuropyro.data import simulate_cohort

    cohort = simulate_cohort(subjects, visits, clusters, missing_values=missing_values, seed=seed)
    _save(cohort, out)


def _simulate_reference_study(
    *, out: Path, subjects: int = 300, vertices: int = 1000, clusters: int = 3, interval: float = 3.0, seed: int = 0
) -> None:
    """Simulate the DIVE paper's own data.

    Parameters
    ----------
    out
        The .npz file to write; the truth is in it.
    subjects, vertices, clusters
        How many.
    interval
        Spread of the onsets, in sds of the controls' scores.
    seed
        Seed.
    """
    _require_npz(out)
    from neuropyro.data import simulate_reference

    _save(simulate_reference(subjects, vertices, clusters, interval, seed=seed), out)


def _require_npz(out: Path) -> None:
    """Refuse a name that says another format, or cannot be written, before any work."""
    if out.suffix != ".npz":
        raise ValueError(f"--out {out}: a cohort is written as .npz; give a name that ends so")
    check_file(out)


def _save(cohort: Cohort, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    tell_replaced(out)
    cohort.save(out)
    size = {"visits": cohort.n_visits, "subjects": cohort.n_subjects, "vertices": cohort.n_vertices}
    say(str(cohort), cohort=out.resolve(), **size)
