"""Figures of a fit of vertex clusters: trajectories, stages, the truth where it is known, and the loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import expit

from neuropyro.outputs import Outcome
from neuropyro.plot_arguments import require_outcome
from neuropyro.plot_style import GREY, cluster_colours, diagnosis_groups, score_label
from neuropyro.score_axis import scores_of_draws

__all__ = ["cluster_means", "plot_loss", "plot_recovery", "plot_stages", "plot_trajectories"]


def plot_trajectories(outcome: Outcome) -> Figure:
    """Draw each cluster's mean value at each visit over the score, and its trajectory with a 90 % interval.

    The interval is that of a curve beside the visits: see :mod:`neuropyro.score_axis`.  Panels of one unit span at
    least half of what the tallest does, lest noise look like a course in a cluster that hardly changes.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import VertexClusterMixture
    >>> cohort, model = simulate_reference(n_subjects=8, n_vertices=12, seed=1), VertexClusterMixture(2)
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> outcome = Outcome(model, cohort, fit(model, cohort, "map", schedule=short, progress=False))
    >>> len(plot_trajectories(outcome).axes)
    2
    """
    require_outcome(outcome)
    n_clusters = outcome.model.n_clusters
    columns = min(n_clusters, 4)
    rows = -(-n_clusters // columns)
    figure = Figure(figsize=(3.2 * columns, 2.9 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
    dps = np.median(outcome.posterior["dps"], 0)
    grid = np.linspace(dps.min(), dps.max(), 200)
    scores = scores_of_draws(grid, outcome.posterior["dps"])
    means = cluster_means(outcome)
    p, kind = outcome.trajectories, "" if outcome.each_alone and outcome.columns == "biomarkers" else "cluster "
    for k, axis in enumerate(axes.flat):
        if k >= n_clusters:
            axis.axis("off")
            continue
        a, b, c, d = (p[name][:, k, None] for name in "abcd")
        curve = d + a * expit(b * (scores - c))
        for members, colour, name in diagnosis_groups(outcome.cohort):
            axis.plot(dps[members], means[members, k], ".", ms=2, color=colour, alpha=0.5, label=name)
        middle, low, high = outcome.summary(curve)
        axis.fill_between(grid, low, high, color="k", alpha=0.2, lw=0)
        axis.plot(grid, middle, "k", lw=1.5)
        axis.set_title(f"{kind}{outcome.cluster_names[k]}", fontsize=10)
        axis.spines["top"].set(color=cluster_colours(n_clusters)[k], linewidth=3)  # as on maps; words would be too pale
        axis.set_xlabel(score_label(outcome.cohort))
        axis.tick_params(labelbottom=k + columns >= n_clusters)  # nothing is below, or an empty place
    if not outcome.each_alone:  # else each is in a unit of its own
        _at_least_half_as_high(list(axes.flat[:n_clusters]))
    what = "value" if outcome.each_alone else f"mean of its {outcome.columns}"
    axes[0, 0].set_ylabel(f"{what}\n({outcome.unit_in_words})")
    axes[0, 0].legend(fontsize=8, markerscale=4, frameon=False)
    return figure


def _at_least_half_as_high(axes: Sequence[Axes]) -> None:
    """Let each panel span at least half of what the tallest does, about its own middle."""
    ends = np.array([axis.get_ylim() for axis in axes])
    half = np.maximum(np.diff(ends)[:, 0], np.diff(ends).max() / 2) / 2
    for axis, middle, reach in zip(axes, ends.mean(1), half, strict=True):
        axis.set_ylim(middle - reach, middle + reach)


def plot_stages(outcome: Outcome) -> Figure:
    """Draw each subject's scores over time, dots by diagnosis, with a 90 % interval at the last visit.

    A line is a subject, through all visits: diagnoses that change along it change the dots alone.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import VertexClusterMixture
    >>> cohort, model = simulate_reference(n_subjects=8, n_vertices=12, seed=1), VertexClusterMixture(2)
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> outcome = Outcome(model, cohort, fit(model, cohort, "map", schedule=short, progress=False))
    >>> plot_stages(outcome).axes[0].get_xlabel()
    'time (years)'
    """
    require_outcome(outcome)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    cohort = outcome.cohort
    dps, low, high = outcome.summary(outcome.posterior["dps"])
    order = np.lexsort((cohort.time, cohort.subject_index))
    starts = np.flatnonzero(np.diff(cohort.subject_index[order])) + 1  # of each subject but the first
    lines = (np.insert(x[order], starts, np.nan) for x in (cohort.time, dps))
    axis.plot(*lines, color=GREY, lw=0.8, zorder=1)
    is_last = np.isin(np.arange(cohort.n_visits), order[[*(starts - 1), -1]])
    for members, colour, name in diagnosis_groups(cohort):
        axis.plot(cohort.time[members], dps[members], ".", ms=4, color=colour, label=name)
        ends = members & is_last
        if not outcome.fit.is_point and ends.any():  # at a subject's last visit: a bar for each would hide the lines
            axis.vlines(cohort.time[ends], low[ends], high[ends], color=colour, lw=0.6, alpha=0.5)
    axis.set_xlabel("time (years)")
    axis.set_ylabel(score_label(cohort))
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), markerscale=2)  # beside the lines
    return figure


def plot_loss(outcome: Outcome) -> Figure:
    """Draw the ELBO of every restart over the steps.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import VertexClusterMixture
    >>> cohort, model = simulate_reference(n_subjects=8, n_vertices=12, seed=1), VertexClusterMixture(2)
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> outcome = Outcome(model, cohort, fit(model, cohort, "map", schedule=short, progress=False))
    >>> plot_loss(outcome).axes[0].get_xlabel()
    'step'
    """
    require_outcome(outcome)
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axis = figure.subplots()
    best = min(run.losses.min() for run in outcome.fit.runs)
    for r, run in enumerate(outcome.fit.runs):
        axis.plot(run.losses - best + 1, lw=0.8, label=f"restart {r + 1}")
    axis.set_yscale("log")
    axis.set_xlabel("step")
    axis.set_ylabel("distance from the best fit, plus 1\n(nats: units of log likelihood)")
    if len(outcome.fit.runs) > 1:
        axis.legend(frameon=False)
    return figure


def plot_recovery(outcome: Outcome) -> Figure:
    """Draw estimated over true scores, for a simulated cohort.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import VertexClusterMixture
    >>> cohort, model = simulate_reference(n_subjects=8, n_vertices=12, seed=1), VertexClusterMixture(2)
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> outcome = Outcome(model, cohort, fit(model, cohort, "map", schedule=short, progress=False))
    >>> plot_recovery(outcome).axes[0].get_xlabel()
    'true score (sd of controls)'
    """
    require_outcome(outcome)
    figure = Figure(figsize=(4.2, 4), layout="constrained")
    axis = figure.subplots()
    true = np.asarray(outcome.cohort.truth["dps"])
    dps, low, high = outcome.summary(outcome.posterior["dps"])
    for members, colour, name in diagnosis_groups(outcome.cohort):
        axis.plot(true[members], dps[members], ".", ms=3, color=colour, label=name)
        if not outcome.fit.is_point:
            axis.vlines(true[members], low[members], high[members], color=colour, lw=0.4, alpha=0.5)
    ends = [true.min(), true.max()]
    axis.plot(ends, ends, color="k", lw=0.8)
    axis.set_xlabel(score_label(outcome.cohort, "true"))
    axis.set_ylabel(score_label(outcome.cohort, "estimated"))
    axis.legend(frameon=False)
    return figure


def cluster_means(outcome: Outcome) -> NDArray[np.float64]:
    """Return the mean over a cluster's vertices, by the likeliest label, of what was seen at a visit; ``(visits, K)``.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import VertexClusterMixture
    >>> cohort, model = simulate_reference(n_subjects=8, n_vertices=12, seed=1), VertexClusterMixture(2)
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> outcome = Outcome(model, cohort, fit(model, cohort, "map", schedule=short, progress=False))
    >>> cluster_means(outcome).shape
    (32, 2)
    """
    label = outcome.assignments.argmax(1)
    means = np.full((outcome.cohort.n_visits, outcome.model.n_clusters), np.nan)
    for k in range(outcome.model.n_clusters):
        values = outcome.values[:, label == k]
        seen = (~np.isnan(values)).sum(1)
        known = seen > 0
        means[known, k] = np.asarray(np.nansum(values, 1, dtype=np.float64))[known] / seen[known]
    return means
