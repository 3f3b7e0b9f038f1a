"""Learn what a generator of phantoms cannot make, and write it into its card.

    python benchmarks/residual_brains64.py --weights generators/brains64.safetensors

Validation phantoms are inverted as a reconstruction inverts them, as many as --images says.  Weights stay as they are,
and so does the rest of the card, with the stationary residual of closer inversions that samples are given.
"""

import argparse
import dataclasses
from pathlib import Path

import torch
from release_brains64 import held_out

from neuropyro.generators import load_checkpoint, load_generator, save_generator
from neuropyro.generators.residual_conditionals import ConditionalSpread
from neuropyro.generators.residuals import band_power
from neuropyro.models import LatentReconstruction
from neuropyro.models.corruption import Identity
from neuropyro.models.reconstruction_learning import PIXEL_SD, residuals_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--out", type=Path, help="in place if not given")
    args = parser.parse_args()
    settings = {"starts": 1, "candidates": 1000, "search_steps": args.steps}
    model = LatentReconstruction(load_generator(args.weights), Identity(PIXEL_SD), residual=None, **settings)
    residuals = residuals_of(model, held_out("validation", args.images)[0], progress=True)
    learned = ConditionalSpread.of(residuals)
    found = load_checkpoint(args.weights)
    rmse = float(residuals.square().mean((1, 2, 3)).sqrt().median())
    said = {"images": args.images, "steps": args.steps, "rmse": round(rmse, 4)}
    said["power_by_band"] = [float(f"{value:.3g}") for value in band_power(residuals)]
    arrays = dict(found.card.arrays) | learned.to_arrays()
    details = dict(found.card.details) | {"conditional_residual": said}
    card = dataclasses.replace(found.card, details=details, arrays=arrays)
    halves = found.generator.half(), found.discriminator and found.discriminator.half()
    before = {name: t.clone() for name, t in load_generator(args.weights).state_dict().items()}
    save_generator(halves[0], args.out or args.weights, card, halves[1])
    again = load_generator(args.out or args.weights).state_dict()
    if not all(torch.equal(again[name], value) for name, value in before.items()):
        raise SystemExit(f"{args.weights}: its weights are of more than half precision, and were rounded")
    print(f"residual of {args.images} images: median rmse {rmse:.4f}")


if __name__ == "__main__":
    main()
