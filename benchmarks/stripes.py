"""Three stripes on a 30 x 30 grid in heavy noise, with the spatial prior and without: python benchmarks/stripes.py."""

from __future__ import annotations

import argparse
import itertools

import numpy as np

from neuropyro.data import Cohort, Mesh, simulate_reference
from neuropyro.inference import fit
from neuropyro.models import VertexClusterMixture

SIDE, STRIPES = 30, 3


def stripes(seed: int) -> Cohort:
    """40 subjects x 4 visits, onsets a third of a score apart, noise sd 2 on a fall of 5."""
    labels = np.repeat(np.arange(STRIPES), SIDE * SIDE // STRIPES)
    mesh = Mesh.grid(SIDE, SIDE)
    return simulate_reference(40, SIDE * SIDE, STRIPES, 1.0, 4, 2.0, seed, mesh=mesh, labels=labels)


def accuracy(assignments: np.ndarray, labels: np.ndarray) -> float:
    guess = assignments.argmax(1)
    return max(float((np.array(order)[guess] == labels).mean()) for order in itertools.permutations(range(STRIPES)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guide", default="map")
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    for spatial, seed in itertools.product(("potts", None), range(given.seeds)):
        cohort = stripes(seed)
        model = VertexClusterMixture(STRIPES, spatial=spatial)
        result = fit(model, cohort, given.guide, progress=False)
        q = model.assignments(result)
        coupling = result.posterior(200).get("coupling", np.full(1, np.nan))
        print(
            f"spatial {spatial}, seed {seed}: accuracy {accuracy(q, np.asarray(cohort.truth['Z'])):.3f}, "
            f"largest posterior {q.max(1).mean():.3f}, coupling {coupling.mean():.3f} (sd {coupling.std():.3f}), "
            f"{result.seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
