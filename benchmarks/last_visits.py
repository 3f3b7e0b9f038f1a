"""Predict each subject's last visit from those before it, on a long table of biomarkers (ID, TIME, a column each).

    python benchmarks/last_visits.py alzheimer.csv --guide structured [--scores latent_ages.csv]

Prints the mean absolute error beside that of the last value carried forward, by biomarker, and the coverage of 90 %
intervals.  With ``--scores``, a table of ID, TIME and one column of somebody else's scores, it prints how ours go with
those.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np

from neuropyro.data import Cohort
from neuropyro.inference import Schedule, fit
from neuropyro.map_baselines import last_value
from neuropyro.models import VertexClusterMixture
from neuropyro.models.forecasting import requested


def last_of_each(cohort: Cohort) -> np.ndarray:
    """Return which visits are the last of a subject that has earlier ones."""
    order = np.lexsort((cohort.time, cohort.subject_index))
    ends = order[np.r_[np.diff(cohort.subject_index[order]) > 0, True]]
    last = np.zeros(cohort.n_visits, bool)
    last[ends] = True
    return last & ~cohort.is_first_visit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--guide", default="structured")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--scatter", action="store_true")
    parser.add_argument("--scores", type=Path)
    given = parser.parse_args()
    cohort = Cohort.open(given.table)
    print(cohort)
    model = VertexClusterMixture(cohort.n_vertices, labels=range(cohort.n_vertices), scatter=given.scatter)
    options = {"guide": given.guide, "seed": given.seed, "schedule": Schedule(max_steps=given.steps), "progress": False}
    last = last_of_each(cohort)
    known, later = cohort.subset(visits=~last), cohort.subset(visits=last)
    began = time.perf_counter()
    result = fit(model, known, **options)
    print(result.verdict, f"{time.perf_counter() - began:.0f} s")
    found = model.forecast(result, known, later.time, later.subject, draws=400)
    carried = last_value(known, requested(known, later.time, later.subject))
    inside = (found.lower <= later.values) & (later.values <= found.upper)
    seen = ~np.isnan(later.values)
    names = cohort.feature_names if cohort.feature_names is not None else np.arange(cohort.n_vertices)
    for column, name in enumerate([*names, "all"]):
        some = seen if name == "all" else seen & (np.arange(cohort.n_vertices) == column)
        ours, theirs = (np.abs(mean - later.values)[some] for mean in (found.mean, carried.mean))
        held = inside[some].mean()
        print(f"{name!s:<26} MAE {ours.mean():.4f}, last value {np.nanmean(theirs):.4f}, 90 %: {held:.3f}", flush=True)
    if given.scores is not None:
        whole = fit(model, cohort, **options)
        compare(cohort, whole.posterior(200)["dps"].mean(0), given.scores)


def compare(cohort: Cohort, dps: np.ndarray, path: Path) -> None:
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    (name,) = set(rows[0]) - {"ID", "TIME"}
    theirs = {(row["ID"], round(float(row["TIME"]), 3)): float(row[name]) for row in rows}
    keys = [(str(i), round(float(t), 3)) for i, t in zip(cohort.subject, cohort.time, strict=True)]
    both = np.array([key in theirs for key in keys])
    other = np.array([theirs.get(key, np.nan) for key in keys])
    print(f"correlation with {name}: {np.corrcoef(dps[both], other[both])[0, 1]:.4f} ({both.sum()} visits)")


if __name__ == "__main__":
    main()
