"""Figures of calibration: whether probabilities, and intervals, mean what they say."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from neuropyro.inference.reliability import interval_coverage, reliability
from neuropyro.outputs import Outcome
from neuropyro.plot_arguments import require_outcome
from neuropyro.plot_style import BLUE, CONTROL, GREY, OKABE_ITO, RED

__all__ = ["plot_coverage", "plot_reliability"]

LEVELS = np.append(np.linspace(0.1, 0.9, 9), 0.95)


def plot_reliability(outcome: Outcome) -> Figure:
    """Draw, for a simulated cohort, how often labels are right over how probable they were said to be.

    The band is two sds wide, vertices being independent.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import VertexClusterMixture
    >>> cohort, model = simulate_reference(n_subjects=8, n_vertices=12, seed=1), VertexClusterMixture(2)
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> outcome = Outcome(model, cohort, fit(model, cohort, "map", schedule=short, progress=False))
    >>> plot_reliability(outcome).axes[0].get_xlabel()
    'largest posterior of the cluster'
    """
    require_outcome(outcome)
    figure = Figure(figsize=(4.2, 4), layout="constrained")
    axis = figure.subplots()
    found = reliability(outcome.assignments, np.asarray(outcome.cohort.truth["Z"], np.int64))
    low, high = (np.clip(found.confidence + sign * 2 * found.spread, 0, 1) for sign in (-1, 1))
    axis.fill_between(found.confidence, low, high, color=GREY, alpha=0.3, lw=0, label="if calibrated")
    axis.plot([0, 1], [0, 1], color="k", lw=0.8)
    size = 20 + 200 * found.count / found.count.max()
    axis.plot(found.confidence, found.accuracy, color=CONTROL, lw=0.8)
    axis.scatter(found.confidence, found.accuracy, size, color=CONTROL, alpha=0.7, label=f"{outcome.columns}, by area")
    axis.set_xlim(1 / outcome.assignments.shape[1] - 0.03, 1.03)
    axis.set_ylim(-0.03, 1.03)
    axis.set_xlabel("largest posterior of the cluster")
    axis.set_ylabel("share of labels that are right")
    axis.set_title(f"mean {found.mean_confidence:.3f} said, {found.mean_accuracy:.3f} right", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def plot_coverage(results: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> Figure:
    """Draw how often central intervals hold the truth over how often they promise to; on the line, they keep it.

    Parameters
    ----------
    results
        By name: posterior draws ``(draws, *shape)`` and the truth ``shape``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> figure = plot_coverage({"normal": (rng.normal(size=(200, 50)), rng.normal(size=50))})
    >>> figure.axes[0].get_xlabel()
    'probability that intervals promise'
    """
    figure = Figure(figsize=(4.2, 4), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="k", lw=0.8)
    for colour, (name, (draws, truth)) in zip((BLUE, RED, *OKABE_ITO), results.items(), strict=False):
        found = interval_coverage(draws, truth, LEVELS)
        axis.plot(LEVELS, found, "o-", ms=4, color=colour, label=name)
    axis.set_xlim(0, 1.02)
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("probability that intervals promise")
    axis.set_ylabel("share of truths that they hold")
    axis.legend(frameon=False, fontsize=8)
    return figure
