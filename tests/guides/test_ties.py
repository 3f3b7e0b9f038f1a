"""Ties: local blocks that move together along a few directions, densities and gradients exact."""

import math

import pytest
import torch
from torch.autograd.functional import jacobian

from neuropyro.guides.arrow import Arrow
from neuropyro.guides.gaussian import StuckNormal
from neuropyro.guides.ties import DIRECTIONS, TiedArrow, Ties

G, N, M, R = 2, 3, 2, 2
D = G + N * M


def lower(generator, *shape):
    raw = torch.randn(*shape, shape[-1], generator=generator, dtype=torch.float64)
    return raw.tril(-1) * 0.4 + torch.diag_embed(raw.diagonal(dim1=-2, dim2=-1).abs() + 0.5)


@pytest.fixture
def tied():
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(D, generator=generator)
    loc = torch.randn(D, generator=generator, dtype=torch.float64)
    coupling = torch.randn(N, M, G, generator=generator, dtype=torch.float64)
    arrow = Arrow(order, loc, lower(generator, G), [coupling], [lower(generator, N, M)])
    local = torch.linalg.qr(torch.randn(D - G, R, generator=generator, dtype=torch.float64))[0]
    directions = torch.zeros(D, R, dtype=torch.float64).index_put((order[G:],), local)
    return TiedArrow(arrow, directions, torch.tensor([[3.0, 0.0], [-0.7, 0.4]], dtype=torch.float64))


def test_back_and_forth(tied):
    h = torch.randn(5, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(tied._inverse(tied._call(h)), h)


def test_the_volume_is_that_of_the_jacobian(tied):
    h = torch.linspace(-1, 1, D, dtype=torch.float64)
    expected = torch.linalg.slogdet(jacobian(tied._call, h)).logabsdet
    torch.testing.assert_close(tied.log_abs_det_jacobian(h, tied._call(h)), expected)


def test_the_transpose_is_solved(tied):
    right = torch.linspace(-1, 2, D, dtype=torch.float64)
    linear = jacobian(tied._call, torch.zeros(D, dtype=torch.float64))
    torch.testing.assert_close(tied.solve_transposed(right), torch.linalg.solve(linear.mT, right))


def test_the_density_is_the_normal_one_of_that_covariance_and_its_slope_is_by_the_draw(tied):
    linear = jacobian(tied._call, torch.zeros(D, dtype=torch.float64))
    exact = torch.distributions.MultivariateNormal(tied.loc, linear @ linear.mT)
    torch.manual_seed(2)
    drawn = StuckNormal(tied).rsample(torch.Size([4])).detach().requires_grad_()
    density = StuckNormal(tied).log_prob(drawn)
    torch.testing.assert_close(density, exact.log_prob(drawn))
    (slope,) = torch.autograd.grad(density.sum(), drawn)
    torch.testing.assert_close(slope, -torch.linalg.solve(linear @ linear.mT, (drawn.detach() - tied.loc).mT).mT)


def test_along_a_direction_draws_are_as_many_times_as_wide_and_across_as_before():
    local = torch.tensor([0.0, 0.0, 1.0, 1.0, 1.0, 1.0]) / 2
    ties = Ties(torch.zeros(6), 4)
    assert ties.directions.shape == (6, min(DIRECTIONS, 4))
    ties.directions[:, 0] = local
    ties.root[0, 0] = 5.0
    arrow = Arrow(torch.arange(6), torch.zeros(6), torch.eye(2), [torch.zeros(4, 1, 2)], [torch.ones(4, 1, 1)])
    torch.manual_seed(3)
    draws = StuckNormal(ties(arrow)).rsample(torch.Size([20000]))
    error = 4 / math.sqrt(2 * 20000)
    assert (draws @ local).std() == pytest.approx(5.0, rel=error)
    assert (draws[:, 2] - draws[:, 3]).std() == pytest.approx(math.sqrt(2), rel=error)
    assert draws[:, 0].std() == pytest.approx(1.0, rel=error)


def test_before_anything_is_tied_it_is_the_arrow(tied):
    ties = Ties(tied.loc, D - G)
    h = torch.randn(5, D, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    torch.testing.assert_close(ties(tied.arrow)._call(h), tied.arrow._call(h), rtol=0, atol=0)
