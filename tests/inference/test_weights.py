"""Importance weights against closed forms and against draws one by one."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import Beta, MultivariateNormal, Normal

from neuropyro.data import simulate_reference
from neuropyro.inference import Schedule, fit, log_weights, psis_khat
from neuropyro.inference.joint_density import JointDensity
from neuropyro.inference.weights import Weights
from neuropyro.models import SubjectProgression, VertexClusterMixture

Y = torch.tensor([0.3, 1.2, -0.4, 2.0, 0.9])
SHORT = Schedule(max_steps=30, warm_up=10)


def conjugate(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("visit", len(y)):
        pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def coin_mixture(y):
    share = pyro.sample("share", dist.Beta(torch.tensor(1.0), torch.tensor(1.0)))
    with pyro.plate("point", len(y)):
        z = pyro.sample("z", dist.Bernoulli(share), infer={"enumerate": "parallel"})
        pyro.sample("y", dist.Normal(4 * z, 1.0), obs=y)


def stubborn(y):
    """Reads a draw as a plain number: no batch of draws can pass."""
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("visit", len(y)):
        pyro.sample("y", dist.Normal(float(mean), 1.0), obs=y)


def mixing(y):
    """Takes the mean over all its draws where it gets many: broadcasts, and is wrong."""
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("visit", len(y)):
        pyro.sample("y", dist.Normal(mean.mean(), 1.0), obs=y)


def narrow_guide(scale):
    def guide(y):
        pyro.sample("mean", dist.Normal(pyro.param("loc", Y.sum() / 6), scale))

    return guide


def test_every_draw_of_the_posterior_has_the_evidence_as_its_weight():
    weights = log_weights(fit(conjugate, Y, guide="laplace", progress=False), 50)
    evidence = MultivariateNormal(torch.zeros(5), torch.eye(5) + 1).log_prob(Y)
    assert weights.log_weights == pytest.approx(float(evidence), abs=1e-3)
    assert weights.effective_draws == pytest.approx(50, rel=1e-3)
    assert weights.khat < 0.7


def test_enumerated_sites_are_summed_out():
    result = fit(coin_mixture, Y, guide="normal", schedule=SHORT, progress=False)
    flat = torch.tensor([[-0.5], [0.1], [1.2]])
    share = flat[:, 0].sigmoid()
    pointwise = torch.logaddexp(
        share.log()[:, None] + Normal(4.0, 1.0).log_prob(Y), (1 - share).log()[:, None] + Normal(0.0, 1.0).log_prob(Y)
    )
    volume = (share * (1 - share)).log()
    expected = pointwise.sum(1) + Beta(1.0, 1.0).log_prob(share) + volume
    density = JointDensity(coin_mixture, result.data, result.guide.latents)
    with pyro.settings.context(module_local_params=True), torch.no_grad():
        torch.testing.assert_close(density.at_once(flat).float(), expected)
        torch.testing.assert_close(density.one_by_one(flat).float(), expected)


@pytest.mark.parametrize("model", [VertexClusterMixture(2), SubjectProgression()], ids=lambda m: type(m).__name__)
def test_draws_at_once_have_the_density_that_they_have_one_by_one(model):
    cohort = simulate_reference(n_subjects=12, n_vertices=8, seed=2)
    result = fit(model, cohort, guide="normal", schedule=Schedule(max_steps=5, warm_up=1), progress=False)
    density = JointDensity(model, result.data, result.guide.latents)
    with pyro.settings.context(module_local_params=True), torch.no_grad():
        flat = result.guide.law().rsample(torch.Size([6]))
        torch.testing.assert_close(density.at_once(flat), density.one_by_one(flat), rtol=1e-5, atol=1e-2)
        density(flat)
    assert density.vectorised


@pytest.mark.parametrize("model", [stubborn, mixing])
def test_a_model_that_bears_no_batch_of_draws_is_run_for_each(model):
    reference = fit(conjugate, Y, guide="normal", schedule=SHORT, progress=False)
    density = JointDensity(model, Y, reference.guide.latents)
    flat = torch.linspace(-1, 1, 4).unsqueeze(-1)
    with pyro.settings.context(module_local_params=True), torch.no_grad():
        expected = JointDensity(conjugate, Y, reference.guide.latents).one_by_one(flat)
        torch.testing.assert_close(density(flat), expected)
    assert density.vectorised is False


def test_guides_of_ones_own_and_khat():
    """A Normal guide r times too narrow has a tail of shape about 1 - r^2 (the weights' moments below 1 / k exist)."""
    sd = 6**-0.5
    right = fit(conjugate, Y, guide=narrow_guide(1.02 * sd), schedule=SHORT, progress=False)
    wrong = fit(conjugate, Y, guide=narrow_guide(0.15 * sd), schedule=SHORT, progress=False)
    assert psis_khat(right, 1000) < 0.3
    assert psis_khat(wrong, 1000) > 0.7
    evidence = float(MultivariateNormal(torch.zeros(5), torch.eye(5) + 1).log_prob(Y))
    assert log_weights(right, 1000).log_evidence == pytest.approx(evidence, abs=0.02)


def test_summaries_of_weights():
    weights = Weights(torch.tensor([0.0, math.log(3.0)]).double().numpy() - 1000)
    assert weights.log_evidence == pytest.approx(math.log(2.0) - 1000)
    assert weights.elbo == pytest.approx(0.5 * math.log(3.0) - 1000)
    assert weights.effective_draws == pytest.approx(16 / 10)


def test_strays_are_left_out_of_what_few_of_them_would_make():
    inner = np.random.default_rng(0).normal(-2085.0, 7.5, 490)
    weights = Weights(np.concatenate([inner, -2085 - np.geomspace(1e3, 1.75e6, 10)]))
    assert weights.is_stray.sum() == 10
    assert weights.elbo < -4000  # of nothing but the strays
    assert weights.without_strays.elbo == pytest.approx(inner.mean())
    assert weights.without_strays.elbo_error == pytest.approx(inner.std(ddof=1) / 490**0.5)


@pytest.mark.parametrize("nats", [1e-9, 1.0, 100.0])
def test_a_guide_that_is_too_wide_has_no_strays_by_that_alone(nats):
    """Log-weights of a Normal that is too wide in one number fall off as a chi-square of one degree of freedom."""
    drawn = np.random.default_rng(1).chisquare(1, (50, 500))
    assert sum(Weights(-nats * row).is_stray.any() for row in drawn) <= 5


@pytest.mark.parametrize("shape", [0.3, 0.7, 1.2])
def test_k_hat_is_as_uncertain_as_it_says(shape):
    rng = np.random.default_rng(0)
    found = [Weights(-shape * np.log(rng.random(500))) for _ in range(200)]  # weights u ** -k: Pareto of shape k
    # Khat is drawn to .5 a little, by a tenth at most, so that its sd is less than a maximum of likelihood's.
    said = np.mean([weights.khat_error for weights in found])
    assert 0.7 * said < np.std([weights.khat for weights in found]) < 1.1 * said


def test_what_has_no_density_is_said():
    with pytest.raises(ValueError, match="a point"):
        log_weights(fit(conjugate, Y, guide="map", progress=False))
