"""The DIVE paper's three sweeps, beside k-means: writes a table as CSV and prints it.

Run it by ``make tables`` (about half an hour on two cores), or ``python benchmarks/reference_sweeps.py --seeds 5
--guides map normal --out tables``.
k-means groups standardised maps; its score is the first principal component.
"""

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np

from neuropyro.data import SWEEPS, Cohort, reference_sweep
from neuropyro.inference import Schedule, cluster_agreement, fit
from neuropyro.models import VertexClusterMixture
from neuropyro.models.starting_order import first_component


def score(name: str, cohort: Cohort, dps: np.ndarray, assignments: np.ndarray) -> dict[str, object]:
    truth = np.asarray(cohort.truth["dps"])
    line = np.polyval(np.polyfit(dps, truth, 1), dps)
    labels = np.asarray(cohort.truth["Z"])
    return {
        "method": name,
        "agreement": round(cluster_agreement(assignments, labels), 4),
        "largest_posterior": round(float(assignments.max(1).mean()), 4),
        "correlation": round(float(np.corrcoef(dps, truth)[0, 1]), 4),
        "rmse": round(float(np.sqrt(np.mean((dps - truth) ** 2))), 4),
        "rmse_affine": round(float(np.sqrt(np.mean((line - truth) ** 2))), 4),
    }


def k_means(cohort: Cohort, n_clusters: int, seed: int) -> dict[str, object]:
    from sklearn.cluster import KMeans

    visits = VertexClusterMixture(n_clusters).prepare(cohort)
    labels = KMeans(n_clusters, n_init=4, random_state=seed).fit(visits.values.numpy()).labels_
    component = first_component(visits)
    reference = component[visits.reference.numpy()]
    return score("k-means", cohort, (component - reference.mean()) / reference.std(), np.eye(n_clusters)[labels])


def model(cohort: Cohort, n_clusters: int, guide: str, seed: int, steps: int) -> dict[str, object]:
    began = time.perf_counter()
    mixture = VertexClusterMixture(n_clusters)
    schedule = Schedule(learning_rate=0.02 if guide == "map" else 0.01, max_steps=steps)
    result = fit(mixture, cohort, guide=guide, seed=seed, schedule=schedule, progress=False)
    row = score(guide, cohort, result.posterior(100)["dps"].mean(0), mixture.assignments(result, draws=20))
    return row | {"seconds": round(time.perf_counter() - began, 1), "converged": result.converged}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--sweeps", nargs="+", default=list(SWEEPS))
    parser.add_argument("--guides", nargs="+", default=["map"])
    parser.add_argument("--steps", type=int, default=6000, help="at most; a few hundred show the shape sooner")
    parser.add_argument("--out", type=Path, default=Path("tables"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    fields = ["sweep", "setting", "seed", "method", "agreement", "largest_posterior", "correlation", "rmse"]
    with (arguments.out / "reference_sweeps.csv").open("w", newline="") as stream:
        writers = [csv.DictWriter(s, [*fields, "rmse_affine", "seconds", "converged"]) for s in (stream, sys.stdout)]
        for writer in writers:
            writer.writeheader()
        for sweep in arguments.sweeps:
            for seed in range(arguments.seeds):
                for setting, cohort in reference_sweep(sweep, seed):
                    k = len(np.asarray(cohort.truth["c"]))
                    fits = [model(cohort, k, guide, seed, arguments.steps) for guide in arguments.guides]
                    rows = [k_means(cohort, k, seed), *fits]
                    for row in rows:
                        for writer in writers:
                            writer.writerow({"sweep": sweep, "setting": setting, "seed": seed} | row)
                    stream.flush()
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
