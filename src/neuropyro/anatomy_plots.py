"""Figures of the anatomy simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuropyro.data import Mesh
from neuropyro.data.surface_space import TEMPLATE_VERTICES
from neuropyro.data.surfaces import template_surface
from neuropyro.models.anatomy_counterfactual import Counterfactual

__all__ = ["draw_cortex", "plot_worlds"]

SHOWN, NO_CHANGE = 0.995, 1e-3  # share of differences within their colours; where these end if there are none
NO_DATA = 0.85


@dataclass(frozen=True)
class Kind:
    """What is drawn of a node: its range, its colours and those of its differences; on a mesh, or as slices."""

    node: str
    low: float
    high: float
    colours: str
    change_colours: str
    unit: str = ""
    mesh: Mesh | None = None

    def panels(self, summary: NDArray[Any]) -> NDArray[Any]:
        """Return the first subject's ``(times, ...)`` of a mean or sd ``(subjects, times, ...)``."""
        return summary[0, :, 0] if self.mesh is None else summary[0]


@dataclass(frozen=True)
class Row:
    """Panels ``(times, ...)`` of a kind, in colours from ``low`` to ``high``."""

    label: str
    kind: Kind
    panels: NDArray[Any]
    colours: str
    low: float
    high: float

    def draw(self, axis: Axes, t: int) -> ScalarMappable:
        """Draw a panel; what is returned knows its colours."""
        if self.kind.mesh is not None:
            return draw_cortex(axis, self.kind.mesh, self.panels[t], self.colours, self.low, self.high)
        return axis.imshow(self.panels[t], cmap=self.colours, vmin=self.low, vmax=self.high)


SLICES = Kind("image", -1.0, 1.0, "gray", "RdBu_r")
MAPS = Kind("thickness", 1.5, 3.5, "viridis", "RdBu", "mm")


def plot_worlds(worlds: Mapping[str, Counterfactual], mesh: Mesh | None = None) -> Figure:
    """Draw one subject: a block of rows a world, a column a time.

    Parameters
    ----------
    worlds
        By what is done in them, of the same subject (the first is drawn) and times.  Each but the first has beside it
        its difference from the first and, over draws, the sd of that: of slices (brightness, -1 to 1) and of maps (mm),
        in the same colours for all worlds.
    mesh
        Of the maps; they are drawn where it is a template's.

    Examples
    --------
    >>> black = np.full((2, 1, 1, 1, 8, 8), -1.0)  # draws, subjects, times, channels, height, width
    >>> world = Counterfactual(np.array(["a"]), np.array([[70.0]]), {"image": black})
    >>> worlds = {"as it is": world, "treated": world.minus(world)}
    >>> len(plot_worlds(worlds).axes)  # a slice; a slice, its difference, and the sd of that; a scale of each
    8
    """
    rows = _rows(worlds, mesh)
    times = next(iter(worlds.values())).times[0]
    figure = Figure(figsize=(1.25 * len(times) + 1.8, 1.25 * max(len(rows), 1) + 0.4), layout="constrained")
    axes = figure.subplots(max(len(rows), 1), len(times), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for axis, age in zip(axes[0], times, strict=True):
        axis.set_title(f"{age:.4g} years", fontsize=9)
    for row, line in zip(rows, axes, strict=False):
        drawn = [row.draw(axis, t) for t, axis in enumerate(line)]
        line[0].text(-0.08, 0.5, row.label, transform=line[0].transAxes, ha="right", va="center", fontsize=8)
        scale = figure.colorbar(drawn[0], ax=line.tolist(), aspect=10, pad=0.01, extend="both")
        scale.set_label(row.kind.unit, fontsize=7)
        scale.ax.tick_params(labelsize=6)
    return figure


def _rows(worlds: Mapping[str, Counterfactual], mesh: Mesh | None) -> list[Row]:
    """Return what is drawn, from above."""
    first = next(iter(worlds.values()))
    on_template = mesh is not None and mesh.template in TEMPLATE_VERTICES and mesh.template_index is not None
    kinds = [
        kind for kind in (SLICES, *([replace(MAPS, mesh=mesh)] if on_template else [])) if kind.node in first.nodes
    ]
    changes = {name: world.minus(first) for name, world in worlds.items() if world is not first}
    changed = {kind.node: _changed(kind, changes) for kind in kinds}
    rows = []
    for name, world in worlds.items():
        for kind in kinds:
            panels = kind.panels(world.mean(kind.node))
            rows.append(Row(name.replace(",", ",\n"), kind, panels, kind.colours, kind.low, kind.high))
        rows += [row for kind in kinds for row in changed[kind.node].get(name, ())]
    return rows


def _changed(kind: Kind, changes: Mapping[str, Counterfactual]) -> dict[str, tuple[Row, Row]]:
    """Return for each world the rows of its difference and of its sd; all worlds have the same colours."""
    means = {name: kind.panels(change.mean(kind.node)) for name, change in changes.items()}
    sds = {name: kind.panels(change.sd(kind.node)) for name, change in changes.items()}
    most, spread = (max([NO_CHANGE, *(np.quantile(abs(x), SHOWN) for x in found.values())]) for found in (means, sds))
    return {
        name: (
            Row("difference", kind, means[name], kind.change_colours, -most, most),
            Row("its sd", kind, sds[name], "magma", 0.0, spread),
        )
        for name in changes
    }


def draw_cortex(axis: Axes, mesh: Mesh, values: NDArray[Any], colours: str, low: float, high: float) -> PolyCollection:
    """Draw a map on the left hemisphere of the inflated template, seen from the side.

    Parameters
    ----------
    values
        ``(vertices,)`` of the mesh, which is a template's; where the template has no vertex of it, it is grey.
    """
    assert mesh.template is not None
    assert mesh.template_index is not None
    points, faces = template_surface("inflated", "left", mesh.template)
    whole = np.full(TEMPLATE_VERTICES[mesh.template] * 2, np.nan)
    whole[mesh.template_index] = values
    corners = points[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    seen = normals[:, 0] < 0  # the left side looks towards negative x
    order = np.argsort(-corners[seen].mean(1)[:, 0])
    shown = corners[seen][order][:, :, 1:] * np.array([-1.0, 1.0])  # the front to the left
    shade = whole[faces[seen][order]].mean(1)
    shades, cmap = np.ma.masked_invalid(shade), colormaps[colours].with_extremes(bad=str(NO_DATA))
    triangles = PolyCollection(list(shown), array=shades, cmap=cmap, edgecolors="face", lw=0.2)
    triangles.set_clim(low, high)
    axis.add_collection(triangles)
    axis.autoscale()
    axis.set_aspect("equal")
    return triangles
