"""Figures of a reconstruction: input, estimate, draws, sd, truth and error; and whether sds mean what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.ndimage import label

from neuropyro.image_baselines import in_place, zero_filled
from neuropyro.plot_style import BLUE, beyond
from neuropyro.reconstruct_slices import slices_of

if TYPE_CHECKING:
    from neuropyro.reconstruct_outputs import Reconstruction

__all__ = ["errors_by_sd", "plot_reconstruction", "plot_sd"]

ROWS, DRAWS = 6, 3  # slices, and draws of each, at most
SD_PERCENTILE = 99.5
LEAST_RANGE = 0.1  # grey levels: less is not drawn as if it were something
POINT = "MAP: a point, no sd"
GREY_LEVELS = 127.5  # of 0..255, for one unit of -1..1
BINS = 12
HOLE, MOST_HOLES = "#E69F00", 12  # colour of outlines; with more, as of single pixels, none are drawn


def plot_reconstruction(found: Reconstruction) -> Figure:
    """Draw up to six slices, a row each: input, estimate, three draws, sd, and with a truth that and the error.

    Rows of a volume have the numbers of their slices.  A point has neither draws nor sd, which its title says.  A
    hole, where pixels were not seen, is outlined in all panels but the input.

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import LatentReconstruction
    >>> from neuropyro.models.corruption import Downsample
    >>> from neuropyro.reconstruct_outputs import Reconstruction
    >>> G, truth = load_generator("brains64"), torch.full((1, 1, 64, 64), -1.0)
    >>> model = LatentReconstruction(G, Downsample(8, noise=0.1), prior="z", candidates=20, starts=1, search_steps=0)
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> result = fit(model, model.corruption.corrupt(truth, seed=0), "normal", schedule=short, progress=False)
    >>> found = Reconstruction.of(result, truth, draws=4)
    >>> [axis.get_title() for axis in plot_reconstruction(found).axes][:3]
    ['input', 'posterior mean', 'draw 1']
    """
    rows = _shown(found)
    columns, holes = _panels(found), _holes_of(found)
    figure = Figure(figsize=(1.6 * len(columns), 1.6 * len(rows) + 0.8), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for k, (title, images, style) in enumerate(columns):
        for axis, i in zip(axes[:, k], rows, strict=True):
            shown = axis.imshow(_as_shown(images[i]), interpolation="nearest", **style)
            axis.set_axis_off()
            if holes is not None and k > 0 and 0 < holes[i].mean() < 1:  # of another image there may be some
                axis.contour(holes[i], levels=[0.5], colors=[HOLE], linewidths=0.8)
        axes[0, k].set_title(title, fontsize=9)
        if "cmap" in style and style["cmap"] != "grey":
            below = axes[-1, k].inset_axes((0.05, -0.12, 0.9, 0.06))  # takes no room of its column's images
            ends = beyond(images[list(rows)], style["vmin"], style["vmax"])
            figure.colorbar(shown, cax=below, orientation="horizontal", extend=ends).ax.tick_params(labelsize=7)
    if (slices := slices_of(found.job)) is not None:
        for axis, i in zip(axes[:, 0], rows, strict=True):
            axis.text(-0.04, 0.5, f"slice {slices[i]}", ha="right", va="center", rotation=90, transform=axis.transAxes)
    return figure


def plot_sd(found: Reconstruction) -> Figure:
    r"""Draw the posterior sd of each pixel, an image a panel, up to six; and the size of the errors over the sd.

    Without a truth there are no errors, and the last panel is left out.  In it a point is the root mean square error of
    a twelfth of all pixels, those of like sd; on the line, the sd is what it says.

    Raises
    ------
    ValueError
        Where the fit is a point, which has no sd.

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import LatentReconstruction
    >>> from neuropyro.models.corruption import Downsample
    >>> from neuropyro.reconstruct_outputs import Reconstruction
    >>> G, truth = load_generator("brains64"), torch.full((1, 1, 64, 64), -1.0)
    >>> model = LatentReconstruction(G, Downsample(8, noise=0.1), prior="z", candidates=20, starts=1, search_steps=0)
    >>> short = Schedule(max_steps=2, warm_up=0, window=2)
    >>> result = fit(model, model.corruption.corrupt(truth, seed=0), "normal", schedule=short, progress=False)
    >>> found = Reconstruction.of(result, truth, draws=4)
    >>> plot_sd(found).axes[-2].get_ylabel()
    'rms error (grey levels)'
    """
    if found.fit.is_point:
        raise ValueError("plot_sd: the fit is a point and has no sd; fit with guide='normal', say")
    which, slices, truth = _shown(found), slices_of(found.job), found.job.truth
    shown, sd = len(which), found.sd * GREY_LEVELS
    widths = [1.9 * shown] + [3.2] * (truth is not None)
    figure = Figure(figsize=(sum(widths), 2.9), layout="constrained")
    # Two figures: one grid would give the scale's room to the errors too.
    parts = list(figure.subfigures(1, len(widths), squeeze=False, width_ratios=widths)[0])
    panels = list(parts[0].subplots(1, shown, squeeze=False)[0])
    top = _top_of(sd)
    for axis, i in zip(panels, which, strict=True):
        picture = axis.imshow(sd[i].mean(0), cmap="magma", vmin=0, vmax=top, interpolation="nearest")
        axis.set_title("" if slices is None else f"slice {slices[i]}", fontsize=9)
        axis.set_axis_off()
    if truth is not None:
        error = (found.clean - truth).numpy() * GREY_LEVELS
        _draw_errors(parts[1].subplots(), *errors_by_sd(sd, error))
    said = "posterior sd\n(grey levels of 255)"
    bar: dict[str, Any] = {"location": "bottom", "shrink": 0.7, "aspect": 20 * shown}
    parts[0].colorbar(picture, ax=panels, label=said, extend=beyond(sd[list(which)].mean(1), 0, top), **bar)
    return figure


def _draw_errors(axis: Axes, said: NDArray[np.float64], true: NDArray[np.float64]) -> None:
    """Draw root mean square errors over those of the sds, ``(12,)`` each, in grey levels, and where they are alike."""
    axis.plot([0, said.max()], [0, said.max()], color="k", lw=0.8, label="as large as the sd says")
    axis.plot(said, true, "o-", ms=4, color=BLUE)
    axis.set_xlabel("posterior sd (grey levels)")
    axis.set_ylabel("rms error (grey levels)")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False, fontsize=8)


def _shown(found: Reconstruction) -> NDArray[np.int64]:
    """Places of the images that figures show: all, or as many as they have room for, evenly spaced."""
    count = len(found.clean)
    return np.linspace(0, count - 1, min(ROWS, count)).round().astype(np.int64)


def errors_by_sd(sd: NDArray[Any], error: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Root mean squares of sds and of errors, ``(12,)`` each, in bins of equally many pixels of like sd.

    ``sd`` and ``error`` are of one shape, of 12 pixels or more, and in one unit, which is the results' too.

    Examples
    --------
    >>> sd = np.repeat([[1.0], [3.0]], 24, axis=1)  # errors of half the sds
    >>> [rms.tolist()[4:8] for rms in errors_by_sd(sd, error=-sd / 2)]
    [[1.0, 1.0, 3.0, 3.0], [0.5, 0.5, 1.5, 1.5]]
    """
    order = np.argsort(sd.ravel())
    bins = np.array_split(order, BINS)
    rms = [[float(np.sqrt(np.square(x.ravel()[b]).mean())) for b in bins] for x in (sd, error)]
    return np.array(rms[0]), np.array(rms[1])


def _panels(found: Reconstruction) -> list[tuple[str, NDArray[Any], dict[str, Any]]]:
    """Titles, images (B, C, H, W) and how they are drawn."""
    grey = {"cmap": "grey", "vmin": -1, "vmax": 1}
    clean, sd = found.clean.numpy(), found.sd * GREY_LEVELS
    columns = [("input", _shown_input(found), grey), (POINT if found.fit.is_point else "posterior mean", clean, grey)]
    estimate = "MAP" if found.fit.is_point else "mean"
    if not found.fit.is_point:
        count = min(DRAWS, found.draws)
        columns += [(f"draw {j + 1}", found.drawn["clean"][j], grey) for j in range(count)]
        wide = {"cmap": "magma", "vmin": 0, "vmax": _top_of(sd)}
        columns.append(("sd (grey levels)", sd.mean(1, keepdims=True), wide))
    if found.job.truth is not None:
        truth = found.job.truth.numpy()
        error = (clean - truth).mean(1, keepdims=True) * GREY_LEVELS
        end = max(float(np.percentile(np.abs(error), SD_PERCENTILE)), 1.0)
        columns += [
            ("truth", truth, grey),
            (f"{estimate} - truth\n(grey levels)", error, {"cmap": "RdBu_r", "vmin": -end, "vmax": end}),
        ]
    return columns


def _top_of(sd: NDArray[Any]) -> float:
    """Upper end of the colours for sds: all but the widest pixels are told apart."""
    return max(float(np.percentile(sd, SD_PERCENTILE)), LEAST_RANGE)


def _shown_input(found: Reconstruction) -> NDArray[Any]:
    """Measurements as pictures: k-space by its zero-filled images, holes and what lies beyond a picture black."""
    y, corruption = found.job.y, found.model.corruption
    if y.is_complex() or y.ndim != 4 or y.shape[1] not in (1, 3):
        images = zero_filled(corruption, y) if corruption.is_linear else found.clean
        return images.numpy()
    return in_place(corruption, torch.where(corruption.observed(y) != 0, y, -1.0)).numpy()


def _holes_of(found: Reconstruction) -> NDArray[np.float64] | None:
    """1 in the holes of each image (B, H, W); None where there are none, or so many that outlines would hide it all."""
    y = found.job.y
    if y.is_complex() or y.shape != found.clean.shape:
        return None
    seen = found.model.corruption.observed(y).expand_as(y)
    holes: NDArray[Any] = (seen == 0).any(1).cpu().numpy()
    counts = [label(hole)[1] for hole in holes]
    return holes.astype(np.float64) if 0 < max(counts) <= MOST_HOLES else None


def _as_shown(picture: NDArray[Any]) -> NDArray[Any]:
    """(H, W) of a grey picture (1, H, W), (H, W, 3) on 0..1 of a coloured one."""
    return picture[0] if len(picture) == 1 else np.clip(np.moveaxis(picture, 0, 2) / 2 + 0.5, 0, 1)
