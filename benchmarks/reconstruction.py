"""The tables of reconstruction on held-out phantoms: every method on every corruption, and the ladder of changes.

    python benchmarks/reconstruction.py --images 32 --out tables/reconstruction
    python benchmarks/reconstruction.py --images 8 --tasks superres:4 kspace:4 --methods bicubic total_variation map
    python benchmarks/reconstruction.py --images 8 --tasks superres:4 --ladder

Super-resolution from 8, 16 and 32 px to 64, inpainting of six shapes, and k-space undersampled 2, 4 and 8 times; all
with noise of sd .02.  Means over images with their standard errors; errors in grey levels.  In the folder: table.md,
table.json, a grid of pictures for each task, and blinded pairs (pairs/, key.csv) for raters, who are shown two methods'
images beside each other, left and right at random.  Each method's result is kept in parts/ as soon as it is there: the
same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from reconstruction_tables import Part, Tables
from release_brains64 import held_out
from torch import Tensor

from neuropyro.generators import load_discriminator_features, load_generator
from neuropyro.generators.residual_conditionals import ConditionalSpread
from neuropyro.image_baselines import baselines_for, total_variation, tuned, wavelet_sparse
from neuropyro.image_metrics import image_metrics, mae, rmse
from neuropyro.image_projection import project_plainly, pulse
from neuropyro.inference import fit
from neuropyro.inference.convergence import CosineSchedule
from neuropyro.models import LatentReconstruction
from neuropyro.models.corruption import Corruption, parse_corruption
from neuropyro.models.reconstruction_conditioning import conditional_residual
from neuropyro.models.reconstruction_data import in_reals, in_reals_mask
from neuropyro.models.reconstruction_kernel import spread_of

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
GUIDES = {"map": "wplus", "normal": "wplus", "structured": "wplus", "structured_w": "w", "structured_z": "z"}
"""Prior of each of our methods; the guide is what stands before the underscore."""
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
TUNED, VALIDATION = 8, 256  # phantoms of the validation split for weights of baselines, and for the Gaussian one


@dataclass(frozen=True, eq=False)
class Result:
    """Images (B, C, H, W) of one method, its draws (D, B, C, H, W) if it has any, and seconds."""

    images: Tensor
    seconds: float
    draws: Tensor | None = None


@dataclass(eq=False)
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
        found = {n: partial(self.baseline, m, corruption, y) for n, m in baselines_for(corruption, y).items()}
        return found | {"gaussian": partial(self.gaussian, corruption, y)}

    def baseline(self, method: Callable[..., Tensor], corruption: Corruption, y: Tensor) -> Tensor:
        """Run a baseline, its weight tuned first where it has one."""
        if method in (total_variation, wavelet_sparse):
            method = tuned(method, corruption, self.validation[:TUNED], noise=NOISE)
        return method(corruption, y)

    @cached_property
    def image_mean(self) -> Tensor:
        """Of the validation phantoms, (1, C, H, W)."""
        return self.validation.mean(0, keepdim=True)

    @cached_property
    def image_spread(self) -> ConditionalSpread:
        """Covariance of images, learned from the validation phantoms."""
        return ConditionalSpread.of(self.validation - self.image_mean)

    def plain(self, corruption: Corruption, y: Tensor) -> dict[str, Callable[[], Tensor]]:
        """Methods with the generator and without a posterior."""
        frozen = self.generator.freeze()
        return {
            "pulse": lambda: pulse(frozen, corruption, y),
            "projection": lambda: project_plainly(frozen, corruption, y),
            "reference": lambda: self.reference(corruption, y),
        }

    def gaussian(self, corruption: Corruption, y: Tensor) -> Tensor:
        """Best linear estimate: images as a Gaussian process learned from as many phantoms as S was, no generator."""
        seen = in_reals_mask(corruption.observed(y), y)
        spread = spread_of(corruption, self.image_spread, seen.flatten(1), y)
        mean = self.image_mean.expand(len(y), -1, -1, -1)
        away = torch.where(seen, in_reals(y - corruption.A(mean)), 0.0)
        deviation = torch.view_as_complex(away.contiguous()) if y.is_complex() else away
        sigma, one = y.real.new_full((len(y),), NOISE), y.real.new_ones(len(y))
        found = conditional_residual(corruption, self.image_spread, spread, deviation, sigma, one)
        return (mean + found).clamp(-1, 1)

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

    def methods(self, task: str) -> dict[str, Callable[[], Result]]:
        """Every method that applies to a task."""
        corruption = parse_corruption(f"{task}+noise:{NOISE}")
        y = corruption.corrupt(self.truth, seed=1)
        plain = self.classic(corruption, y) | self.plain(corruption, y)
        found = {name: partial(timed, method) for name, method in plain.items()}
        ours = {n: partial(self.ours, corruption, y, n.partition("_")[0], prior=p) for n, p in GUIDES.items()}
        return found | ours

    def ladder(self, task: str) -> dict[str, Callable[[], Result]]:
        """MAP under one change after the other."""
        corruption = parse_corruption(f"{task}+noise:{NOISE}")
        y = corruption.corrupt(self.truth, seed=1)
        return {name: partial(self.ours, corruption, y, "map", **settings) for name, settings in LADDER.items()}

    def judged(self, task: str, result: Result) -> Part:
        """Every metric of each image."""
        corruption = parse_corruption(f"{task}+noise:{NOISE}")
        y = corruption.corrupt(self.truth, seed=1)
        pixels = not y.is_complex() and y.shape == self.truth.shape
        observed = corruption.observed(y).expand(y.shape) if pixels else None
        brain = self.truth > BLACK
        metrics = image_metrics(result.images, self.truth, result.draws, observed, brain, self.features)
        if observed is not None:
            metrics["rmse_hole"] = rmse(result.images, self.truth, observed == 0)
        if result.draws is not None:
            metrics["error"] = mae(result.images, self.truth, brain)  # to which crps compares
            metrics["misfit"] = misfit(corruption, y, result.draws)
            if observed is not None:
                metrics["sd_ratio"] = sd_ratio(result.draws, observed == 0, (observed != 0) & brain)
        metrics["seconds"] = torch.full((len(self.truth),), result.seconds / len(self.truth))
        return Part(result.images, metrics)


def misfit(corruption: Corruption, y: Tensor, draws: Tensor) -> Tensor:
    """Root mean square (B,) of what measurements are off from those of drawn images (D, B, C, H, W), in noise's sds."""
    seen = in_reals_mask(corruption.observed(y), y)
    away = torch.stack([torch.where(seen, in_reals(y - corruption.A(one)), 0.0).square().flatten(1) for one in draws])
    return (away.sum((0, 2)) / (len(draws) * seen.flatten(1).sum(1))).sqrt() / NOISE


def sd_ratio(draws: Tensor, hole: Tensor, seen: Tensor) -> Tensor:
    """Mean sd (B,) of drawn pixels in the hole, beside that of those that were seen."""
    sd = draws.std(0)
    inside, outside = ((sd * where).flatten(1).sum(1) / where.flatten(1).sum(1) for where in (hole, seen))
    return inside / outside


def timed(method: Callable[[], Tensor]) -> Result:
    """Run a method without draws."""
    began = time.perf_counter()
    images = method()
    return Result(images, time.perf_counter() - began)


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
    counts = {"test": args.images, "validation": VALIDATION}
    truth, validation = (held_out(split, count)[0] for split, count in counts.items())
    generator, features = load_generator(args.generator), load_discriminator_features(args.generator)
    bench = Bench(generator, features, truth, validation, args.steps)
    settings = {"images": args.images, "steps": args.steps, "weights": generator.card.sha256, "ladder": args.ladder}
    tables = Tables(args.out, settings, bench.truth)
    for task in args.tasks:
        methods = bench.ladder(task) if args.ladder else bench.methods(task)
        for name, method in methods.items():
            if not args.methods or name in args.methods:
                tables.add(task, name, lambda task=task, method=method: bench.judged(task, method()))
        print(tables.page(task), flush=True)
        tables.write()


if __name__ == "__main__":
    main()
