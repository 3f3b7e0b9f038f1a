"""Speeds and stages on known trajectories: the grid against scipy, and a population against its simulation."""

import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.stats import multivariate_normal

from neuropyro.models.starting_population import Population, VisitMisfit, place_subjects

SCORES = np.linspace(-6, 6, 800)


def measured(dps: np.ndarray, noise_sd: float, rng: np.random.Generator) -> VisitMisfit:
    """Misfit of scores that were seen with noise."""
    seen = dps + noise_sd * rng.standard_normal(dps.shape)
    return VisitMisfit(SCORES, 0.5 * (seen[:, None] - SCORES) ** 2 / noise_sd**2)


def test_a_population_whose_speed_rises_with_its_stage_is_found():
    rng = np.random.default_rng(0)
    n, visits = 400, 4
    covariance = np.array([[0.3**2, 0.8 * 0.3 * 1.2], [0.8 * 0.3 * 1.2, 1.2**2]])
    log_alpha, beta = rng.multivariate_normal([-1.0, 0.5], covariance, n).T
    subject, within = np.repeat(np.arange(n), visits), np.tile([-1.5, -0.5, 0.5, 1.5], n)
    subject_time = rng.uniform(-3, 3, n)
    stage = beta + np.exp(log_alpha) * subject_time
    dps = stage[subject] + np.exp(log_alpha[subject]) * within
    population = Population(np.array([-0.5, 0.0]), np.diag([0.09, 1.0]))
    for _ in range(4):
        places = place_subjects(measured(dps, 0.15, rng), subject, within, subject_time, population)
        population = places.population
    # Three standard errors of 400 subjects, and the noise of their speeds.
    assert (np.abs(population.mean - [-1.0, 0.5]) < [0.06, 0.2]).all()
    np.testing.assert_allclose(population.sd, [0.3, 1.2], rtol=0.2)
    assert population.correlation == pytest.approx(0.8, abs=0.12)
    assert np.corrcoef(places.stage, stage)[0, 1] > 0.99
    assert np.corrcoef(places.log_alpha, log_alpha)[0, 1] > 0.8


def test_a_subjects_means_are_the_integrals_over_its_latents():
    subject, within, subject_time = np.zeros(3, int), np.array([-1.0, 0.0, 1.0]), np.array([0.5])
    seen, noise_sd = np.array([0.2, 0.7, 1.3]), 0.4
    misfit = VisitMisfit(SCORES, 0.5 * (seen[:, None] - SCORES) ** 2 / noise_sd**2)
    law = Population(np.array([-0.7, 0.4]), np.array([[0.16, 0.1], [0.1, 0.5]]))
    prior = multivariate_normal(law.mean, law.covariance)

    def weight(stage: float, log_alpha: float) -> float:
        alpha = np.exp(log_alpha)
        likelihood = np.exp(-0.5 * (((seen - stage - alpha * within) / noise_sd) ** 2).sum())
        return float(likelihood * prior.pdf([log_alpha, stage - alpha * subject_time[0]]))

    bounds = (-2.3, 0.9, -3.0, 4.0)
    total = dblquad(weight, *bounds)[0]
    expected = dblquad(lambda s, a: s * weight(s, a), *bounds)[0] / total
    found = place_subjects(misfit, subject, within, subject_time, law, rounds=1)
    assert found.stage[0] == pytest.approx(expected, abs=5e-3)  # a step of the grids is .05 and .2


def test_without_information_everyone_is_at_the_population_mean():
    flat = VisitMisfit(SCORES, np.zeros((6, len(SCORES))))
    law = Population(np.array([-1.0, 0.3]), np.diag([0.09, 0.8]))
    found = place_subjects(flat, np.repeat([0, 1, 2], 2), np.tile([-0.5, 0.5], 3), np.zeros(3), law)
    np.testing.assert_allclose(found.log_alpha, -1.0, atol=1e-6)
    np.testing.assert_allclose(found.stage, 0.3, atol=0.01)
    assert np.isfinite(found.population.covariance).all()
    assert (np.linalg.eigvalsh(found.population.covariance) > 0).all()
