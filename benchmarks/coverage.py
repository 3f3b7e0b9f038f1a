"""Coverage of intervals on data from DIVE's own prior, guide by guide: 60 subjects x 4 visits, 200 vertices, K = 3.

    python benchmarks/coverage.py --guides structured normal --datasets 50 --out docs/coverage.csv

A row a guide and data set: the share of truths inside its 90 % intervals, in the common gauge and labelling, the
correlation of its scores with the true ones, and its loss.  A file that is there already is gone on with, and several
processes may fill one (``--from``).  Beside it, as Markdown, each guide's means with their Monte Carlo errors.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from kept_rows import keep_row, read_rows

from neuropyro.data import Cohort, simulate_reference
from neuropyro.inference import Fit, Simulated, fit, interval_coverage, sample, simulate_prior
from neuropyro.models import VertexClusterMixture

SITES = {"dps": "scores", "alpha": "speeds", "beta": "onsets (beta)", "c": "midpoints c", "b": "steepnesses b"}
HEADING = """# Coverage of 90 % intervals, guide by guide

Data sets from DIVE's own prior: 60 subjects with four yearly visits, 200 vertices in three clusters; trajectories are
often half seen, and clusters of one vertex in ten are among them.  Share of the true values inside the interval, mean
over data sets and its Monte Carlo error; the least share of scores in any data set; CPU seconds of a fit.  Made by
`python benchmarks/coverage.py`; a row a data set is in the CSV file beside this one.  Intervals lie between Weibull's
quantiles of 199 draws.  In data set 3 hardly a curve is seen to change, and every guide takes what people differ by for
the course: scores correlate .1 with the truth, and a fifth of them are held.
"""
LEVEL, DRAWS = 0.9, 199
CHAIN = {"draws": 300, "warm_up": 200, "chains": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guides", nargs="+", default=["structured"], help="names, or nuts")
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--datasets", type=int, default=50, help="number of the last, plus 1")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    design = since_entry(simulate_reference(n_subjects=60, n_vertices=200, n_clusters=3, seed=0))
    for guide in args.guides:
        there = {int(row["dataset"]) for row in read_rows(args.out) if row["guide"] == guide}
        for dataset in (d for d in range(args.first, args.datasets) if d not in there):
            keep_row(args.out, covered(design, guide, args.seed, dataset))
    lines = "\n".join(table(read_rows(args.out)))
    args.out.with_suffix(".md").write_text(f"{HEADING}\n{lines}\n")
    print(lines)


def since_entry(cohort: Cohort) -> Cohort:
    """Return the cohort with times in years since each subject's first visit, which then span much of the course."""
    first = [cohort.time[cohort.subject == subject].min() for subject in cohort.subject]
    return dataclasses.replace(cohort, time=cohort.time - np.array(first))


def covered(design: Cohort, guide: str, seed: int, dataset: int) -> dict[str, Any]:
    """Draw truth and data, fit, and count the truths inside the intervals."""
    began = time.process_time()
    model, simulated, fitted = drawn(design, seed, dataset)
    result = runner(guide)(model, simulated.data, seed=fitted, progress=False)
    truth, posterior = simulated.beside(model, result, DRAWS)
    row = {"guide": guide, "dataset": dataset} | {
        site: float(interval_coverage(posterior[site], truth[site], [LEVEL])[0]) for site in SITES
    }
    row["correlation"] = float(np.corrcoef(posterior["dps"].mean(0), truth["dps"])[0, 1])
    return row | {"loss": float(result.losses[-1]), "seconds": time.process_time() - began}


def drawn(design: Cohort, seed: int, dataset: int) -> tuple[VertexClusterMixture, Simulated, int]:
    """Return the model, what was drawn from its prior, and the seed of the fit."""
    first, fitted = (int(word) for word in np.random.SeedSequence((seed, dataset)).generate_state(2))
    model = VertexClusterMixture(n_clusters=3)
    return model, simulate_prior(model, design, first), fitted


def runner(guide: str) -> Callable[..., Fit]:
    if guide == "nuts":
        return lambda *args, **options: sample(*args, **options, **CHAIN)
    return lambda *args, **options: fit(*args, guide=guide, **options)


def table(rows: list[dict[str, str]]) -> Iterator[str]:
    """Return a line a guide: means over data sets, with Monte Carlo errors."""
    yield "| guide | data sets | " + " | ".join(SITES.values()) + " | least scores | seconds |"
    yield "|---|" + "---:|" * (len(SITES) + 3)
    for guide in dict.fromkeys(row["guide"] for row in rows):
        own = [row for row in rows if row["guide"] == guide]
        shares = np.array([[float(row[site]) for site in SITES] for row in own])
        errors = shares.std(0, ddof=1) / len(own) ** 0.5 if len(own) > 1 else np.full(len(SITES), np.nan)
        cells = " | ".join(f"{mean:.1%} ± {error:.1%}" for mean, error in zip(shares.mean(0), errors, strict=True))
        seconds = np.mean([float(row["seconds"]) for row in own])
        yield f"| `{guide}` | {len(own)} | {cells} | {shares[:, 0].min():.0%} | {seconds:.0f} |"


if __name__ == "__main__":
    main()
