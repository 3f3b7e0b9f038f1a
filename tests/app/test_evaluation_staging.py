"""Staging against a cognitive score."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr

from neuropyro.data import CohortError, simulate_reference
from neuropyro.evaluation_staging import association, evaluate_staging
from neuropyro.inference import Schedule
from neuropyro.models import VertexClusterMixture

SHORT = {"guide": "map", "schedule": Schedule(max_steps=40, warm_up=10), "progress": False}


def with_test(n_subjects=40):
    cohort = simulate_reference(n_subjects=n_subjects, n_vertices=30, n_clusters=2, seed=2)
    rng = np.random.default_rng(0)
    points = 30 - np.asarray(cohort.truth["dps"]) + 0.5 * rng.standard_normal(cohort.n_visits)
    points[::7] = np.nan
    return replace(cohort, covariates={"mmse": points, "site": np.array(["x"] * cohort.n_visits)})


def test_correlations_and_their_errors_by_other_means():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(400)
    y = 0.6 * x + 0.8 * rng.standard_normal(400)
    y[:40] = np.nan
    r, r_error, rho, rho_error = association(x, y, np.arange(400))
    assert r == pytest.approx(pearsonr(x[40:], y[40:]).statistic)
    assert rho == pytest.approx(spearmanr(x[40:], y[40:]).statistic)
    # The large-sample error of r; that of 500 bootstrap samples is known to 3 %.
    assert r_error == pytest.approx((1 - r**2) / np.sqrt(360), rel=0.15)
    assert rho_error == pytest.approx(r_error, rel=0.3)


def test_subjects_and_not_visits_are_independent():
    rng = np.random.default_rng(1)
    x, y = np.repeat(rng.standard_normal((2, 50)), 8, axis=1)
    single = association(x[::8], y[::8], np.arange(50))
    np.testing.assert_allclose(association(x, y, np.repeat(np.arange(50), 8)), single, rtol=1e-9)


def test_scores_of_subjects_left_out_go_with_the_test():
    cohort = with_test()
    found = {s.method: s for s in evaluate_staging(cohort, "mmse", VertexClusterMixture(2), 2, **SHORT)}
    assert list(found) == ["clusters", "first component", "no staging"]
    assert found["clusters"].pearson < -0.9
    assert found["first component"].pearson < -0.8
    assert abs(found["clusters"].pearson) > abs(found["no staging"].pearson)
    # Each fold's gauge is that of some ten controls.
    assert np.corrcoef(found["clusters"].dps, np.asarray(cohort.truth["dps"]))[0, 1] > 0.93


@pytest.mark.parametrize(
    ("name", "message"), [("adas", "'adas' is not in the cohort; there are mmse, site"), ("site", "'site' is text")]
)
def test_what_is_no_score_is_refused(name, message):
    with pytest.raises(CohortError, match=message):
        evaluate_staging(with_test(8), name, VertexClusterMixture(2), 2, **SHORT)
