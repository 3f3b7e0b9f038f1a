"""A guide beside NUTS on the data sets of ``benchmarks/coverage.py``: whether its means and sds are the posterior's.

    python benchmarks/beside_nuts.py --datasets 1 10 30 36 43 --out docs/beside_nuts.csv

A row a data set and site, in the common gauge and labelling: how far the guide's means are from those of NUTS, root
mean square over the site's numbers in sds of NUTS, and the ratio of the guide's sds to those of NUTS, median.  Of 300
draws each the former is some .08 by chance, and the sd of one number is off by 6 %.  A file that is there already is
gone on with.  Beside it, as Markdown, medians over data sets, and the worst.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from coverage import drawn, since_entry
from kept_rows import keep_row, read_rows
from numpy.typing import NDArray

from neuropyro.data import Cohort, simulate_reference
from neuropyro.inference import Fit, fit, sample
from neuropyro.models import VertexClusterMixture
from neuropyro.models.visits import Visits

SITES = {
    "dps": "scores",
    "log_alpha": "log speeds",
    "a": "changes a",
    "b": "steepnesses b",
    "c": "midpoints c",
    "d": "baselines d",
    "rho": "offsets' sds rho",
    "sigma": "noise sigma",
}
HEADING = """# A guide beside NUTS

Data sets of [coverage.md](coverage.md): 60 subjects with four yearly visits, 200 vertices in three clusters.  How far
means are apart, in sds of NUTS (root mean square over a site's numbers), and the ratio of the guide's sds to those of
NUTS (median); of these the median over data sets, and how far apart they are in the worst.  By chance means of 300
draws each are some .08 apart.  Made by `python benchmarks/beside_nuts.py`; a row a data set is in the CSV file beside
this one.
"""
CHAIN = {"draws": 300, "warm_up": 120, "chains": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guide", default="structured")
    parser.add_argument("--datasets", nargs="+", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    design = since_entry(simulate_reference(n_subjects=60, n_vertices=200, n_clusters=3, seed=0))
    there = {int(row["dataset"]) for row in read_rows(args.out) if row["guide"] == args.guide}
    for dataset in (d for d in args.datasets if d not in there):
        for row in beside(design, args.guide, args.seed, dataset):
            keep_row(args.out, row)
    lines = "\n".join(table(read_rows(args.out)))
    args.out.with_suffix(".md").write_text(f"{HEADING}\n{lines}\n")
    print(lines)


def beside(design: Cohort, guide: str, seed: int, dataset: int) -> list[dict[str, Any]]:
    """Draw data, fit them both ways, and compare."""
    model, simulated, fitted = drawn(design, seed, dataset)
    began = time.process_time()
    results = [sample(model, simulated.data, seed=fitted, progress=False, **CHAIN)]
    sampled = time.process_time()
    results.append(fit(model, simulated.data, guide, seed=fitted, progress=False))
    seconds = {"nuts_seconds": sampled - began, "seconds": time.process_time() - sampled}
    exact, found = identified_together(model, results, simulated.data)
    row = {"guide": guide, "dataset": dataset}
    return [row | {"site": site} | compared(found[site], exact[site]) | seconds for site in SITES]


def identified_together(model: VertexClusterMixture, results: list[Fit], data: Visits) -> list[dict[str, NDArray[Any]]]:
    """Return each result's draws in one labelling: by themselves, clusters of nearly one onset may be in any order."""
    n = CHAIN["draws"]
    draws = [result.unidentified(n) for result in results]
    both = model.identify({site: np.concatenate([own[site] for own in draws]) for site in draws[0]}, data)
    return [{site: x[:n] for site, x in both.items()}, {site: x[n:] for site, x in both.items()}]


def compared(found: NDArray[Any], exact: NDArray[Any]) -> dict[str, float]:
    """Return how far means are apart, and the ratio of sds, of draws ``(draws, ...)``."""
    sd = exact.std(0)
    apart = (found.mean(0) - exact.mean(0)) / sd
    return {"apart": float(np.sqrt(np.mean(apart**2))), "ratio": float(np.median(found.std(0) / sd))}


def table(rows: list[dict[str, str]]) -> Iterator[str]:
    """Return a line a guide and site: medians over data sets, and the worst."""
    yield "| guide | data sets | site | means apart | in the worst | sds, as a ratio |"
    yield "|---|---:|---|---:|---:|---:|"
    for guide in dict.fromkeys(row["guide"] for row in rows):
        for site, said in SITES.items():
            own = [row for row in rows if row["guide"] == guide and row["site"] == site]
            apart, ratio = ([float(row[column]) for row in own] for column in ("apart", "ratio"))
            cells = f"{np.median(apart):.2f} | {max(apart):.2f} | {np.median(ratio):.2f}"
            yield f"| `{guide}` | {len(own)} | {said} | {cells} |"


if __name__ == "__main__":
    main()
