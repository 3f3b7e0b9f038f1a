"""What vertices are worth beside independent ones: known covariances, and maps that have every vertex twice."""

import dataclasses

import numpy as np
import pytest
import torch

from neuropyro.data import Cohort, simulate_reference
from neuropyro.inference import fit
from neuropyro.inference.objective import choose_elbo
from neuropyro.models import VertexClusterMixture
from neuropyro.models.course import Course
from neuropyro.models.effective_vertices import effective_share
from neuropyro.models.new_subjects import draw_subjects
from neuropyro.models.population import Population
from neuropyro.models.starting_values import group_and_start
from neuropyro.models.starting_vertices import refine
from neuropyro.models.subject_likelihood import integrated_log_likelihood, subject_terms
from neuropyro.models.trajectory import Trajectories
from neuropyro.models.visits import Visits, prepare_visits

SUBJECTS, EACH = 40, 3


def cohort_of(values: np.ndarray) -> Visits:
    count = len(values)
    return prepare_visits(Cohort(values, np.arange(count) / 2, np.arange(count) // EACH), "all", dtype=torch.float64)


def white(rng: np.random.Generator, n_vertices: int) -> np.ndarray:
    return rng.standard_normal((SUBJECTS * EACH, n_vertices))


def moving_average(width: int) -> np.ndarray:
    """On a ring of 1,500 vertices, each the mean of so many; the rows of what mixes white noise."""
    eye = np.eye(1500)
    return np.asarray(sum(np.roll(eye, i, 1) for i in range(width)) / width**0.5)


@pytest.mark.parametrize("seed", range(6))
def test_white_residuals_count_in_full(seed):
    rng = np.random.default_rng(seed)
    assert effective_share(cohort_of(white(rng, int(rng.choice([30, 100, 1000]))))) == 1.0


@pytest.mark.parametrize("width", [2, 5, 12, 30])
def test_smooth_residuals_are_worth_what_their_covariance_says(width):
    root = moving_average(width)
    covariance = root @ root.T
    expected = np.trace(covariance) ** 2 / np.square(covariance).sum() / len(root)
    found = [effective_share(cohort_of(white(np.random.default_rng(s), 1500) @ root.T)) for s in range(4)]
    # The spectrum of a moving average is not flat, as the law has it: up to a fifth too many.
    assert np.mean(found) == pytest.approx(expected, rel=0.25)


def test_what_lasts_of_people_counts_too():
    rng, root = np.random.default_rng(1), moving_average(12)
    lasting = 2 * (rng.standard_normal((SUBJECTS, 1500)) @ root.T).repeat(EACH, 0)
    passing = white(rng, 1500)  # alone it is worth all vertices
    assert effective_share(cohort_of(lasting + passing)) < 0.3


def test_trajectories_are_no_smooth_residuals():
    made = simulate_reference(n_subjects=60, n_vertices=800, n_clusters=3, noise_sd=0.3, seed=2)
    assert effective_share(prepare_visits(made, "all")) == 1.0


@pytest.mark.parametrize("part", ["scattered", "half of the cortex at a tenth of the visits"])
def test_missing_values_do_not_look_like_smoothness(part):
    rng = np.random.default_rng(3)
    values = white(rng, 1000)
    if part == "scattered":
        values[rng.random(values.shape) < 0.05] = np.nan
    else:
        values[::10, :500] = np.nan
    assert effective_share(cohort_of(values)) == 1.0


def test_too_little_to_tell_counts_in_full():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((6, 200)).repeat(2, 1)
    visits = prepare_visits(Cohort(values, np.arange(6.0), np.arange(6) // 2), "all")
    assert effective_share(visits) == 1.0


def row(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


POPULATION = Population(
    share=row(0.4, 0.6),
    theta=Trajectories(a=row(-2.0, 1.5), b=row(1.2, 0.8), c=row(0.0, 0.5), d=row(0.5, -0.5)),
    scatter=torch.tensor([[1.0, 0.3, 0.2, 0.5, -0.7], [0.8, 0.4, 0.1, 0.3, 0.4]], dtype=torch.float64),
    sigma=row(0.8, 1.1),
    rho=row(0.5, 0.3),
    omega=row(0.4, 0.6),
    scores=row(-1.5, 0.4, 0.2, 0.9, 0.3, 0.6),
    spread=row(0.3, 0.2),
)


def test_maps_that_are_all_the_same_within_subjects_say_nothing_of_smoothness():
    rng = np.random.default_rng(0)
    lasting = rng.standard_normal((SUBJECTS, 400)).repeat(EACH, 0)  # no contrast within a subject differs from 0
    assert effective_share(cohort_of(lasting)) == 1.0


def twice(visits: Visits) -> Visits:
    """Every vertex two times, each for a half."""
    names = ("values", "sum_squares", "location", "scale")
    doubled = dataclasses.replace(visits, **{name: getattr(visits, name).repeat_interleave(2, 0) for name in names})
    return dataclasses.replace(doubled.with_subject_sums(), weight=0.5)


@pytest.fixture(scope="module")
def once() -> Visits:
    made = simulate_reference(n_subjects=8, n_vertices=12, n_clusters=2, seed=0)
    return prepare_visits(made, "all", dtype=torch.float64).with_subject_sums()


def test_the_density_of_vertices_twice_for_a_half_is_that_of_once(once):
    model = VertexClusterMixture(2, visit_effect=True, vertex_effect=True)
    draw = model.init_values(once)
    found = [float(choose_elbo(model, data).log_joint(model, draw, data)) for data in (once, twice(once))]
    assert found[0] == pytest.approx(found[1], rel=1e-9)


def test_starts_of_vertices_twice_for_a_half_are_those_of_once(once):
    bounds = []
    for data in (once, twice(once)):
        curves, starts = group_and_start(once, 2, np.random.default_rng(0), 0.2)
        own = curves if data is once else curves._replace(label=curves.label.repeat(2))
        bounds.append(refine(data, own, starts, labels_known=True)[0])
    # A cluster's mean has one vertex's freedom, which is half of one's where each is there twice.
    assert bounds[1] == pytest.approx(bounds[0], rel=0.05)


def test_new_subjects_seen_twice_for_a_half_are_placed_as_once(once):
    placed = []
    for data, repeats in ((once, 1), (twice(once), 2)):
        label, p = (torch.arange(12) % 2).repeat_interleave(repeats), POPULATION
        course = Course(p.theta, None, p.sigma, p.rho, p.spread, p.scores, label, None, omega=p.omega)
        torch.manual_seed(0)
        placed.append(draw_subjects(course, data, 400))
    for site in ("alpha", "beta", "dps", "u"):
        assert np.allclose(getattr(placed[0], site), getattr(placed[1], site), rtol=1e-6, atol=1e-6)


def test_leaving_out_and_integrating_out_weigh_vertices(once):
    own = torch.zeros(once.n_subjects, 2 + 2 + 2 * int(once.visits_of_subject.max()), dtype=torch.float64)
    for found in (
        lambda data: subject_terms(POPULATION, own, data, seed=0).numpy(),
        lambda data: integrated_log_likelihood(POPULATION, own, data),
    ):
        assert found(twice(once)) == pytest.approx(found(once), rel=1e-6)


def smooth_study() -> tuple[Cohort, np.ndarray]:
    """Twenty-two people, three visits each, whose smooth maps thin in three arcs of a ring; and their scores."""
    rng, root = np.random.default_rng(1), moving_average(60)
    subject, years = np.arange(22).repeat(3), np.tile([0.0, 1.0, 2.0], 22)
    patient, arc = np.arange(22) % 3, np.arange(1500) // 500
    stage = 0.6 * rng.normal(size=22) + np.array([-2.6, -0.4, 1.2])[patient]
    speed = np.exp(0.3 * rng.normal(size=22) + np.array([-2.0, -1.2, -0.8])[patient])
    score = stage[subject] + speed[subject] * years
    a, b, c = np.array([[0.08, 0.75, 0.65], [1.3, 2.4, 1.9], [1.0, -0.7, 0.9]])[:, arc]
    maps = 2.5 - a / (1 + np.exp(-b * (score[:, None] - c)))
    maps += 0.12 * (rng.normal(size=(22, 1500)) @ root.T)[subject]
    maps += 0.06 * rng.normal(size=(66, 1500)) @ root.T + 0.03 * rng.normal(size=(66, 1500))
    return Cohort(maps, 70 + years, subject, np.where(patient, "AD", "CN")[subject]), score


def test_scores_of_a_small_study_of_smooth_maps_follow_its_course():
    cohort, score = smooth_study()
    model = VertexClusterMixture(3, visit_effect=True, vertex_effect=True)
    found = fit(model, cohort, "map", progress=False).posterior(1)["dps"][0]
    # Where vertices count in full it is .70, for scores then follow smooth noise.
    assert np.corrcoef(found, score)[0, 1] > 0.95


@pytest.mark.parametrize("weight", [0.0, -1.0, 1.5])
def test_a_weight_that_makes_no_sense_is_refused(weight):
    with pytest.raises(ValueError, match=r"vertex_weight is .*; give more than 0, and at most 1"):
        VertexClusterMixture(2, vertex_weight=weight)


def test_a_weight_that_is_given_is_taken():
    cohort = simulate_reference(n_subjects=8, n_vertices=12, n_clusters=2, seed=0)
    assert VertexClusterMixture(2, vertex_weight=0.25).prepare(cohort).weight == 0.25
    assert VertexClusterMixture(12, labels=range(12)).prepare(cohort).weight == 1.0  # biomarkers, each alone
