"""A cortex of 163,842 vertices x 400 visits, four clusters: seconds and peak memory of a MAP fit to its own stop."""

import argparse
import resource
import time

import numpy as np

from neuropyro.data import Cohort, simulate_reference
from neuropyro.inference import cluster_agreement, fit
from neuropyro.models import VertexClusterMixture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vertices", type=int, default=163_842)
    parser.add_argument("--guide", default="map")
    arguments = parser.parse_args()
    cohort: Cohort = simulate_reference(n_subjects=100, n_vertices=arguments.vertices, n_clusters=4, seed=0)
    print(cohort)
    model = VertexClusterMixture(4)
    began = time.perf_counter()
    result = fit(model, cohort, guide=arguments.guide, seed=0)
    seconds = time.perf_counter() - began
    truth = cohort.truth
    correlation = np.corrcoef(result.posterior(20)["dps"].mean(0), np.asarray(truth["dps"]))[0, 1]
    agreement = cluster_agreement(model.assignments(result, draws=5), np.asarray(truth["Z"]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{seconds:.0f} s, {len(result.losses)} steps of {result.runs[0].seconds / len(result.losses):.3f} s")
    print(f"peak memory {peak:.1f} GiB; {result.verdict}")
    print(f"correlation of scores {correlation:.4f}, cluster agreement {agreement:.4f}")


if __name__ == "__main__":
    main()
