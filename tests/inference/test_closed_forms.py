"""Linear regression, whose posterior and evidence are known: every guide, and NUTS."""

import arviz
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
import xarray
from torch.distributions import MultivariateNormal

from neuropyro.guides.factor_normal import FactorNormal
from neuropyro.inference import fit, sample

NOISE, PRIOR = 0.5, 2.0


def regression(data):
    x, y = data
    w = pyro.sample("w", dist.Normal(x.new_zeros(x.shape[1]), PRIOR).to_event(1))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal((x * w).sum(-1), NOISE), obs=y)


@pytest.fixture(scope="module")
def problem():
    """Correlated predictors, so that the posterior is; data, mean, covariance and log evidence."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(40, 3, generator=generator) @ torch.tensor([[1.0, 0.8, 0.0], [0.0, 0.6, 0.5], [0.0, 0.0, 1.0]])
    y = x @ torch.tensor([1.0, -1.0, 0.5]) + NOISE * torch.randn(40, generator=generator)
    xd, yd = x.double(), y.double()
    covariance = (xd.mT @ xd / NOISE**2 + torch.eye(3) / PRIOR**2).inverse()
    mean = covariance @ xd.mT @ yd / NOISE**2
    marginal = MultivariateNormal(torch.zeros(40).double(), NOISE**2 * torch.eye(40) + PRIOR**2 * xd @ xd.mT)
    return (x, y), mean.numpy(), covariance.numpy(), float(marginal.log_prob(yd))


def exact_moments(result):
    """Mean and covariance of an affine Gaussian guide, from its map of standard normals."""
    law = result.guide.law()
    size = result.guide.latents.size
    if hasattr(law.base_dist, "frozen"):
        inner = law.base_dist.frozen
        mean, covariance = inner_moments(inner, size)
    else:
        mean, covariance = torch.zeros(size), torch.eye(size)
    outer = torch.autograd.functional.jacobian(law.transforms[-1]._call, torch.zeros(size))
    return (law.transforms[-1]._call(mean)).detach().numpy(), (outer @ covariance @ outer.mT).detach().numpy()


def inner_moments(inner, size):
    if hasattr(inner, "transforms"):
        root = torch.autograd.functional.jacobian(inner.transforms[-1]._call, torch.zeros(size))
        return inner.transforms[-1]._call(torch.zeros(size)), root @ root.mT
    if isinstance(inner, FactorNormal):
        return inner.loc, inner.covariance_matrix
    return inner.mean, torch.diag(inner.variance)


@pytest.mark.parametrize("guide", ["laplace", "mvn", "structured"])
def test_guides_with_all_correlations_are_the_posterior(problem, guide):
    data, mean, covariance, evidence = problem
    result = fit(regression, data, guide, progress=False)
    found, spread = exact_moments(result)
    sd = np.sqrt(covariance.diagonal())
    assert (np.abs(found - mean) < 0.02 * sd).all()
    np.testing.assert_allclose(np.sqrt(spread.diagonal()), sd, rtol=0.05)
    np.testing.assert_allclose(spread / np.outer(sd, sd), covariance / np.outer(sd, sd), atol=0.05)
    assert result.elbo == pytest.approx(evidence, abs=0.05)


def test_mean_field_has_its_known_spread(problem):
    data, mean, covariance, evidence = problem
    result = fit(regression, data, "normal", progress=False, particles=8)
    found, spread = exact_moments(result)
    expected = np.linalg.inv(covariance).diagonal() ** -0.5  # that of one coefficient given the others
    assert (np.abs(found - mean) < 0.1 * np.sqrt(covariance.diagonal())).all()
    np.testing.assert_allclose(np.sqrt(spread.diagonal()), expected, rtol=0.05)
    gap = 0.5 * (np.log(np.linalg.inv(covariance).diagonal()).sum() + np.linalg.slogdet(covariance)[1])
    assert gap > 0.2
    assert result.elbo == pytest.approx(evidence - gap, abs=0.1)


def test_low_rank_learns_most_of_the_correlation(problem):
    data, _, covariance, evidence = problem
    result = fit(regression, data, "lowrank", progress=False, particles=8)
    _, spread = exact_moments(result)
    np.testing.assert_allclose(np.sqrt(spread.diagonal()), np.sqrt(covariance.diagonal()), rtol=0.1)
    assert result.elbo == pytest.approx(evidence, abs=0.1)


def test_the_flow_reaches_the_evidence(problem):
    data, mean, covariance, evidence = problem
    result = fit(regression, data, "flow", progress=False)
    draws = result.posterior(4000)["w"]
    sd = np.sqrt(covariance.diagonal())
    assert (np.abs(draws.mean(0) - mean) < 0.1 * sd).all()
    np.testing.assert_allclose(draws.std(0), sd, rtol=0.08)
    assert result.elbo == pytest.approx(evidence, abs=0.1)


def test_map_is_the_mode(problem):
    data, mean, covariance, _ = problem
    result = fit(regression, data, "map", progress=False)
    assert (np.abs(result.posterior(1)["w"][0] - mean) < 0.02 * np.sqrt(covariance.diagonal())).all()


@pytest.mark.slow
def test_nuts_agrees_within_its_monte_carlo_error(problem):
    data, mean, covariance, _ = problem
    result = sample(regression, data, draws=300, warm_up=100, chains=2, progress=False)
    assert result.converged
    assert "0 of 600 draws diverged" in result.verdict
    chains = np.stack([result.posterior(300, run)["w"] for run in range(2)])
    draws = xarray.Dataset({"w": (("chain", "draw", "column"), chains)})
    error, sd_error = (arviz.mcse(draws, method=method)["w"].values for method in ("mean", "sd"))
    sd = np.sqrt(covariance.diagonal())
    assert (error < 0.08 * sd).all()  # 150 effective draws at least
    assert (np.abs(chains.mean((0, 1)) - mean) < 4 * error).all()
    assert (np.abs(chains.std((0, 1)) - sd) < 4 * sd_error).all()
