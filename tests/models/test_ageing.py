"""Ageing beside the progression: a cohort that aged is one that did not, with what time did put on top of it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neuropyro.data import Cohort, simulate_reference
from neuropyro.inference import Schedule, fit
from neuropyro.models import VertexClusterMixture
from neuropyro.models.fitted_clusters import FittedClusters

AGEING = VertexClusterMixture(1, ageing=True, vertex_effect=True, visit_effect=True)
ALIKE = replace(AGEING, ageing=False)


@pytest.fixture
def pair(known):
    """A known truth with ageing, and the same without: results, cohorts, and what a year does, in the values' unit."""
    design = simulate_reference(n_subjects=12, n_vertices=10, n_clusters=1, seed=0)
    result, truth, cohort = known(AGEING, 3, design)
    visits = result.data
    done = (truth["ageing"] * visits.years.numpy())[:, None] * visits.scale.numpy()
    young = replace(cohort, values=cohort.values - done)
    moved = visits.with_values(visits.values - truth["ageing"][0] * visits.years)
    without = {site: x for site, x in truth.items() if site != "ageing"}
    without["level"] = without["level"] - (truth["ageing"] * visits.years.numpy())[:, None]
    other = SimpleNamespace(**vars(result))
    other.data, other.posterior = moved, lambda _: {site: x[None] for site, x in without.items()}
    return (result, cohort), (other, young), truth["ageing"][0] * visits.scale.numpy()


def test_the_density_is_that_of_the_same_people_young(pair):
    (old, _), (young, _), _ = pair
    aged, plain = (
        FittedClusters(model, result).mixture(next(FittedClusters(model, result).draws(1)))
        for model, result in ((AGEING, old), (ALIKE, young))
    )
    torch.testing.assert_close(
        aged.log_likelihood(old.data.values, old.data), plain.log_likelihood(young.data.values, young.data)
    )


def test_subjects_are_placed_as_if_nobody_had_aged(pair):
    (old, cohort), (other, young), _ = pair
    found, expected = AGEING.personalize(old, cohort, 50), ALIKE.personalize(other, young, 50)
    for site in ("alpha", "beta", "dps", "u"):
        np.testing.assert_allclose(getattr(found, site), getattr(expected, site), rtol=1e-6, atol=1e-8)


def test_forecasts_age_on(pair):
    (old, cohort), (other, young), rate = pair
    found, expected = AGEING.forecast(old, cohort, 3.0, draws=40), ALIKE.forecast(other, young, 3.0, draws=40)
    np.testing.assert_allclose(found.dps, expected.dps, rtol=1e-6, atol=1e-8)
    years = found.time - float(old.data.origin)
    np.testing.assert_allclose(found.mean, expected.mean + years[:, None] * rate, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.upper, expected.upper + years[:, None] * rate, rtol=1e-5, atol=1e-5)


def test_likelihoods_of_subjects_are_those_of_the_same_people_young(pair):
    (old, _), (other, _), _ = pair
    aged, plain = (model.integrated_log_likelihood(result) for model, result in ((AGEING, old), (ALIKE, other)))
    assert aged == pytest.approx(plain, rel=1e-9)


def test_it_counts_as_a_parameter_of_each_cluster():
    with_it, without = (VertexClusterMixture(3, ageing=ageing) for ageing in (True, False))
    assert with_it.n_parameters == without.n_parameters + 3


RATE = -0.01  # mm a year


def ageing_cohort(n=60, vertices=60):
    """People of 70 +- 6 years, each of a speed and an onset of its own."""
    rng = np.random.default_rng(0)
    time = (70 + 6 * rng.standard_normal(n))[:, None] + np.arange(4)
    log_alpha = -1.5 + 0.4 * rng.standard_normal(n)
    scores = (np.exp(log_alpha)[:, None] * (time - 76 - 8 * rng.standard_normal(n)[:, None])).ravel()
    label = np.arange(vertices) % 2
    change, onset = np.array([-0.8, -0.3])[label], np.array([0.0, 2.0])[label] + 0.3 * rng.standard_normal(vertices)
    maps = 2.5 + change / (1 + np.exp(-1.5 * (scores[:, None] - onset))) + RATE * (time.ravel()[:, None] - 70)
    maps += 0.1 * rng.standard_normal(maps.shape)
    return Cohort(maps, time.ravel(), np.repeat(np.arange(n), 4))


def test_it_is_told_apart_from_progression():
    cohort = ageing_cohort()
    model = VertexClusterMixture(2, ageing=True)
    result = fit(model, cohort, "map", schedule=Schedule(max_steps=400, warm_up=100), seed=0, progress=False)
    found = result.posterior(1)["ageing"][0] * float(result.data.scale.mean())
    # Known to .001 (`structured`); the prior alone would have 0 +- .01.
    assert found == pytest.approx(np.full(2, RATE), abs=0.003)
