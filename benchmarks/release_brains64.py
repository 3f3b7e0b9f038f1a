"""Measure a training run of the bundled generator, and write its averaged weights, discriminator and card.

python benchmarks/release_brains64.py --run run --out generators/brains64.safetensors
"""

import argparse
import dataclasses
from pathlib import Path

import torch
from torch import Tensor
from train_brains64 import DISCRIMINATOR, GENERATOR, RECIPE

from neuropyro.data.phantoms import BrainPhantoms, Split
from neuropyro.generators.readouts import CovariateReadout
from neuropyro.generators.release import Findings, directions_of, fidelity_of, inversions_of, write_release
from neuropyro.generators.sample_grids import draw_samples, save_grid
from neuropyro.generators.stylegan2 import Generator
from neuropyro.generators.training_config import TrainingConfig
from neuropyro.generators.training_state import load_state, new_state

COMMAND = "OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 benchmarks/train_brains64.py --out run --images {images}"
DATA = "Phantoms: coronal slices of the MNI152 brain (y from -39 to 6 mm) under random diffeomorphisms, without noise"
NAMES = ("dilation", "atrophy", "contrast", "position", "brightness", "size")


def held_out(split: Split, count: int) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 64, 64) and covariates (N, K) of phantoms of a split."""
    phantoms = BrainPhantoms(resolution=64, split=split, recipe=RECIPE)
    parts = [phantoms(range(i, min(i + 100, count))) for i in range(0, count, 100)]
    covariates = [torch.stack([part.covariates[name] for name in NAMES], dim=1) for part in parts]
    return torch.cat([part.images for part in parts]), torch.cat(covariates).double()


def measured(generator: Generator, count: int, inversions: int) -> Findings:
    """Everything that the card says of the averaged generator, against held-out phantoms."""
    train, known = held_out("train", 4 * count)
    test, truth = held_out("test", count)
    validation, _ = held_out("validation", inversions)
    readout = CovariateReadout.of(train, known, NAMES)
    return (
        fidelity_of(generator, train[:count], test)
        | inversions_of(generator, validation)
        | directions_of(generator, readout, test, truth)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--inversions", type=int, default=64)
    args = parser.parse_args()
    state = new_state(GENERATOR, DISCRIMINATOR, TrainingConfig().adam(), 0, torch.device("cpu"))
    load_state(state, args.run / "state.safetensors")
    found = measured(state.average, args.count, args.inversions)
    details = {"command": COMMAND.format(images=state.images), "recipe": dataclasses.asdict(RECIPE)}
    card = write_release(state, args.out, DATA, "MIT", found, details, half=True)
    save_grid(draw_samples(state.average, 40), args.run / "release.png")
    for name, value in card.metrics.items():
        print(f"{name:24s} {value:.4f}")
    for name, figures in card.details["directions"].items():
        print(f"direction of {name:12s} {figures}")


if __name__ == "__main__":
    main()
