"""The simulation of the DIVE paper, with its three sweeps.

Subjects have y = alpha t + beta with alpha = abs(Normal(1, variance .05)) and beta ~ Normal(0, variance 10) years;
first ages are uniform on 40 to 80 and visits yearly.  A visit is a patient's with a probability that rises with y.
Scores are y standardised over the controls' first visits.  All clusters fall from 0 to -5, with onsets spread over
``interval``; a vertex has a speed and an onset of its own near the cluster's.

References
----------
Marinescu et al., "DIVE: A spatiotemporal progression model of brain pathology in neurodegenerative disorders",
NeuroImage 2019, section on simulations.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuropyro.data.cohort import Cohort
from neuropyro.data.errors import CohortError
from neuropyro.data.mesh import Mesh
from neuropyro.data.truth import Truth

__all__ = ["SWEEPS", "reference_sweep", "simulate_reference"]

SWEEPS: dict[str, tuple[float, ...]] = {
    "interval": (15, 6, 4.5, 3, 2.1, 1.5, 0.9, 0.3),
    "n_clusters": (2, 3, 5, 10, 15, 20, 50, 100),
    "n_subjects": (1000, 500, 250, 100, 75, 50, 35, 20),
}

DROP = -5.0
STEEPNESS = 1.6
Floats = NDArray[np.float64]


def simulate_reference(
    n_subjects: int = 300,
    n_vertices: int = 1000,
    n_clusters: int = 3,
    interval: float = 3.0,
    visits: int = 4,
    noise_sd: float = 0.5,
    seed: int = 0,
    *,
    mesh: Mesh | None = None,
    labels: ArrayLike | None = None,
) -> Cohort:
    """Simulate one data set of the paper; arbitrary units, time as age in years, diagnosis 1 (control) or 2.

    Parameters
    ----------
    interval
        The onsets are c_k = -1 + interval k / K, in sd of the controls' scores.
    noise_sd
        Sd of the white noise; the clusters fall by 5.
    mesh
        Which vertices are neighbours; they do not influence each other.
    labels
        ``(vertices,)`` the clusters from 0; by default uniform at random.

    Returns
    -------
    Cohort
        Its ``truth`` has dps, alpha, beta, Z, vertex_b, vertex_c and the clusters' a, b, c, d, in the gauge where
        controls' first visits have mean 0 and sd 1.

    Raises
    ------
    CohortError
        Where a count is below 1, or the labels are not one for each vertex.

    Examples
    --------
    >>> cohort = simulate_reference(n_subjects=10, n_vertices=20, seed=1)
    >>> cohort.values.shape, sorted(cohort.truth)
    ((40, 20), ['Z', 'a', 'alpha', 'b', 'beta', 'c', 'd', 'dps', 'vertex_b', 'vertex_c'])
    """
    if min(n_subjects, n_vertices, n_clusters, visits) < 1:
        raise CohortError("simulate: n_subjects, n_vertices, n_clusters and visits must be 1 or more")
    if labels is not None and np.shape(labels) != (n_vertices,):
        raise CohortError(f"simulate: labels have shape {np.shape(labels)}; give one for each of {n_vertices} vertices")
    rng = np.random.default_rng(seed)
    subject = np.repeat(np.arange(n_subjects), visits)
    alpha = np.abs(rng.normal(1, np.sqrt(0.05), n_subjects))
    beta = rng.normal(0, np.sqrt(10), n_subjects)
    time = np.repeat(rng.uniform(40, 80, n_subjects), visits) + np.tile(np.arange(visits), n_subjects)
    years = alpha[subject] * time + beta[subject]
    diagnosis = np.where(rng.random(len(years)) < _patient_probability(years), 2, 1)
    shift, scale = _standard(years, diagnosis, visits)
    clusters = _clusters(n_clusters, interval)
    labels = rng.integers(n_clusters, size=n_vertices) if labels is None else np.asarray(labels)
    vertex_b = STEEPNESS * (1 + rng.normal(0, np.sqrt(1 / 15), n_vertices))
    vertex_c = clusters["c"][labels] + rng.normal(0, np.sqrt(3 / 70), n_vertices)
    dps = (years - shift) / scale
    clean = DROP / (1 + np.exp(-vertex_b * (dps[:, None] - vertex_c)))
    beta_at_mean_time = (alpha * time.mean() + beta - shift) / scale
    return Cohort(
        values=(clean + rng.normal(0, noise_sd, clean.shape)).astype(np.float32),
        time=time,
        subject=subject,
        diagnosis=diagnosis,
        mesh=mesh,
        truth=Truth(
            visit={"dps": dps},
            subject={"alpha": alpha / scale, "beta": beta_at_mean_time},
            vertex={"Z": labels, "vertex_b": vertex_b, "vertex_c": vertex_c},
            other=clusters,
        ),
    )


def reference_sweep(name: str, seed: int = 0) -> Iterator[tuple[float, Cohort]]:
    """Yield (setting, cohort) along one of the `SWEEPS`, everything else at its default.

    Raises
    ------
    CohortError
        Where there is no such sweep.

    Examples
    --------
    >>> setting, cohort = next(reference_sweep("interval"))
    >>> setting, cohort.values.shape
    (15, (1200, 1000))
    """
    if name not in SWEEPS:
        raise CohortError(f"sweep: there is no {name!r}; there are {', '.join(SWEEPS)}")
    for setting in SWEEPS[name]:
        argument: dict[str, Any] = {name: setting if name == "interval" else int(setting)}
        yield setting, simulate_reference(seed=seed, **argument)


def _patient_probability(years: Floats) -> Floats:
    lo, hi = years.min(), years.max()
    mean = lo + (hi - lo) * (1 - np.sqrt(0.4))
    control, patient = np.exp(-(years - lo) / (mean - lo)), np.exp(-(hi - years) / (mean - lo))
    return np.asarray(1 - control / (control + patient))


def _standard(years: Floats, diagnosis: NDArray[np.int64], visits: int) -> tuple[float, float]:
    first = years[::visits]
    controls = first[diagnosis[::visits] == 1]
    reference = controls if len(controls) >= 2 else first
    return float(reference.mean()), float(reference.std()) or 1.0


def _clusters(n_clusters: int, interval: float) -> dict[str, Floats]:
    return {
        "a": np.full(n_clusters, DROP),
        "b": np.full(n_clusters, STEEPNESS),
        "c": -1 + interval * np.arange(n_clusters) / n_clusters,
        "d": np.zeros(n_clusters),
    }
