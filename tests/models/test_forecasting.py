"""Forecasts at known parameters: coverage, units, rows, and what is refused."""

import dataclasses

import numpy as np
import pytest
import torch

from neuropyro.data import Cohort, CohortError, simulate_reference
from neuropyro.models import SubjectProgression, VertexClusterMixture
from neuropyro.models.fitted_clusters import FittedClusters
from neuropyro.models.forecasting import requested

MODELS = [
    VertexClusterMixture(2),
    VertexClusterMixture(2, visit_effect=True),
    VertexClusterMixture(2, scatter=False, subject_effect=False),
    SubjectProgression(),
]
NAMES = ["clusters", "visits too", "plain", "biomarkers"]


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_intervals_of_later_visits_cover_at_known_parameters(model, known):
    """Last of five visits from the four before it."""
    n = 12 if isinstance(model, SubjectProgression) else 40
    design = simulate_reference(n_subjects=60, n_vertices=n, n_clusters=2, visits=5, seed=1)
    result, truth, cohort = known(model, 3, design)
    last = np.tile(np.arange(5) == 4, 60)
    found = model.forecast(result, cohort.subset(visits=~last), 1.0)
    np.testing.assert_allclose(found.time, cohort.time[last])
    assert found.subject.tolist() == cohort.subject[last].tolist()
    true = cohort.values[last]
    inside = (found.lower <= true) & (true <= found.upper)
    # Errors of one subject go together: a standard error of about 1.5 %.
    assert inside.mean() == pytest.approx(0.9, abs=0.04)
    low, high = np.quantile(found.dps, [0.05, 0.95], axis=0)
    covered = (low <= truth["dps"][last]) & (truth["dps"][last] <= high)
    assert covered.mean() == pytest.approx(0.9, abs=0.12)  # 60 subjects: three standard errors
    assert np.abs(found.mean - true).mean() < np.abs(cohort.values[np.roll(last, -1)] - true).mean()


def test_what_lasts_at_a_vertex_is_expected_to_last(known):
    """A bump that one subject has at one vertex at all visits is forecast; one that it has at one visit, hardly."""
    model = VertexClusterMixture(2)
    design = simulate_reference(n_subjects=40, n_vertices=40, n_clusters=2, seed=1)
    result, _, cohort = known(model, 3, design)
    rng = np.random.default_rng(0)
    scale = result.data.scale.numpy()
    bumps = 2 * scale * rng.standard_normal((40, 40))
    values = cohort.values + bumps[cohort.subject_index]
    cohort = dataclasses.replace(cohort, values=values)
    result.data = result.data.with_values(torch.as_tensor((values - result.data.location.numpy()) / scale).T)
    found = model.forecast(result, cohort, 0.5)
    plain = model.forecast(result, dataclasses.replace(cohort, values=cohort.values - bumps[cohort.subject_index]), 0.5)
    left = (found.mean - plain.mean) / bumps
    # Some of it is taken for the vertex's or the subject's own course.
    assert np.median(left) == pytest.approx(0.9, abs=0.15)


def test_another_unit_gives_the_same_forecast_in_that_unit(known):
    model = VertexClusterMixture(2)
    result, _, cohort = known(model, 4, simulate_reference(n_subjects=8, n_vertices=10, n_clusters=2, seed=0))
    found = model.forecast(result, cohort, [1.0, 2.0], draws=20)
    data = result.data
    result.data = dataclasses.replace(data, location=10 * data.location + 3, scale=10 * data.scale)
    ten = model.forecast(result, dataclasses.replace(cohort, values=10 * cohort.values + 3), [1.0, 2.0], draws=20)
    for name in ("mean", "lower", "upper"):
        np.testing.assert_allclose(getattr(ten, name), 10 * getattr(found, name) + 3, rtol=1e-6)
    np.testing.assert_allclose(ten.dps, found.dps, rtol=1e-8)


def test_summaries_are_those_of_the_draws_and_a_vertex_without_data_has_none(known):
    model = VertexClusterMixture(2)
    result, _, cohort = known(model, 4, simulate_reference(n_subjects=8, n_vertices=10, n_clusters=2, seed=0))
    silent = torch.ones(10, cohort.n_visits, dtype=torch.float64)
    silent[3] = 0
    result.data = dataclasses.replace(result.data, observed=silent, values=result.data.values * silent)
    found = model.forecast(result, cohort, 1.0, draws=40, level=0.5, keep_draws=True)
    assert found.draws.shape == (40, 8, 10)
    assert np.isnan(found.mean[:, 3]).all()
    kept = np.arange(10) != 3
    np.testing.assert_allclose(found.draws.mean(0)[:, kept], found.mean[:, kept], rtol=1e-5)
    np.testing.assert_allclose(np.quantile(found.draws, 0.25, axis=0)[:, kept], found.lower[:, kept], rtol=1e-4)
    assert model.forecast(result, cohort, 1.0, draws=10).draws is None


def test_chunks_of_subjects_are_forecast_in_the_order_of_the_rows(known, monkeypatch):
    model = VertexClusterMixture(2)
    result, _, cohort = known(model, 4, simulate_reference(n_subjects=6, n_vertices=10, n_clusters=2, seed=0))
    names, times = cohort.subjects[[4, 0, 4, 2]], np.array([90.0, 60.0, 40.0, 70.0])
    whole = model.forecast(result, cohort, times, names, draws=300)
    monkeypatch.setattr("neuropyro.models.forecasting.MOST_NUMBERS", 1)
    pieces = model.forecast(result, cohort, times, names, draws=300)
    assert pieces.subject.tolist() == names.tolist()
    np.testing.assert_array_equal(pieces.time, times)
    np.testing.assert_allclose(pieces.dps, whole.dps)  # drawn before the chunks
    spread = (whole.upper - whole.lower) / 3.3
    assert np.abs((pieces.mean - whole.mean) / spread).max() < 6 / np.sqrt(150)
    np.testing.assert_allclose(pieces.dps.mean(0)[2], whole.dps.mean(0)[2])
    # One subject's line: the score at 40 is below that at 90.
    assert (pieces.dps[:, 2] < pieces.dps[:, 0]).all()


def test_a_point_whose_courses_are_all_alike_is_placed_on_once(known):
    model = VertexClusterMixture(3, labels=range(3), scatter=False)
    design = simulate_reference(n_subjects=8, n_vertices=3, n_clusters=1, seed=0)
    result, _, cohort = known(model, 2, design)
    assert model._n_courses(result, 8, 200) == 1
    courses = list(FittedClusters(model, result).courses(2))
    for name in ("label", "sigma", "scores"):
        torch.testing.assert_close(getattr(courses[0], name), getattr(courses[1], name))
    assert courses[0].own is None
    assert model.forecast(result, cohort, 1.0, draws=30).dps.shape == (30, 8)


def test_years_count_from_the_last_visit_that_has_a_value():
    values = np.random.default_rng(0).standard_normal((4, 2))
    values[1] = np.nan
    cohort = Cohort(values, [70.0, 72.0, 60.0, 61.0], ["b", "b", "a", "a"])
    rows = requested(cohort, [0.5, 2.0], None)
    assert rows.subject.tolist() == [0, 0, 1, 1]
    assert rows.time.tolist() == [61.5, 63.0, 70.5, 72.0]


@pytest.mark.parametrize(
    ("times", "subjects", "message"),
    [
        ([], None, "times must be finite"),
        ([np.nan], None, "times must be finite"),
        ([1.0, 2.0], ["a"], "1 subjects for 2 times; give one time for each"),
        ([1.0], ["z"], "subject z is not in the cohort; give its visits too"),
        ([1.0], None, "subject c has no value at any visit"),
        ([1.0, -2.0], None, "-2 years is before the last visit; give years after it"),
    ],
)
def test_unusable_requests_are_refused(times, subjects, message):
    values = np.ones((3, 2))
    values[2] = np.nan
    with pytest.raises(CohortError, match=message):
        requested(Cohort(values, [1.0, 2.0, 3.0], ["a", "b", "c"]), times, subjects)
