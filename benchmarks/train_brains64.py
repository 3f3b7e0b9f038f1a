"""Train the bundled generator of 64-px coronal brain slices, on phantoms; run again to resume.

One process of one thread per core is fastest on a CPU, and keeps its pace on a busy one:

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 benchmarks/train_brains64.py --out run --images 1000000

Where the run's folder is lost, the released weights can be trained on, with phantoms that they have not seen:

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 benchmarks/train_brains64.py --weights brains64 --seed 1 --out run
"""

import argparse
from pathlib import Path
from typing import Any

from neuropyro.data.phantom_recipe import PhantomRecipe
from neuropyro.data.phantoms import BrainPhantoms
from neuropyro.generators.checkpoints import load_checkpoint
from neuropyro.generators.config import DiscriminatorConfig, GeneratorConfig
from neuropyro.generators.training import train_generator
from neuropyro.generators.training_config import TrainingConfig

# What the generator learns is a prior of clean images: noise belongs to the measurement.
RECIPE = PhantomRecipe(noise=(0.0, 0.0))
CHANNELS = (128, 128, 128, 64, 32)
GENERATOR = GeneratorConfig(img_resolution=64, channels=CHANNELS, z_dim=128, w_dim=128, mapping_layers=4)
DISCRIMINATOR = DiscriminatorConfig(img_resolution=64, channels=CHANNELS)
# Without the loss of diversity, samples pass for brains long before all kinds of phantoms are among them.
SETTINGS: dict[str, Any] = {
    "batch": 16,
    "r1_weight": 0.2,
    "path_weight": 0.0,
    "style_mixing": 0.0,
    "average_images": 5_000,
    "spread_weight": 10.0,
    "noise": False,
    "state_images": 3_200,
    "sample_images": 6_400,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--weights", help="name or file of a generator whose weights a new run begins with")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    phantoms = BrainPhantoms(resolution=64, split="train", seed=args.seed, recipe=RECIPE)
    config = TrainingConfig(images=args.images, seed=args.seed, precision=args.precision, **SETTINGS)
    start = load_checkpoint(args.weights) if args.weights else None
    train_generator(phantoms.images, args.out, GENERATOR, DISCRIMINATOR, config, device=args.device, start=start)


if __name__ == "__main__":
    main()
