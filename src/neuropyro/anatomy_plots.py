"""Figures of the anatomy simulator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuropyro.data import Mesh
from neuropyro.data.surface_space import TEMPLATE_VERTICES
from neuropyro.data.surfaces import template_surface
from neuropyro.models.anatomy_counterfactual import Counterfactual

__all__ = ["draw_cortex", "plot_worlds"]

THICKNESS, CHANGE = (1.5, 3.5), 0.6  # mm: range of maps, and of differences
BRIGHTNESS_CHANGE, BRIGHTNESS_SD = 0.5, 0.2  # of -1..1
NO_DATA = 0.85


def plot_worlds(worlds: Mapping[str, Counterfactual], mesh: Mesh | None = None) -> Figure:
    """Draw one subject: a block of rows a world, a column a time.

    Parameters
    ----------
    worlds
        By what is done in them, of the same subject (the first is drawn) and times.  Each but the first has beside it
        its difference from the first, of slices and of maps, and the sd of the slices' difference.
    mesh
        Of the maps; they are drawn where it is a template's.

    Examples
    --------
    >>> black = np.full((2, 1, 1, 1, 8, 8), -1.0)  # draws, subjects, times, channels, height, width
    >>> world = Counterfactual(np.array(["a"]), np.array([[70.0]]), {"image": black})
    >>> worlds = {"as it is": world, "treated": world.minus(world)}
    >>> len(plot_worlds(worlds).axes)  # a slice; a slice, its difference, and the sd of that
    4
    """
    rows = [row for name in worlds for row in _rows(name, worlds, mesh)]
    first = next(iter(worlds.values()))
    n = first.times.shape[1]
    figure = Figure(figsize=(1.25 * n + 1.3, 1.25 * max(len(rows), 1) + 0.4), layout="constrained")
    axes = figure.subplots(max(len(rows), 1), n, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for k, (label, draw) in enumerate(rows):
        for t in range(n):
            draw(axes[k, t], t)
        axes[k, 0].text(-0.08, 0.5, label, transform=axes[k, 0].transAxes, ha="right", va="center", fontsize=8)
    for t, age in enumerate(first.times[0]):
        axes[0, t].set_title(f"{age:.4g} years", fontsize=9)
    return figure


def _rows(name: str, worlds: Mapping[str, Counterfactual], mesh: Mesh | None) -> list[tuple[str, Any]]:
    """Return labels and functions that draw a world's panels."""
    world, first = worlds[name], next(iter(worlds.values()))
    on_template = mesh is not None and mesh.template in TEMPLATE_VERTICES and mesh.template_index is not None
    maps = on_template and "thickness" in world.nodes
    found = []
    if "image" in world.nodes:
        found.append((name, _slices(world.mean("image")[0, :, 0], "gray", -1, 1)))
    if maps:
        found.append((f"{name}\nthickness", _maps(mesh, world.mean("thickness")[0], "viridis", *THICKNESS)))
    if world is first:
        return found
    change = world.minus(first)
    if "image" in change.nodes:
        limit = BRIGHTNESS_CHANGE
        found.append(("difference", _slices(change.mean("image")[0, :, 0], "RdBu_r", -limit, limit)))
        found.append(("its sd", _slices(change.sd("image")[0, :, 0], "magma", 0, BRIGHTNESS_SD)))
    if maps:
        found.append(("difference", _maps(mesh, change.mean("thickness")[0], "RdBu", -CHANGE, CHANGE)))
    return found


def _slices(images: NDArray[Any], colours: str, low: float, high: float) -> Any:
    def draw(axis: Any, t: int) -> None:
        axis.imshow(images[t], cmap=colours, vmin=low, vmax=high)

    return draw


def _maps(mesh: Any, maps: NDArray[Any], colours: str, low: float, high: float) -> Any:
    def draw(axis: Any, t: int) -> None:
        draw_cortex(axis, mesh, maps[t], colours, low, high)

    return draw


def draw_cortex(axis: Any, mesh: Mesh, values: NDArray[Any], colours: str, low: float, high: float) -> None:
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
