"""Examples of every command, shown at the end of its ``--help``."""

from __future__ import annotations

from collections.abc import Sequence

from cyclopts import App

__all__ = ["EXAMPLES", "show_examples"]

EXAMPLES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("demo",): ("neuropyro demo --out demo",),
    ("dive", "fit"): (
        "neuropyro dive fit cohort.npz --clusters 3 --guide normal --out fit",
        "neuropyro dive fit subjects --table visits.csv --fwhm 10 --out fit",
        "neuropyro dive fit subjects --table visits.csv --adjust age,sex --covariates apoe4 --out fit",
        "neuropyro dive fit biomarkers.csv --standardise all --out fit",
        "neuropyro dive fit biomarkers.csv --biomarkers MMSE,hippocampus --control SCD --out fit",
        "neuropyro dive fit biomarkers.csv --subject Code --time Years --out fit",
        "neuropyro dive fit cohort.npz --config study.toml --guide map --out fit --json",
    ),
    ("dive", "personalize"): ("neuropyro dive personalize fit new.npz --out new.csv",),
    ("dive", "forecast"): (
        "neuropyro dive forecast fit --years 1,2 --out forecast",
        "neuropyro dive forecast fit new.npz --no-maps --out forecast",
    ),
    ("dive", "select"): ("neuropyro dive select cohort.npz --clusters 2:6 --folds 5 --out select",),
    ("dive", "evaluate", "consistency"): ("neuropyro dive evaluate consistency cohort.npz --out consistency.csv",),
    ("dive", "evaluate", "staging"): ("neuropyro dive evaluate staging cohort.npz --score mmse --out staging.csv",),
    ("dive", "evaluate", "forecasts"): ("neuropyro dive evaluate forecasts cohort.npz --out forecasts.csv",),
    ("dive", "evaluate", "patterns"): ("neuropyro dive evaluate patterns ad.npz pca.npz --out patterns.csv",),
    ("compare",): ("neuropyro compare fit-map fit-normal --out comparison",),
    ("diagnose",): ("neuropyro diagnose fit --out diagnosis",),
    ("simulate", "cohort"): ("neuropyro simulate cohort --subjects 60 --out cohort.npz",),
    ("simulate", "reference"): ("neuropyro simulate reference --vertices 1000 --out reference.npz",),
    ("simulate", "anatomy"): (
        "neuropyro simulate anatomy --subjects 20 --out study",
        "neuropyro simulate anatomy --do apoe4=2,treatment=.7,treatment_start=1 --no-images --out treated",
    ),
    ("counterfactual",): (
        "neuropyro counterfactual study/shards/shard-00000.npz --do apoe4=0 --guide mode --out worlds",
        "neuropyro counterfactual shard-00000.npz --do treatment=.5,treatment_start=1 --times 70:90:5 --out worlds",
    ),
    ("reconstruct",): (
        "neuropyro reconstruct --truth brain.nii.gz --corruption superres:4+noise:.02 --slices 90 --out out",
        "neuropyro reconstruct small.png --corruption superres:4 --guide map --out out",
        "neuropyro reconstruct holed.png --corruption inpaint:mask.png --draws 64 --out out",
    ),
    ("generator", "info"): ("neuropyro generator info brains64", "neuropyro generator info network.pkl"),
    ("generator", "convert"): ("neuropyro generator convert network.pkl network.safetensors",),
    ("generator", "train"): (
        "neuropyro generator train phantoms --out run",
        "neuropyro generator train slices --out run",
    ),
}


def show_examples(app: App) -> None:
    """Put its examples at the end of each command's help, and one of each of its commands at a group's.

    Examples
    --------
    >>> from neuropyro.cli import app
    >>> show_examples(app)
    >>> app["compare"].help_epilogue.splitlines()
    ['Examples:', '', 'neuropyro compare fit-map fit-normal --out comparison']
    """
    for path, lines in EXAMPLES.items():
        _at(app, path).help_epilogue = _examples(lines)
    groups = {path[:depth] for path in EXAMPLES for depth in range(1, len(path))}
    for group in groups:
        own = [lines[0] for path, lines in EXAMPLES.items() if path[: len(group)] == group]
        _at(app, group).help_epilogue = _examples(own)


def _at(app: App, path: Sequence[str]) -> App:
    """Return the command or group of a path."""
    for name in path:
        app = app[name]
    return app


def _examples(lines: Sequence[str]) -> str:
    return "Examples:\n\n" + "\n\n".join(lines)
