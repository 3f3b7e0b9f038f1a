"""Coverage of intervals on data from DIVE's own prior, guide by guide: 60 subjects x 4 visits, 200 vertices, K = 3.

    python benchmarks/coverage.py --guides structured normal --datasets 50

A guide's row holds the share of truths inside its 90 % intervals, in the common gauge, with its Monte Carlo error.
"""

import argparse
import dataclasses
import time

import numpy as np

from neuropyro.data import Cohort, simulate_reference
from neuropyro.inference import Calibration, calibrate
from neuropyro.models import VertexClusterMixture

SITES = ("dps", "alpha", "beta", "c", "b")
LEVEL = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guides", nargs="+", default=["structured"])
    parser.add_argument("--datasets", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    design = since_entry(simulate_reference(n_subjects=60, n_vertices=200, n_clusters=3, seed=0))
    print(f"{'guide':<12}" + "".join(f"{site:>16}" for site in SITES) + f"{'seconds a fit':>16}", flush=True)
    for guide in args.guides:
        began = time.perf_counter()
        model = VertexClusterMixture(n_clusters=3)
        result = calibrate(model, design, guide, args.datasets, sites=SITES, seed=args.seed, progress=False)
        print(row(guide, result, (time.perf_counter() - began) / args.datasets), flush=True)


def since_entry(cohort: Cohort) -> Cohort:
    """Return the cohort with times in years since each subject's first visit, which then span much of the course."""
    first = [cohort.time[cohort.subject == subject].min() for subject in cohort.subject]
    return dataclasses.replace(cohort, time=cohort.time - np.array(first))


def row(guide: str, result: Calibration, seconds: float) -> str:
    found = [result.coverage(site, LEVEL) for site in SITES]
    cells = "".join(f"{c.actual:>9.1%} ±{c.error:>4.1%}" for c in found)
    return f"{guide:<12}{cells}{seconds:>14.1f} s"


if __name__ == "__main__":
    main()
