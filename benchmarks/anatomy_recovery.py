"""What is put into the anatomy simulator comes back by fitting DIVE to what comes out.

    python benchmarks/anatomy_recovery.py stages --seeds 3
    python benchmarks/anatomy_recovery.py stages --seeds 1 --every 1     # all 19,632 vertices

Stages: cohorts of 300 simulated subjects (genes, ageing, missing visits and all), DIVE fitted to their maps, and the
correlation of its scores with the true ones over visits.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from neuropyro.inference import fit
from neuropyro.models import AnatomySimulator, VertexClusterMixture


def stages(seeds: int, subjects: int, every: int, guide: str) -> None:
    """Print a row a seed."""
    simulator = AnatomySimulator()
    print("| seed | visits | vertices | correlation of scores | seconds |\n|---|---|---|---|---|", flush=True)
    for seed in range(seeds):
        cohort = simulator.simulate(subjects, 4, seed=seed, images=False)
        cohort = cohort.subset(vertices=np.arange(0, cohort.n_vertices, every))
        began = time.process_time()
        result = fit(VertexClusterMixture(n_clusters=3), cohort, guide=guide, seed=seed, progress=False)
        found = result.posterior(1 if result.is_point else 200)["dps"].mean(0)
        r = np.corrcoef(found, cohort.truth["dps"])[0, 1]
        size = f"{cohort.n_visits} | {cohort.n_vertices:,}"
        print(f"| {seed} | {size} | {r:.4f} | {time.process_time() - began:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["stages"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--subjects", type=int, default=300)
    parser.add_argument("--every", type=int, default=20, help="take every so manyth vertex")
    parser.add_argument("--guide", default="map")
    args = parser.parse_args()
    stages(args.seeds, args.subjects, args.every, args.guide)


if __name__ == "__main__":
    main()
