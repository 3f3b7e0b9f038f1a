"""Results of a benchmark of reconstructions in a folder: kept part by part, so that it can be stopped and taken up."""

import csv
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

SHOWN = 8  # images in a grid


@dataclass(frozen=True, eq=False)
class Part:
    """Images (B, C, H, W) of one method, and its metrics of each, (B,)."""

    images: Tensor
    metrics: dict[str, Tensor]

    def row(self) -> dict[str, tuple[float, float]]:
        """Mean and standard error of each metric."""
        return {n: (float(v.mean()), float(v.std() / len(v) ** 0.5)) for n, v in self.metrics.items()}

    def save(self, path: Path) -> None:
        """Write it in one step, so that a kill leaves all of it or nothing."""
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {"images": self.images} | {f"metric.{name}": v for name, v in self.metrics.items()}
        save_file({name: t.float().contiguous() for name, t in tensors.items()}, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    @classmethod
    def load(cls, path: Path) -> "Part":
        """Read what :meth:`save` wrote."""
        found = load_file(path)
        images = found.pop("images")
        return cls(images, {name.removeprefix("metric."): v for name, v in found.items()})


@dataclass(eq=False)
class Tables:
    """All parts of a benchmark.

    Parameters
    ----------
    folder
        Where they are kept.
    settings
        What they hang on; parts of other settings are not taken up.
    truth
        Clean images (B, C, H, W).
    """

    folder: Path
    settings: dict[str, Any]
    truth: Tensor
    parts: dict[str, dict[str, Part]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        path = self.folder / "settings.json"
        if path.exists() and json.loads(path.read_text()) != self.settings:
            raise SystemExit(f"{path}: it holds results of other settings; give another --out")
        self.folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.settings, indent=2) + "\n")

    def add(self, task: str, name: str, make: Callable[[], Part]) -> None:
        """Take a part from the folder, or make and keep it."""
        path = self.folder / "parts" / file_name(task) / f"{file_name(name)}.safetensors"
        if not path.exists():
            make().save(path)
            print(f"{task}: {name} done", flush=True)
        self.parts.setdefault(task, {})[name] = Part.load(path)

    def page(self, task: str) -> str:
        """Table of one task, Markdown."""
        rows = {name: part.row() for name, part in self.parts.get(task, {}).items()}
        names = list(dict.fromkeys(name for row in rows.values() for name in row))
        lines = ["| method | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
        for method, row in rows.items():
            cells = [f"{row[n][0]:.3g} ± {row[n][1]:.2g}" if n in row else "" for n in names]
            lines.append(f"| {method} | " + " | ".join(cells) + " |")
        return f"## {task}\n\n" + "\n".join(lines) + "\n"

    def write(self) -> None:
        """Write tables, grids, and the pairs for raters with their key."""
        rows = {task: {name: part.row() for name, part in found.items()} for task, found in self.parts.items()}
        (self.folder / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
        (self.folder / "table.md").write_text("\n".join(self.page(task) for task in self.parts))
        key = [["pair", "task", "image", "left", "right"]]
        for task, found in self.parts.items():
            save_grid(self.truth, found, self.folder / f"{file_name(task)}.png")
            key += save_pairs(task, found, self.folder / "pairs") if len(found) > 1 else []
        with (self.folder / "key.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows(key)


def file_name(text: str) -> str:
    """Name of a task or method that every file system takes."""
    return "".join(c if c.isalnum() or c in ".-=" else "_" for c in text)


def levels(images: Tensor) -> np.ndarray[Any, Any]:
    """(N, H, W) of 8 bits."""
    return ((images[:, 0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()


def save_grid(truth: Tensor, found: dict[str, Part], path: Path) -> None:
    """Write a row for the truth and each method, a column for each image."""
    rows = [levels(truth[:SHOWN]), *(levels(part.images[:SHOWN]) for part in found.values())]
    Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in rows])).save(path)


def save_pairs(task: str, found: dict[str, Part], folder: Path) -> list[list[str]]:
    """Write pairs of two methods' images of one truth; returns the key's lines."""
    rng = np.random.default_rng(zlib.crc32(task.encode()))  # the same pairs whenever it is taken up
    names, lines = list(found), []
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(len(found[names[0]].images)):
        left, right = rng.choice(names, 2, replace=False)
        number = f"{rng.integers(10**9):09d}"
        both = [levels(found[name].images[i : i + 1])[0] for name in (left, right)]
        gap = np.full((both[0].shape[0], 8), 255, np.uint8)
        Image.fromarray(np.concatenate([both[0], gap, both[1]], 1)).save(folder / f"{number}.png")
        lines.append([number, task, str(i), left, right])
    return lines
