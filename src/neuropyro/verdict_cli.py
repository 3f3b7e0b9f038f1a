"""The commands that judge fits: compare and diagnose."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from neuropyro.console import say
from neuropyro.result_folder import refuse_file

if TYPE_CHECKING:
    from neuropyro.inference import Fit
    from neuropyro.inference.comparison import Row

__all__ = ["check_fit", "load_with_cohort", "register"]


def register(app: App) -> None:
    """Add the commands to an app.

    Examples
    --------
    >>> app = App()
    >>> register(app)
    >>> app("diagnose away --out diagnosis", result_action="return_value")
    Traceback (most recent call last):
    FileNotFoundError: away: no such folder; a fit is the folder that `neuropyro dive fit COHORT --out away` writes
    """
    app.command(_compare)
    app.command(_diagnose)


def _compare(*fit: Path, data: Path | None = None, out: Path | None = None, draws: int = 500) -> None:
    """Set fits of one cohort side by side: ELBO, k-hat, seconds, leave-one-out, means and sds.

    Parameters
    ----------
    fit
        Folders that fits were saved in.
    data
        The cohort (.npz) that they were fitted to; by default that which ``dive fit`` left in their folders.
    out
        Folder for comparison.txt and comparison.png; by default the table is only printed.
    draws
        Posterior draws.
    """
    if not fit:
        raise ValueError("compare: no fit; give the folders of two or more")
    if out is not None:
        refuse_file(out)
    for folder in fit:
        check_fit(folder, data)
    from neuropyro.diagnosis_plots import plot_comparison
    from neuropyro.inference import compare as compare_fits

    names = [folder.name for folder in fit]
    unique = len(set(names)) == len(names)
    found = compare_fits({str(f) if not unique else f.name: load_with_cohort(f, data) for f in fit}, draws)
    facts = {row.name: _facts(row) for row in found.rows}
    say(str(found), best=found.best.name, fits=facts)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "comparison.txt").write_text(f"{found.in_words()}\n", encoding="utf-8")
        plot_comparison(found).savefig(out / "comparison.png", dpi=130)


def _facts(row: Row) -> dict[str, Any]:
    loo = {} if row.loo is None else {"elpd": row.loo.elpd, "elpd_error": row.loo.error, "bad_shapes": row.loo.bad}
    names = ("elbo", "elbo_error", "strays", "khat", "seconds", "converged")
    return {name: getattr(row, name) for name in names} | loo


def _diagnose(
    fit: Path,
    *,
    out: Path,
    data: Path | None = None,
    draws: Annotated[int, Parameter(help="posterior draws")] = 500,
    predictive_draws: Annotated[int, Parameter(help="simulated data sets")] = 200,
) -> None:
    """Say in words, and in one page of plots, what of a fit can be trusted.

    Parameters
    ----------
    fit
        The folder that it was saved in.
    data
        The cohort (.npz) that it was fitted to; by default that which ``dive fit`` left in its folder.
    out
        Folder for diagnosis.txt and diagnosis.png.
    """
    refuse_file(out)
    check_fit(fit, data)
    from neuropyro.diagnosis_plots import plot_diagnosis
    from neuropyro.inference import diagnose as diagnose_fit
    from neuropyro.plain_words import diagnosis_in_words

    found = diagnose_fit(load_with_cohort(fit, data), draws, predictive_draws)
    facts = [asdict(finding) for finding in found.findings]
    said = diagnosis_in_words(found)
    say(said, trusted=found.trusted, findings=facts, out=out.resolve())
    out.mkdir(parents=True, exist_ok=True)
    (out / "diagnosis.txt").write_text(f"{said}\n", encoding="utf-8")
    plot_diagnosis(found).savefig(out / "diagnosis.png", dpi=130)


def load_with_cohort(folder: Path, data: Path | None = None) -> Fit:
    """Load a fit of a cohort, with the cohort; see `check_fit`.

    Raises
    ------
    FileNotFoundError, FitError
        Where a file is not there; where it is damaged, or the cohort is another than that of the fit.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import VertexClusterMixture
    >>> cohort, folder = simulate_reference(6, 12, 1, seed=0), Path(tempfile.mkdtemp())
    >>> cohort.save(folder / "cohort.npz")
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> result = fit(VertexClusterMixture(1), cohort, "map", schedule=short, progress=False)
    >>> result.save(folder)
    >>> bool((load_with_cohort(folder).posterior(1)["dps"] == result.posterior(1)["dps"]).all())
    True
    """
    kept = check_fit(folder, data)
    from neuropyro.data import Cohort
    from neuropyro.inference import load_fit

    return load_fit(folder, Cohort.load(kept))


def check_fit(folder: Path, data: Path | None = None) -> Path:
    """Return where the cohort of a fit is, before anything is loaded.

    Raises
    ------
    FileNotFoundError
        Where there is no such folder, or the cohort is neither given nor in the folder.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("fit.json", "cohort.npz"):
    ...     (folder / name).touch()
    >>> check_fit(folder).name
    'cohort.npz'
    >>> check_fit(folder, data=Path("other.npz"))
    Traceback (most recent call last):
    FileNotFoundError: other.npz: no such file; --data names the cohort (.npz) that was fitted
    """
    written = f"a fit is the folder that `neuropyro dive fit COHORT --out {folder}` writes"
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such folder; {written}")
    if not (folder / "fit.json").is_file():
        raise FileNotFoundError(f"{folder}: no fit in it (no fit.json); {written}")
    kept = folder / "cohort.npz" if data is None else data
    if data is None and not kept.is_file():
        raise FileNotFoundError(f"{kept}: no such file; name the cohort (.npz) that was fitted, by --data")
    if not kept.is_file():
        raise FileNotFoundError(f"{kept}: no such file; --data names the cohort (.npz) that was fitted")
    return kept
