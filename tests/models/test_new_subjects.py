"""Subjects placed on a known course: brute force on a grid, coverage, and that a batch is its subjects."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

from neuropyro.data import Cohort, CohortError, simulate_reference
from neuropyro.inference import simulate_prior
from neuropyro.models import VertexClusterMixture
from neuropyro.models.fitted_clusters import FittedClusters
from neuropyro.models.new_subjects import draw_subjects
from neuropyro.models.visits import visits_like

DESIGN = simulate_reference(n_subjects=12, n_vertices=30, n_clusters=2, seed=0)


def known(model, seed, design=DESIGN):
    """The truth of a simulation from the prior, as if it had been fitted, and its data as a cohort."""
    simulated = simulate_prior(model, design, seed, dtype=torch.float64)
    truth = simulated.identified(model)
    result = SimpleNamespace(
        data=simulated.data, seed=seed, is_point=True, posterior=lambda _: {k: v[None] for k, v in truth.items()}
    )
    values = simulated.data.values.numpy().T * simulated.data.scale.numpy() + simulated.data.location.numpy()
    return result, truth, Cohort(values, design.time, design.subject, design.diagnosis)


def cases():
    return [
        VertexClusterMixture(2, scatter=scatter, subject_effect=subject, visit_effect=visit)
        for scatter, subject, visit in [(False, False, False), (True, True, False), (True, True, True)]
    ]


@pytest.mark.parametrize("model", cases(), ids=["plain", "scatter and subjects", "visits too"])
def test_draws_follow_the_density_that_dense_algebra_gives(model):
    result, _, cohort = known(model, 3)
    (course,) = list(FittedClusters(model, result).courses(1))
    drawn = draw_subjects(course, visits_like(result.data, cohort), 4000)
    visits = result.data
    for i in (0, 5):
        rows = np.flatnonzero(visits.subject.numpy() == i)
        z, alpha, beta = grid(course)
        values = visits.values[:, rows].numpy()
        years = (visits.time_within[rows] + visits.subject_time[i]).numpy()
        log_density = z + dense(course, np.outer(alpha, years) + beta[:, None], values)
        weight = np.exp(log_density - logsumexp(log_density))
        for found, points in ((drawn.alpha[:, i], alpha), (drawn.beta[:, i], beta)):
            mean = weight @ points
            sd = np.sqrt(weight @ (points - mean) ** 2)
            # Four Monte Carlo errors of 4,000 draws, and the coarser grid here.
            assert abs(found.mean() - mean) < (4 / np.sqrt(4000) + 0.1) * sd
            assert found.std() == pytest.approx(sd, rel=0.2)


def grid(course, n=61, reach=4.0):
    """Log prior density, speed and beta on a grid of whitened latents."""
    mean_a, sd_a, mean_b, sd_b, correlation = course.scores.numpy()
    x, y = (g.ravel() for g in np.meshgrid(np.linspace(-reach, reach, n), np.linspace(-reach, reach, 4 * n)))
    alpha = np.exp(mean_a + sd_a * x)
    return norm.logpdf(x) + norm.logpdf(y), alpha, mean_b + sd_b * (correlation * x + np.sqrt(1 - correlation**2) * y)


def dense(course, scores, values):
    """Log-densities of one subject's maps ``(vertices, visits)`` at scores ``(P, visits)``, by whole covariances."""
    P, n = scores.shape
    columns = course.columns(torch.as_tensor(scores.ravel())).numpy()
    total = np.zeros(P)
    for k in range(len(course.sigma)):
        members = np.flatnonzero(course.label.numpy() == k)
        m = len(members)
        own = np.ones((m, 1))
        if course.own is not None:
            own = np.concatenate([own, course.own[members].numpy()], 1)
        residual = (values[members].T - (columns[k] @ own.T).reshape(P, n, m)).reshape(P, n * m)
        covariance = float(course.sigma[k]) ** 2 * np.eye(n * m)
        if course.rho is not None:
            covariance += float(course.rho[k]) ** 2
        if course.spread is not None:
            covariance += float(course.spread[k]) ** 2 * np.kron(np.eye(n), np.ones((m, m)))
        total += multivariate_normal.logpdf(residual, np.zeros(n * m), covariance)
    return total


def test_intervals_cover_at_known_parameters():
    model, design = VertexClusterMixture(2), simulate_reference(n_subjects=80, n_vertices=40, n_clusters=2, seed=1)
    inside = []
    for seed in range(4):
        result, truth, cohort = known(model, seed, design)
        placed = model.personalize(result, cohort, draws=400)
        for site in ("dps", "alpha", "beta"):
            low, high = placed.interval(site)
            inside.append(np.mean((low <= truth[site].reshape(low.shape)) & (truth[site].reshape(low.shape) <= high)))
    # 320 subjects: a standard error of 1.7 %, somewhat more for visits of one subject.
    assert np.mean(inside) == pytest.approx(0.9, abs=0.04)


def test_one_subject_is_itself_in_a_batch_and_missing_values_drop_out():
    model = VertexClusterMixture(2)
    result, _, cohort = known(model, 4)
    values = cohort.values.copy()
    values[np.random.default_rng(0).random(values.shape) < 0.3] = np.nan
    holes = Cohort(values, cohort.time, cohort.subject, cohort.diagnosis)
    everyone = model.personalize(result, holes, draws=3000)
    for name in cohort.subjects[:2]:
        alone = model.personalize(result, holes.subset(visits=holes.subject == name), draws=3000)
        batch = everyone.beta[:, list(everyone.subject).index(name)]
        assert alone.beta.mean() == pytest.approx(batch.mean(), abs=5 * batch.std() / np.sqrt(1500))
        assert alone.beta.std() == pytest.approx(batch.std(), rel=0.15)


def test_a_subject_without_a_value_gets_the_population_back():
    model = VertexClusterMixture(2)
    result, _, cohort = known(model, 4)
    values = cohort.values.copy()
    values[cohort.subject == cohort.subjects[0]] = np.nan
    placed = model.personalize(result, Cohort(values, cohort.time, cohort.subject, cohort.diagnosis), draws=4000)
    (course,) = list(FittedClusters(model, result).courses(1))
    mean_a, sd_a = course.scores[:2].numpy()
    found = np.log(placed.alpha[:, 0])
    assert found.mean() == pytest.approx(mean_a, abs=4 * sd_a / np.sqrt(4000))
    assert found.std() == pytest.approx(sd_a, rel=0.05)


def test_maps_of_another_size_are_refused():
    model = VertexClusterMixture(2)
    result, _, cohort = known(model, 4)
    with pytest.raises(CohortError, match="29 vertices, where the fit is of 30"):
        model.personalize(result, Cohort(cohort.values[:, 1:], cohort.time, cohort.subject))
