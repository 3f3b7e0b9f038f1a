"""Shrinkage of the variances of like vertices towards a common one."""

import numpy as np
import pytest
from scipy.special import polygamma

from neuropyro.data import Cohort, simulate_reference
from neuropyro.models.standardise import _inverse_trigamma, location_and_scale, moderated

L = 20_000


def estimates(rng, true, freedom):
    return true * rng.chisquare(freedom, len(true)) / freedom


def test_equal_variances_become_equal():
    rng = np.random.default_rng(0)
    variance = moderated(estimates(rng, np.full(L, 4.0), 40), np.full(L, 40.0))
    assert np.ptp(variance) < 0.02 * 4.0  # at most what the error of the estimated spread leaves
    # The mean of 20,000 estimates of 40 degrees each is known to 4 sqrt(2 / (40 L)).
    assert variance.mean() == pytest.approx(4.0, abs=4 * 4 * np.sqrt(2 / (40 * L)))


@pytest.mark.parametrize("prior_freedom", [4.0, 30.0])
def test_unequal_variances_are_shrunk_as_bayes_rule_says(prior_freedom):
    rng = np.random.default_rng(1)
    freedom = rng.integers(10, 60, L).astype(float)
    true = 2.0 * prior_freedom / rng.chisquare(prior_freedom, L)  # scaled inverse chi-squared about 2
    found = estimates(rng, true, freedom)
    exact = (prior_freedom * 2.0 + freedom * found) / (prior_freedom + freedom)
    # d0 is known to some percent from 20,000 variances, and weighs 7 to 75 % here.
    np.testing.assert_allclose(moderated(found, freedom), exact, rtol=0.05)


def test_constant_vertices_stay_constant_and_few_vertices_are_left_alone():
    variance = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    freedom = np.array([9.0, 9, 9, 9, 9])
    assert moderated(variance, freedom)[0] == 0
    np.testing.assert_array_equal(moderated(variance[:3], freedom[:3]), variance[:3])


@pytest.mark.parametrize("value", [1e-6, 0.01, 1.0, 50.0, 1e4])
def test_inverse_trigamma(value):
    assert polygamma(1, _inverse_trigamma(value)) == pytest.approx(value, rel=1e-6)


def test_biomarkers_of_different_units_keep_their_own_scales():
    cohort = simulate_reference(n_subjects=20, n_vertices=6, seed=0)
    units = np.array([1, 10, 100, 1e3, 1e4, 1e5])
    other = Cohort(cohort.values * units, cohort.time, cohort.subject, cohort.diagnosis)
    _, scale = location_and_scale(cohort, "controls", alike=False)
    _, scaled = location_and_scale(other, "controls", alike=False)
    np.testing.assert_allclose(scaled, scale * units, rtol=1e-6)


def test_single_visits_give_the_overall_sd_whatever_the_rounding():
    cohort = simulate_reference(n_subjects=60, n_vertices=60, n_clusters=2, seed=5)
    first = cohort.subset(visits=cohort.is_first_visit)
    controls = first.values[first.is_control]
    _, scale = location_and_scale(first, "controls", alike=False)
    np.testing.assert_allclose(scale, controls.std(0), rtol=1e-5)
