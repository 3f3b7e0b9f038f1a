"""Starting values: close to the truth of the reference's simulation, from the data alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pyro import poutine
from scipy.special import expit

from neuropyro.data import Cohort, simulate_reference
from neuropyro.models import VertexClusterMixture
from neuropyro.models.starting_choice import likeliest
from neuropyro.models.starting_curves import BinnedCurves, fit_bins
from neuropyro.models.starting_labels import label_vertices
from neuropyro.models.starting_order import first_component


def starting_scores(cohort: Cohort, n_clusters: int = 3, **settings) -> np.ndarray:
    model = VertexClusterMixture(n_clusters, **settings)
    visits = model.prepare(cohort, dtype=torch.float64)
    start = model.init_values(visits)
    nodes = poutine.trace(poutine.condition(model, start)).get_trace(visits).nodes
    return nodes["dps"]["value"].numpy()


def correlation(cohort: Cohort, n_clusters: int = 3) -> float:
    return float(np.corrcoef(starting_scores(cohort, n_clusters), cohort.truth["dps"])[0, 1])


@pytest.mark.parametrize("seed", [0, 1])
def test_scores_on_the_reference_simulation(seed):
    assert correlation(simulate_reference(100, 300, seed=seed)) >= 0.95


def test_scores_with_missing_values():
    cohort = simulate_reference(100, 300, seed=0)
    values = cohort.values.copy()
    values[np.random.default_rng(0).random(values.shape) < 0.3] = np.nan
    assert correlation(replace(cohort, values=values)) >= 0.95


def test_sign_without_a_diagnosis_comes_from_time():
    cohort = replace(simulate_reference(100, 300, seed=2), diagnosis=None)
    assert correlation(cohort) >= 0.95


@pytest.mark.parametrize("diagnosed", [False, True], ids=["by time", "by diagnosis"])
def test_sign_does_not_depend_on_the_sign_of_the_data(diagnosed):
    cohort = simulate_reference(100, 300, seed=2)
    flipped = replace(cohort, values=-cohort.values, diagnosis=cohort.diagnosis if diagnosed else None)
    assert correlation(flipped) >= 0.95


def test_patients_have_the_higher_component():
    cohort = simulate_reference(60, 100, seed=4)
    component = first_component(VertexClusterMixture(3).prepare(cohort))
    assert component[~cohort.is_control].mean() > component[cohort.is_control].mean()
    swapped = replace(cohort, diagnosis=3 - cohort.diagnosis)
    component = first_component(VertexClusterMixture(3).prepare(swapped))
    assert component[~swapped.is_control].mean() > component[swapped.is_control].mean()


def test_clusters_start_near_the_truth():
    cohort = simulate_reference(200, 300, seed=0)
    model = VertexClusterMixture(3, standardise=None)
    start = {name: value.numpy() for name, value in model.init_values(model.prepare(cohort)).items()}
    order = np.argsort(start["c"])
    share = np.bincount(cohort.truth["Z"]) / 300
    np.testing.assert_allclose(start["pi"][order], share, atol=0.05)
    scores = np.linspace(-1, 2, 13)  # the bulk of the visits; the clusters fall by 5
    a, b, c, d = (start[name][order, None] for name in "abcd")
    true_a, true_b, true_c, _ = (cohort.truth[name][:, None] for name in "abcd")
    np.testing.assert_allclose(d + a * expit(b * (scores - c)), true_a * expit(true_b * (scores - true_c)), atol=0.8)


@pytest.mark.parametrize("scatter", [False, True])
@pytest.mark.parametrize("subject_effect", [False, True])
def test_every_site_has_a_finite_starting_value_inside_its_support(scatter, subject_effect):
    model = VertexClusterMixture(2, scatter=scatter, subject_effect=subject_effect)
    visits = model.prepare(simulate_reference(20, 40, 2, seed=0))
    start = model.init_values(visits)
    nodes = poutine.trace(model).get_trace(visits).nodes
    continuous = {
        name: site
        for name, site in nodes.items()
        if site["type"] == "sample" and not site["is_observed"] and name not in ("Z", "subject", "cluster", "vertex")
    }
    assert set(start) == {name for name, site in continuous.items() if not site["infer"].get("_deterministic")}
    for name, value in start.items():
        assert value.shape == continuous[name]["value"].shape, name
        assert continuous[name]["fn"].support.check(value).all(), name
        assert torch.isfinite(continuous[name]["fn"].log_prob(value)).all(), name


def test_the_same_seed_starts_at_the_same_place():
    model = VertexClusterMixture(2)
    visits = model.prepare(simulate_reference(20, 40, 2, seed=0))
    first, again = (model.init_values(visits, seed=7) for _ in range(2))
    for name in first:
        torch.testing.assert_close(first[name], again[name], rtol=1e-3, atol=1e-3)


def binned(theta: np.ndarray, scores: np.ndarray, order: np.ndarray) -> BinnedCurves:
    a, b, c, d = theta.T[..., None]
    K = len(theta)
    means = d + a * expit(b * (scores - c))
    nothing = np.zeros((K, 1))
    return BinnedCurves(order, means, np.full(K, 1 / K), np.ones(K), nothing, nothing, np.arange(K))


THETA = np.array([[-4.0, 1.2, -1.0, 0.2], [-2.5, 1.6, 1.0, -0.3], [3.0, 1.0, 0.0, 0.1]])  # a, b, c, d


def test_fit_bins_recovers_sigmoids():
    scores = np.linspace(-4, 4, 24)
    found, theta = fit_bins(binned(THETA, scores, order=scores))
    np.testing.assert_allclose(found, scores, atol=0.15)
    np.testing.assert_allclose(theta, THETA, atol=0.25)


def test_fit_bins_bends_saturated_scores_straight():
    scores = np.linspace(-4, 4, 24)
    saturated = 4 * np.tanh(scores / 2)
    found, _ = fit_bins(binned(THETA, scores, order=saturated))
    assert (np.diff(found) > 0).all()
    assert found[[0, -1]] == pytest.approx(saturated[[0, -1]])
    before, after = (1 - np.corrcoef(order, scores)[0, 1] for order in (saturated, found))
    assert after < 0.5 * before  # stiff against noise: not all the way


def test_fit_bins_survives_flat_curves():
    scores = np.linspace(-1, 1, 6)
    flat = binned(THETA, scores, scores)._replace(means=np.zeros((3, 6)))
    found, theta = fit_bins(flat)
    assert np.isfinite(found).all()
    assert np.isfinite(theta).all()


def test_time_outweighs_a_diagnosis_that_says_nothing():
    cohort = simulate_reference(100, 300, seed=0)
    labels = np.random.default_rng(3).permutation(cohort.subjects)[: len(cohort.subjects) // 2]
    shuffled = replace(cohort, diagnosis=np.where(np.isin(cohort.subject, labels), 1, 2))
    scores = starting_scores(shuffled)
    assert np.corrcoef(scores, cohort.truth["dps"])[0, 1] >= 0.9


def test_a_vertexs_own_baseline_does_not_make_clusters():
    cohort = simulate_reference(100, 300, seed=0)
    rng = np.random.default_rng(4)
    lifted = replace(cohort, values=cohort.values + rng.normal(0, 5, cohort.n_vertices))
    model = VertexClusterMixture(3, standardise=None)
    visits = [model.prepare(c, dtype=torch.float64) for c in (cohort, lifted)]
    plain, moved = (label_vertices(v, 3, np.random.default_rng(0)) for v in visits)
    np.testing.assert_array_equal(moved, plain)
    plain, moved = (model.init_values(v) for v in visits)
    np.testing.assert_allclose(moved["sigma"], plain["sigma"], rtol=5e-3)
    np.testing.assert_allclose(
        moved["pi"], plain["pi"], atol=0.01
    )  # of labels' probabilities, to which d adds a little


def cohort_of_lasting_differences() -> tuple[Cohort, np.ndarray]:
    """In half of the vertices subjects differ lastingly by as much as the course changes."""
    rng = np.random.default_rng(0)
    subject, years = np.repeat(np.arange(40), 4), np.tile(np.arange(4.0), 40)
    score = np.exp(rng.normal(-1.2, 0.4, 40))[subject] * years + rng.normal(0, 1.2, 40)[subject]
    courses = np.stack([2 * expit(1.5 * score), -4 * expit(1.2 * (score - 1)), 4 * expit(1.5 * (score - 2))])
    own = rng.normal(0, [2.0, 0.3, 0.3], (40, 3))
    label = np.repeat([0, 1, 2], [40, 20, 20])
    values = (courses + own[subject].T)[label].T + rng.normal(0, 0.5, (160, 80))
    return Cohort(values.astype(np.float32), time=70 + years, subject=subject), score


def test_the_course_is_found_where_the_first_component_is_of_lasting_differences():
    cohort, score = cohort_of_lasting_differences()
    visits = VertexClusterMixture(3, standardise=None).prepare(cohort)
    assert abs(np.corrcoef(first_component(visits), score)[0, 1]) < 0.5
    assert np.corrcoef(starting_scores(cohort, standardise=None), score)[0, 1] > 0.9


def test_the_likeliest_start_is_the_one_of_the_highest_density():
    cohort = simulate_reference(20, 24, n_clusters=2, seed=5)
    model = VertexClusterMixture(2)
    visits = model.prepare(cohort)
    good = model.init_values(visits)
    worse = good | {"c": good["c"] + 2}
    for starts in ([worse, good], [good, worse]):
        assert likeliest(model, visits, starts) is good
