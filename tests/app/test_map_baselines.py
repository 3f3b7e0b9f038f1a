"""Baselines of forecasts: by hand, by dense algebra, and that intervals hold where the model is true."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from neuropyro.data import Cohort
from neuropyro.map_baselines import INTERCEPTS, SLOPES, last_value, linear_mixed
from neuropyro.models.forecasting import Request, requested


def growth(n=60, visits=4, columns=5, seed=0, missing=0.0, slope=0.3):
    """Lines with intercepts (sd 2) and slopes of subjects, and their values two years on."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(n), visits + 1)
    time = rng.uniform(60, 80, n)[who] + np.tile([*range(visits), visits + 1], n)
    entry = time[:: visits + 1]
    patient = np.arange(n) % 2
    line = 10 - 0.5 * patient[who, None] * (time - entry[who])[:, None]
    own = 2 * rng.standard_normal((n, columns))[who]
    own = own + slope * rng.standard_normal((n, columns))[who] * (time - entry[who])[:, None]
    values = line + own + rng.standard_normal((len(who), columns))
    values[rng.random(values.shape) < missing] = np.nan
    cohort = Cohort(values, time, who, np.where(patient[who], 2, 1))
    last = np.tile([False] * visits + [True], n)
    return cohort.subset(visits=~last), cohort.values[last], requested(cohort.subset(visits=~last), 2.0, None)


def test_the_last_value_seen_is_carried_forward():
    values = np.array([[1.0, np.nan], [2.0, 5.0], [np.nan, 7.0], [4.0, np.nan]])
    cohort = Cohort(values, [72.0, 70.0, 71.0, 60.0], ["b", "b", "b", "a"])
    found = last_value(cohort, Request(np.array([1, 0]), np.array([80.0, 61.0])))
    np.testing.assert_array_equal(found.mean, [[1.0, 7.0], [4.0, np.nan]])
    assert np.isnan(found.lower).all()


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_the_mixed_model_is_that_of_dense_algebra_at_its_best_ratios(missing):
    cohort, _, request = growth(n=8, visits=3, columns=2, missing=missing)
    found = linear_mixed(cohort, request)
    who, entry = cohort.subject_index, cohort.time[cohort.is_first_visit]
    years = cohort.time - entry[who]
    patient = (cohort.diagnosis == 2).astype(float)
    X = np.stack([np.ones_like(years), entry[who] - entry.mean(), years, patient, patient * years], 1)
    for column in range(2):
        rows = np.flatnonzero(~np.isnan(cohort.values[:, column]))
        y, x, t, i = cohort.values[rows, column], X[rows], years[rows], who[rows]
        best = -np.inf
        for g0 in INTERCEPTS:
            for g1 in SLOPES:
                V = np.eye(len(y)) + (i[:, None] == i) * (g0 + g1 * np.outer(t, t))
                inverse = np.linalg.inv(V)
                beta = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y)
                left = y - x @ beta
                variance = left @ inverse @ left / len(y)
                density = multivariate_normal(np.zeros(len(y)), variance * V).logpdf(left)
                if density > best:
                    best = density
                    later = request.time - entry[request.subject]
                    own = (request.subject[:, None] == i) * (g0 + g1 * np.outer(later, t))
                    who_is = np.array([patient[who == s][0] for s in request.subject])
                    there = np.stack(
                        [np.ones(8), entry[request.subject] - entry.mean(), later, who_is, who_is * later], 1
                    )
                    mean = there @ beta + own @ inverse @ left
                    spread = 1 + g0 + g1 * later**2 - np.einsum("ij,jk,ik->i", own, inverse, own)
        np.testing.assert_allclose(found.mean[:, column], mean, rtol=1e-8)
        width = (found.upper - found.lower)[:, column] / (2 * 1.6448536269514722)
        np.testing.assert_allclose(width, np.sqrt(variance_of(width, spread) * spread), rtol=1e-8)


def variance_of(width, spread):
    """The noise's variance, which is one number for all rows."""
    ratio = width**2 / spread
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-8)
    return ratio[0]


def test_intervals_cover_where_the_model_is_true_and_it_beats_the_last_value():
    cohort, true, request = growth(n=200)
    found = linear_mixed(cohort, request)
    inside = (found.lower <= true) & (true <= found.upper)
    assert inside.mean() == pytest.approx(0.9, abs=0.03)
    carried = last_value(cohort, request)
    assert np.abs(found.mean - true).mean() < 0.9 * np.abs(carried.mean - true).mean()


def test_a_column_that_was_hardly_seen_has_no_forecast():
    cohort, _, request = growth(n=10)
    values = cohort.values.copy()
    values[3:, 1] = np.nan
    found = linear_mixed(Cohort(values, cohort.time, cohort.subject, cohort.diagnosis), request)
    assert np.isnan(found.mean[:, 1]).all()
    assert np.isfinite(found.mean[:, 0]).all()
