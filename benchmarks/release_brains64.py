"""Measure a training run of the bundled generator, and write its averaged weights, discriminator and card.

python benchmarks/release_brains64.py --run run --out generators/brains64.safetensors
"""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from scipy.stats import spearmanr
from torch import Tensor
from train_brains64 import DISCRIMINATOR, GENERATOR, RECIPE

from neuropyro.data.phantom_codes import PhantomCodes
from neuropyro.data.phantoms import BrainPhantoms, Split
from neuropyro.data.template import TEMPLATE_INTENSITY, TISSUES
from neuropyro.generators.directions import sweep
from neuropyro.generators.readouts import CovariateReadout
from neuropyro.generators.release import Findings, directions_of, fidelity_of, inversions_of, write_release
from neuropyro.generators.sample_grids import draw_samples, save_grid
from neuropyro.generators.stylegan2 import Generator
from neuropyro.generators.training_config import TrainingConfig
from neuropyro.generators.training_state import load_state, new_state

COMMAND = "OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 benchmarks/train_brains64.py --out run --images {images}"
DATA = "Phantoms: coronal slices of the MNI152 brain (y from -39 to 6 mm) under random diffeomorphisms, without noise"
LESSONS = (
    "The z of each phantom is known: its code, the covariates and the leading other directions in the random numbers "
    "of which it is made (neuropyro.data.phantom_codes).  The mapping learned the principal components of each z's "
    "phantom; then, with the synthesis, by squared error to make of each z its phantom, by Muon's steps that grew "
    "small.  The discriminator learned last, of the finished generator."
)
NAMES = ("dilation", "atrophy", "contrast", "position", "brightness", "size")


def held_out(split: Split, count: int) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 64, 64) and covariates (N, K) of phantoms of a split."""
    phantoms = BrainPhantoms(resolution=64, split=split, recipe=RECIPE)
    parts = [phantoms(range(i, min(i + 100, count))) for i in range(0, count, 100)]
    covariates = [torch.stack([part.covariates[name] for name in NAMES], dim=1) for part in parts]
    return torch.cat([part.images for part in parts]), torch.cat(covariates).double()


def ventricle_area(phantoms: BrainPhantoms) -> Callable[[Tensor], Tensor]:
    """Fluid by intensity alone, in pixels, where the ventricles of some phantom in ten are when they are largest."""
    largest = phantoms(range(100), dilation=RECIPE.dilation[1]).labels[:, TISSUES.index("ventricles")]
    reach = (largest > 0.5).float().mean(0) > 0.1

    def area(images: Tensor) -> Tensor:
        """From images (B, 1, 64, 64) to areas (B, 1): how dark a pixel is between grey matter and fluid."""
        intensity = (images[:, 0] + 1) / 2
        white = intensity.flatten(1).quantile(0.95, dim=1)[:, None, None]
        fluid, grey = (TEMPLATE_INTENSITY[k] / TEMPLATE_INTENSITY["wm"] * white for k in ("csf", "gm"))
        return (((grey - intensity) / (grey - fluid)).clamp(0, 1) * reach).sum((1, 2))[:, None]

    return area


def ventricle_sweep(
    generator: Generator, found: Findings, readout: CovariateReadout, phantoms: BrainPhantoms
) -> Findings:
    """Move 50 latents along the direction of dilation, by one sd to either side.

    Said of the sweep are the rank correlation of the ventricles' area measured in the images with the amount, its mean
    over latents, and how far one sd moves the slice, in sd of the slice's position among samples.
    """
    area, k, place = ventricle_area(phantoms), NAMES.index("dilation"), NAMES.index("position")
    vector, seen = found.arrays["directions.vectors"][k], readout(draw_samples(generator, 1000))
    amounts = torch.linspace(-1, 1, 9)
    measure = lambda images: torch.cat([area(images).double(), readout(images)[:, [place]]], 1)  # noqa: E731
    moved = sweep(generator.freeze(), vector * float(seen[:, k].std()), measure, amounts.tolist(), draws=50)
    ranks = [float(spearmanr(amounts, one).statistic) for one in moved[:, :, 0]]
    shift = float((moved[:, -1, 1] - moved[:, 0, 1]).mean() / 2 / seen[:, place].std())
    rank = sum(ranks) / len(ranks)
    return Findings({"ventricle_sweep_spearman": round(rank, 4), "ventricle_sweep_position_shift": round(shift, 4)})


def measured(generator: Generator, count: int, inversions: int) -> Findings:
    """Everything that the card says of the averaged generator, against held-out phantoms."""
    train, known = held_out("train", 4 * count)
    test, truth = held_out("test", count)
    validation, _ = held_out("validation", inversions)
    readout = CovariateReadout.of(train, known, NAMES)
    found = directions_of(generator, readout, test, truth)
    swept = ventricle_sweep(generator, found, readout, BrainPhantoms(resolution=64, split="test", recipe=RECIPE))
    return fidelity_of(generator, train[:count], test) | inversions_of(generator, validation) | found | swept


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--inversions", type=int, default=64)
    parser.add_argument("--note", help="for the card")
    args = parser.parse_args()
    state = new_state(GENERATOR, DISCRIMINATOR, TrainingConfig().adam(), 0, torch.device("cpu"))
    load_state(state, args.run / "state.safetensors")
    found = measured(state.average, args.count, args.inversions)
    details = {"command": COMMAND.format(images=state.images), "recipe": dataclasses.asdict(RECIPE)}
    details |= {"lessons": LESSONS}
    details |= {"note": args.note} if args.note else {}
    codes = PhantomCodes.load(BrainPhantoms(resolution=64, recipe=RECIPE), args.run / "codes.safetensors")
    axes = {"codes.axes": codes.axes.half(), "codes.sensitivity": codes.sensitivity.float()}
    card = write_release(state, args.out, DATA, "MIT", found | Findings(arrays=axes), details, half=True)
    save_grid(draw_samples(state.average, 40), args.run / "release.png")
    for name, value in card.metrics.items():
        print(f"{name:24s} {value:.4f}")
    for name, figures in card.details["directions"].items():
        print(f"direction of {name:12s} {figures}")


if __name__ == "__main__":
    main()
