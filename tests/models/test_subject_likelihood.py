"""A subject's likelihood given all others, against plain Monte Carlo over dense Normals."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from neuropyro.data import Cohort, simulate_reference
from neuropyro.inference import Schedule, fit
from neuropyro.models import VertexClusterMixture
from neuropyro.models.fitted_clusters import FittedClusters
from neuropyro.models.own_courses import own_courses
from neuropyro.models.population import Population
from neuropyro.models.subject_likelihood import (
    integrated_log_likelihood,
    new_subject_terms,
    subject_terms,
)
from neuropyro.models.subject_parts import pair_densities, vertex_densities, whole_of
from neuropyro.models.trajectory import Trajectories
from neuropyro.models.visits import prepare_visits

SAMPLES = 10_000
L, K = 3, 2
NODES = 5  # of quadrature in c and in log b


def visits(missing):
    rng = np.random.default_rng(3)
    values = rng.normal(size=(7, L))
    if missing:
        values[2, 1] = np.nan
    return prepare_visits(
        Cohort(values, [60, 61, 63, 64, 70, 71, 72], [0, 0, 1, 1, 2, 2, 2]), None, dtype=torch.float64
    )


def a_population(scatter, omega=0.0, spread=0.0):
    def row(*numbers):
        return torch.tensor(numbers, dtype=torch.float64)

    theta = Trajectories(a=row(-2.0, 1.5), b=row(1.2, 0.8), c=row(0.0, 0.5), d=row(0.5, -0.5))
    own = torch.tensor([[1.0, 0.3, 0.2, 0.5, -0.7], [0.8, 0.4, 0.1, 0.3, 0.4]], dtype=torch.float64) * scatter
    return Population(
        row(0.4, 0.6),
        theta,
        own,
        row(0.8, 1.1),
        row(0.5, 0.3),
        row(omega, 1.5 * omega),
        row(-1.5, 0.4, 0.2, 0.9, 0.3, 0.6),
        spread=row(spread, 0.5 * spread) if spread else None,
    )


def n_latents(population, data):
    """Speed, stage and offsets of a subject, and the levels of its visits."""
    return 2 + K + (0 if population.spread is None else K * int(data.visits_of_subject.max()))


def scores_of(population, latent, data):
    """Scores ``(*, visits)`` of latents ``(*, subjects, p)``."""
    mean_a, sd_a, mean_b, sd_b, rho, share = population.scores
    alpha = (mean_a + sd_a * latent[..., 0]).exp()
    beta = mean_b + sd_b * (rho * latent[..., 0] + (1 - rho**2).sqrt() * latent[..., 1])
    time = data.time_within + share * data.subject_time[data.subject]  # as far as it counts
    return alpha[..., data.subject] * time + beta[..., data.subject]


def log_joint(population, latent, data, rows):
    """Sum over vertices of log p of some visits, labels summed out, by dense covariances.

    A vertex's own d and a are in these; its c and log b are integrated by quadrature.
    """
    scores = scores_of(population, latent, data)
    offset = population.rho.unsqueeze(-1) * latent[..., data.subject, 2 : 2 + K].mT
    if population.spread is not None:
        nth = torch.cat([torch.arange(int(n)) for n in data.visits_of_subject])
        levels = latent[..., 2 + K :].reshape(*latent.shape[:-1], -1, K)[..., data.subject, nth, :]
        offset = offset + population.spread.unsqueeze(-1) * levels.mT
    total = 0.0
    for vertex in range(L):
        seen = rows if data.observed is None else rows & (data.observed[vertex] > 0)
        eye = torch.eye(int(seen.sum()), dtype=torch.float64)
        same = (data.subject[seen][:, None] == data.subject[seen]).double()
        terms = []
        for k in range(K):
            a, b, c, d = (p[k] for p in population.theta)
            sd_d, sd_c, sd_b, sd_a, power = population.scatter[k]
            white = population.sigma[k] ** 2 * eye + population.omega[k] ** 2 * same + sd_d**2
            for (of_c, of_b), weight in quadrature(1 if sd_c == 0 else NODES):
                speed = torch.log1p(power * sd_b * of_b) / power if power else sd_b * of_b
                rise = torch.sigmoid(b * speed.exp() * (scores[..., seen] - c - sd_c * of_c))
                spread = sd_a**2 * rise.unsqueeze(-1) * rise.unsqueeze(-2)
                law = MultivariateNormal(d + a * rise + offset[..., k, seen], white + spread)
                terms.append((population.share[k] * weight).log() + law.log_prob(data.values[vertex, seen]))
        total = total + torch.stack(terms).logsumexp(0)
    return total


def quadrature(n):
    """Pairs of Gauss and Hermite's nodes, and their weights."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    for i, j in itertools.product(range(n), repeat=2):
        yield nodes[[i, j]], torch.tensor(weights[i] * weights[j] / weights.sum() ** 2)


@pytest.mark.parametrize(
    ("missing", "scatter", "omega", "spread"),
    [(True, 1.0, 0.0, 0.0), (False, 0.0, 0.0, 0.0), (True, 1.0, 0.7, 0.0), (True, 1.0, 0.7, 0.6)],
    ids=["missing and scatter", "plain", "lasting", "all switches"],
)
def test_it_is_the_integral_over_the_subjects_own_latents(missing, scatter, omega, spread, monkeypatch):
    monkeypatch.setattr("neuropyro.models.subject_likelihood.IMPORTANCE_DRAWS", 192)
    data, population = visits(missing), a_population(scatter, omega, spread)
    generator = torch.Generator().manual_seed(1)
    p = n_latents(population, data)
    own = torch.randn(3, p, generator=generator, dtype=torch.float64)
    found = subject_terms(population, own, data)
    for i in range(3):
        latent = own.expand(SAMPLES, -1, -1).clone()
        latent[:, i] = torch.randn(SAMPLES, p, generator=generator, dtype=torch.float64)
        everything = torch.ones(7, dtype=torch.bool)
        terms = log_joint(population, latent, data, everything) - log_joint(population, own, data, data.subject != i)
        expected = torch.logsumexp(terms, 0) - math.log(SAMPLES)
        error = (terms - expected).exp().std() / SAMPLES**0.5
        # 192 importance draws under a t distribution: some 6 % besides.
        assert abs(float(found[i] - expected)) < 4 * float(error) + 0.1


def test_covariates_move_a_subjects_population_and_no_one_elses_latents():
    """Subject 1's term is that under a population of its own mean, if the others' scores stay what they were."""
    data = dataclasses.replace(visits(missing=True), covariates=torch.tensor([[0.5], [-1.0], [0.8]]).double())
    effects = torch.tensor([[0.3], [0.6]], dtype=torch.float64)
    population = dataclasses.replace(a_population(1.0), effects=effects)
    own = torch.randn(3, 2 + K, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = subject_terms(population, own, data)[1]

    mean_a, sd_a, mean_b, sd_b, rho, share = population.scores
    x, (on_speed, on_beta) = data.covariates[:, 0], effects[:, 0]
    moved = torch.stack([mean_a + x[1] * on_speed, sd_a, mean_b + x[1] * on_beta, sd_b, rho, share])
    speed = (x - x[1]) * on_speed / sd_a
    stage = ((x - x[1]) * on_beta / sd_b - rho * speed) / (1 - rho**2).sqrt()
    others = own + torch.cat([speed[:, None], stage[:, None], torch.zeros(3, K)], 1)
    plain = dataclasses.replace(population, scores=moved, effects=None)
    assert float(found) == pytest.approx(float(subject_terms(plain, others, data)[1]), rel=1e-9)


@pytest.mark.parametrize(
    ("missing", "scatter", "omega", "spread"),
    [(True, 1.0, 0.0, 0.0), (False, 0.0, 0.0, 0.0), (False, 1.0, 0.0, 0.0), (True, 1.0, 0.7, 0.6)],
)
def test_a_subject_that_was_not_fitted_has_the_term_of_leaving_it_out(missing, scatter, omega, spread, monkeypatch):
    monkeypatch.setattr("neuropyro.models.subject_likelihood.IMPORTANCE_DRAWS", 256)
    data, population = visits(missing), a_population(scatter, omega, spread)
    own = torch.randn(3, n_latents(population, data), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    left_out = subject_terms(population, own, data)
    for i in range(3):
        others = torch.arange(3) != i
        near = torch.randn(10, 1, 2 + K, generator=torch.Generator().manual_seed(i), dtype=torch.float64)
        found = new_subject_terms(population, own[others], part(data, others), part(data, ~others), near)
        # 256 importance draws, twice: some 6 % each; vertices' courses are linearised with the subject or without it.
        assert float(found) == pytest.approx(float(left_out[i]), abs=0.25)


def part(data, subjects):
    """The visits of some subjects."""
    rows = subjects[data.subject]
    place = subjects.long().cumsum(0) - 1
    return dataclasses.replace(
        data,
        values=data.values[:, rows],
        observed=None if data.observed is None else data.observed[:, rows],
        subject=place[data.subject[rows]],
        time_within=data.time_within[rows],
        subject_time=data.subject_time[subjects],
        visits_of_subject=data.visits_of_subject[subjects],
    )


def test_the_latents_of_one_subject_are_integrated_out():
    """Laplace's method against plain Monte Carlo from the prior, the labels summed out by dense Normals."""
    everyone = visits(False)
    data = part(everyone, torch.arange(3) == 2)
    population = dataclasses.replace(a_population(1.0), rho=torch.zeros(K, dtype=torch.float64))
    latent = torch.randn(SAMPLES, 1, 2 + K, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    terms = log_joint(population, latent, data, torch.ones(3, dtype=torch.bool))
    expected = torch.logsumexp(terms, 0) - math.log(SAMPLES)
    log_density = terms - 0.5 * latent.square().sum((1, 2))
    mode = latent[log_density.argmax()] * torch.tensor([1.0, 1.0, 0.0, 0.0]).double()
    found = integrated_log_likelihood(population, mode, data)
    # Laplace's own error, for three visits of three vertices.
    assert found == pytest.approx(float(expected), abs=0.4)
    for off in (torch.tensor([2.0, -2.0, 0.0, 0.0]), torch.tensor([-2.0, 3.0, 1.0, -1.0])):  # draws far from the top
        assert integrated_log_likelihood(population, mode + off.double(), data) == pytest.approx(found, abs=0.05)


def test_a_fit_has_a_term_for_each_subject_and_leave_one_out_uses_them():
    cohort = simulate_reference(n_subjects=10, n_vertices=12, seed=2)
    model = VertexClusterMixture(2)
    result = fit(model, cohort, "normal", schedule=Schedule(max_steps=6, warm_up=2, window=2), progress=False)
    terms = model.subject_log_likelihood(result, 3)
    assert terms.shape == (3, 10)
    assert np.isfinite(terms).all()
    tree = result.to_arviz(draws=3, predictive_draws=0, subjects=True)
    assert tree["log_likelihood"]["subject_terms"].dims == ("chain", "draw", "subject")
    np.testing.assert_allclose(tree["log_likelihood"]["subject_terms"].values[0], terms)


def test_levels_of_visits_are_those_of_the_fit():
    """At the fitted latents, the density of all vertices is the model's own, padded visits or not."""
    cohort = simulate_reference(n_subjects=6, n_vertices=12, seed=2)
    cohort = cohort.subset(visits=np.arange(1, cohort.n_visits))  # the first subject has one visit less
    model = VertexClusterMixture(2, scatter=False, visit_effect=True)
    result = fit(model, cohort, "map", schedule=Schedule(max_steps=20), progress=False)
    population, own = next(FittedClusters(model, result).populations(1))
    data = result.data.to(None, torch.float64)
    courses = own_courses(population, own, data)
    whole = whole_of(population, own, data, courses)
    found = vertex_densities(pair_densities(population, whole, courses), courses, 12)[0]
    np.testing.assert_allclose(found.numpy(), model.log_likelihood(result)[0], rtol=1e-4)  # that is of float32
