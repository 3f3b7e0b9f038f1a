"""Figures of a fit; each takes an outcome and returns a matplotlib figure."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import expit

from neuropyro.inference.reliability import reliability
from neuropyro.outputs import Outcome

__all__ = ["cluster_colours", "plot_loss", "plot_recovery", "plot_reliability", "plot_stages", "plot_trajectories"]

GREY = "0.6"
PATIENT, CONTROL = "#D55E00", "#0072B2"  # Okabe and Ito's colours, told apart by the colour-blind
OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#0072B2", "#D55E00")


def cluster_colours(n_clusters: int) -> list[Any]:
    """Return a colour for each cluster."""
    if n_clusters <= len(OKABE_ITO):
        return list(OKABE_ITO[:n_clusters])
    return [mpl.colormaps["viridis"](x) for x in np.linspace(0, 1, n_clusters)]


def plot_trajectories(outcome: Outcome) -> Figure:
    """Draw each cluster's mean value at each visit over the score, and its trajectory with a 90 % interval."""
    n_clusters = outcome.model.n_clusters
    columns = min(n_clusters, 4)
    rows = -(-n_clusters // columns)
    figure = Figure(figsize=(3.2 * columns, 2.9 * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
    dps = outcome.posterior["dps"].mean(0)
    grid = np.linspace(dps.min(), dps.max(), 200)
    means = _cluster_means(outcome)
    p = outcome.trajectories
    for k, axis in enumerate(axes.flat):
        if k >= n_clusters:
            axis.axis("off")
            continue
        a, b, c, d = (p[name][:, k, None] for name in "abcd")
        curve = d + a * expit(b * (grid - c))
        for members, colour, name in _groups(outcome):
            axis.plot(dps[members], means[members, k], ".", ms=2, color=colour, alpha=0.5, label=name)
        middle, low, high = outcome.summary(curve)
        axis.fill_between(grid, low, high, color="k", alpha=0.2, lw=0)
        axis.plot(grid, middle, "k", lw=1.5)
        axis.set_title(f"cluster {k + 1}", fontsize=10, color=cluster_colours(n_clusters)[k])
        axis.set_xlabel("progression score (sd of controls)")
    axes[0, 0].set_ylabel("mean of the cluster's vertices")
    axes[0, 0].legend(fontsize=8, markerscale=4, frameon=False)
    return figure


def plot_stages(outcome: Outcome) -> Figure:
    """Draw each subject's scores over time, by diagnosis, with 90 % intervals."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axis = figure.subplots()
    cohort = outcome.cohort
    dps, low, high = outcome.summary(outcome.posterior["dps"])
    for members, colour, name in _groups(outcome):
        order = np.lexsort((cohort.time, cohort.subject_index))
        order = order[members[order]]
        last = np.flatnonzero(np.diff(cohort.subject_index[order])) + 1
        time, score = np.insert(cohort.time[order], last, np.nan), np.insert(dps[order], last, np.nan)
        axis.plot(time, score, color=colour, lw=0.8, alpha=0.7, label=name)
        if not outcome.fit.is_point:
            axis.vlines(cohort.time[members], low[members], high[members], color=colour, lw=0.4, alpha=0.5)
    axis.set_xlabel("time (years)")
    axis.set_ylabel("progression score (sd of controls)")
    axis.legend(frameon=False)
    return figure


def plot_loss(outcome: Outcome) -> Figure:
    """Draw the ELBO of every restart over the steps."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axis = figure.subplots()
    best = min(run.losses.min() for run in outcome.fit.runs)
    for r, run in enumerate(outcome.fit.runs):
        axis.plot(run.losses - best + 1, lw=0.8, label=f"restart {r + 1}")
    axis.set_yscale("log")
    axis.set_xlabel("step")
    axis.set_ylabel("best ELBO - ELBO + 1 (nats)")
    if len(outcome.fit.runs) > 1:
        axis.legend(frameon=False)
    return figure


def plot_recovery(outcome: Outcome) -> Figure:
    """Draw estimated over true scores, for a simulated cohort."""
    figure = Figure(figsize=(4.2, 4), layout="constrained")
    axis = figure.subplots()
    true = np.asarray(outcome.cohort.truth["dps"])
    dps, low, high = outcome.summary(outcome.posterior["dps"])
    for members, colour, name in _groups(outcome):
        axis.plot(true[members], dps[members], ".", ms=3, color=colour, label=name)
        if not outcome.fit.is_point:
            axis.vlines(true[members], low[members], high[members], color=colour, lw=0.4, alpha=0.5)
    ends = [true.min(), true.max()]
    axis.plot(ends, ends, color="k", lw=0.8)
    axis.set_xlabel("true score")
    axis.set_ylabel("estimated score")
    axis.legend(frameon=False)
    return figure


def plot_reliability(outcome: Outcome) -> Figure:
    """Draw, for a simulated cohort, how often labels are right over how probable they were said to be.

    The band is two sds wide, vertices being independent.
    """
    figure = Figure(figsize=(4.2, 4), layout="constrained")
    axis = figure.subplots()
    found = reliability(outcome.assignments, np.asarray(outcome.cohort.truth["Z"], np.int64))
    low, high = (np.clip(found.confidence + sign * 2 * found.spread, 0, 1) for sign in (-1, 1))
    axis.fill_between(found.confidence, low, high, color=GREY, alpha=0.3, lw=0, label="if calibrated")
    axis.plot([0, 1], [0, 1], color="k", lw=0.8)
    size = 20 + 200 * found.count / found.count.max()
    axis.plot(found.confidence, found.accuracy, color=CONTROL, lw=0.8)
    axis.scatter(found.confidence, found.accuracy, size, color=CONTROL, alpha=0.7, label="vertices, by area")
    axis.set_xlim(1 / outcome.assignments.shape[1] - 0.03, 1.03)
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlabel("largest posterior of the cluster")
    axis.set_ylabel("share of labels that are right")
    axis.set_title(f"mean {found.mean_confidence:.3f} said, {found.mean_accuracy:.3f} right", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def _groups(outcome: Outcome) -> list[tuple[NDArray[np.bool_], str, str]]:
    """Return the visits of controls and patients, or all visits where no diagnosis tells them apart."""
    control = outcome.cohort.is_control
    if not control.any() or control.all():
        return [(np.ones_like(control), GREY, "visits")]
    return [(control, CONTROL, "controls"), (~control, PATIENT, "patients")]


def _cluster_means(outcome: Outcome) -> NDArray[np.float64]:
    """Mean over the vertices of a cluster, by the likeliest label, of the values seen at each visit; (visits, K)."""
    label = outcome.assignments.argmax(1)
    means = np.full((outcome.cohort.n_visits, outcome.model.n_clusters), np.nan)
    for k in range(outcome.model.n_clusters):
        values = outcome.cohort.values[:, label == k]
        seen = (~np.isnan(values)).sum(1)
        known = seen > 0
        means[known, k] = np.asarray(np.nansum(values, 1, dtype=np.float64))[known] / seen[known]
    return means
