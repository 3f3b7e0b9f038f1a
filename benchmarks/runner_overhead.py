"""What the runner adds to a bare Pyro loop: windows of steps of either, in turn, in one run; medians are compared.

    python benchmarks/runner_overhead.py

The bare loop is Pyro's own ELBO, Adam, and each loss read; the runner follows its stopping rule as well, and keeps a
checkpoint at the end.  Model: DIVE on 1,500 vertices x 400 visits, 10 ms a step or more.  One thread, and its
CPU seconds, so that what else runs on the machine counts little.
"""

import copy
import tempfile
import time
from typing import Any

import numpy as np
import pyro
import torch
from pyro.infer import TraceEnum_ELBO

from neuropyro.data import simulate_reference
from neuropyro.inference import Schedule
from neuropyro.inference.checkpoint import Checkpoint
from neuropyro.inference.fit import build_guide
from neuropyro.inference.objective import choose_elbo
from neuropyro.inference.optimise import BETAS, Monitor, optimise
from neuropyro.models import VertexClusterMixture

STEPS, PAIRS = 20, 9


def main() -> None:
    torch.set_num_threads(1)
    model = VertexClusterMixture(4)
    visits = model.prepare(simulate_reference(n_subjects=100, n_vertices=1_500, n_clusters=4, seed=0))
    for name in ("map", "normal"):
        with pyro.settings.context(module_local_params=True), tempfile.TemporaryDirectory() as folder:
            guide = build_guide(model, visits, name, model.init_values(visits))
            bare: list[float] = []
            kept: list[float] = []
            for pair in range(PAIRS + 1):
                calls: list[tuple[list[float], Any]] = [(bare, bare_loop), (kept, runner)]
                for taken, call in calls if pair % 2 else reversed(calls):
                    one = copy.deepcopy(guide)
                    began = time.process_time()
                    call(model, one, visits, f"{folder}/{pair}")
                    taken.append((time.process_time() - began) / STEPS)
        pairs = np.array(kept[1:]) / np.array(bare[1:])
        steps = f"bare step {1e3 * np.median(bare[1:]):.1f} ms, with the runner {1e3 * np.median(kept[1:]):.1f} ms"
        spread = f"quartiles {np.quantile(pairs, 0.25):.3f} and {np.quantile(pairs, 0.75):.3f}"
        print(f"{name}: {steps}; median of the paired ratios {np.median(pairs):.3f}, {spread}", flush=True)


def bare_loop(model: object, guide: torch.nn.Module, visits: object, _: str) -> None:
    elbo = TraceEnum_ELBO(max_plate_nesting=1)(model, guide)
    optimiser = torch.optim.Adam(elbo.parameters(), lr=0.02, betas=BETAS)
    with pyro.validation_enabled(False):
        for _step in range(STEPS):
            optimiser.zero_grad()
            loss = elbo(visits)
            loss.backward()
            optimiser.step()
            loss.item()


def runner(model: object, guide: torch.nn.Module, visits: object, folder: str) -> None:
    schedule = Schedule(max_steps=STEPS, window=STEPS, warm_up=0)
    monitor = Monitor("overhead", checkpoint=Checkpoint(folder, every=60.0, identity=""))
    optimise(choose_elbo(model, visits), model, guide, visits, schedule, monitor)


if __name__ == "__main__":
    main()
