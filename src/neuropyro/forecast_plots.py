"""A figure of one subject's forecast: what was seen, and what is expected, over time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuropyro.data import Cohort
from neuropyro.models.forecasting import Forecasted
from neuropyro.plot_style import BLUE, IN_THE_DATA, RED

__all__ = ["plot_forecast"]

MOST = 24  # panels
LATER: dict[str, Any] = {"color": RED, "linestyle": "--", "linewidth": 1}  # also up to the first: one may be all


class _Panel(NamedTuple):
    """What is drawn of one biomarker, or of one cluster; ``(visits,)``, and ``(rows,)`` of the forecast."""

    title: str
    seen: NDArray[Any]
    mean: NDArray[Any]
    lower: NDArray[Any]
    upper: NDArray[Any]


def plot_forecast(found: Forecasted, cohort: Cohort, label: NDArray[np.int64] | None = None) -> Figure:
    """Draw a subject's values so far, and mean and interval of those forecast, over time.

    Named biomarkers have a panel each, the first 24 of them; else each cluster has one, of the mean over its vertices.

    Parameters
    ----------
    found
        The forecast of one subject; of clusters, with its draws.
    cohort
        That subject's visits so far.
    label
        ``(vertices,)`` cluster of each vertex, from 0; -1 where it does not vary.  Needed where columns have no names.

    Raises
    ------
    ValueError
        Where there are several subjects, or the labels or the draws that clusters need are missing.

    Examples
    --------
    >>> seen = Cohort(np.array([[26.0], [25.0]]), [70, 71], ["a", "a"], feature_names=np.array(["MMSE"]))
    >>> mean = np.array([[24.0], [23.0]])
    >>> later = Forecasted(np.array(["a", "a"]), np.array([72.0, 73.0]), np.zeros((4, 2)), mean, mean, mean + 1, 0.9)
    >>> [axis.get_ylabel() for axis in plot_forecast(later, seen).axes]
    ['MMSE']
    """
    if cohort.n_subjects != 1:
        raise ValueError(f"plot_forecast: {cohort.n_subjects} subjects; give one, as cohort.subset(subjects=[...])")
    panels = _biomarkers(found, cohort) if cohort.feature_names is not None else _clusters(found, cohort, label)
    columns = min(len(panels), 3)
    figure = Figure(figsize=(3.2 * columns, 2.5 * -(-len(panels) // columns) + 0.4), layout="constrained")
    axes = list(figure.subplots(-(-len(panels) // columns), columns, squeeze=False, sharex=True).flat)
    before, after = np.argsort(cohort.time), np.argsort(found.time)
    for axis, panel in zip(axes, panels, strict=False):
        axis.plot(cohort.time[before], panel.seen[before], "o-", ms=3, lw=1, color=BLUE, label="seen")
        ends = np.stack([panel.mean - panel.lower, panel.upper - panel.mean])[:, after]
        said = f"forecast, {100 * found.level:.3g} % interval"
        axis.errorbar(found.time[after], panel.mean[after], ends, fmt="o", ms=3, capsize=3, label=said, **LATER)
        _join(axis, (cohort.time[before], panel.seen[before]), (found.time[after], panel.mean[after]))
        axis.set_ylabel(panel.title)
        if not np.isfinite(panel.seen).any():
            axis.set_title("no value so far", fontsize=8)
        axis.set_xlabel("time (years)")
        axis.tick_params(labelbottom=True)  # a shared axis has numbers in the last row alone, where panels may be few
    for axis in axes[len(panels) :]:
        axis.remove()
    visits = "1 visit" if cohort.n_visits == 1 else f"{cohort.n_visits} visits"
    note = "" if cohort.feature_names is None else f", {IN_THE_DATA}"
    figure.suptitle(f"subject {cohort.subjects[0]}, {visits} so far{note}", fontsize=10)
    keys = axes[0].get_legend_handles_labels()
    figure.legend(*keys, loc="outside lower center", ncols=len(keys[0]), fontsize=8, frameon=False)
    return figure


def _join(axis: Axes, seen: tuple[NDArray[Any], NDArray[Any]], later: tuple[NDArray[Any], NDArray[Any]]) -> None:
    """Draw the forecast's line from the last value that was seen to the first that is forecast."""
    known = np.flatnonzero(np.isfinite(seen[1]))
    if known.size and len(later[0]):
        ends = [np.array([a[known[-1]], b[0]]) for a, b in zip(seen, later, strict=True)]
        axis.plot(*ends, zorder=0, **LATER)


def _biomarkers(found: Forecasted, cohort: Cohort) -> list[_Panel]:
    assert cohort.feature_names is not None
    arrays = (cohort.values, found.mean, found.lower, found.upper)
    return [_Panel(str(name), *(array[:, j] for array in arrays)) for j, name in enumerate(cohort.feature_names[:MOST])]


def _clusters(found: Forecasted, cohort: Cohort, label: NDArray[np.int64] | None) -> list[_Panel]:
    if label is None or found.draws is None:
        raise ValueError("plot_forecast: clusters need the vertices' labels and forecast(..., keep_draws=True)")
    tail = (1 - found.level) / 2
    panels = []
    for k in np.unique(label[label >= 0]):
        members = label == k
        seen = np.where(cohort.observed_rows, _mean(cohort.values[:, members]), np.nan)
        drawn = found.draws[:, :, members].mean(2, dtype=np.float64)
        ends = np.quantile(drawn, [tail, 1 - tail], axis=0)
        title = f"cluster {k + 1}: mean of its\n{members.sum():,} vertices ({cohort.unit_in_words})"
        panels.append(_Panel(title, seen, drawn.mean(0), *ends))
    return panels


def _mean(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the mean of what was seen at each visit; 0 where nothing was."""
    seen = (~np.isnan(values)).sum(1)
    return np.asarray(np.nansum(values, 1, dtype=np.float64) / np.maximum(seen, 1))
