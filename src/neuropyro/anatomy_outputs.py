"""What the command `counterfactual` leaves in a folder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.anatomy_course_plots import plot_courses
from neuropyro.anatomy_dictionary import write_dictionary
from neuropyro.anatomy_files import write_slice
from neuropyro.anatomy_plots import has_pictures, plot_worlds
from neuropyro.data import Mesh
from neuropyro.models.anatomy_counterfactual import Counterfactual
from neuropyro.tables import write_csv

__all__ = ["write_worlds"]

FIELDS = ("thickness", "image", "scan")
ENDINGS = {"_sd": "sd over draws", "_5": "5 % quantile of the draws", "_95": "95 % quantile of the draws"}


def write_worlds(
    worlds: Mapping[str, Counterfactual], mesh: Mesh | None, out: Path, at_mode: bool = False
) -> list[Path]:
    """Write tables, draws and figures of one subject's worlds, and return the figures' files.

    The first world is the one that the others differ from.
    For each world a folder of its name: ``nodes.csv`` (a row a time: age, and of each node mean, sd, 5 and 95 %, or the
    number alone where all draws have the same in all worlds, as of what was seen),
    ``thickness.npy`` and ``image.npy`` (draws, times, ...) where there are any, and each time's mean slice in NIfTI and
    PNG; and beside them ``nodes.json`` (what the columns are), ``courses.png`` (numbers by age) and, where there are
    slices or maps, ``counterfactual.png``.

    Parameters
    ----------
    at_mode
        Whether slices' latents are at their mode alone, so that sds of slices are too small, which the figure says.

    Examples
    --------
    >>> import tempfile
    >>> nodes = {"mmse": np.array([[[29.0]], [[27.0]]]), "image": np.zeros((2, 1, 1, 1, 8, 8))}  # of two draws
    >>> world = Counterfactual(np.array(["a"]), np.array([[70.0]]), nodes)
    >>> out = Path(tempfile.mkdtemp())
    >>> [path.name for path in write_worlds({"apoe4=0": world}, None, out)]
    ['counterfactual.png', 'courses.png']
    >>> (out / "apoe4=0" / "nodes.csv").read_text().splitlines()
    ['age,mmse,mmse_sd,mmse_5,mmse_95', '70,28,1,27,29']
    """
    tables = _tables(worlds)
    for name, world in worlds.items():
        folder = out / _folder_name(name)
        folder.mkdir(parents=True, exist_ok=True)
        write_csv(folder / "nodes.csv", tables[name])
        for field in FIELDS:
            if field in world.nodes:
                np.save(folder / f"{field}.npy", world[field][:, 0])
        if "image" in world.nodes:
            for age, image in zip(world.times[0], world.mean("image")[0, :, 0], strict=True):
                write_slice(image, folder / f"age-{age:.2f}")
    first = next(iter(worlds.values()))
    write_dictionary(out / "nodes.json", next(iter(tables.values())), truth=True, endings=ENDINGS)
    figures = {"courses.png": plot_courses(worlds)}
    if has_pictures(first, mesh):
        note = "slices are at their mode: their sds are too small" if at_mode else ""
        figures = {"counterfactual.png": plot_worlds(worlds, mesh, note)} | figures
    for name, figure in figures.items():
        figure.savefig(out / name, dpi=150)
    return [out / name for name in figures]


def _folder_name(world: str) -> str:
    """Return a name that any file system takes."""
    return re.sub(r"[^\w.=+-]+", "_", world)


def _tables(worlds: Mapping[str, Counterfactual]) -> dict[str, dict[str, NDArray[Any]]]:
    """Return each world's columns of the nodes that are numbers, a row a time; all worlds have the same."""
    nodes = [node for node in next(iter(worlds.values())).nodes if node not in (*FIELDS, "age")]
    spread = [node for node in nodes if any((world[node] != world[node][:1]).any() for world in worlds.values())]
    return {name: _table(world, nodes, spread) for name, world in worlds.items()}


def _table(world: Counterfactual, nodes: Sequence[str], spread: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Return means of nodes, and how far the draws of some of them spread."""
    columns: dict[str, NDArray[Any]] = {"age": world.times[0]}
    for node in nodes:
        summaries = {"": world[node][0]}
        if node in spread:
            low, high = world.interval(node)
            summaries = {"": world.mean(node), "_sd": world.sd(node), "_5": low, "_95": high}
        columns |= {f"{node}{end}": np.broadcast_to(x[0], world.times[0].shape) for end, x in summaries.items()}
    return columns
