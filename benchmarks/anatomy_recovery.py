"""What is put into the anatomy simulator comes back by fitting DIVE to what comes out.

    python benchmarks/anatomy_recovery.py --cohorts 40 --out anatomy_recovery.csv
    python benchmarks/anatomy_recovery.py --cohorts 3 --every 1 --guide map --out whole_cortex.csv

Cohorts of 300 simulated subjects, missing visits and all: genes act on onset and speed, ageing and what is a subject's
own on the cortex.  DIVE, with the genes as covariates, is fitted to maps of every so manyth vertex of fsaverage5.  A
row a cohort: the correlation of its scores with the true ones over visits, and the 90 % interval of what an e4 allele
adds to the log speed, whose truth is in the simulator's mechanism.  A file that is there already is gone on with.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from kept_rows import keep_row, read_rows

from neuropyro.data import Cohort
from neuropyro.inference import Schedule, fit
from neuropyro.inference.convergence import CosineSchedule
from neuropyro.models import AnatomySimulator, VertexClusterMixture
from neuropyro.models.anatomy_thickness import AGEING, Thickness

COVARIATES = ("apoe4", "prs", "education")
LEVEL = 0.9
WANTED_CORRELATION = 0.95


def true_effect(simulator: AnatomySimulator) -> float:
    """Ask the mechanism what an allele adds to the log speed."""
    speed = simulator.parts.scalars.mechanisms["alpha"]
    rest = {name: torch.zeros(1, 1) for name in speed.parents}
    none, one = (
        float(speed.value({"": torch.zeros(1, 1)}, rest | {"apoe4": torch.full((1, 1), k)}).log()) for k in (0.0, 1.0)
    )
    return one - none


def recovered(
    cohort: Cohort, model: VertexClusterMixture, guide: str, schedule: Schedule, seed: int, truth: float
) -> dict[str, Any]:
    """Fit a cohort and compare with the truth."""
    began = time.process_time()
    result = fit(model, cohort, guide=guide, schedule=schedule, seed=seed, progress=False)
    scores = result.posterior(1 if result.is_point else 200)["dps"]
    effects = model.covariate_effects(result, 2000)
    effect = effects.log_alpha[:, effects.terms.index("apoe4")]
    low, high = np.quantile(effect, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {
        "visits": cohort.n_visits,
        "vertices": cohort.n_vertices,
        "correlation": np.corrcoef(scores.mean(0), cohort.truth["dps"])[0, 1],
        "effect": effect.mean(),
        "sd": effect.std(),
        "low": low,
        "high": high,
        "held": int(low < truth < high),
        "converged": int(bool(result.converged)),
        "seconds": time.process_time() - began,
    }


def summary(rows: list[dict[str, Any]], truth: float) -> str:
    effect, r = np.array([[float(row["effect"]), float(row["correlation"])] for row in rows]).T
    held = sum(int(row["held"]) for row in rows)
    return (
        f"{len(rows)} cohorts: {held} intervals hold {truth:.3f}; estimates have mean {effect.mean():.3f} and sd "
        f"{effect.std():.3f}, posteriors a mean sd of {np.mean([float(row['sd']) for row in rows]):.3f}; correlation "
        f"of scores {r.min():.4f} at least, {(r >= WANTED_CORRELATION).sum()} of {len(r)} at {WANTED_CORRELATION}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=40)
    parser.add_argument("--from", type=int, default=0, dest="first", help="so that several processes fill one file")
    parser.add_argument("--subjects", type=int, default=300)
    parser.add_argument("--visits", type=int, default=4)
    parser.add_argument("--every", type=int, default=40, help="take every so manyth vertex")
    parser.add_argument("--ageing", type=float, default=AGEING, help="of the simulator, mm a year")
    parser.add_argument("--guide", default="structured")
    parser.add_argument("--steps", type=int, default=400, help="of the optimiser, at most, after those to the mode")
    parser.add_argument("--visit-effect", action="store_true", help="of DIVE: for maps that are smooth")
    parser.add_argument(
        "--vertex-effect", action=argparse.BooleanOptionalAction, default=True, help="of DIVE: for what lasts of people"
    )
    parser.add_argument(
        "--time-effect", action=argparse.BooleanOptionalAction, default=True, help="of DIVE: for ageing"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    whole = Thickness.default(ageing=args.ageing)
    simulator = AnatomySimulator(thickness=whole.subset(np.arange(0, whole.size, args.every)))
    effects = {"visit_effect": args.visit_effect, "vertex_effect": args.vertex_effect, "ageing": args.time_effect}
    model = VertexClusterMixture(n_clusters=3, covariates=COVARIATES, **effects)
    truth, schedule = true_effect(simulator), CosineSchedule(max_steps=args.steps)
    there = {int(row["cohort"]) for row in read_rows(args.out)}
    for seed in (c for c in range(args.first, args.cohorts) if c not in there):
        cohort = simulator.simulate(args.subjects, args.visits, seed=seed, images=False)
        found = {"cohort": seed} | recovered(cohort, model, args.guide, schedule, seed, truth)
        keep_row(args.out, found)
    print(summary(read_rows(args.out), truth))


if __name__ == "__main__":
    main()
