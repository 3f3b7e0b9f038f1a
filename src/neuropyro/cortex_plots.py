"""Figures of maps on the inflated cortex of a template, both sides of each hemisphere that has data."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from neuropyro.data import Mesh
from neuropyro.data.surface_space import TEMPLATE_VERTICES
from neuropyro.data.surfaces import template_surface
from neuropyro.outputs import Outcome
from neuropyro.plot_arguments import require_outcome
from neuropyro.plot_style import cluster_colours

__all__ = ["plot_clusters", "plot_entropy", "plot_map"]

NO_DATA = (0.85, 0.85, 0.85, 1.0)
PANELS = (("left", "lateral"), ("left", "medial"), ("right", "medial"), ("right", "lateral"))
SHADES = 64  # of a map of numbers


def plot_clusters(outcome: Outcome) -> Figure | None:
    """Draw the likeliest cluster of each vertex; None without a template.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import VertexClusterMixture
    >>> cohort, model = simulate_reference(n_subjects=8, n_vertices=12, seed=1), VertexClusterMixture(2)
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> outcome = Outcome(model, cohort, fit(model, cohort, "map", schedule=short, progress=False))
    >>> plot_clusters(outcome) is None  # a cohort without a cortex
    True
    """
    require_outcome(outcome)
    colours = cluster_colours(outcome.model.n_clusters)
    figure = _on_cortex(outcome.cohort.mesh, outcome.assignments.argmax(1), ListedColormap(colours))
    if figure is not None:
        sizes = [f"{count:,}, {100 * count / outcome.members.sum():.0f} %" for count in outcome.members]
        labels = [f"cluster {k + 1}: {size}" for k, size in enumerate(sizes)]
        handles = [mpl.patches.Patch(color=c, label=label) for c, label in zip(colours, labels, strict=True)]
        shown = {"title": "vertices, share of all", "fontsize": 8, "title_fontsize": 8, "frameon": False}
        columns = min(len(colours), len(figure.axes) + 1)
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, **shown)
    return figure


def plot_entropy(outcome: Outcome) -> Figure | None:
    """Draw how open the cluster of each vertex is, 0 to log K nats; None without a template, or with one cluster.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import VertexClusterMixture
    >>> cohort, model = simulate_reference(n_subjects=8, n_vertices=12, seed=1), VertexClusterMixture(2)
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> outcome = Outcome(model, cohort, fit(model, cohort, "map", schedule=short, progress=False))
    >>> plot_entropy(outcome) is None  # a cohort without a cortex
    True
    """
    require_outcome(outcome)
    if outcome.model.n_clusters == 1:
        return None
    limits = (0.0, float(np.log(outcome.model.n_clusters)))
    return plot_map(outcome.cohort.mesh, outcome.vertex_maps.entropy, "entropy (nats)", limits)


def plot_map(
    mesh: Mesh | None,
    values: ArrayLike,
    label: str,
    limits: tuple[float, float] | None = None,
    colours: str = "viridis",
) -> Figure | None:
    """Draw a number at each vertex; None without a template.

    Parameters
    ----------
    mesh
        Of a template, or of a part of one.
    values
        ``(vertices,)``; NaN is grey, as is what the mesh leaves out.
    label
        What is drawn, and its unit.
    limits
        Ends of the colours; the 1st and 99th percentile if None.
    colours
        Name of a matplotlib colour map.

    Examples
    --------
    >>> plot_map(Mesh.grid(2, 2), [2.1, 2.2, 2.3, 2.4], "thickness (mm)") is None  # a mesh of no template
    True
    """
    numbers = np.asarray(values, np.float64)
    low, high = limits if limits is not None else np.nanpercentile(numbers, [1, 99])
    shaded = mpl.colormaps[colours].resampled(SHADES)
    share = (np.nan_to_num(numbers, nan=low) - low) / max(high - low, np.finfo(float).tiny)
    shade = np.clip((share * SHADES).astype(np.int64), 0, SHADES - 1)
    figure = _on_cortex(mesh, np.where(np.isnan(numbers), -1, shade), shaded)
    if figure is not None:
        scale = ScalarMappable(Normalize(low, high), shaded)
        figure.colorbar(scale, ax=figure.axes, orientation="horizontal", shrink=0.4, aspect=30, label=label)
    return figure


def _on_cortex(mesh: Mesh | None, place: NDArray[np.int64], colours: Colormap) -> Figure | None:
    """Draw each vertex in the colour at its place, ``(vertices,)`` from 0, and what has no data (-1) in grey."""
    from nilearn.plotting import plot_surf

    if mesh is None or mesh.template not in TEMPLATE_VERTICES or mesh.template_index is None:
        return None
    n = TEMPLATE_VERTICES[mesh.template]
    every = np.full(2 * n, -1)  # the medial wall, and whatever else has no data
    every[mesh.template_index] = place
    if not (every >= 0).any():
        return None
    with_data = {side for side, part in (("left", every[:n]), ("right", every[n:])) if (part >= 0).any()}
    panels = [panel for panel in PANELS if panel[0] in with_data]
    figure = Figure(figsize=(2.75 * len(panels), 3), layout="constrained")
    axes = figure.subplots(1, len(panels), subplot_kw={"projection": "3d"})
    shades: list[Any] = [NO_DATA, *colours(np.arange(colours.N))]
    for axis, (hemisphere, view) in zip(axes, panels, strict=True):
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
