"""Subjects placed on a known course: brute force on a grid, coverage, and that a batch is its subjects."""

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import iqr, multivariate_normal, norm

from neuropyro.data import Cohort, CohortError, simulate_reference
from neuropyro.models import SubjectProgression, VertexClusterMixture
from neuropyro.models.fitted_clusters import FittedClusters
from neuropyro.models.new_subjects import draw_subjects
from neuropyro.models.visits import prepare_visits, visits_like

DESIGN = simulate_reference(n_subjects=12, n_vertices=30, n_clusters=2, seed=0)


def cases():
    return [
        VertexClusterMixture(2, scatter=scatter, subject_effect=subject, visit_effect=visit, vertex_effect=vertex)
        for scatter, subject, visit, vertex in [
            (False, False, False, False),
            (True, True, False, False),
            (True, True, True, False),
            (False, False, False, True),
            (True, True, True, True),
        ]
    ]


@pytest.mark.parametrize(
    "model", cases(), ids=["plain", "scatter and subjects", "visits too", "vertices", "vertices too"]
)
def test_draws_follow_the_density_that_dense_algebra_gives(model, known):
    result, _, cohort = known(model, 3, DESIGN)
    (course,) = list(FittedClusters(model, result).courses(1))
    drawn = draw_subjects(course, visits_like(result.data, cohort), 4000)
    visits = result.data
    for i in (0, 5):
        rows = np.flatnonzero(visits.subject.numpy() == i)
        z, alpha, beta = grid(course, float(visits.subject_time[i]))
        values = visits.values[:, rows].numpy()
        years = (visits.time_within[rows] + visits.subject_time[i]).numpy()
        log_density = z + dense(course, np.outer(alpha, years) + beta[:, None], values)
        weight = np.exp(log_density - logsumexp(log_density))
        for found, points in ((drawn.alpha[:, i], alpha), (drawn.beta[:, i], beta)):
            mean = weight @ points
            sd = np.sqrt(weight @ (points - mean) ** 2)
            # Four Monte Carlo errors of 4,000 draws, and the coarser grid here.
            assert abs(found.mean() - mean) < (4 / np.sqrt(4000) + 0.1) * sd
            assert found.std() == pytest.approx(sd, rel=0.2)


def grid(course, time, n=61, reach=4.0):
    """Log prior density, speed and beta on a grid of whitened latents, of a subject at a mean time."""
    mean_a, sd_a, mean_b, sd_b, correlation, share = course.scores.numpy()
    x, y = (g.ravel() for g in np.meshgrid(np.linspace(-reach, reach, n), np.linspace(-reach, reach, 4 * n)))
    alpha = np.exp(mean_a + sd_a * x)
    counted = mean_b + sd_b * (correlation * x + np.sqrt(1 - correlation**2) * y)
    return norm.logpdf(x) + norm.logpdf(y), alpha, counted - (1 - share) * alpha * time


def dense(course, scores, values):
    """Log-densities of one subject's maps ``(vertices, visits)`` at scores ``(P, visits)``, by whole covariances."""
    P, n = scores.shape
    columns = course.columns(torch.as_tensor(scores.ravel())).numpy()
    total = np.zeros(P)
    for k in range(len(course.sigma)):
        members = np.flatnonzero(course.label.numpy() == k)
        m = len(members)
        own = np.ones((m, 1))
        if course.own is not None:
            own = np.concatenate([own, course.own[members].numpy()], 1)
        residual = (values[members].T - (columns[k] @ own.T).reshape(P, n, m)).reshape(P, n * m)
        covariance = float(course.sigma[k]) ** 2 * np.eye(n * m)
        if course.rho is not None:
            covariance += float(course.rho[k]) ** 2
        if course.omega is not None:
            covariance += float(course.omega[k]) ** 2 * np.kron(np.ones((n, n)), np.eye(m))
        if course.spread is not None:
            covariance += float(course.spread[k]) ** 2 * np.kron(np.eye(n), np.ones((m, m)))
        total += multivariate_normal.logpdf(residual, np.zeros(n * m), covariance)
    return total


def test_intervals_cover_at_known_parameters(known):
    model, design = VertexClusterMixture(2), simulate_reference(n_subjects=80, n_vertices=40, n_clusters=2, seed=1)
    inside = []
    for seed in range(4):
        result, truth, cohort = known(model, seed, design)
        placed = model.personalize(result, cohort, draws=400)
        for site in ("dps", "alpha", "beta"):
            low, high = placed.interval(site)
            inside.append(np.mean((low <= truth[site].reshape(low.shape)) & (truth[site].reshape(low.shape) <= high)))
    # 320 subjects: a standard error of 1.7 %, somewhat more for visits of one subject.
    assert np.mean(inside) == pytest.approx(0.9, abs=0.04)


def test_one_subject_is_itself_in_a_batch_and_missing_values_drop_out(known):
    model = VertexClusterMixture(2)
    result, _, cohort = known(model, 4, DESIGN)
    values = cohort.values.copy()
    values[np.random.default_rng(0).random(values.shape) < 0.3] = np.nan
    holes = Cohort(values, cohort.time, cohort.subject, cohort.diagnosis)
    everyone = model.personalize(result, holes, draws=3000)
    for name in cohort.subjects[:2]:
        alone = model.personalize(result, holes.subset(visits=holes.subject == name), draws=3000)
        batch = everyone.beta[:, list(everyone.subject).index(name)]
        assert alone.beta.mean() == pytest.approx(batch.mean(), abs=5 * batch.std() / np.sqrt(1500))
        assert alone.beta.std() == pytest.approx(batch.std(), rel=0.15)


def test_a_subject_without_a_value_gets_the_population_back(known):
    model = VertexClusterMixture(2)
    result, _, cohort = known(model, 4, DESIGN)
    values = cohort.values.copy()
    values[cohort.subject == cohort.subjects[0]] = np.nan
    placed = model.personalize(result, Cohort(values, cohort.time, cohort.subject, cohort.diagnosis), draws=4000)
    (course,) = list(FittedClusters(model, result).courses(1))
    mean_a, sd_a = course.scores[:2].numpy()
    found = np.log(placed.alpha[:, 0])
    assert found.mean() == pytest.approx(mean_a, abs=4 * sd_a / np.sqrt(4000))
    assert found.std() == pytest.approx(sd_a, rel=0.05)


def test_maps_of_another_size_are_refused(known):
    model = VertexClusterMixture(2)
    result, _, cohort = known(model, 4, DESIGN)
    with pytest.raises(CohortError, match="29 vertices, where the fit is of 30"):
        model.personalize(result, Cohort(cohort.values[:, 1:], cohort.time, cohort.subject))


def test_maps_and_biomarkers_are_not_taken_for_each_other():
    maps, names = simulate_reference(n_subjects=4, n_vertices=9, seed=1), np.array(["MMSE", "FDG"])
    biomarkers = Cohort(maps.values[:, :2], maps.time, maps.subject, feature_names=names)
    told = r"biomarkers \(MMSE, FDG\), where the fit is of maps of 9 vertices; give such maps or another fit"
    with pytest.raises(CohortError, match=told):
        visits_like(prepare_visits(maps, "all"), biomarkers)
    told = r"maps of 9 vertices, where the fit is of biomarkers \(MMSE, FDG\); give a table with these columns or"
    with pytest.raises(CohortError, match=told):
        visits_like(prepare_visits(biomarkers, "all"), maps)


def test_posteriors_far_narrower_than_the_first_grid_are_found(known):
    """Scores known to a few hundredths of the population's spread: against a fine grid about each posterior."""
    model = VertexClusterMixture(2, scatter=False, subject_effect=False)
    design = simulate_reference(n_subjects=6, n_vertices=400, n_clusters=2, seed=2)
    result, _, cohort = known(model, 6, design)
    (course,) = list(FittedClusters(model, result).courses(1))
    course = course._replace(sigma=course.sigma / 20)
    visits = visits_like(result.data, cohort)
    drawn = draw_subjects(course, visits, 4000)
    mean_a, sd_a, mean_b, sd_b, correlation, share = course.scores.numpy()
    a, b, c, d = (x.numpy()[course.label.numpy()] for x in course.theta)
    sigma = course.sigma.numpy()[course.label.numpy()]
    narrowest = np.inf
    for i in range(design.n_subjects):
        rows = np.flatnonzero(visits.subject.numpy() == i)
        within, time = visits.time_within[rows].numpy(), float(visits.subject_time[i])
        alpha, stage = drawn.alpha[:, i], drawn.beta[:, i] + drawn.alpha[:, i] * time
        narrowest = min(narrowest, stage.std() / sd_b)
        # About the narrow peak; one of these subjects has .001 of its mass at another place, far off.
        middle, width = (np.median([alpha, stage], 1), iqr([alpha, stage], 1) / 1.349)
        near = (np.abs(np.stack([alpha, stage]) - middle[:, None]) < 6 * width[:, None]).all(0)
        assert near.mean() > 0.995
        alpha, stage = alpha[near], stage[near]
        axes = middle[:, None] + width[:, None] * np.linspace(-6, 6, 61)
        x, y = (g.ravel() for g in np.meshgrid(*axes))
        keep = x > 0
        x, y = x[keep], y[keep]
        scores = y[:, None] + np.outer(x, within)
        log_density = norm.logpdf(np.log(x), mean_a, sd_a) - np.log(x)
        expected = mean_b + sd_b * correlation * (np.log(x) - mean_a) / sd_a + share * x * time
        log_density += norm.logpdf(y, expected, sd_b * np.sqrt(1 - correlation**2))
        values = visits.values[:, rows].numpy()
        for n in range(len(rows)):
            curve = d + a / (1 + np.exp(-b * (scores[:, n, None] - c)))
            log_density += norm.logpdf(values[:, n], curve, sigma).sum(1)
        weight = np.exp(log_density - logsumexp(log_density))
        for found, points in ((alpha, x), (stage, y)):
            mean = weight @ points
            sd = np.sqrt(weight @ (points - mean) ** 2)
            assert abs(found.mean() - mean) < 0.1 * sd
            assert found.std() == pytest.approx(sd, rel=0.1)
    assert narrowest < 0.01  # the first grid's steps are of a quarter


def test_biomarkers_place_new_subjects_too(known):
    """Every biomarker is a cluster by itself; against dense algebra."""
    model = SubjectProgression()
    design = simulate_reference(n_subjects=12, n_vertices=5, n_clusters=2, seed=0)
    result, _, cohort = known(model, 2, design)
    (course,) = list(model._courses(result, 1))
    visits = visits_like(result.data, cohort)
    drawn = draw_subjects(course, visits, 4000)
    for i in (0, 5):
        rows = np.flatnonzero(visits.subject.numpy() == i)
        z, alpha, beta = grid(course, float(visits.subject_time[i]))
        years = (visits.time_within[rows] + visits.subject_time[i]).numpy()
        log_density = z + dense(course, np.outer(alpha, years) + beta[:, None], visits.values[:, rows].numpy())
        weight = np.exp(log_density - logsumexp(log_density))
        for found, points in ((drawn.alpha[:, i], alpha), (drawn.beta[:, i], beta)):
            mean = weight @ points
            sd = np.sqrt(weight @ (points - mean) ** 2)
            assert abs(found.mean() - mean) < (4 / np.sqrt(4000) + 0.1) * sd
            assert found.std() == pytest.approx(sd, rel=0.2)
    assert model.personalize(result, cohort, 30).dps.shape == (30, cohort.n_visits)


def named_cohort(names, columns=slice(None)):
    design = simulate_reference(n_subjects=6, n_vertices=3, n_clusters=1, seed=0)
    return Cohort(design.values[:, columns], design.time, design.subject, design.diagnosis, feature_names=list(names))


def test_biomarkers_are_matched_by_name():
    fitted = SubjectProgression().prepare(named_cohort("abc"))
    for given in (named_cohort("cab", [2, 0, 1]), named_cohort("cxab", [2, 1, 0, 1])):
        assert torch.equal(visits_like(fitted, given).values, visits_like(fitted, named_cohort("abc")).values)


def test_a_biomarker_that_is_missing_or_there_twice_is_refused():
    fitted = SubjectProgression().prepare(named_cohort("abc"))
    with pytest.raises(CohortError, match="no biomarker 'b', which the fit has; there are a, c, d"):
        visits_like(fitted, named_cohort("acd"))
    with pytest.raises(
        CohortError, match=r"no biomarkers 'b', 'c', which .*; there are a, d: .* add empty ones of these"
    ):
        visits_like(fitted, named_cohort("ad", [0, 1]))
    with pytest.raises(CohortError, match="two columns have one name"):
        visits_like(fitted, named_cohort("cabb", [2, 0, 1, 1]))
