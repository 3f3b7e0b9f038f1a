"""Whether courses are as smooth as residuals: maps of a known share of vertices by themselves, and a small study."""

import numpy as np
import pytest

from neuropyro.data import Cohort, Mesh
from neuropyro.data.surfaces import cortex_mesh, smooth_noise
from neuropyro.inference import fit, interval_coverage
from neuropyro.models import VertexClusterMixture
from neuropyro.models.course_smoothness import share_by_themselves
from neuropyro.models.effective_vertices import effective_share, estimated_weight
from neuropyro.models.visits import Visits, prepare_visits

SIDE, PEOPLE, EACH = 60, 30, 3
GRID = Mesh.grid(SIDE, SIDE)
SUBJECT = np.arange(PEOPLE).repeat(EACH)


def smooth(rng: np.random.Generator, count: int, rounds: int = 3) -> np.ndarray:
    """Maps ``(count, vertices)`` of unit variance on a torus, each vertex the mean of five so many times over."""
    maps = rng.standard_normal((count, SIDE, SIDE))
    for _ in range(rounds):
        maps = (maps + sum(np.roll(maps, shift, axis) for shift in (-1, 1) for axis in (1, 2))) / 5
    return maps.reshape(count, -1) / maps.std()


def visits_of(share: float, seed: int = 0, lasting: float = 2.0) -> Visits:
    """Maps that change along one score, by a map of which a share is of vertices by themselves."""
    rng = np.random.default_rng(seed)
    white = rng.standard_normal(SIDE * SIDE)
    change = np.sqrt(1 - share) * smooth(rng, 1)[0] + np.sqrt(share) * white
    score = 8 * rng.standard_normal(PEOPLE)[SUBJECT] + rng.standard_normal(len(SUBJECT))
    maps = score[:, None] * change + lasting * smooth(rng, PEOPLE)[SUBJECT] + smooth(rng, len(SUBJECT))
    return prepare_visits(Cohort(maps, np.arange(len(SUBJECT)), SUBJECT), None)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.7])
def test_the_share_of_vertices_by_themselves_is_found(share):
    found = [share_by_themselves(visits_of(share, seed), GRID) for seed in range(3)]
    # What the courses are held against is the smoothest of the noise, by up to a fifth.
    assert share - 0.02 < np.mean(found) < share + 0.05


def test_residuals_of_vertices_by_themselves_are_no_course():
    rng = np.random.default_rng(1)
    maps = rng.standard_normal((len(SUBJECT), SIDE * SIDE)) + 2 * smooth(rng, PEOPLE)[SUBJECT]
    maps += 8 * rng.standard_normal(PEOPLE)[SUBJECT, None] * smooth(rng, 1)
    assert share_by_themselves(prepare_visits(Cohort(maps, np.arange(90), SUBJECT), None), GRID) < 0.02


def test_missing_values_and_vertices_do_not_look_rough():
    whole = visits_of(0.0)
    maps = whole.values.T.numpy().copy()
    maps[np.random.default_rng(0).random(maps.shape) < 0.02] = np.nan
    maps[:, :300] = np.nan
    some = prepare_visits(Cohort(maps, np.arange(90), SUBJECT), None)
    assert share_by_themselves(some, GRID) == pytest.approx(share_by_themselves(whole, GRID), abs=0.04)


def test_without_neighbours_nothing_is_known():
    visits = visits_of(0.3)
    assert share_by_themselves(visits, None) is None
    few = Mesh(SIDE * SIDE, edges=GRID.edges[:500])
    assert share_by_themselves(visits, few) is None


def test_of_few_visits_nothing_is_known():
    maps = np.random.default_rng(0).standard_normal((20, SIDE * SIDE))
    assert share_by_themselves(prepare_visits(Cohort(maps, np.arange(20.0), np.arange(20)), None), GRID) is None


def test_smooth_courses_weigh_as_residuals_do_and_others_the_geometric_mean():
    for share, power in ((0.0, 1.0), (0.3, 0.5)):
        visits = visits_of(share)
        assert estimated_weight(visits, GRID) == pytest.approx(effective_share(visits) ** power)
        assert estimated_weight(visits) == pytest.approx(effective_share(visits) ** 0.5)


def three_places(seed: int, people: int = 24) -> tuple[Cohort, np.ndarray]:
    """A study of half controls, two or three visits each: a fifth of the cortex thins in three places; and its scores.

    Everything is as smooth as maps smoothed by 10 mm, and lasting differences between people are three times what
    passes.
    """
    rng, mesh = np.random.default_rng(seed), cortex_mesh()
    assert mesh.coordinates is not None
    count = rng.integers(2, 4, people)
    subject, patient = np.arange(people).repeat(count), np.arange(people) >= people // 2
    years = np.concatenate([np.arange(n) * 1.0 for n in count])
    stage = np.where(patient, rng.normal(0.6, 0.8, people), rng.normal(-1.0, 0.5, people))
    speed = np.where(patient, 0.3 * np.exp(0.35 * rng.normal(size=people)), 0.06)
    score = stage[subject] + speed[subject] * years
    maps = 2.6 + 0.12 * smooth_noise(mesh, people, 10.0, rng)[subject]
    maps = maps + 0.04 * smooth_noise(mesh, len(subject), 10.0, rng)
    for middle, loss, steepness, onset in ((0, 0.45, 2.0, -0.3), (4000, 0.35, 1.8, 0.6), (13000, 0.3, 1.6, 1.4)):
        away = np.linalg.norm(mesh.coordinates - mesh.coordinates[middle], axis=1)
        near = np.clip((np.sort(away)[1300] - away) / 8 + 0.5, 0, 1)  # a border of 8 mm
        maps = maps - loss * near / (1 + np.exp(-steepness * (score[:, None] - onset)))
    time = rng.uniform(60, 80, people)[subject] + years
    return Cohort(maps, time, subject, np.where(patient, "AD", "CN")[subject], mesh=mesh, unit="mm"), score


@pytest.mark.slow
def test_scores_of_a_small_study_of_smooth_courses_are_right_and_as_sure_as_they_should_be():
    held = []
    for seed in range(3):
        cohort, score = three_places(seed)
        model = VertexClusterMixture(3, visit_effect=True, vertex_effect=True)
        scores = fit(model, cohort, "laplace", progress=False).posterior(300)["dps"]
        middle = np.median(scores, 0)
        # Where vertices count for the geometric mean it is .86 to .93, and half of the scores are held.
        assert np.corrcoef(middle, score)[0, 1] > 0.93
        held.append(interval_coverage(np.polyval(np.polyfit(middle, score, 1), scores), score, [0.9])[0])
    assert np.mean(held) > 0.8
