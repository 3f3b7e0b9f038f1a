"""Train the bundled generator of 64-px coronal brain slices, on phantoms; run again to resume.

One process of one thread per core is fastest on a CPU, and keeps its pace on a busy one:

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 benchmarks/train_brains64.py --out run

The z of each phantom is known (:mod:`neuropyro.data.phantom_codes`), and the generator learns to make the one of the
other, in stages: :data:`STAGES`.
"""

import argparse
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from neuropyro.data.phantom_codes import PhantomCodes
from neuropyro.data.phantom_recipe import PhantomRecipe
from neuropyro.data.phantoms import BrainPhantoms, Split
from neuropyro.generators.checkpoints import Checkpoint
from neuropyro.generators.codes import teach_mapping, weigh_inputs
from neuropyro.generators.config import DiscriminatorConfig, GeneratorConfig
from neuropyro.generators.discriminator import Discriminator
from neuropyro.generators.evaluation import measure_fidelity
from neuropyro.generators.sample_grids import draw_samples
from neuropyro.generators.stylegan2 import Generator
from neuropyro.generators.training import Measure, train_generator
from neuropyro.generators.training_config import TrainingConfig
from neuropyro.generators.training_state import TrainingState

# What the generator learns is a prior of clean images: noise belongs to the measurement.
RECIPE = PhantomRecipe(noise=(0.0, 0.0))
KEPT = 100_000  # phantoms that are made, and shown again and again
CHANNELS = (128, 128, 128, 64, 32)
# Codes are learned by the mapping foremost, which a rate of a hundredth, as usual without them, would hold still.
# Width is cheap there: a hundredth of what the synthesis costs.
MAPPING: dict[str, Any] = {"mapping_layers": 3, "mapping_width": 1024, "lr_multiplier": 1.0}
GENERATOR = GeneratorConfig(img_resolution=64, channels=CHANNELS, z_dim=128, w_dim=512, **MAPPING)
DISCRIMINATOR = DiscriminatorConfig(img_resolution=64, channels=CHANNELS)
SETTINGS: dict[str, Any] = {
    "batch": 32,
    "muon": True,
    "r1_weight": 0.2,
    "path_weight": 0.0,
    "style_mixing": 0.0,
    "mirror": False,
    "noise": False,
    "average_images": 2_000,
    "state_images": 4_000,
    "sample_images": 16_000,
    "log_images": 1_000,
}
# First codes alone teach the generator, by large steps that grow small: of 128 coordinates a phantom can be made to
# 36 dB, and what the mapping and the synthesis make of them is a matter of how long they learn.
CODES: dict[str, Any] = {"code_weight": 50.0, "adversarial_from": 10**9, "momentum": 0.9}
# The discriminator learns last, of a generator that stands still, as does its average: its features serve
# reconstruction.  Where the generator listens to it, at a rate of a thousandth, codes' error soon is twice as large.
JUDGED: dict[str, Any] = {"code_weight": 50.0, "learning_rate": 0.0, "average_images": 10**9, "average_rampup": None}
JUDGED |= {"discriminator_learning_rate": 0.003, "discriminator_momentum": 0.9, "r1_weight": 0.05}
STAGES: list[tuple[int, dict[str, Any]]] = [
    (800, CODES | {"learning_rate": 0.002, "batch": 16}),  # large steps would throw the networks off at first
    (3_200, CODES | {"learning_rate": 0.01, "batch": 16}),
    (32_000, CODES | {"learning_rate": 0.02, "batch": 16}),
    (100_000, CODES | {"learning_rate": 0.02}),
    (148_000, CODES | {"learning_rate": 0.01}),
    (190_000, CODES | {"learning_rate": 0.005}),
    (215_000, CODES | {"learning_rate": 0.002}),
    (260_000, CODES | {"learning_rate": 0.005}),
    (285_000, CODES | {"learning_rate": 0.002}),
    (295_000, CODES | {"learning_rate": 0.0007}),
    (308_000, JUDGED),
]


def learning_curve(phantoms: BrainPhantoms, count: int = 1000) -> Measure:
    """Return what is logged with every grid of samples: figures against phantoms of the validation split."""

    @cache
    def images(split: Split) -> Tensor:
        stream = phantoms.of_split(split)
        return torch.cat([stream.images(part) for part in torch.arange(count).split(100)])

    def measure(state: TrainingState) -> dict[str, float]:
        samples = draw_samples(state.average, count, seed=1)
        fidelity = measure_fidelity(samples, images("train"), images("validation"))
        return {name: getattr(fidelity, name) for name in ("two_sample_accuracy", "precision", "recall")}

    return measure


@dataclass(frozen=True)
class ShownAgain:
    """Phantoms of the first :data:`KEPT` indices and their codes, of which others are repetitions.

    To make a phantom takes half as long as to learn from it, and so many are not learned by heart.
    """

    images: Tensor
    codes: Tensor
    scales: Tensor

    @classmethod
    def of(cls, phantoms: BrainPhantoms, folder: Path) -> "ShownAgain":
        """Those of the run in the folder, which are made at its beginning, as are the axes of the codes."""
        codes = codes_of(phantoms, folder)
        path = folder / "phantoms.safetensors"
        if not path.exists():
            parts = tqdm(torch.split(torch.arange(KEPT), 100), "phantoms", disable=None)
            pairs = [(phantoms.images(part).half(), codes(part)) for part in parts]
            _save(dict(zip(("images", "codes"), map(torch.cat, zip(*pairs, strict=True)), strict=True)), path)
        return cls(**load_file(path), scales=codes.scales)

    def show(self, indices: Tensor) -> Tensor:
        """Images (B, 1, 64, 64) of indices."""
        return self.images[indices % KEPT].float()

    def __call__(self, indices: Tensor) -> Tensor:
        """Codes (B, z_dim) of indices."""
        return self.codes[indices % KEPT]


def codes_of(phantoms: BrainPhantoms, folder: Path) -> PhantomCodes:
    """Those of the run in the folder, which are found at its beginning."""
    path = folder / "codes.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        PhantomCodes.of(phantoms, GENERATOR.z_dim).save(path)
    return PhantomCodes.load(phantoms, path)


def beginning(shown: ShownAgain, seed: int, folder: Path) -> Checkpoint:
    """Return what a run begins with: networks of the seed's, of which the mapping has learned what codes mean."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator, discriminator = Generator(GENERATOR), Discriminator(DISCRIMINATOR)
    taught = folder / f"mapping-{seed}.safetensors"  # for runs that stop before they have a state
    if taught.exists():
        generator.mapping.load_state_dict(load_file(taught))
    else:
        weigh_inputs(generator, shown.scales)
        explained = teach_mapping(generator.mapping, shown, shown.show, KEPT, seed=seed)
        print({"images": 0, "variance_explained_by_mapping": explained}, flush=True)
        _save(generator.mapping.state_dict(), taught)
    return Checkpoint(Path(f"seed {seed}"), "new", generator, None, discriminator)


def _save(tensors: dict[str, Tensor], path: Path) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    save_file(tensors, partial)
    partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, help="to stop at; by default where the last stage ends")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    phantoms = BrainPhantoms(resolution=64, split="train", seed=args.seed, recipe=RECIPE)
    shown, measure = ShownAgain.of(phantoms, args.out), learning_curve(phantoms)
    begun = (args.out / "state.safetensors").exists()
    start = None if begun else beginning(shown, args.seed, args.out)
    for until, settings in STAGES:
        stage = SETTINGS | settings | {"seed": args.seed, "precision": args.precision}
        config = TrainingConfig(images=min(until, args.images or until), **stage)
        networks = (GENERATOR, DISCRIMINATOR)
        given = {"device": args.device, "start": start, "codes": shown, "measure": measure, "tell": print}
        train_generator(shown.show, args.out, *networks, config, **given)


if __name__ == "__main__":
    main()
