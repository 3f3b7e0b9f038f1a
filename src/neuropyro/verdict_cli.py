"""The commands that judge fits: compare and diagnose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from neuropyro.inference import Fit

__all__ = ["register"]


def register(app: App) -> None:
    """Add the commands to an app."""
    app.command(compare)
    app.command(diagnose)


def compare(*fit: Path, data: Path, out: Path | None = None, draws: int = 500) -> None:
    """Set fits of one cohort side by side: ELBO, k-hat, seconds, leave-one-out, means and sds.

    Parameters
    ----------
    fit
        Folders that fits were saved in.
    data
        The cohort (.npz) that they were fitted to.
    out
        Folder for comparison.txt and comparison.png; by default the table is only printed.
    draws
        Posterior draws.
    """
    from neuropyro.diagnosis_plots import comparison_figure
    from neuropyro.inference import compare as compare_fits

    if not fit:
        raise ValueError("compare: no fit; give the folders of two or more")
    names = [folder.name for folder in fit]
    unique = len(set(names)) == len(names)
    found = compare_fits({str(f) if not unique else f.name: _load(f, data) for f in fit}, draws)
    print(found)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "comparison.txt").write_text(f"{found}\n", encoding="utf-8")
        comparison_figure(found).savefig(out / "comparison.png", dpi=130)


def diagnose(
    fit: Path,
    *,
    data: Path,
    out: Path,
    draws: Annotated[int, Parameter(help="posterior draws")] = 500,
    predictive_draws: Annotated[int, Parameter(help="simulated data sets")] = 200,
) -> None:
    """Say in words, and in one page of plots, what of a fit can be trusted.

    Parameters
    ----------
    fit
        The folder that it was saved in.
    data
        The cohort (.npz) that it was fitted to.
    out
        Folder for diagnosis.txt and diagnosis.png.
    """
    from neuropyro.diagnosis_plots import diagnosis_page
    from neuropyro.inference import diagnose as diagnose_fit

    found = diagnose_fit(_load(fit, data), draws, predictive_draws)
    print(found)
    out.mkdir(parents=True, exist_ok=True)
    (out / "diagnosis.txt").write_text(f"{found}\n", encoding="utf-8")
    diagnosis_page(found).savefig(out / "diagnosis.png", dpi=130)


def _load(folder: Path, data: Path) -> Fit:
    from neuropyro.data import Cohort
    from neuropyro.inference import load_fit

    return load_fit(folder, Cohort.load(data))
