"""One self-contained page that shows a fit."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator
from pathlib import Path
from string import Template

import numpy as np
from matplotlib.figure import Figure

from neuropyro import plots
from neuropyro.counted_years import remark_on_years
from neuropyro.ends_of_curves import remark_on_ends
from neuropyro.fit_cautions import caution
from neuropyro.inference import cluster_agreement
from neuropyro.known_speeds import remark_on_speeds
from neuropyro.models import VertexMaps
from neuropyro.models.vertex_maps import zero_in_words
from neuropyro.outputs import Outcome
from neuropyro.plain_words import explained, plain_verdict, remedy

__all__ = ["PICTURES", "truth_lines", "write_report"]

PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>$title</title><style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem } img { max-width: 100% }
table { border-collapse: collapse } td, th { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd }
pre { background: #f5f5f5; padding: 1rem; overflow-x: auto; font-size: 12px } .note, footer { color: #666 }
.unconverged .note::before { content: "Not converged. "; color: #b00020; font-weight: bold }
</style></head><body class="$state"><h1>$title</h1>$body
<footer>neuropyro. For research use only; not a medical device.</footer></body></html>
""")
TITLES = {
    "clusters": "Clusters on the cortex",
    "entropy": "Uncertainty of the clusters",
    "biomarkers": "Biomarkers",
    "trajectories": "Trajectories",
    "stages": "Stages",
    "recovery": "Recovery",
    "reliability": "Reliability",
    "convergence": "Convergence",
}
"""Of the page's figures, by the names of their pictures."""
PICTURES = ("report.html", *(f"{name}.png" for name in TITLES))
"""Names of what is written."""
OF_BIOMARKERS = {"speed": "change a year", "years": "years to onset"}  # of maps of vertices
EFFECTS = {
    "scatter": "courses of single {columns} about their cluster's",
    "subject_effect": "offsets of subjects",
    "visit_effect": "offsets of visits",
    "vertex_effect": "lasting offsets of subjects at single {columns}",
    "ageing": "ageing beside the progression",
    "spatial": "neighbours that tend to be of one cluster",
}
WHOLE = 999.5  # from which numbers are shown without decimals
OF_CLUSTERS = ("scatter", "spatial")  # what means nothing of a column alone


def write_report(outcome: Outcome, path: Path) -> None:
    """Write the page, and each of its figures as a picture beside it, such as ``clusters.png``.

    Verdict, cluster maps, trajectories, stages, ELBO, settings (of ``fit.json``, which must be beside it), and the
    truth where it is known.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import VertexClusterMixture
    >>> cohort, model, folder = simulate_reference(6, 12, 1, seed=0), VertexClusterMixture(1), Path(tempfile.mkdtemp())
    >>> result = fit(model, cohort, "map", schedule=Schedule(max_steps=2, warm_up=0, window=2), progress=False)
    >>> result.save(folder)  # the page shows its settings
    >>> write_report(Outcome(model, cohort, result), folder / "report.html")
    >>> [path.stem for path in sorted(folder.glob("*.png"))]  # no cortex, and no names of biomarkers
    ['convergence', 'recovery', 'reliability', 'stages', 'trajectories']
    """
    body = "\n".join(_sections(outcome, path.parent))
    title = f"Disease progression {'of' if outcome.each_alone else 'by clusters of'} {outcome.columns}"
    state = "" if outcome.fit.converged else "unconverged"
    path.write_text(PAGE.substitute(title=title, body=body, state=state), encoding="utf-8")


def truth_lines(outcome: Outcome) -> list[str]:
    """Return what agrees with the truth of a simulated cohort, a line each; nothing for real data.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from neuropyro.data import simulate_reference
    >>> cohort = simulate_reference(n_subjects=6, n_vertices=9, seed=0)
    >>> known = {"dps": np.asarray(cohort.truth["dps"])[None]}  # a posterior that is the truth
    >>> truth_lines(SimpleNamespace(cohort=cohort, posterior=known, assignments=np.eye(3)[cohort.truth["Z"]]))
    ['cluster agreement 1.0000 (best permutation)', 'correlation of scores 1.0000']
    """
    truth = outcome.cohort.truth
    if "dps" not in truth or "Z" not in truth:
        return []
    correlation = np.corrcoef(outcome.posterior["dps"].mean(0), np.asarray(truth["dps"], np.float64))[0, 1]
    agreement = cluster_agreement(outcome.assignments, np.asarray(truth["Z"], np.int64))
    return [f"cluster agreement {agreement:.4f} (best permutation)", f"correlation of scores {correlation:.4f}"]


def _sections(outcome: Outcome, folder: Path) -> Iterator[str]:
    yield f"<p>{html.escape(repr(outcome.cohort))}</p>"
    yield from (f"<p>{html.escape(note)}</p>" for note in outcome.notes)
    if outcome.left_out:
        yield f"<p>{outcome.remark_on_left_out}.</p>"
    yield f"<p><b>Model:</b> {_model_in_words(outcome)}.</p>"
    verdict = html.escape(plain_verdict(outcome.fit.verdict))
    steps = max(len(run.losses) for run in outcome.fit.runs)
    todo = "" if outcome.fit.converged else f" To try next: {remedy(outcome.fit.guide_name or '', steps)}."
    yield f"<p><b>Optimisation:</b> {explained(f'{verdict}. Final ELBO {outcome.fit.elbo:.6g} nats.')}{todo}</p>"
    said = caution(outcome) if outcome.fit.converged else ""
    if said:
        yield f"<p><b>Caution:</b> {html.escape(said)}.</p>"
    if outcome.fit.is_point:
        yield "<p>This is a point estimate, without intervals; <code>--guide normal</code> gives them.</p>"
    truth = truth_lines(outcome)
    if truth:
        yield f"<p><b>Against the simulation's truth:</b> {'; '.join(truth)}.</p>"
    yield from _figure(folder / "clusters.png", plots.plot_clusters(outcome), "Likeliest cluster of each vertex.")
    caption = "Entropy of each vertex's cluster: 0 where it is certain."
    yield from _figure(folder / "entropy.png", plots.plot_entropy(outcome), caption)
    if outcome.cohort.feature_names is not None:
        caption = (
            f"Dots: values at a visit. Line: the biomarker's own curve, in its own unit{_own_band(outcome)}. People "
        )
        caption += (
            f"may lie off it by what lastingly is their own, and controls' scores are known the least.{_ends(outcome)}"
        )
        yield from _figure(folder / "biomarkers.png", plots.plot_biomarkers(outcome), caption)
    caption = (
        f"Dots: mean of the cluster's {outcome.columns} at a visit. Line: the cluster's trajectory"
        f"{'' if outcome.fit.is_point else '; band: 90 % interval'}. Values are in {_unit(outcome)}.{_own(outcome)} "
        f"The mean may lie off the line: each of the {outcome.columns} has a level, an amount and an onset of its own "
        "beside its cluster's, and people have what they keep."
    )
    if not outcome.each_alone:  # else biomarkers' own are those of the clusters
        yield from _figure(folder / "trajectories.png", plots.plot_trajectories(outcome), caption)
    yield _trajectory_table(outcome)
    if outcome.model.covariates:
        yield _covariate_table(outcome)
    remarks = filter(None, (remark_on_ends(outcome), remark_on_speeds(outcome), remark_on_years(outcome)))
    caption = ". ".join(
        (
            f"A line is a subject, a dot a visit{_on_intervals(outcome)}",
            *(f"{said[0].upper()}{said[1:]}" for said in remarks),
        )
    )
    yield from _figure(folder / "stages.png", plots.plot_stages(outcome), f"{caption}.")
    if truth:
        caption = "Scores in the gauge of the controls."
        yield from _figure(folder / "recovery.png", plots.plot_recovery(outcome), caption)
        kind = outcome.columns.capitalize()
        caption = f"{kind} by the probability of their likeliest cluster; on the diagonal, it means what it says."
        yield from _figure(folder / "reliability.png", plots.plot_reliability(outcome), caption)
    if outcome.fit.guide_name != "laplace":  # which takes no steps
        caption = "How far the fit was from the best that was seen, step by step."
        yield from _figure(folder / "convergence.png", plots.plot_loss(outcome), caption)
    settings = json.loads((folder / "fit.json").read_text())
    yield f"<h2>Settings</h2><pre>{html.escape(json.dumps(settings, indent=2))}</pre>"


def _model_in_words(outcome: Outcome) -> str:
    has, lacks = (
        [
            words.format(columns=outcome.columns)
            for name, words in EFFECTS.items()
            if bool(getattr(outcome.model, name)) is on and not (outcome.each_alone and name in OF_CLUSTERS)
        ]
        for on in (True, False)
    )
    n = outcome.model.n_clusters
    clusters = f"each of {n} with a trajectory of its own" if outcome.each_alone else f"{n} cluster{'s' * (n > 1)}"
    groups = "" if outcome.fit.data.controls is None else "; controls' speeds and scores have a law of their own"
    return f"{clusters}; with {', '.join(has) or 'nothing else'}; without {', '.join(lacks) or 'nothing'}{groups}"


def _on_intervals(outcome: Outcome) -> str:
    """Say what scores' bars are, and where they are too narrow."""
    if outcome.fit.is_point:
        return ""
    if outcome.cohort.mesh is None:
        return "; bars are 90 % intervals at the last visit"
    held = "a third to all" if outcome.fit.guide_name == "laplace" else "a tenth to two thirds"
    return (
        "; bars are 90 % intervals at the last visit, too narrow where what is left of a map is smooth over the "
        f"surface (on simulated cortices they hold the true score at {held} of the visits): they tell "
        "which visits of this fit differ, not how near a score is to the truth"
    )


def _on_curves(outcome: Outcome) -> str:
    """Say where the intervals of clusters' numbers are too narrow."""
    if outcome.fit.is_point or outcome.cohort.mesh is None or outcome.fit.guide_name == "laplace":
        return ""
    return (
        " Of maps these intervals are far too narrow, for what many vertices tell of one curve is not independent: "
        "go by the medians."
    )


def _own_band(outcome: Outcome) -> str:
    """Say what the band about a biomarker's curve is, where there is one: a point has it given the cluster's alone."""
    if not np.isfinite(outcome.vertex_maps.lower["change"]).any():
        return ""
    return f"; band: its 90 % interval{', given its cluster' * outcome.fit.is_point}"


def _figure(path: Path, figure: Figure | None, caption: str) -> Iterator[str]:
    """Write a figure, and return the section of the page that shows it, under its title."""
    if figure is not None:
        figure.savefig(path, dpi=130)
        data, title = base64.b64encode(path.read_bytes()).decode(), TITLES[path.stem]
        yield f'<h2>{title}</h2><img alt="{title}" src="data:image/png;base64,{data}"><p class="note">{caption}</p>'


def _trajectory_table(outcome: Outcome) -> str:
    names = {"a": "change a", "b": "steepness b", "c": "onset c", "d": "start d", "sigma": "residual sd"}
    names |= {"ageing": "ageing a year"} if outcome.model.ageing else {}
    sizes = () if outcome.each_alone else (outcome.columns, "share")
    first = "biomarker" if outcome.each_alone else "cluster"
    own_names = OF_BIOMARKERS if outcome.each_alone else {}
    head = "".join(f"<th>{title}</th>" for title in (first, *sizes, *names.values(), *own_names.values()))
    share, rows = outcome.members / outcome.members.sum(), []
    for k, name in enumerate(outcome.cluster_names):
        own = [html.escape(name), f"{outcome.members[k]:,}", f"{share[k]:.1%}"][: 1 + len(sizes)]
        cells = own + [_number(outcome.summary(outcome.trajectories[name][:, k])) for name in names]
        cells += [_number(_of_biomarker(outcome.vertex_maps, name, k)) for name in own_names]
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    members = f"{outcome.columns.capitalize()}: those of which this is the likeliest cluster; share: of all that vary."
    ageing = ", ageing a year" * outcome.model.ageing
    note = "" if outcome.each_alone else f"{members} "
    change = "Change" if outcome.fit.is_point else "Medians with 90 % intervals: change"
    note += f"{change}, start{ageing} and residual sd in {_unit(outcome)}; onset is a score, and steepness per score."
    note += f"{_on_curves(outcome)}{_own(outcome)}"
    if outcome.each_alone:
        zero = zero_in_words(outcome.cohort.reference_in_words)
        note += f" Change a year: at the onset, at the median speed of all; years to it: from the mean of {zero}."
    return f'<table><tr>{head}</tr>{"".join(rows)}</table><p class="note">{note}</p>'


def _of_biomarker(maps: VertexMaps, name: str, k: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([maps.median[name][k], maps.lower[name][k], maps.upper[name][k]])


def _unit(outcome: Outcome) -> str:
    """Say which unit the clusters' trajectories have."""
    if outcome.cohort.feature_names is None:
        return outcome.cohort.unit_in_words
    if outcome.each_alone:
        return "each biomarker's own unit"
    return "sds of the standardised biomarkers"


def _ends(outcome: Outcome) -> str:
    """Say of curves' ends what their intervals do not."""
    if outcome.fit.is_point:
        return ""
    return (
        " Take levels before and after a change with care where few people are at them: the model places people as a "
        "Normal, and in simulated clinics where they came in groups 9 of 29 whole changes were larger than their 90 % "
        "intervals said."
    )


def _own(outcome: Outcome) -> str:
    """Say where named biomarkers' own trajectories are."""
    if outcome.cohort.feature_names is None or outcome.each_alone:
        return ""
    return " Each biomarker's own trajectory, in its own unit, is in biomarkers.csv."


def _covariate_table(outcome: Outcome) -> str:
    names = {"speed_ratio": "ratio of speeds", "log_alpha": "change of log speed", "beta": "change of stage beta"}
    head = "".join(f"<th>{title}</th>" for title in ("covariate", "mean", *names.values()))
    table = outcome.covariates
    rows = []
    for i, term in enumerate(table["term"]):
        found = [np.array([table[f"{name}{end}"][i] for end in ("", "_5", "_95")]) for name in names]
        cells = [html.escape(str(term)), f"{table['mean'][i]:.3g}", *map(_number, found)]
        rows.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    effects = "Effects" if outcome.fit.is_point else "Medians with 90 % intervals"
    note = f"{effects}, per unit of the covariate; beta is the score at like times."
    return f'<h2>Covariates</h2><table><tr>{head}</tr>{"".join(rows)}</table><p class="note">{note}</p>'


def _number(summary: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    if np.isnan(summary[0]):
        return "not known"
    middle, low, high = (_plain(float(number)) for number in summary)
    return middle if np.isnan(summary[1]) else f"{middle} ({low} to {high})"


def _plain(number: float) -> str:
    """Return three digits, or all before the point: a clinic's units are not read in powers of ten."""
    return f"{number:,.0f}" if abs(number) >= WHOLE else f"{number:.3g}"
