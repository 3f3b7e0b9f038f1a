"""The tables of reconstruction on held-out phantoms: every method on every corruption, and the ladder of changes.

    python benchmarks/reconstruction.py --images 32 --out tables/reconstruction
    python benchmarks/reconstruction.py --images 8 --tasks superres:4 kspace:4 --methods bicubic total_variation map
    python benchmarks/reconstruction.py --images 8 --tasks superres:4 --ladder

Super-resolution from 8, 16 and 32 px to 64, inpainting of six shapes, and k-space undersampled 2, 4 and 8 times; all
with noise of sd .02.  Means over images with their standard errors; errors in grey levels.  In the folder: table.md,
table.json, a grid of pictures for each task, and blinded pairs (pairs/, key.csv) for raters, who are shown two methods'
images beside each other, left and right at random.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from train_brains64 import RECIPE

from neuropyro.data.phantoms import BrainPhantoms
from neuropyro.generators import load_discriminator_features, load_generator
from neuropyro.image_baselines import baselines_for, total_variation, tuned, wavelet_sparse
from neuropyro.image_metrics import image_metrics, interval_width
from neuropyro.image_projection import project_plainly, pulse
from neuropyro.inference import fit
from neuropyro.inference.convergence import CosineSchedule
from neuropyro.models import LatentReconstruction
from neuropyro.models.corruption import Corruption, parse_corruption

NOISE = 0.02
TASKS = (
    *(f"superres:{factor}" for factor in (8, 4, 2)),
    "inpaint:rectangle,height=.375,width=.375",
    "inpaint:ellipse",
    "inpaint:half",
    "inpaint:stripes",
    "inpaint:freeform",
    "inpaint:pixels,fraction=.8",
    *(f"kspace:{acceleration}" for acceleration in (2, 4, 8)),
)
GUIDES = {"map": "wplus", "normal": "wplus", "normal_w": "w", "structured_z": "z"}
"""Prior of each of our methods; the guide is what stands before the underscore."""
PLAIN = ("pulse", "projection", "reference")
REFERENCE_STEPS, REFERENCE_RATE, REFERENCE_BETAS = 501, 0.1, (0.9, 0.999)
LADDER: dict[str, dict[str, Any]] = {
    "paper's objective": {"preset": "brgm"},
    "given noise, full covariance": {"residual": None, "layer_correlation": 0.0},
    "+ colinearity": {"residual": None, "layer_correlation": 0.0, "colinearity": 0.1},
    "correlated layers instead": {"residual": None},
    "one latent for all layers": {"residual": None, "prior": "w"},
    "noise inputs on": {"residual": None, "noise_mode": "const"},
    "+ residual image": {},
}
BLACK = -0.98
DRAWS = 64


@dataclass(frozen=True, eq=False)
class Result:
    """Images (B, C, H, W) of one method, its draws (D, B, C, H, W) if it has any, and seconds."""

    images: Tensor
    seconds: float
    draws: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Bench:
    """What all tasks have in common."""

    generator: Any
    features: Any
    truth: Tensor
    validation: Tensor
    steps: int
    models: dict[str, LatentReconstruction] = field(default_factory=dict)

    def classic(self, corruption: Corruption, y: Tensor) -> dict[str, Callable[[], Tensor]]:
        """Methods without a generator; weights are tuned on other phantoms."""
        found: dict[str, Callable[[], Tensor]] = {}
        for name, method in baselines_for(corruption, y).items():
            weighted = method in (total_variation, wavelet_sparse)
            chosen = tuned(method, corruption, self.validation, noise=NOISE) if weighted else method
            found[name] = partial(chosen, corruption, y)
        return found

    def plain(self, corruption: Corruption, y: Tensor) -> dict[str, Callable[[], Tensor]]:
        """Methods with the generator and without a posterior."""
        frozen = self.generator.freeze()
        return {
            "pulse": lambda: pulse(frozen, corruption, y),
            "projection": lambda: project_plainly(frozen, corruption, y),
            "reference": lambda: self.reference(corruption, y),
        }

    def reference(self, corruption: Corruption, y: Tensor) -> Tensor:
        """Minimise the paper's objective as its implementation does."""
        model = LatentReconstruction(self.generator, corruption, preset="brgm")
        measured = model.prepare(y)
        w = model.init_values(measured)["w"].clone().requires_grad_()
        optimiser = torch.optim.Adam([w], lr=REFERENCE_RATE, betas=REFERENCE_BETAS)
        for _ in range(REFERENCE_STEPS):
            (w.grad,) = torch.autograd.grad(-model.log_joint({"w": w}, measured).sum(), w)
            optimiser.step()
        with torch.no_grad():
            return measured.source.images(w).clamp(-1, 1)

    def model(self, **settings: Any) -> LatentReconstruction:
        """Return our model with these settings; what it knows of the generator is found once."""
        key = repr(sorted(settings.items()))
        if key not in self.models:
            self.models[key] = LatentReconstruction(self.generator, parse_corruption("identity"), **settings)
        return self.models[key]

    def ours(self, corruption: Corruption, y: Tensor, guide: str, **settings: Any) -> Result:
        """Fit the posterior of all images at once."""
        began = time.perf_counter()
        model = self.model(**settings).with_corruption(corruption)
        rate = 0.1 if guide == "map" else 0.06
        schedule = CosineSchedule(rate, max_steps=self.steps, warm_up=self.steps // 2, window=20)
        result = fit(model, y, guide=guide, schedule=schedule, progress=False)
        images = torch.as_tensor(model.estimate(result, DRAWS)).clamp(-1, 1)
        drawn = torch.as_tensor(result.predictive(DRAWS)["clean"])
        return Result(images, time.perf_counter() - began, drawn)

    def run(self, task: str, methods: list[str]) -> dict[str, Result]:
        """Every method that applies to a task."""
        corruption = parse_corruption(f"{task}+noise:{NOISE}")
        y = corruption.corrupt(self.truth, seed=1)
        found: dict[str, Result] = {}
        for name, method in (self.classic(corruption, y) | self.plain(corruption, y)).items():
            if not methods or name in methods:
                began = time.perf_counter()
                found[name] = Result(method(), time.perf_counter() - began)
        for name, prior in GUIDES.items():
            if not methods or name in methods:
                found[name] = self.ours(corruption, y, name.partition("_")[0], prior=prior)
        return found

    def ladder(self, task: str) -> dict[str, Result]:
        """MAP under one change after the other."""
        corruption = parse_corruption(f"{task}+noise:{NOISE}")
        y = corruption.corrupt(self.truth, seed=1)
        return {name: self.ours(corruption, y, "map", **settings) for name, settings in LADDER.items()}

    def row(self, task: str, result: Result) -> dict[str, tuple[float, float]]:
        """Mean and standard error of each metric."""
        corruption = parse_corruption(task)
        y = corruption.A(self.truth)
        pixels = not y.is_complex() and y.shape == self.truth.shape
        observed = corruption.observed(y).expand(y.shape) if pixels else None
        brain = self.truth > BLACK
        metrics = image_metrics(result.images, self.truth, result.draws, observed, brain, self.features)
        if result.draws is not None and observed is not None:
            hole, seen = (
                interval_width(result.draws, 0.9, where) for where in (observed == 0, (observed != 0) & brain)
            )
            metrics["width_ratio"] = hole / seen
        metrics["seconds"] = torch.full((len(self.truth),), result.seconds / len(self.truth))
        return {name: (float(v.mean()), float(v.std() / len(v) ** 0.5)) for name, v in metrics.items()}


def table(rows: dict[str, dict[str, tuple[float, float]]]) -> str:
    """Markdown."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    lines = ["| method | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    for method, row in rows.items():
        cells = [f"{row[n][0]:.3g} ± {row[n][1]:.2g}" if n in row else "" for n in names]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def levels(images: Tensor) -> np.ndarray[Any, Any]:
    """(N, H, W) of 8 bits."""
    return ((images[:, 0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()


def save_grid(truth: Tensor, found: dict[str, Result], path: Path, count: int = 8) -> None:
    """Write a row for the truth and each method, a column for each image."""
    rows = [levels(truth[:count]), *(levels(r.images[:count]) for r in found.values())]
    Image.fromarray(np.concatenate([np.concatenate(list(row), 1) for row in rows])).save(path)


def save_pairs(task: str, found: dict[str, Result], folder: Path, rng: np.random.Generator) -> list[list[str]]:
    """Write pairs of two methods' images of one truth; returns the key's lines."""
    names, lines = list(found), []
    (folder / "pairs").mkdir(parents=True, exist_ok=True)
    for i in range(len(next(iter(found.values())).images)):
        left, right = rng.choice(names, 2, replace=False)
        number = f"{rng.integers(10**9):09d}"
        both = [levels(found[name].images[i : i + 1])[0] for name in (left, right)]
        gap = np.full((both[0].shape[0], 8), 255, np.uint8)
        Image.fromarray(np.concatenate([both[0], gap, both[1]], 1)).save(folder / "pairs" / f"{number}.png")
        lines.append([number, task, str(i), left, right])
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS))
    parser.add_argument("--methods", nargs="+", default=[], help="all if not given")
    parser.add_argument("--ladder", action="store_true", help="the ablation instead of the methods")
    parser.add_argument("--generator", default="brains64")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("tables/reconstruction"))
    args = parser.parse_args()
    phantoms = [
        BrainPhantoms(resolution=64, split=s, recipe=RECIPE)(range(args.images)) for s in ("test", "validation")
    ]
    features = load_discriminator_features(args.generator)
    bench = Bench(load_generator(args.generator), features, phantoms[0].images, phantoms[1].images[:8], args.steps)
    args.out.mkdir(parents=True, exist_ok=True)
    rows: dict[str, Any] = {}
    pages, key, rng = [], [], np.random.default_rng(0)
    for task in args.tasks:
        found = bench.ladder(task) if args.ladder else bench.run(task, args.methods)
        rows[task] = {name: bench.row(task, result) for name, result in found.items()}
        pages.append(f"## {task}\n\n{table(rows[task])}\n")
        print(pages[-1], flush=True)
        save_grid(bench.truth, found, args.out / f"{task.replace(':', '_')}.png")
        key += save_pairs(task, found, args.out, rng) if len(found) > 1 else []
        (args.out / "table.md").write_text("\n".join(pages))
        (args.out / "table.json").write_text(json.dumps(rows, indent=2) + "\n")
    with (args.out / "key.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["pair", "task", "image", "left", "right"], *key])


if __name__ == "__main__":
    main()
