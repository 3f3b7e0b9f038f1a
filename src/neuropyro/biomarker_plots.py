"""Curves of named biomarkers, each its own, in its own unit."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.special import expit

from neuropyro.models.fitted_clusters import FittedClusters
from neuropyro.models.vertex_maps import own_trajectories
from neuropyro.outputs import Outcome
from neuropyro.plot_arguments import require_outcome
from neuropyro.plot_style import IN_THE_DATA, cluster_colours, diagnosis_groups, score_label
from neuropyro.score_axis import scores_of_draws

__all__ = ["own_curves", "plot_biomarkers"]

MOST = 24  # panels
CURVES = 400  # draws: with fewer the interval's ends have kinks, where one draw takes over from another
POINTS = 400


def plot_biomarkers(outcome: Outcome) -> Figure | None:
    """Draw each named column's values over the score, and its own curve with a 90 % interval; None without names.

    The interval is that of a curve beside the visits: see :mod:`neuropyro.score_axis`.

    A biomarker is a panel, the first 24 of them, with its cluster's colour.

    Examples
    --------
    >>> from neuropyro.data import Cohort, simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import VertexClusterMixture
    >>> made, model = simulate_reference(n_subjects=6, n_vertices=3, seed=1), VertexClusterMixture(1)
    >>> cohort = Cohort(made.values, made.time, made.subject, feature_names=np.array(["MMSE", "volume", "area"]))
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> outcome = Outcome(model, cohort, fit(model, cohort, "map", schedule=short, progress=False))
    >>> [axis.get_ylabel() for axis in plot_biomarkers(outcome).axes]
    ['MMSE', 'volume', 'area']
    """
    require_outcome(outcome)
    names = outcome.cohort.feature_names
    if names is None:
        return None
    count = min(len(names), MOST)
    columns = min(count, 3)
    figure = Figure(figsize=(3.2 * columns, 2.5 * -(-count // columns)), layout="constrained")
    axes = figure.subplots(-(-count // columns), columns, squeeze=False, sharex=True).flat
    dps = np.median(outcome.posterior["dps"], 0)
    grid = np.linspace(dps.min(), dps.max(), POINTS)
    low, middle, high = np.quantile(own_curves(outcome, grid), [0.05, 0.5, 0.95], axis=0)
    colours, label = cluster_colours(outcome.model.n_clusters), outcome.assignments.argmax(1)
    for j, axis in enumerate(axes):
        if j >= count:
            axis.axis("off")
            continue
        for members, colour, name in diagnosis_groups(outcome.cohort):
            axis.plot(dps[members], outcome.cohort.values[members, j], ".", ms=2, color=colour, alpha=0.5, label=name)
        axis.fill_between(grid, low[j], high[j], color="k", alpha=0.2, lw=0)
        axis.plot(grid, middle[j], "k", lw=1.5)
        axis.set_ylabel(str(names[j]), fontsize=9)
        if not outcome.each_alone:
            axis.set_title(f"cluster {label[j] + 1}", fontsize=9, color=colours[label[j]])
        axis.set_xlabel(score_label(outcome.cohort))
        axis.tick_params(labelbottom=True)  # there may be no panel below
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=8, fontsize=8, markerscale=4, frameon=False)
    figure.suptitle(f"biomarkers, {IN_THE_DATA}", fontsize=10)  # beside the panels it would be of the nearest alone
    return figure


def own_curves(outcome: Outcome, grid: NDArray[np.float64]) -> NDArray[Any]:
    """Return draws of the columns' own curves at median scores ``(points,)``, ``(draws, columns, points)``.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import VertexClusterMixture
    >>> cohort, model = simulate_reference(n_subjects=6, n_vertices=3, seed=1), VertexClusterMixture(1)
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> outcome = Outcome(model, cohort, fit(model, cohort, "map", schedule=short, progress=False))
    >>> own_curves(outcome, np.array([-1.0, 0.0])).shape[1:]
    (3, 2)
    """
    visits = outcome.fit.data
    location, scale = (np.asarray(x.double().cpu())[:, None] for x in (visits.location, visits.scale))
    courses = list(FittedClusters(outcome.model, outcome.fit).courses(CURVES))
    dps = np.stack([np.asarray(course.dps.double().cpu()) for course in courses if course.dps is not None])
    drawn = []
    for course, scores in zip(courses, scores_of_draws(grid, dps), strict=True):
        d, c, log_b, a = (np.asarray(x.cpu(), np.float64)[:, None] for x in own_trajectories(course))
        drawn.append((d + a * expit(np.exp(log_b) * (scores - c))) * scale + location)
    return np.stack(drawn)
