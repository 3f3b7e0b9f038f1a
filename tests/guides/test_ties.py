"""Ties of elements against dense linear algebra and closed forms."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from neuropyro.guides.blocks import Blocks
from neuropyro.guides.curvature import ArrowHessian
from neuropyro.guides.ties import Ties, n_ties, strongest_ties, tie
from neuropyro.inference import Schedule, fit

G, N, M = 2, 30, 2
D = G + N * M


def blocks_and_precision(strengths, generator):
    """A precision whose elements differ, tied by ``-share`` of their own precision along random directions."""
    roots = torch.randn(N, M, M, generator=generator, dtype=torch.float64) + 2 * torch.eye(M)
    local = torch.block_diag(*roots)
    directions = torch.linalg.qr(torch.randn(N * M, len(strengths), generator=generator, dtype=torch.float64)).Q
    tied = local @ (torch.eye(N * M) - (directions * torch.tensor(strengths)) @ directions.mT) @ local.mT
    precision = torch.block_diag(3 * torch.eye(G, dtype=torch.float64), tied)
    return Blocks(torch.arange(G), (torch.arange(G, D).reshape(N, M),)), precision


def exact_hessian(blocks, precision):
    index = blocks.local[0]
    own = precision[index.unsqueeze(-1), index.unsqueeze(-2)]
    shared = precision[blocks.shared.unsqueeze(-1), blocks.shared]
    return ArrowHessian(blocks, shared, [precision[index][..., blocks.shared]], [own])


def off_block(precision, blocks):
    """The largest tie between elements that are left, as a share of their own precision."""
    hessian = exact_hessian(blocks, precision)
    root = torch.block_diag(*torch.linalg.inv(torch.linalg.cholesky(hessian.local[0])))
    whitened = root @ precision[G:, G:] @ root.mT
    return float(torch.linalg.eigvalsh(torch.eye(N * M) - whitened).max())


def test_given_the_ties_elements_are_independent():
    blocks, precision = blocks_and_precision([0.99, 0.95, 0.6], torch.Generator().manual_seed(0))
    hessian = exact_hessian(blocks, precision)
    weights = strongest_ties(lambda x: 0.5 * x @ precision @ x, torch.zeros(D, dtype=torch.float64), hessian)
    assert weights.shape == (12, D)
    assert (weights.abs().sum(-1) > 0).sum() == 3
    assert off_block(precision, blocks) > 0.9
    assert off_block(precision + weights.mT @ weights, blocks) < 0.2  # too weak for a tie


def test_the_curvature_with_ties_is_that_of_both():
    blocks, precision = blocks_and_precision([0.9], torch.Generator().manual_seed(1))
    weights = torch.randn(4, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    weights[:, :G] = 0
    found = tie(exact_hessian(blocks, precision), weights)
    both = torch.cat(
        [torch.cat([precision + weights.mT @ weights, -weights.mT], 1), torch.cat([-weights, torch.eye(4)], 1)]
    )
    expected = exact_hessian(Blocks(torch.cat([torch.arange(G), torch.arange(D, D + 4)]), blocks.local), both)
    assert found.blocks.order.tolist() == expected.blocks.order.tolist()
    torch.testing.assert_close(found.shared, expected.shared)
    torch.testing.assert_close(found.couplings, expected.couplings)
    torch.testing.assert_close(found.local, expected.local)


def test_the_law_of_ties_given_a_draw():
    generator = torch.Generator().manual_seed(3)
    weights, point, both = (torch.randn(*s, generator=generator) for s in ((3, D), (D,), (5, D + 3)))
    expected = Normal((both[:, :D] - point) @ weights.mT, 1.0).log_prob(both[:, D:]).sum(-1)
    torch.testing.assert_close(Ties(weights, point).log_prob(both), expected)


def test_there_are_none_without_a_plate():
    assert n_ties(Blocks(torch.arange(5), ())) == 0


NOISE, COMMON = 0.3, 4.0


def own_baseline(y):
    """Thirty subjects, of whom data know how they differ, and hardly where they all lie."""
    with pyro.plate("subject", len(y), dim=-1):
        x = pyro.sample("x", dist.Normal(torch.zeros_like(y), 1.0))
    covariance = NOISE**2 * torch.eye(len(y)) + COMMON**2
    pyro.sample("y", dist.MultivariateNormal(x.unsqueeze(-2), covariance), obs=y)


def test_subjects_that_can_move_together_are_as_wide_as_they_are():
    """Closed form; independent of each other, each would be .29 wide and the mean of all .053."""
    n = 30
    y = torch.randn(n, generator=torch.Generator().manual_seed(4)) + 2
    covariance = NOISE**2 * torch.eye(n) + COMMON**2
    posterior = torch.linalg.inv(torch.eye(n) + torch.linalg.inv(covariance))
    evidence = float(MultivariateNormal(torch.zeros(n), covariance + torch.eye(n)).log_prob(y))
    result = fit(own_baseline, y, "structured", schedule=Schedule(max_steps=1000), particles=4, seed=0, progress=False)
    draws = result.posterior(8000)["x"]
    assert result.elbo == pytest.approx(evidence, abs=0.3)
    assert draws.mean(1).std() == pytest.approx(math.sqrt(posterior.sum()) / n, rel=0.08)
    np.testing.assert_allclose(draws.std(0), posterior.diagonal().sqrt().numpy(), rtol=0.1)
