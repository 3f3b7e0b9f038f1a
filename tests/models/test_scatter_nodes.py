"""Scattered courses node by node against fine numerical integration, moments of the Normal, and their limits."""

import numpy as np
import torch
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_normal, norm

from neuropyro.models.mixture import Mixture
from neuropyro.models.scatter_nodes import WIDTH, ScatterNodes, _rule, noded
from neuropyro.models.trajectory import Trajectories, sigmoid
from neuropyro.models.vertex_scatter import scattered
from neuropyro.models.visit_mixture import VisitMixture
from neuropyro.models.visit_normal import VisitNormal

A, B, C, D, SIGMA = -5.0, 1.6, 0.0, 0.0, 0.5
# Of d, c, log b, a, and the power of b that is Normal: c and b as in the simulation of DIVE's paper.
SCATTER = [1.0, 0.2, 0.28, 0.2, 0.5]
THETA = Trajectories(*(torch.tensor([x], dtype=torch.float64) for x in (A, B, C, D)))
SPREAD = torch.tensor([SCATTER], dtype=torch.float64)


def log_speed(z):
    """Log b less the cluster's."""
    return np.log1p(SCATTER[4] * SCATTER[2] * z) / SCATTER[4]


def vertices(scores, n, seed=0):
    """Values (n, visits) of vertices with trajectories of their own."""
    rng = np.random.default_rng(seed)
    z_d, z_c, z_b, z_a = rng.normal(size=(4, n, 1))
    d, c, log_b, a = SCATTER[0] * z_d, SCATTER[1] * z_c, log_speed(z_b), SCATTER[3] * z_a
    clean = D + d + (A + a) * expit(B * np.exp(log_b) * (scores - C - c))
    return clean + SIGMA * rng.normal(size=clean.shape)


def exact(values, scores):
    """Log density of each row: d and a by algebra, c and log b by a fine sum."""
    z = np.linspace(-4.5, 4.5, 61)
    log_weight = norm.logpdf(z) + np.log(z[1] - z[0])
    terms = []
    for i, of_c in enumerate(z):
        for j, of_b in enumerate(z):
            rise = expit(B * np.exp(log_speed(of_b)) * (scores - C - SCATTER[1] * of_c))
            columns = np.stack([np.full_like(rise, SCATTER[0]), SCATTER[3] * rise], -1)
            covariance = SIGMA**2 * np.eye(len(scores)) + columns @ columns.T
            law = multivariate_normal(D + A * rise, covariance)
            terms.append(law.logpdf(values) + log_weight[i] + log_weight[j])
    return logsumexp(terms, axis=0)


def by_nodes(values, scores, nodes=None):
    mean, found = noded(torch.tensor(scores), THETA, SPREAD)
    loc, found = (mean, found) if nodes is None else nodes
    one = torch.ones(1, dtype=torch.float64)
    mixture = Mixture(one, loc, found, SIGMA * one)
    law = mixture.of_cluster(0, torch.arange(len(values)), _Data(torch.tensor(values)))
    return law.log_prob(torch.tensor(values)).numpy()


class _Data:
    """What a mixture needs of complete visits."""

    observed = None

    def __init__(self, values):
        self.sum_squares = values.square().sum(-1)


def test_log_densities_are_those_of_fine_integration():
    """At 200 visits; one Normal of nine columns misses more than twice as much, and most of it one way."""
    scores = np.random.default_rng(1).normal(0, 3, 200)
    values = vertices(scores, 60)
    true = exact(values, scores)
    mean, columns = scattered(torch.tensor(scores), THETA, SPREAD)
    error = by_nodes(values, scores) - true
    of_one = by_nodes(values, scores, (mean, ScatterNodes.single(columns))) - true
    assert np.sqrt(np.mean(error**2)) < 0.3
    assert np.sqrt(np.mean(error**2)) < 0.5 * np.sqrt(np.mean(of_one**2))
    assert abs(error.mean()) < 0.3 * abs(of_one.mean())


def test_nodes_have_the_moments_of_a_normal_to_the_fifth():
    """Of the mixture of Normals about nodes: 1, 0, 1, 0, 3, 0 along any direction."""
    x, weight = _rule()
    for angle in (0.0, 0.3, 1.1):
        at = np.sqrt(1 - WIDTH**2) * (np.cos(angle) * x[0] + np.sin(angle) * x[1])
        raw = [norm(at, WIDTH).moment(order) @ weight for order in range(1, 6)]
        np.testing.assert_allclose(raw, [0, 1, 0, 3, 0], atol=1e-12)


def test_mean_is_that_of_scattered_vertices():
    scores = torch.linspace(-4, 5, 19, dtype=torch.float64)
    rng = np.random.default_rng(2)
    c, log_b = SCATTER[1] * rng.normal(size=(200_000, 1)), log_speed(rng.normal(size=(200_000, 1)))
    courses = D + A * expit(B * np.exp(log_b) * (scores.numpy() - C - c))
    mean, nodes = noded(scores, THETA, SPREAD)
    assert np.abs(mean[0].numpy() - courses.mean(0)).max() < 4 * courses.std(0).max() / np.sqrt(200_000) + 2e-3
    torch.testing.assert_close((nodes.log_weight.exp()[:, None] * nodes.departure[0]).sum(0), torch.zeros(19).double())


def test_little_scatter_leaves_the_trajectory():
    scores = torch.linspace(-4, 5, 19, dtype=torch.float64)
    mean, nodes = noded(scores, THETA, torch.full((1, 5), 1e-4, dtype=torch.float64))
    torch.testing.assert_close(mean, sigmoid(scores, THETA), rtol=0, atol=1e-7)
    assert float(nodes.departure.abs().max()) < 1e-3
    assert nodes.columns.shape == (1, 7, 19, 4)


def test_lead_dimensions_are_draws_each():
    scores = torch.randn(3, 11, dtype=torch.float64)
    theta = Trajectories(*(x * torch.tensor([[1.0], [1.1], [0.9]]).double() for x in THETA))
    mean, nodes = noded(scores, theta, SPREAD.expand(3, 1, 5))
    for i in range(3):
        alone, one = noded(scores[i], Trajectories(*(x[i] for x in theta)), SPREAD)
        torch.testing.assert_close(mean[i], alone)
        torch.testing.assert_close(nodes.columns[i], one.columns)


def test_samples_of_a_mixture_have_its_moments():
    torch.manual_seed(0)
    loc = torch.tensor([[[-2.0, 0.0, 1.0]], [[1.0, 1.0, -1.0]]]).double()  # two laws, of a batch of one
    columns = torch.tensor([[[1.0], [0.5], [0.0]], [[0.0], [0.2], [2.0]]]).double().unsqueeze(1)
    law = VisitMixture(VisitNormal(loc, torch.tensor([0.7]).double(), columns), torch.tensor([0.25, 0.75]).log())
    drawn = law.expand(torch.Size([40_000])).sample()
    weight = torch.tensor([0.25, 0.75]).double()
    mean = (weight[:, None] * loc[:, 0]).sum(0)
    second = sum(
        w * (0.49 * torch.eye(3) + j[0] @ j[0].mT + torch.outer(m[0], m[0]))
        for w, m, j in zip(weight, loc, columns, strict=True)
    )
    covariance = second - torch.outer(mean, mean)
    sd = covariance.diagonal().sqrt()
    assert ((drawn.mean(0) - mean).abs() < 4.5 * sd / 200).all()
    assert ((torch.cov(drawn.T) - covariance).abs() < 6 * torch.outer(sd, sd) / 200).all()


def test_gradients_hold_no_dust():
    """Responsibilities near the least number there is make a product of matrices many times slower."""
    loc = torch.tensor([[0.0] * 4, [6.7] * 4]).unsqueeze(1).requires_grad_()
    each = VisitNormal(loc, torch.ones(1)).log_prob(torch.zeros(5, 4))
    each.logsumexp(0).sum().backward()
    assert 0 < float((each[1] - each[0]).detach().exp()[0]) < 1e-37
    assert (loc.grad[1] == 0).all()
