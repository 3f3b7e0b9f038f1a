"""The cost of one MAP step of the mixture, beside one pass over the data and its bare matrix products.

All are measured in turn in one run, on 20,000 vertices x 800 visits, four clusters, float32; medians are compared.
"""

import time
from collections.abc import Callable

import numpy as np
import pyro
import torch

from neuropyro.data import simulate_reference
from neuropyro.inference.fit import build_guide
from neuropyro.inference.objective import choose_elbo
from neuropyro.models import VertexClusterMixture

REPEATS = 15


def seconds(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(REPEATS + 2):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - began)
    return {name: float(np.median(times[2:])) for name, times in taken.items()}


def main() -> None:
    model = VertexClusterMixture(4)
    visits = model.prepare(simulate_reference(n_subjects=200, n_vertices=20_000, n_clusters=4, seed=0))
    with pyro.settings.context(module_local_params=True):
        guide = build_guide(model, visits, "map", model.init_values(visits))
        elbo = choose_elbo(model, visits, particles=1)(model, guide)
        columns = torch.randn(visits.n_visits, 4 * 5)
        weights = torch.randn(visits.n_vertices, 4 * 5)
        by_visit = visits.values.T
        result = seconds(
            {
                "a pass over the data": lambda: by_visit.sum(),
                "bare products, both ways": lambda: (columns.T @ by_visit, by_visit @ weights),
                "a step: loss and gradient": lambda: elbo(visits).backward(),
            }
        )
    step = result["a step: loss and gradient"]
    for name, value in result.items():
        print(f"{name:28s} {1e3 * value:8.1f} ms   step / this = {step / value:.2f}")


if __name__ == "__main__":
    main()
