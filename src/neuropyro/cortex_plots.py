"""Figures of maps on the inflated cortex of a template, both sides of both hemispheres."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuropyro.data import Mesh
from neuropyro.data.surface_space import TEMPLATE_VERTICES
from neuropyro.data.surfaces import template_surface
from neuropyro.outputs import Outcome
from neuropyro.plots import cluster_colours

__all__ = ["plot_clusters", "plot_entropy"]

NO_DATA = (0.85, 0.85, 0.85, 1.0)
PANELS = (("left", "lateral"), ("left", "medial"), ("right", "medial"), ("right", "lateral"))
SHADES = 64  # of a map of numbers


def plot_clusters(outcome: Outcome) -> Figure | None:
    """Draw the likeliest cluster of each vertex; None without a template."""
    colours = cluster_colours(outcome.model.n_clusters)
    figure = _on_cortex(outcome.cohort.mesh, outcome.assignments.argmax(1), ListedColormap(colours))
    if figure is not None:
        handles = [mpl.patches.Patch(color=c, label=f"cluster {k + 1}") for k, c in enumerate(colours)]
        figure.legend(handles=handles, loc="outside lower center", ncols=min(len(colours), 8), frameon=False)
    return figure


def plot_entropy(outcome: Outcome) -> Figure | None:
    """Draw how open the cluster of each vertex is, 0 to log K nats; None without a template, or with one cluster."""
    if outcome.model.n_clusters == 1:
        return None
    colours = mpl.colormaps["viridis"].resampled(SHADES)
    most = np.log(outcome.model.n_clusters)
    shade = np.clip((outcome.vertex_maps.entropy / most * SHADES).astype(np.int64), 0, SHADES - 1)
    figure = _on_cortex(outcome.cohort.mesh, shade, colours)
    if figure is not None:
        scale = ScalarMappable(Normalize(0, most), colours)
        figure.colorbar(scale, ax=figure.axes, orientation="horizontal", shrink=0.3, aspect=40, label="entropy (nats)")
    return figure


def _on_cortex(mesh: Mesh | None, place: NDArray[np.int64], colours: Colormap) -> Figure | None:
    """Draw each vertex in the colour at its place, ``(vertices,)`` from 0, and what has no data in grey."""
    from nilearn.plotting import plot_surf

    if mesh is None or mesh.template not in TEMPLATE_VERTICES or mesh.template_index is None:
        return None
    n = TEMPLATE_VERTICES[mesh.template]
    every = np.full(2 * n, -1)  # the medial wall, and whatever else has no data
    every[mesh.template_index] = place
    figure = Figure(figsize=(11, 3), layout="constrained")
    axes = figure.subplots(1, 4, subplot_kw={"projection": "3d"})
    shades: list[Any] = [NO_DATA, *colours(np.arange(colours.N))]
    for axis, (hemisphere, view) in zip(axes, PANELS, strict=True):
        plot_surf(
            list(template_surface("inflated", hemisphere, mesh.template)),  # type: ignore[arg-type]
            every[:n] if hemisphere == "left" else every[n:],
            hemi=hemisphere,
            view=view,
            cmap=ListedColormap(shades),
            vmin=-1.5,
            vmax=colours.N - 0.5,
            avg_method="median",
            axes=axis,
            figure=figure,
            colorbar=False,
        )
        axis.set_title(f"{hemisphere}, {view}", fontsize=10)
    return figure
