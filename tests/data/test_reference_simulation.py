"""The simulation of the DIVE paper against its equations."""

import numpy as np
import pytest
from scipy.special import expit

from neuropyro.data import SWEEPS, CohortError, Mesh, reference_sweep, simulate_reference


@pytest.fixture(scope="module")
def default():
    return simulate_reference(seed=0)


def test_defaults(default):
    assert default.values.shape == (1200, 1000)
    assert default.n_subjects == 300
    assert np.bincount(default.subject_index).tolist() == [4] * 300
    np.testing.assert_allclose(default.truth["c"], [-1, 0, 1])
    assert set(default.diagnosis) == {1, 2}


def test_visits_are_yearly_from_an_age_of_40_to_80(default):
    age = default.time.reshape(300, 4)
    np.testing.assert_allclose(np.diff(age, axis=1), 1)
    assert age[:, 0].min() >= 40
    assert age[:, 0].max() < 80
    assert age[:, 0].mean() == pytest.approx(60, abs=5 * 40 / 12**0.5 / 300**0.5)
    assert age[:, 0].std() == pytest.approx(40 / 12**0.5, rel=0.1)


def test_truth_is_in_the_gauge_of_controls_first_visits(default):
    truth, i = default.truth, default.subject_index
    reference = truth["dps"][default.is_reference]
    assert (default.diagnosis[default.is_reference] == 1).all()
    assert (reference.mean(), reference.std()) == pytest.approx((0, 1), abs=1e-9)
    t = default.time - default.time.mean()
    np.testing.assert_allclose(truth["dps"], truth["alpha"][i] * t + truth["beta"][i], atol=1e-9)


def test_speed_and_offset_have_the_papers_moments():
    """Up to the gauge, y = alpha t + beta with alpha = |Normal(1, variance .05)|, beta ~ Normal(0, variance 10)."""
    cohort = simulate_reference(20_000, 1, 1, visits=1, seed=1)
    alpha, beta = cohort.truth["alpha"], cohort.truth["beta"]
    assert (alpha > 0).all()
    assert alpha.std() / alpha.mean() == pytest.approx(0.05**0.5, rel=0.03)
    # beta in the gauge is (alpha t0 + beta - m) / sd: what the speed does not explain of it has sd sqrt(10) / sd.
    scale = 1 / alpha.mean()
    slope, _ = np.polyfit(alpha, beta, 1)
    assert slope == pytest.approx(cohort.time.mean(), rel=0.02)
    assert (beta - slope * alpha).std() * scale == pytest.approx(10**0.5, rel=0.03)


def test_probability_of_a_patient_rises_as_in_the_paper():
    cohort = simulate_reference(20_000, 1, 1, visits=1, seed=2)
    y = cohort.truth["dps"]  # the probability depends on where y lies in its range alone
    lo, hi = y.min(), y.max()
    mu = lo + (hi - lo) * (1 - 0.4**0.5)
    ec, ep = np.exp(-(y - lo) / (mu - lo)), np.exp(-(hi - y) / (mu - lo))
    probability = 1 - ec / (ec + ep)
    patient = cohort.diagnosis == 2
    for part in np.array_split(np.argsort(y), 8):
        expected = probability[part].mean()
        error = 5 * (expected * (1 - expected) / len(part)) ** 0.5
        assert patient[part].mean() == pytest.approx(expected, abs=error)


def test_vertices_scatter_about_their_clusters():
    cohort = simulate_reference(2, 30_000, 3, visits=1, interval=6, seed=3)
    truth = cohort.truth
    np.testing.assert_allclose(truth["c"], [-1, 1, 3])
    np.testing.assert_array_equal(truth["a"], [-5] * 3)
    np.testing.assert_array_equal(truth["d"], [0] * 3)
    np.testing.assert_array_equal(truth["b"], [1.6] * 3)
    share = np.bincount(truth["Z"]) / 30_000
    np.testing.assert_allclose(share, 1 / 3, atol=5 * (2 / 9 / 30_000) ** 0.5)
    onset = truth["vertex_c"] - truth["c"][truth["Z"]]
    speed = truth["vertex_b"] / 1.6 - 1
    for drawn, variance in ((onset, 3 / 70), (speed, 1 / 15)):
        assert drawn.mean() == pytest.approx(0, abs=5 * (variance / 30_000) ** 0.5)
        assert drawn.var() == pytest.approx(variance, rel=5 * (2 / 30_000) ** 0.5)


def test_values_follow_the_equations(default):
    truth = default.truth
    clean = -5 * expit(truth["vertex_b"] * (truth["dps"][:, None] - truth["vertex_c"]))
    noise = default.values - clean
    assert noise.std() == pytest.approx(0.5, rel=0.005)
    assert noise.mean() == pytest.approx(0, abs=0.003)
    quiet = simulate_reference(10, 20, noise_sd=0, seed=0)
    course = expit(quiet.truth["vertex_b"] * (quiet.truth["dps"][:, None] - quiet.truth["vertex_c"]))
    np.testing.assert_allclose(quiet.values, -5 * course, atol=1e-5)


def test_the_same_seed_gives_the_same_cohort():
    first, again, other = (simulate_reference(10, 20, seed=s) for s in (4, 4, 5))
    assert first.hash == again.hash != other.hash


@pytest.mark.parametrize("seed", range(5))
def test_few_subjects_still_have_a_gauge(seed):
    cohort = simulate_reference(2, 5, 1, visits=2, seed=seed)
    reference = cohort.truth["dps"][cohort.is_reference]
    assert (reference.mean(), reference.std()) == pytest.approx((0, 1), abs=1e-9)


def test_sweeps_are_the_papers():
    assert SWEEPS == {
        "interval": (15, 6, 4.5, 3, 2.1, 1.5, 0.9, 0.3),
        "n_clusters": (2, 3, 5, 10, 15, 20, 50, 100),
        "n_subjects": (1000, 500, 250, 100, 75, 50, 35, 20),
    }


def test_a_sweep_changes_one_setting():
    settings = [(n, cohort.n_subjects, cohort.n_vertices) for n, cohort in reference_sweep("n_subjects", seed=1)]
    assert settings == [(n, n, 1000) for n in SWEEPS["n_subjects"]]
    for interval, cohort in reference_sweep("interval"):
        np.testing.assert_allclose(cohort.truth["c"], -1 + interval * np.arange(3) / 3)
        break
    n, cohort = next(reference_sweep("n_clusters"))
    assert n == len(cohort.truth["a"]) == 2


def test_there_are_no_other_sweeps():
    with pytest.raises(CohortError, match="sweep: there is no 'clusters'; there are interval, "):
        next(reference_sweep("clusters"))


@pytest.mark.parametrize("name", ["n_subjects", "n_vertices", "n_clusters", "visits"])
def test_refuses_counts_below_one(name):
    with pytest.raises(CohortError, match="simulate: n_subjects, n_vertices, n_clusters and visits must be 1 or more"):
        simulate_reference(**{name: 0})


def test_labels_and_mesh_can_be_given():
    stripes = np.repeat([2, 0, 1], 4)
    grid = Mesh.grid(3, 4)
    cohort = simulate_reference(20, 12, mesh=grid, labels=stripes, seed=4)
    np.testing.assert_array_equal(cohort.truth["Z"], stripes)
    assert cohort.mesh is grid
    near = np.abs(cohort.truth["vertex_c"] - cohort.truth["c"][stripes])
    assert near.max() < 4 * np.sqrt(3 / 70)
    with pytest.raises(CohortError, match=r"labels have shape \(3,\).*12 vertices"):
        simulate_reference(20, 12, labels=[0, 1, 2])
