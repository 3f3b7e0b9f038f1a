"""What happens with data as they come: a sensible result, or one clear error."""

import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError, Mesh, simulate_reference
from neuropyro.inference import Schedule, fit
from neuropyro.models import SubjectProgression, VertexClusterMixture

MODEL = VertexClusterMixture(2)


@pytest.fixture(scope="module")
def cohort():
    return simulate_reference(n_subjects=20, n_vertices=24, n_clusters=2, seed=5)


def with_values(cohort, values, **changes):
    given = {"time": cohort.time, "subject": cohort.subject, "diagnosis": cohort.diagnosis} | changes
    return Cohort(values, **given)


def fitted(cohort, guide="map"):
    return fit(MODEL, cohort, guide=guide, schedule=Schedule(max_steps=80, warm_up=50), progress=False)


def correlation(result, cohort, rows=slice(None)):
    return np.corrcoef(result.posterior(20)["dps"].mean(0)[rows], np.asarray(cohort.truth["dps"])[rows])[0, 1]


def test_an_all_nan_subject_gets_the_population_back(cohort):
    values = cohort.values.copy()
    rows = cohort.subject == 3
    values[rows] = np.nan
    result = fitted(with_values(cohort, values), guide="normal")
    assert np.isfinite(result.posterior(50)["dps"]).all()
    assert correlation(result, cohort, ~rows) > 0.95
    spread = result.posterior(200)["stage"].std(0)
    assert spread[3] > 5 * np.median(spread)


def test_single_visit_subjects():
    cohort = simulate_reference(n_subjects=60, n_vertices=60, n_clusters=2, seed=5)
    single = cohort.subset(visits=cohort.is_first_visit)
    result = fitted(single)
    assert correlation(result, single) > 0.95


def test_constant_and_empty_vertices_are_left_out(cohort):
    values = np.concatenate([cohort.values, np.zeros((cohort.n_visits, 1)), np.full((cohort.n_visits, 1), np.nan)], 1)
    result = fitted(with_values(cohort, values.astype(np.float32)))
    assignments = MODEL.assignments(result)
    pi = result.posterior(1)["pi"][0]
    np.testing.assert_allclose(assignments[-2:], np.stack([pi, pi]), atol=1e-5)
    assert correlation(result, cohort) > 0.95


def test_repeated_scans_of_a_day_are_two_visits(cohort):
    rng = np.random.default_rng(0)
    again = cohort.values[:4] + 0.1 * rng.standard_normal(cohort.values[:4].shape).astype(np.float32)
    values = np.concatenate([cohort.values, again])
    repeated = Cohort(values, *(np.r_[x, x[:4]] for x in (cohort.time, cohort.subject, cohort.diagnosis)))
    dps = fitted(repeated).posterior(1)["dps"][0]
    np.testing.assert_allclose(dps[-4:], dps[:4], atol=1e-5)


def test_the_order_of_rows_does_not_matter(cohort):
    order = np.random.default_rng(1).permutation(cohort.n_visits)
    straight, shuffled = fitted(cohort), fitted(cohort.subset(visits=order))
    # The optimisers' paths differ by rounding; they stop within 1e-6 of the same loss.
    difference = shuffled.posterior(1)["dps"][0] - straight.posterior(1)["dps"][0][order]
    assert np.abs(difference).max() < 0.05


def test_more_clusters_than_vertices(cohort):
    with pytest.raises(CohortError, match="ask for fewer clusters"):
        fit(VertexClusterMixture(25), cohort, progress=False)


def test_a_mesh_of_another_size(cohort):
    with pytest.raises(CohortError, match=r"25 vertices, but `values` has 24 columns"):
        with_values(cohort, cohort.values, mesh=Mesh(25, faces=np.array([[0, 1, 2]])))


def test_without_a_diagnosis_scores_rise_with_time(cohort):
    result = fitted(Cohort(cohort.values, cohort.time, cohort.subject))
    assert correlation(result, cohort) > 0.95


def test_thirty_percent_missing(cohort):
    values = cohort.values.copy()
    values[np.random.default_rng(0).random(values.shape) < 0.3] = np.nan
    result = fitted(with_values(cohort, values))
    assert correlation(result, cohort) > 0.95


def test_all_constant_biomarkers_are_an_error():
    flat = Cohort(np.ones((4, 2)), time=[0, 1, 0, 1], subject=[0, 0, 1, 1])
    with pytest.raises(CohortError, match="no biomarker varies"):
        fit(SubjectProgression(), flat, progress=False)
