"""Figures of the anatomy simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from neuropyro.data import Mesh
from neuropyro.data.surface_space import TEMPLATE_VERTICES
from neuropyro.data.surfaces import template_surface
from neuropyro.models.anatomy_counterfactual import Counterfactual
from neuropyro.plot_style import beyond

__all__ = ["has_pictures", "plot_worlds"]

SHOWN, NO_CHANGE = 0.995, 1e-3  # share of differences within their colours; where these end if there are none
NO_DATA = 0.85
SIDE, LETTER = 1.15, 0.085  # of a panel, and of a letter of a row's label, inches


@dataclass(frozen=True)
class _Kind:
    """What is drawn of a node: its range and its colours; on a mesh, or as slices; and what less of it is called."""

    node: str
    low: float
    high: float
    colours: str
    unit: str
    less: str
    mesh: Mesh | None = None

    def panels(self, summary: NDArray[Any]) -> NDArray[Any]:
        """Return the first subject's ``(times, ...)`` of a mean or sd ``(subjects, times, ...)``."""
        return summary[0, :, 0] if self.mesh is None else summary[0]


@dataclass(frozen=True)
class _Strip:
    """Panels ``(times, ...)`` of a kind, in colours from ``low`` to ``high``, which the scale calls ``said``."""

    kind: _Kind
    panels: NDArray[Any]
    colours: str
    low: float
    high: float
    said: str

    @property
    def beyond(self) -> Literal["neither", "min", "max", "both"]:
        """At which ends of the scale there are values beyond."""
        return beyond(self.panels, self.low, self.high)

    def draw(self, axis: Axes, t: int) -> ScalarMappable:
        """Draw a panel; what is returned knows its colours."""
        if self.kind.mesh is not None:
            return _draw_cortex(axis, self.kind.mesh, self.panels[t], self.colours, self.low, self.high)
        return axis.imshow(self.panels[t], cmap=self.colours, vmin=self.low, vmax=self.high)


Line = tuple[str, list[_Strip]]
"""A row of the figure: its label, and a strip of each kind side by side."""

SLICES = _Kind("image", -1.0, 1.0, "gray", "brightness", "darker")
MAPS = _Kind("thickness", 1.5, 3.5, "viridis", "mm", "thinner")
CHANGE = "RdBu"  # red is less in slices and maps alike: where tissue is lost both are red


def plot_worlds(worlds: Mapping[str, Counterfactual], mesh: Mesh | None = None, note: str = "") -> Figure:
    """Draw one subject: a block of rows a world, slices on the left and maps beside them, a column a time.

    Parameters
    ----------
    worlds
        By what is done in them, of the same subject (the first is drawn) and times.  Each but the first has below it
        its difference from the first and, over draws, the sd of that: of slices (brightness, -1 to 1) and of maps (mm),
        in the same colours for all worlds; red is less.
    mesh
        Of the maps; they are drawn where it is a template's.
    note
        What stands below.

    Examples
    --------
    >>> black = np.full((2, 1, 1, 1, 8, 8), -1.0)  # draws, subjects, times, channels, height, width
    >>> world = Counterfactual(np.array(["a"]), np.array([[70.0]]), {"image": black})
    >>> worlds = {"as it is": world, "treated": world.minus(world)}
    >>> len(plot_worlds(worlds).axes)  # a slice; a slice, its difference, and the sd of that; a scale of each
    8
    """
    kinds = _kinds(next(iter(worlds.values())), mesh)
    if not kinds:
        raise ValueError(
            "plot_worlds: the worlds have neither slices nor maps of a template; plot_courses draws numbers"
        )
    lines = _lines(worlds, kinds)
    times = next(iter(worlds.values())).times[0]
    columns = len(times) * len(kinds)
    room = LETTER * max(len(part) for label, _ in lines for part in label.split("\n"))
    width = SIDE * columns + 0.8 * len(kinds) + room
    layout = ConstrainedLayoutEngine(rect=(room / width, 0, 1 - room / width, 1))
    figure = Figure(figsize=(width, SIDE * len(lines) + 0.4), layout=layout)
    axes = figure.subplots(len(lines), columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for column, axis in enumerate(axes[0]):
        axis.set_title(f"{times[column % len(times)]:.4g} years", fontsize=9)
    if note:
        figure.supxlabel(note, fontsize=8)
    labels = []
    for (words, strips), row in zip(lines, axes, strict=False):
        label = row[0].text(-0.08, 0.5, words, transform=row[0].transAxes, ha="right", va="center", fontsize=8)
        label.set_in_layout(False)  # room is left for it
        labels.append(label)
        for strip, own in zip(strips, np.split(row, len(strips)), strict=True):
            drawn = [strip.draw(axis, t) for t, axis in enumerate(own)]
            scale = figure.colorbar(drawn[0], ax=own.tolist(), aspect=10, pad=0.01, extend=strip.beyond)
            scale.set_label(strip.said, fontsize=8)
            scale.ax.tick_params(labelsize=7)
    figure.draw_without_rendering()  # the layout, which stays, is made without labels
    figure.set_layout_engine("none")
    for label in labels:
        label.set_in_layout(True)  # as notebooks, which cut figures to what is in them, ask
    return figure


def has_pictures(world: Counterfactual, mesh: Mesh | None) -> bool:
    """Whether a world has slices, or maps of a template, which :func:`plot_worlds` draws.

    Examples
    --------
    >>> years, mmse = np.array([[70.0]]), {"mmse": np.full((2, 1, 1), 29.0)}
    >>> numbers = Counterfactual(np.array(["a"]), years, mmse)
    >>> slices = Counterfactual(np.array(["a"]), years, {"image": np.full((2, 1, 1, 1, 8, 8), -1.0)})
    >>> has_pictures(numbers, None), has_pictures(slices, None)
    (False, True)
    """
    return bool(_kinds(world, mesh))


def _kinds(world: Counterfactual, mesh: Mesh | None) -> list[_Kind]:
    on_template = mesh is not None and mesh.template in TEMPLATE_VERTICES and mesh.template_index is not None
    known = [SLICES, *([replace(MAPS, mesh=mesh)] if on_template else [])]
    return [kind for kind in known if kind.node in world.nodes]


def _lines(worlds: Mapping[str, Counterfactual], kinds: list[_Kind]) -> list[Line]:
    """Return what is drawn, from above."""
    first = next(iter(worlds.values()))
    changes = {name: world.minus(first) for name, world in worlds.items() if world is not first}
    changed = [_changed(kind, changes) for kind in kinds]
    lines: list[Line] = []
    for name, world in worlds.items():
        panels = [(kind, kind.panels(world.mean(kind.node))) for kind in kinds]
        strips = [_Strip(kind, x, kind.colours, kind.low, kind.high, kind.unit) for kind, x in panels]
        lines.append((name.replace(",", ",\n"), strips))
        if name in changes and kinds:
            means, sds = zip(*(own[name] for own in changed), strict=True)
            lines += [("difference", list(means)), ("its sd", list(sds))]
    return lines


def _changed(kind: _Kind, changes: Mapping[str, Counterfactual]) -> dict[str, tuple[_Strip, _Strip]]:
    """Return for each world the strips of its difference and of its sd; all worlds have the same colours."""
    means = {name: kind.panels(change.mean(kind.node)) for name, change in changes.items()}
    sds = {name: kind.panels(change.sd(kind.node)) for name, change in changes.items()}
    most, spread = (max([NO_CHANGE, *(np.quantile(abs(x), SHOWN) for x in found.values())]) for found in (means, sds))
    return {
        name: (
            _Strip(kind, means[name], CHANGE, -most, most, f"{kind.unit}\n(red: {kind.less})"),
            _Strip(kind, sds[name], "magma", 0.0, spread, kind.unit),
        )
        for name in changes
    }


def _draw_cortex(axis: Axes, mesh: Mesh, values: NDArray[Any], colours: str, low: float, high: float) -> PolyCollection:
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
