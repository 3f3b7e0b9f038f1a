"""How many clusters held-out likelihood, leave-one-out, BIC and ICL choose on the DIVE paper's simulation of 3.

    python benchmarks/selection.py --seeds 10 --out tables

A line a seed is added to ``selection.csv``; seeds that it has are not run again, and several processes may fill one
(``--from``).
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

from neuropyro.data import simulate_reference
from neuropyro.inference import Schedule
from neuropyro.selection import CRITERIA, Selection, select

FIELDS = ("seed", *CRITERIA, "margins", "dice", "rand", "seconds")


def line(seed: int, found: Selection, seconds: float) -> dict[str, object]:
    below = [found.deficit(candidate, "held_out") for candidate in found.candidates]
    margins = " ".join(f"{c.clusters}:{d:.0f}±{e:.0f}" for c, (d, e) in zip(found.candidates, below, strict=True))
    chosen = next(c for c in found.candidates if c.clusters == found.clusters)
    agreement = {"dice": round(chosen.agreement.dice, 3), "rand": round(chosen.agreement.rand, 3)}
    numbers = {name: found.chosen(name) for name in CRITERIA}
    return {"seed": seed} | numbers | {"margins": margins} | agreement | {"seconds": round(seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--seeds", type=int, default=10, help="number of the last, plus 1")
    parser.add_argument("--interval", type=float, default=3.0)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--most", type=int, default=6, help="of the numbers compared, 2 up to this")
    parser.add_argument("--steps", type=int, default=6000, help="at most, of each fit of all data")
    parser.add_argument("--out", type=Path, default=Path("tables"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / "selection.csv"
    done = {row["seed"] for row in csv.DictReader(path.open(newline=""))} if path.exists() else set()
    for seed in range(given.first, given.seeds):
        if str(seed) in done:
            continue
        began = time.perf_counter()
        cohort = simulate_reference(interval=given.interval, seed=seed)
        schedule = Schedule(learning_rate=0.02, max_steps=given.steps)
        numbers = range(2, given.most + 1)
        found = select(cohort, numbers, folds=given.folds, seed=seed, schedule=schedule, progress=False)
        row = line(seed, found, time.perf_counter() - began)
        with path.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, FIELDS)
            if not stream.tell():
                writer.writeheader()
            writer.writerow(row)
        print(row, flush=True)


if __name__ == "__main__":
    main()
