"""The figure of one person's numbers (score, tests, volumes) by age, world by world."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuropyro.anatomy_dictionary import described
from neuropyro.models.anatomy_counterfactual import Counterfactual
from neuropyro.plot_style import GREY, OKABE_ITO

__all__ = ["plot_courses"]

LABELS = {
    "dps": "progression score\n({unit})",
    "adas": "ADAS-Cog 11",
    "mmse": "MMSE",
    "ventricle_volume": "ventricles ({unit})",
    "cortical_thickness": "mean thickness ({unit})",
}
COLOURS = (GREY, *(colour for colour in OKABE_ITO if colour != "#F0E442"))  # yellow is not seen on white
BAND = 0.2  # opacity
APART = 0.1  # years between the worlds' error bars, where there is one time


def plot_courses(worlds: Mapping[str, Counterfactual], level: float = 0.9) -> Figure:
    """Draw what is expected of each number of the first subject by age, with intervals, a colour a world.

    Parameters
    ----------
    worlds
        By name, all of one subject and the same times; the first is drawn in grey.
    level
        Of the intervals.

    Raises
    ------
    ValueError
        Where the worlds have none of the progression score, tests, ventricles' volume and mean thickness.

    Examples
    --------
    >>> draws = np.array([[27.0, 25.0], [29.0, 27.0]]).reshape(2, 1, 2)  # two draws, one subject, two ages
    >>> world = Counterfactual(np.array(["a"]), np.array([[70.0, 75.0]]), {"mmse": draws})
    >>> (axis,) = plot_courses({"as it is": world}).axes
    >>> axis.get_ylabel(), axis.lines[0].get_ydata().tolist()
    ('MMSE', [28.0, 26.0])
    """
    first = next(iter(worlds.values()))
    units = {name: said.get("Units", "") for name, said in described(LABELS).items()}
    shown = [node for node in LABELS if node in first.nodes]
    if not shown:
        raise ValueError(f"plot_courses: the worlds have none of {', '.join(LABELS)}")
    figure = Figure(figsize=(2.9 * len(shown) + 1.4, 2.9), layout="constrained")
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    for node, axis in zip(shown, axes, strict=True):
        for place, (world, colour) in enumerate(zip(worlds.items(), _colours(len(worlds)), strict=True)):
            _draw(axis, node, *world, colour, level, place - (len(worlds) - 1) / 2)
        axis.set_xlabel("age (years)")
        axis.set_ylabel(LABELS[node].format(unit=units[node]))
    said = f"mean, {100 * level:.3g} % interval;\nat visits what was new\nat them is kept"
    titled = {"title": said, "title_fontsize": 7}
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7, frameon=False, **titled)
    return figure


def _colours(count: int) -> list[str]:
    return [COLOURS[0], *(COLOURS[1 + k % (len(COLOURS) - 1)] for k in range(count - 1))]


def _draw(axis: Axes, node: str, name: str, world: Counterfactual, colour: str, level: float, place: float) -> None:
    ages, (low, high) = world.times[0], world.interval(node, level)
    mean, low, high = (np.broadcast_to(x[0], ages.shape) for x in (world.mean(node), low, high))
    if len(ages) == 1:
        ends: NDArray[np.float64] = np.stack([mean - low, high - mean]).clip(min=0)
        axis.errorbar(ages + APART * place, mean, ends, fmt="o", ms=4, capsize=3, color=colour, label=name)
        axis.set_xticks(ages, [f"{age:.4g}" for age in ages])
        axis.set_xlim(ages[0] - 1, ages[0] + 1)
        return
    order = np.argsort(ages)
    axis.plot(ages[order], mean[order], "o-", ms=3, lw=1.2, color=colour, label=name)
    axis.fill_between(ages[order], low[order], high[order], color=colour, alpha=BAND, lw=0)
