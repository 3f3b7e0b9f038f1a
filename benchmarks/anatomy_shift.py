"""Fitted on one mix of scanners, ages and prevalence, judged on others: what breaks, and what holds.

    python benchmarks/anatomy_shift.py

A study on scanner A, of subjects who enter at 55 to 72 years, is what is learned from.  Others then come from another
scanner, are older, or are sicker, or all of these; their noise is the same in all mixes, so that those which
differ by the scanner alone are of the same people.  Each method tells the score of each of their visits:

* ridge on scans: a discriminative baseline, taught the true scores, from the pixels of slices;
* harmonised: the same, after each scan is turned into what scanner A would have made of the brain (a counterfactual);
* ridge on maps: the same baseline on maps of thickness;
* progression: DIVE, which never saw a true score; a line from its scores to true ones is drawn over the study.

A row a method and mix: correlation with the true scores, root mean square error, and mean error, all over visits.
Regressions on pixels need the 300 subjects: taught by 60, they have a correlation of .4 in the study's own mix.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV

from neuropyro.data import Cohort
from neuropyro.inference import fit
from neuropyro.models import AnatomySimulator, VertexClusterMixture
from neuropyro.models.anatomy_thickness import Thickness

Floats = NDArray[np.float64]
Method = Callable[[Cohort], Floats]
PENALTIES = np.logspace(-1, 6, 15)


@dataclass(frozen=True)
class Mix:
    """Who is seen, and in which scanner: its number, ages at entry, and by how much everyone's score is higher."""

    site: int = 0
    ages: tuple[float, float] = (55.0, 72.0)
    sicker: float = 0.0

    def simulate(self, simulator: AnatomySimulator, n: int, seed: int) -> Cohort:
        """Simulate two visits of so many subjects."""
        age = np.random.default_rng(seed).uniform(*self.ages, n)
        do = {"site": float(self.site), "entry_age": age, "beta": lambda beta: beta + self.sicker}
        return simulator.simulate(n, 2, do, seed)


STUDY = Mix()
MIXES = {
    "as in the study": STUDY,
    "scanner B": Mix(site=1),
    "scanner C": Mix(site=2),
    "72 to 85 years": Mix(ages=(72.0, 85.0)),
    "sicker by 1.5": Mix(sicker=1.5),
    "all, in scanner B": Mix(1, (72.0, 85.0), 1.5),
}


def ridge(study: Cohort, features: Callable[[Cohort], Floats]) -> Method:
    """Teach a linear regression the true scores; the penalty is chosen by leaving visits out."""
    x = features(study)
    centre, scale = x.mean(0), x.std(0) + 1e-6
    taught = RidgeCV(PENALTIES).fit((x - centre) / scale, study.truth["dps"])
    return lambda cohort: np.asarray(taught.predict((features(cohort) - centre) / scale))


def pixels(cohort: Cohort) -> Floats:
    assert cohort.images is not None
    return cohort.images.reshape(cohort.n_visits, -1).astype(np.float64)


def maps(cohort: Cohort) -> Floats:
    return cohort.values.astype(np.float64)


def progression(study: Cohort, guide: str, seed: int) -> Method:
    """Fit DIVE, and draw a line from its scores to the true ones; others are placed on the course that it found."""
    model = VertexClusterMixture(n_clusters=3)
    result = fit(model, study, guide=guide, seed=seed, progress=False)

    def found(cohort: Cohort) -> Floats:
        return np.asarray(model.personalize(result, cohort, draws=50).dps.mean(0))

    line = np.polyfit(found(study), study.truth["dps"], 1)
    return lambda cohort: np.asarray(np.polyval(line, found(cohort)))


def harmonised(simulator: AnatomySimulator, cohort: Cohort, seed: int) -> Cohort:
    """Return the same brains as scanner A would have seen them, knowing scans, scanner and ventricles alone."""
    measures = {
        "values": cohort.covariates["ventricle_volume"][:, None],
        "feature_names": np.array(["ventricle_volume"]),
        "covariates": {"site": cohort.covariates["site"]},
    }
    seen = Cohort(time=cohort.time, subject=cohort.subject, images=cohort.images, **measures)
    exogenous = simulator.infer_exogenous(seen, draws=1, seed=seed)
    moved = simulator.counterfactual(exogenous, {"site": 0.0}, nodes=["scan"])
    place = np.abs(moved.times[cohort.subject_index] - cohort.time[:, None]).argmin(1)
    return replace(cohort, images=moved["scan"][0, cohort.subject_index, place])


def errors(found: Floats, truth: Floats) -> str:
    left = found - truth
    return f"{np.corrcoef(found, truth)[0, 1]:.3f} | {np.sqrt((left**2).mean()):.3f} | {left.mean():+.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=300, help="of the study")
    parser.add_argument("--others", type=int, default=60, help="of each mix that is judged")
    parser.add_argument("--every", type=int, default=40, help="take every so manyth vertex")
    parser.add_argument("--guide", default="map")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    whole = Thickness.default()
    simulator = AnatomySimulator(thickness=whole.subset(np.arange(0, whole.size, args.every)))
    study = STUDY.simulate(simulator, args.subjects, args.seed)
    on_scans = ridge(study, pixels)
    methods: dict[str, Any] = {
        "ridge on scans": on_scans,
        "harmonised": lambda cohort: on_scans(harmonised(simulator, cohort, args.seed)),
        "ridge on maps": ridge(study, maps),
        "progression": progression(study, args.guide, args.seed),
    }
    print("| mix | method | correlation | rmse | mean error |\n|---|---|---|---|---|", flush=True)
    for name, mix in MIXES.items():
        others = mix.simulate(simulator, args.others, args.seed + 1)
        for method, tell in methods.items():
            if method != "harmonised" or mix.site != STUDY.site:
                print(f"| {name} | {method} | {errors(tell(others), others.truth['dps'])} |", flush=True)


if __name__ == "__main__":
    main()
