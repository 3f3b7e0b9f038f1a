"""The simulated study: parcels, atrophy, residuals, visits, truth."""

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from neuropyro.data import Cohort, CohortError, Mesh, cortex_mesh, simulate_cohort
from neuropyro.data.surfaces import cortical_thickness


@pytest.fixture(scope="module")
def study() -> Cohort:
    """One hemisphere, with the noise left out, so that what remains can be computed."""
    return simulate_cohort(60, 4, 3, mesh=cortex_mesh(("left",)), white_sd=0, smooth_sd=0, subject_sd=0, seed=3)


@pytest.fixture(scope="module")
def small() -> Mesh:
    """A grid of 30 x 30 vertices, 3 mm apart, of no template."""
    side = 30
    row, column = (x.ravel() for x in np.mgrid[:side, :side])
    corner = np.arange(side**2).reshape(side, side)[:-1, :-1].ravel()
    faces = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + side], 1),
            np.stack([corner + 1, corner + side + 1, corner + side], 1),
        ]
    )
    return Mesh(side**2, faces=faces, coordinates=3.0 * np.stack([row, column, 0 * row], 1))


def components(mesh: Mesh, members: np.ndarray) -> int:
    index = np.flatnonzero(members)
    return int(connected_components(mesh.adjacency[index][:, index], directed=False)[0])


def test_the_default_is_the_whole_cortex():
    cohort = simulate_cohort(n_subjects=4, visits=2, missing_visits=0, seed=0)
    assert cohort.mesh.template == "fsaverage5"
    assert cohort.values.shape == (8, cortex_mesh().n_vertices)
    assert cohort.values.dtype == np.float32
    assert not np.isnan(cohort.values).any()
    for k in range(3):
        assert components(cohort.mesh, cohort.truth["Z"] == k) >= 4


@pytest.mark.parametrize("n_clusters", [3, 4, 6])
def test_clusters_are_several_parcels_apart(small, n_clusters):
    cohort = simulate_cohort(4, 1, n_clusters, mesh=small, smooth_sd=0, subject_sd=0, seed=1)
    labels = cohort.truth["Z"]
    assert set(labels) == set(range(n_clusters))
    for k in range(n_clusters):
        assert components(small, labels == k) >= 4
    share = np.bincount(labels) / len(labels)
    assert share.min() > 0.3 / n_clusters


def test_one_cluster_is_everything(small):
    assert (simulate_cohort(4, 1, 1, mesh=small, seed=0).truth["Z"] == 0).all()


def test_values_follow_the_equations(study):
    truth = study.truth
    baseline = cortical_thickness()[study.mesh.template_index]
    course = expit(truth["vertex_b"] * (truth["dps"][:, None] - truth["vertex_c"]))
    np.testing.assert_allclose(study.values, baseline + truth["a"][truth["Z"]] * course, atol=1e-4)


def test_atrophy_and_onsets_are_as_asked(small):
    cohort = simulate_cohort(10, 1, 4, mesh=small, atrophy=(0.3, 0.6), onsets=(-1, 2), seed=0)
    np.testing.assert_allclose(np.sort(-cohort.truth["a"]), np.linspace(0.3, 0.6, 4))
    np.testing.assert_allclose(cohort.truth["c"], np.linspace(-1, 2, 4))
    assert (simulate_cohort(4, 1, mesh=small, seed=0).truth["a"] <= -0.2).all()
    assert (simulate_cohort(4, 1, mesh=small, seed=0).truth["a"] >= -0.8).all()


def test_vertices_scatter_about_their_cluster(study):
    truth = study.truth
    n = study.n_vertices
    onset = truth["vertex_c"] - truth["c"][truth["Z"]]
    log_speed = np.log(truth["vertex_b"] / truth["b"][truth["Z"]])
    for drawn, sd in ((onset, 0.3), (log_speed, 0.2)):
        assert abs(drawn.mean()) < 5 * sd / n**0.5
        assert drawn.std() == pytest.approx(sd, rel=5 / (2 * n) ** 0.5)


def test_scores_are_lines_in_the_gauge_of_controls(study):
    truth, i = study.truth, study.subject_index
    t = study.time - study.time.mean()
    np.testing.assert_allclose(truth["dps"], truth["alpha"][i] * t + truth["beta"][i], atol=1e-9)
    reference = truth["dps"][study.is_reference]
    assert study.is_control[study.is_reference].all()
    assert reference.mean() == pytest.approx(0, abs=1e-9)
    assert reference.std() == pytest.approx(1)
    assert (truth["alpha"] > 0).all()


def test_patients_are_further_along_and_faster(study):
    patient_rows = ~study.is_control
    assert set(study.diagnosis) == {"CN", "AD"}
    patients = np.unique(study.subject_index[patient_rows])
    assert len(patients) == 30
    controls = np.setdiff1d(np.arange(60), patients)
    dps = study.truth["dps"]
    assert dps[patient_rows & study.is_first_visit].mean() > 2
    assert np.median(study.truth["alpha"][patients]) > 2 * np.median(study.truth["alpha"][controls])


@pytest.mark.parametrize("patients", [0.0, 0.2, 1.0])
def test_fraction_of_patients(small, patients):
    cohort = simulate_cohort(20, 2, mesh=small, patients=patients, smooth_sd=0, subject_sd=0, seed=0)
    assert (~cohort.is_control[cohort.is_first_visit]).mean() == patients
    reference = cohort.truth["dps"][cohort.is_reference]
    assert (reference.mean(), reference.std()) == pytest.approx((0, 1), abs=1e-9)


def test_one_subject_seen_once(small):
    cohort = simulate_cohort(1, 1, mesh=small, seed=0)
    assert cohort.truth["dps"].tolist() == [0]
    assert cohort.n_visits == 1


def test_visits_are_about_a_year_apart_and_some_are_missing(small):
    cohort = simulate_cohort(400, 4, mesh=small, missing_visits=0.3, smooth_sd=0, subject_sd=0, seed=0)
    follow_ups = cohort.n_visits - 400
    assert follow_ups / 1200 == pytest.approx(0.7, abs=5 * (0.21 / 1200) ** 0.5)
    assert cohort.n_subjects == 400
    since_first = cohort.time - np.repeat(cohort.time[cohort.is_first_visit], np.bincount(cohort.subject_index))
    late = since_first[~cohort.is_first_visit]
    assert np.abs(late - np.round(late)).max() < 0.5
    assert set(np.round(late)) == {1, 2, 3}
    every = simulate_cohort(10, 4, mesh=small, missing_visits=0, smooth_sd=0, subject_sd=0, seed=0)
    assert every.n_visits == 40


def test_missing_values(small):
    cohort = simulate_cohort(50, 2, mesh=small, missing_values=0.2, seed=0)
    assert np.isnan(cohort.values).mean() == pytest.approx(0.2, abs=0.01)


def test_residuals_have_the_sds_asked(small):
    settings = {"mesh": small, "atrophy": (0.0, 0.0), "missing_visits": 0, "seed": 0}
    cohort = simulate_cohort(100, 4, white_sd=0.1, smooth_sd=0.08, subject_sd=0.2, **settings)
    maps = (cohort.values - 2.5).reshape(100, 4, -1)
    within = maps.var(1, ddof=1).mean()
    assert within == pytest.approx(0.1**2 + 0.08**2, rel=0.05)
    assert maps.mean(1).var() - within / 4 == pytest.approx(0.2**2, rel=0.1)
    i, j = small.edges.T
    residual = maps - maps.mean(1, keepdims=True)
    smooth = (residual[..., i] * residual[..., j]).mean() * 4 / 3  # white noise shares nothing with a neighbour
    assert 0.5 * 0.08**2 < smooth < 0.08**2


def test_baseline_of_another_mesh_is_flat(small):
    quiet = {"white_sd": 0, "smooth_sd": 0, "subject_sd": 0}
    cohort = simulate_cohort(3, 1, mesh=small, atrophy=(0.0, 0.0), seed=0, **quiet)
    np.testing.assert_array_equal(cohort.values, 2.5)


def test_the_same_seed_gives_the_same_cohort(small):
    first, again, other = (simulate_cohort(5, 2, mesh=small, seed=s) for s in (7, 7, 8))
    assert first.hash == again.hash
    assert first.hash != other.hash
    for name in first.truth:
        np.testing.assert_array_equal(first.truth[name], again.truth[name])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_subjects": 0}, "simulate: n_subjects is 0; give 1 or more"),
        ({"visits": 0}, "simulate: visits is 0"),
        ({"n_clusters": 0}, "simulate: n_clusters is 0"),
        ({"patients": 1.5}, "simulate: patients is 1.5; give a fraction between 0 and 1"),
        ({"missing_visits": -0.1}, "simulate: missing_visits is -0.1"),
        ({"missing_values": 2}, "simulate: missing_values is 2"),
        ({"n_clusters": 60}, "simulate: 900 vertices are too few for 60 clusters of 6 parcels"),
    ],
)
def test_refuses(small, arguments, message):
    with pytest.raises(CohortError, match=message):
        simulate_cohort(**({"n_subjects": 3, "visits": 1, "mesh": small} | arguments))
