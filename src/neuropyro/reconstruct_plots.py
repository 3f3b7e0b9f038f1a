"""The figure of a reconstruction: input, estimate, draws, sd, truth and error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from neuropyro.image_baselines import zero_filled

if TYPE_CHECKING:
    from neuropyro.reconstruct_outputs import Reconstruction

__all__ = ["reconstruction_figure"]

ROWS, DRAWS = 6, 3  # slices, and draws of each, at most
SD_PERCENTILE = 99.5


def reconstruction_figure(found: Reconstruction) -> Figure:
    """Draw up to six slices, a row each: input, estimate, three draws, sd, and with a truth that and the error."""
    rows = np.linspace(0, len(found.clean) - 1, min(ROWS, len(found.clean))).round().astype(int)
    columns = panels(found)
    figure = Figure(figsize=(1.6 * len(columns), 1.6 * len(rows) + 0.8), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for k, (title, images, style) in enumerate(columns):
        for axis, i in zip(axes[:, k], rows, strict=True):
            shown = axis.imshow(as_shown(images[i]), interpolation="nearest", **style)
            axis.set_axis_off()
        axes[0, k].set_title(title, fontsize=9)
        if "cmap" in style and style["cmap"] != "grey":
            figure.colorbar(shown, ax=axes[:, k].tolist(), location="bottom", shrink=0.9).ax.tick_params(labelsize=7)
    return figure


def panels(found: Reconstruction) -> list[tuple[str, NDArray[Any], dict[str, Any]]]:
    """Titles, images (B, C, H, W) and how they are drawn."""
    grey = {"cmap": "grey", "vmin": -1, "vmax": 1}
    clean, sd = found.clean.numpy(), found.sd * 127.5
    columns = [("input", shown_input(found), grey), ("MAP" if found.fit.is_point else "posterior mean", clean, grey)]
    count = min(DRAWS, found.draws)
    columns += [(f"draw {j + 1}", found.drawn["clean"][j], grey) for j in range(count)]
    wide = {"cmap": "magma", "vmin": 0, "vmax": max(float(np.percentile(sd, SD_PERCENTILE)), 1.0)}
    columns.append(("sd (grey levels)", sd.mean(1, keepdims=True), wide))
    if found.job.truth is not None:
        truth = found.job.truth.numpy()
        error = (clean - truth).mean(1, keepdims=True) * 127.5
        end = max(float(np.percentile(np.abs(error), SD_PERCENTILE)), 1.0)
        columns += [
            ("truth", truth, grey),
            ("error (grey levels)", error, {"cmap": "RdBu_r", "vmin": -end, "vmax": end}),
        ]
    return columns


def shown_input(found: Reconstruction) -> NDArray[Any]:
    """Measurements as pictures: k-space by its zero-filled images, holes black."""
    y, corruption = found.job.y, found.model.corruption
    if y.is_complex() or y.ndim != 4 or y.shape[1] not in (1, 3):
        images = zero_filled(corruption, y) if corruption.is_linear else found.clean
        return images.numpy()
    shown: NDArray[Any] = torch.where(corruption.observed(y) != 0, y, -1.0).numpy()
    return shown


def as_shown(picture: NDArray[Any]) -> NDArray[Any]:
    """(H, W) of a grey picture (1, H, W), (H, W, 3) on 0..1 of a coloured one."""
    return picture[0] if len(picture) == 1 else np.clip(np.moveaxis(picture, 0, 2) / 2 + 0.5, 0, 1)
