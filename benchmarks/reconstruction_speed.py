"""The cost of one MAP step of a reconstruction, beside one forward and backward pass of its generator; batches.

All are measured in turn in one run, for 64 px, super-resolution by 4; medians are compared.
"""

import time
from collections.abc import Callable

import numpy as np
import pyro
import torch

from neuropyro.generators import load_generator
from neuropyro.inference.fit import build_guide
from neuropyro.inference.objective import choose_elbo
from neuropyro.models import LatentReconstruction
from neuropyro.models.corruption import Downsample

REPEATS = 15


def seconds(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(REPEATS + 2):
        for name, call in calls.items():
            began = time.process_time()
            call()
            taken[name].append(time.process_time() - began)
    return {name: float(np.median(times[2:])) for name, times in taken.items()}


def steps_of(count: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """One MAP step, and one pass of the generator, of ``count`` images."""
    generator = load_generator("brains64")
    model = LatentReconstruction(generator, Downsample(4, noise=0.02), candidates=count, starts=1, search_steps=0)
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
        measured.source.images(w).square().sum().backward()

    return step, bare


def main() -> None:
    calls = {}
    for count in (1, 16):
        calls[f"step {count}"], calls[f"bare {count}"] = steps_of(count)
    found = seconds(calls)
    for count in (1, 16):
        step, bare = found[f"step {count}"], found[f"bare {count}"]
        print(f"{count:2d} images: step {step:.4f} s, generator {bare:.4f} s, ratio {step / bare:.2f}")
    print(f"16 images together: {found['step 16'] / (16 * found['step 1']):.2f} of one image x 16")


if __name__ == "__main__":
    main()
