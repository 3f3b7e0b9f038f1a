"""Short chains against normals of known mean and covariance."""

import math

import pytest
import torch

from neuropyro.inference import short_chains as module
from neuropyro.inference.short_chains import LEAPS, short_chains

ROOT = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.6, 0.0], [-0.4, 0.3, 1.5]], dtype=torch.float64)
MEAN = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
CHAINS, SETTLING, KEPT = 400, 20, 10


def normal(e):
    return -0.5 * torch.linalg.solve_triangular(ROOT, (e - MEAN).mT, upper=False).square().sum(0)


def first(chains=CHAINS):
    torch.manual_seed(0)
    return torch.randn(chains, 3, dtype=torch.float64)


def test_they_forget_where_they_began():
    paths = short_chains(normal, first(), SETTLING, KEPT, lambda: None)
    assert paths.states.shape == (KEPT, CHAINS, 3)
    assert paths.accepted > 0.8
    draws = paths.states.flatten(0, 1)
    covariance = ROOT @ ROOT.mT
    sds = covariance.diagonal().sqrt()
    # Of 400 chains at least: 4 standard errors.
    assert ((draws.mean(0) - MEAN).abs() < 4 * sds / CHAINS**0.5).all()
    error = (covariance.square() + torch.outer(sds, sds).square()).sqrt() / CHAINS**0.5
    assert ((torch.cov(draws.mT) - covariance).abs() < 4 * error).all()


@pytest.mark.parametrize("numbers", [1, 100])
def test_batches_change_nothing(monkeypatch, numbers):
    torch.manual_seed(1)
    expected = short_chains(normal, first(7), 2, 3, lambda: None).states
    monkeypatch.setattr(module, "NUMBERS", numbers)
    torch.manual_seed(1)
    torch.testing.assert_close(short_chains(normal, first(7), 2, 3, lambda: None).states, expected)


def test_steps_get_smaller_where_the_density_is_narrow():
    def narrow(e):
        return -0.5 * (e / 0.05).square().sum(-1)

    paths = short_chains(narrow, 0.05 * first(), 12, 20, lambda: None)
    assert paths.accepted > 0.6
    assert paths.states.std().item() == pytest.approx(0.05, rel=0.1)


def test_where_the_density_is_undefined_a_chain_stays_what_it_is():
    def half(e):
        return torch.where(e[:, 0] > 0, -0.5 * e.square().sum(-1), math.nan)

    begin = first().abs()
    paths = short_chains(half, begin, SETTLING, KEPT, lambda: None)
    assert (paths.states[..., 0] > 0).all()
    half_normal = math.sqrt(2 / math.pi)
    assert paths.states[..., 0].mean().item() == pytest.approx(half_normal, abs=4 * 0.6 / CHAINS**0.5)


def test_gradients_are_counted_where_steps_get_smaller_too():
    asked = []

    def narrow(e):
        asked.append(len(e))
        return -0.5 * (e / 0.05).square().sum(-1)

    paths = short_chains(narrow, 0.05 * first(4), 6, 3, lambda: None)
    assert paths.gradients > 9 * LEAPS
    # Besides, one of each chain where it begins, and one that the graph's size is measured by.
    assert sum(asked) == 4 * (paths.gradients + 1) + 1


def test_it_ticks_after_each_path():
    ticks = []
    short_chains(normal, first(4), 2, 3, lambda: ticks.append(None))
    assert len(ticks) == 5
    assert LEAPS == 5
