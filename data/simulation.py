"""A simulated study on the fsaverage5 cortex: patients and controls, progression scores, thickness maps.

The generative story.  A subject ages at a speed alpha along one common disease course and entered it at an offset
beta, so that a visit at time t has the score s = alpha (t - t0) + beta.  The cortex consists of clusters of parcels
that do not touch, as functional networks do.  A vertex l of cluster k thins from its own baseline along
its own sigmoid near the cluster's::

    V_nl = baseline_l + offset_il - atrophy_k / (1 + exp(-b_l (s_n - c_l))) + smooth residual + white residual

with log b_l ~ Normal(log b_k, speed_scatter) and c_l ~ Normal(c_k, onset_scatter).  Residuals are
new at each visit; the offset of subject i lasts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.cohort import Cohort
from neuropyro.data.errors import CohortError
from neuropyro.data.mesh import Mesh
from neuropyro.data.parcels import network_labels
from neuropyro.data.surfaces import cortex_mesh, cortical_thickness, smooth_noise
from neuropyro.data.truth import Truth

__all__ = ["simulate_cohort"]

Floats = NDArray[np.float64]


def simulate_cohort(
    n_subjects: int = 200,
    visits: int = 4,
    n_clusters: int = 3,
    *,
    mesh: Mesh | None = None,
    parcels_per_cluster: int = 6,
    patients: float = 0.5,
    atrophy: tuple[float, float] = (0.2, 0.8),
    onsets: tuple[float, float] = (-0.5, 3.5),
    onset_scatter: float = 0.3,
    speed_scatter: float = 0.2,
    white_sd: float = 0.10,
    smooth_sd: float = 0.08,
    smooth_fwhm: float = 10.0,
    subject_sd: float = 0.08,
    missing_visits: float = 0.1,
    missing_values: float = 0.0,
    seed: int = 0,
) -> Cohort:
    """Simulate a longitudinal cohort of cortical thickness maps (mm); its truth travels with it.

    Parameters
    ----------
    n_subjects, visits
        Subjects, and planned visits of each, about a year apart.
    n_clusters
        Number of clusters K, each of ``parcels_per_cluster`` parcels, at least four of which stay apart.
    mesh
        The cortex; by default fsaverage5, both hemispheres, without the medial wall (19,632 vertices).  A mesh of
        another template starts from a flat baseline of 2.5 mm.
    patients
        Fraction of the subjects who are patients: further along (by 3 sd of controls on average) and faster.
    atrophy
        Smallest and largest loss over the whole course, mm; the clusters' losses are spread evenly between.
    onsets
        The first and the last cluster's onset c, in sds of the controls' scores: the earliest changes begin among
        controls, or nothing could order them.
    onset_scatter, speed_scatter
        Sd over a cluster's vertices of the onset c (in scores) and of log b.
    white_sd, smooth_sd, smooth_fwhm
        Residuals of a visit: sd of white noise and of noise that is smooth on the surface (mm), and the full width
        at half maximum of its kernel (mm).
    subject_sd
        Sd of a subject's own lasting deviation from the baseline map, equally smooth, mm.
    missing_visits, missing_values
        Fraction of follow-up visits that did not take place, and of values that are NaN.
    seed
        The same seed gives the same cohort.

    Returns
    -------
    Cohort
        Values in mm, time as age in years, diagnosis ``"CN"`` or ``"AD"``.  ``truth`` holds dps (per visit), alpha
        and beta (per subject; s = alpha (t - mean time) + beta), Z, b and c of each vertex (vertex_b, vertex_c) and
        a, b, c of each cluster, in the gauge where controls' first visits have mean 0 and sd 1.

    Raises
    ------
    CohortError
        Where an argument makes no sense; it is named.

    Examples
    --------
    >>> cohort = simulate_cohort(n_subjects=10, visits=2, seed=1)
    >>> cohort.n_vertices, cohort.mesh.template
    (19632, 'fsaverage5')
    """
    _check(n_subjects, visits, n_clusters, patients, missing_visits, missing_values)
    rng = np.random.default_rng(seed)
    mesh = cortex_mesh() if mesh is None else mesh
    course = _course(n_subjects, visits, patients, missing_visits, rng)
    clusters = _clusters(n_clusters, atrophy, onsets)
    labels = network_labels(mesh, n_clusters, rng, parcels_per_cluster)
    vertex_c = clusters["c"][labels] + onset_scatter * rng.standard_normal(mesh.n_vertices)
    vertex_b = clusters["b"][labels] * np.exp(speed_scatter * rng.standard_normal(mesh.n_vertices))
    values = _thinning(course.dps, clusters["a"][labels], vertex_b, vertex_c)
    values += _baseline(mesh)
    values += subject_sd * smooth_noise(mesh, n_subjects, smooth_fwhm, rng)[course.subject]
    values += smooth_sd * smooth_noise(mesh, len(course.time), smooth_fwhm, rng)
    values += white_sd * rng.standard_normal(values.shape, dtype=np.float32)
    if missing_values:
        values[rng.random(values.shape, dtype=np.float32) < missing_values] = np.nan
    return Cohort(
        values=values,
        time=course.time,
        subject=np.array([f"sub-{i + 1:04d}" for i in course.subject]),
        diagnosis=np.where(course.patient[course.subject], "AD", "CN"),
        mesh=mesh,
        unit="mm",
        truth=Truth(
            visit={"dps": course.dps},
            subject={"alpha": course.alpha, "beta": course.beta},
            vertex={"Z": labels, "vertex_b": vertex_b, "vertex_c": vertex_c},
            other=clusters,
        ),
    )


@dataclass(frozen=True)
class _Course:
    """Who is seen when, and how far along."""

    subject: NDArray[np.int64]  # (visits,)
    time: Floats  # (visits,) years
    dps: Floats  # (visits,)
    alpha: Floats  # (subjects,) scores a year
    beta: Floats  # (subjects,) score at the cohort's mean time
    patient: NDArray[np.bool_]  # (subjects,)


def _course(n_subjects: int, visits: int, patients: float, missing: float, rng: np.random.Generator) -> _Course:
    patient = np.arange(n_subjects) < round(patients * n_subjects)
    # Log speed and stage at entry are correlated: who is further along moves faster (a choice, as are the values).
    stage = rng.standard_normal(n_subjects)
    speed = np.exp(np.log(np.where(patient, 0.45, 0.12)) + 0.3 * (0.5 * stage + 0.87 * rng.standard_normal(n_subjects)))
    entry = rng.uniform(55, 85, n_subjects)
    planned = np.arange(visits) + np.where(np.arange(visits) > 0, rng.normal(0, 0.1, (n_subjects, visits)), 0)
    seen = (rng.random((n_subjects, visits)) >= missing) | (np.arange(visits) == 0)
    subject = np.nonzero(seen)[0]
    time = (entry[:, None] + planned)[seen]
    dps_entry = stage + 3.0 * patient
    dps = dps_entry[subject] + speed[subject] * (time - entry[subject])
    first = np.r_[True, np.diff(subject) > 0]
    reference = first & ~patient[subject]
    reference = reference if reference.sum() >= 2 else first
    shift, scale = dps[reference].mean(), dps[reference].std() if reference.sum() > 1 else 1.0
    beta = dps_entry + speed * (time.mean() - entry)
    return _Course(subject, time, (dps - shift) / scale, speed / scale, (beta - shift) / scale, patient)


def _clusters(n_clusters: int, atrophy: tuple[float, float], onsets: tuple[float, float]) -> dict[str, Floats]:
    """Onsets in order; the largest losses are not the earliest ones, so that time and size are not one thing."""
    loss = np.linspace(*atrophy, n_clusters) if n_clusters > 1 else np.array([np.mean(atrophy)])
    return {
        "a": -np.roll(loss, n_clusters // 2),
        "b": np.full(n_clusters, 1.5),
        "c": np.linspace(*onsets, n_clusters) if n_clusters > 1 else np.array([np.mean(onsets)]),
    }


def _thinning(dps: Floats, a: Floats, b: Floats, c: Floats) -> NDArray[np.float32]:
    slope = np.multiply.outer(dps, b) - b * c
    return np.asarray(a / (1 + np.exp(-slope)), np.float32)


def _baseline(mesh: Mesh) -> NDArray[np.float32]:
    if mesh.template == "fsaverage5" and mesh.template_index is not None:
        return cortical_thickness()[mesh.template_index]
    return np.full(mesh.n_vertices, 2.5, np.float32)


def _check(n_subjects: int, visits: int, n_clusters: int, *fractions: float) -> None:
    counts = {"n_subjects": n_subjects, "visits": visits, "n_clusters": n_clusters}
    for name, count in counts.items():
        if count < 1:
            raise CohortError(f"simulate: {name} is {count}; give 1 or more")
    for name, fraction in zip(("patients", "missing_visits", "missing_values"), fractions, strict=True):
        if not 0 <= fraction <= 1:
            raise CohortError(f"simulate: {name} is {fraction}; give a fraction between 0 and 1")
