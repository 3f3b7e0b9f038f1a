"""The cost of one MAP step of a reconstruction, beside one forward and backward pass of its networks; batches.

    OMP_NUM_THREADS=2 python benchmarks/reconstruction_speed.py

For 64 px and super-resolution by 4, with the perceptual likelihood and without.  A step and the bare pass of the same
networks are measured in turn; the ratios are medians of the pairs.
"""

import time
from collections.abc import Callable

import numpy as np
import pyro
import torch
from numpy.typing import NDArray

from neuropyro.generators import load_discriminator_features, load_generator
from neuropyro.generators.features import DiscriminatorFeatures
from neuropyro.inference.fit import build_guide
from neuropyro.inference.objective import choose_elbo
from neuropyro.models import LatentReconstruction
from neuropyro.models.corruption import Downsample
from neuropyro.models.reconstruction_features import feature_vectors

REPEATS, WARM_UP = 25, 3


def seconds(step: Callable[[], object], bare: Callable[[], object]) -> NDArray[np.float64]:
    """Wall-clock seconds (REPEATS, 2) of a step and the bare pass, one after the other."""
    taken = np.array([[timed(step), timed(bare)] for _ in range(REPEATS + WARM_UP)])
    return taken[WARM_UP:]


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def steps_of(count: int, features: DiscriminatorFeatures | None) -> tuple[Callable[[], object], Callable[[], object]]:
    """One MAP step, and one pass of the generator and the feature network, of ``count`` images."""
    generator = load_generator("brains64")
    settings = {"candidates": count, "starts": 1, "search_steps": 0}
    model = LatentReconstruction(generator, Downsample(4, noise=0.02), features=features, **settings)
    measured = model.prepare(model.simulate(count)["y"])
    with pyro.settings.context(module_local_params=True):
        guide = build_guide(model, measured, "map", model.init_values(measured))
        elbo = choose_elbo(model, measured)(model, guide)
    optimiser = torch.optim.Adam(elbo.parameters(), lr=0.02)
    w = torch.randn(count, generator.num_ws, generator.w_dim, requires_grad=True)

    def step() -> None:
        with pyro.settings.context(module_local_params=True), pyro.validation_enabled(False):
            optimiser.zero_grad()
            elbo(measured).backward()
            optimiser.step()

    def bare() -> None:
        w.grad = None
        images = measured.source.images(w)
        seen = [images] if features is None else [images, feature_vectors(features, images)]
        torch.stack([part.square().sum() for part in seen]).sum().backward()

    return step, bare


def main() -> None:
    networks = {"generator": None, "generator and features": load_discriminator_features("brains64")}
    for name, features in networks.items():
        medians = {}
        for count in (1, 16):
            taken = seconds(*steps_of(count, features))
            step, bare = medians[count] = np.median(taken, axis=0)
            ratio = np.median(taken[:, 0] / taken[:, 1])
            print(f"{name}, {count:2d} images: step {step:.4f} s, networks alone {bare:.4f} s, ratio {ratio:.2f}")
        print(f"{name}: 16 images together take {medians[16][0] / (16 * medians[1][0]):.2f} of one image x 16")


if __name__ == "__main__":
    main()
