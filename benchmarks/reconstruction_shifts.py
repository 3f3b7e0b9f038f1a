"""Shifts that no training foresaw, with no re-training: BRGM beside a network trained for one corruption.

    python benchmarks/reconstruction_shifts.py --images 32 --training 4000

A small U-Net learns to undo super-resolution by 4 of phantoms.  Both then meet held-out phantoms as it was trained for,
an older population (larger ventricles), another contrast, another blur before the sampling, and other noise; BRGM is
told the corruption, as its user is.  RMSE in grey levels, means with standard errors.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, mse_loss
from train_brains64 import RECIPE

from neuropyro.data.phantoms import BrainPhantoms
from neuropyro.generators import load_generator
from neuropyro.image_baselines import bicubic
from neuropyro.image_metrics import rmse
from neuropyro.inference import fit
from neuropyro.inference.convergence import CosineSchedule
from neuropyro.models import LatentReconstruction
from neuropyro.models.corruption import parse_corruption

TRAINED = "superres:4+noise:.02"
SHIFTS: dict[str, tuple[Mapping[str, float], str]] = {
    "as trained": ({}, TRAINED),
    "older: ventricles half as large again": ({"dilation": 6.0}, TRAINED),
    "contrast .55": ({"contrast": 0.55}, TRAINED),
    "blurred by 1.5 px first": ({}, "blur:1.5+superres:4+noise:.02"),
    "noise .1": ({}, "superres:4+noise:.1"),
}
BATCH = 16


class SmallUNet(nn.Module):
    """Two levels; it corrects the interpolated image."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.down = nn.ModuleList([double(1, width), double(width, 2 * width)])
        self.bottom = double(2 * width, 4 * width)
        self.up = nn.ModuleList([double(6 * width, 2 * width), double(3 * width, width)])
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, y: Tensor) -> Tensor:
        """Images (B, 1, 64, 64) of measurements (B, 1, h, w)."""
        image = interpolate(y, size=(64, 64), mode="bicubic", antialias=True)
        x, kept = image, []
        for block in self.down:
            x = block(x)
            kept.append(x)
            x = nn.functional.avg_pool2d(x, 2)
        x = self.bottom(x)
        for block, other in zip(self.up, reversed(kept), strict=True):
            x = block(torch.cat([interpolate(x, scale_factor=2), other], 1))
        return image + self.last(x)


def double(before: int, after: int) -> nn.Sequential:
    """Two convolutions with rectifiers."""
    layers = [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.Conv2d(after, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


def trained(steps: int) -> SmallUNet:
    """Train on phantoms of the training split, each seen once."""
    torch.manual_seed(0)
    network, corruption = SmallUNet(), parse_corruption(TRAINED)
    phantoms = BrainPhantoms(resolution=64, split="train", recipe=RECIPE)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        x = phantoms.images(range(step * BATCH, (step + 1) * BATCH))
        optimiser.zero_grad()
        mse_loss(network(corruption.corrupt(x, seed=step)), x).backward()
        optimiser.step()
        schedule.step()
    return network.eval()


def brgm(model: LatentReconstruction, y: Tensor, guide: str, steps: int) -> Tensor:
    """Posterior mean."""
    schedule = CosineSchedule(0.1 if guide == "map" else 0.06, max_steps=steps, warm_up=steps // 2, window=20)
    return torch.as_tensor(model.estimate(fit(model, y, guide=guide, schedule=schedule, progress=False)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--training", type=int, default=4000, help="steps of the U-Net, 16 phantoms each")
    parser.add_argument("--guide", default="map")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--generator", default="brains64")
    args = parser.parse_args()
    model = LatentReconstruction(load_generator(args.generator), parse_corruption(TRAINED))
    network = trained(args.training)
    phantoms = BrainPhantoms(resolution=64, split="test", recipe=RECIPE)
    print("| shift | bicubic | U-Net | BRGM |\n|---|---|---|---|", flush=True)
    for name, (covariates, text) in SHIFTS.items():
        corruption, x = parse_corruption(text), phantoms(range(args.images), **covariates).images
        y = corruption.corrupt(x, seed=1)
        with torch.no_grad():
            direct = network(y)
        ours = brgm(model.with_corruption(corruption), y, args.guide, args.steps)
        images = [bicubic(corruption, y), direct, ours]
        errors = [rmse(image.clamp(-1, 1), x) for image in images]
        cells = [f"{float(e.mean()):.2f} ± {float(e.std() / len(e) ** 0.5):.2f}" for e in errors]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
