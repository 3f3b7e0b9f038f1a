"""Measure a training run of the bundled generator, and write its averaged weights, discriminator and card.

python benchmarks/release_brains64.py --run run --out generators/brains64.safetensors
"""

import argparse
import copy
import dataclasses
from pathlib import Path

import torch
from torch import Tensor
from train_brains64 import DISCRIMINATOR, GENERATOR, RECIPE

from neuropyro.data.phantoms import BrainPhantoms, Split
from neuropyro.generators.cards import Card, save_generator
from neuropyro.generators.evaluation import inversion_psnr, measure_fidelity
from neuropyro.generators.latents import latent_statistics
from neuropyro.generators.sample_grids import draw_samples, save_grid
from neuropyro.generators.training_config import TrainingConfig
from neuropyro.generators.training_state import TrainingState, load_state, new_state

COMMAND = "OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 benchmarks/train_brains64.py --out run --images {images}"
DATA = "Phantoms: coronal slices of the MNI152 brain (y from -39 to 6 mm) under random diffeomorphisms, without noise"


def held_out(split: Split, count: int) -> Tensor:
    phantoms = BrainPhantoms(resolution=64, split=split, recipe=RECIPE)
    return torch.cat([phantoms.images(range(i, min(i + 100, count))) for i in range(0, count, 100)])


def figures(state: TrainingState, count: int, inversions: int) -> dict[str, float]:
    """Quality of the averaged generator against held-out phantoms, by name."""
    train, test = held_out("train", count), held_out("test", count)
    fidelity = measure_fidelity(draw_samples(state.average, count, seed=1), train, test)
    psnr = inversion_psnr(state.average.freeze(), test[:inversions])
    measured = dataclasses.asdict(fidelity) | {"inversion_psnr": float(psnr.median())}
    return {name: round(value, 4) for name, value in measured.items()}


def write(state: TrainingState, path: Path, metrics: dict[str, float], seed: int) -> Card:
    """Save averaged generator and discriminator as float16, with a card."""
    details = {
        "images_seen": state.images,
        "command": COMMAND.format(images=state.images),
        "history": state.history,
        "recipe": dataclasses.asdict(RECIPE),
    }
    arrays = latent_statistics(state.average).to_arrays()
    card = Card(path.stem, DATA, seed, metrics, "MIT", details, arrays)
    halves = (copy.deepcopy(net).half() for net in (state.average, state.discriminator))
    generator, discriminator = halves
    return save_generator(generator, path, card, discriminator)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--inversions", type=int, default=32)
    args = parser.parse_args()
    state = new_state(GENERATOR, DISCRIMINATOR, TrainingConfig().adam(), 0, torch.device("cpu"))
    load_state(state, args.run / "state.safetensors")
    metrics = figures(state, args.count, args.inversions)
    card = write(state, args.out, metrics, seed=state.history[0]["config"]["seed"])
    save_grid(draw_samples(state.average, 40), args.run / "release.png")
    for name, value in card.metrics.items():
        print(f"{name:24s} {value:.4f}")


if __name__ == "__main__":
    main()
