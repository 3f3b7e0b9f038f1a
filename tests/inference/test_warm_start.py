"""How wide a guide may be when it starts."""

import math

import pyro
import pyro.distributions as dist
import torch
from scipy.special import polygamma

from neuropyro.guides import Start, find_latents
from neuropyro.inference.objective import choose_elbo
from neuropyro.inference.warm_start import prior_sds


def model(y):
    pyro.sample("mean", dist.Normal(0.0, 2.0))
    sd = pyro.sample("sd", dist.LogNormal(0.0, 0.5))
    pyro.sample("correlation", dist.AffineBeta(2.0, 2.0, -1.0, 2.0))
    with pyro.plate("child", 3, dim=-1):
        pyro.sample("level", dist.Normal(0.0, sd))
    pyro.sample("y", dist.Normal(0.0, 1.0), obs=y)


def test_the_priors_sds_are_of_unconstrained_numbers_given_the_others():
    """200 draws tell an sd to 5 %; the log odds of a Beta(2, 2) have the variance 2 psi'(2)."""
    y = torch.tensor(0.5)
    latents = find_latents(model, y, {})
    point = latents.start.clone()
    point[latents.places(["sd"])] = math.log(7.0)
    elbo, state = choose_elbo(model, y), torch.get_rng_state()
    found = prior_sds(elbo, model, y, Start(latents, point))
    assert torch.equal(torch.get_rng_state(), state)
    expected = {"mean": 2.0, "sd": 0.5, "correlation": (2 * polygamma(1, 2)) ** 0.5, "level": 7.0}
    for name, sd in expected.items():
        assert (found[latents.places([name])] / sd - 1).abs().max() < 0.2, name  # 4 standard errors


def test_a_site_without_a_free_number_is_passed_over():
    """The share of a single cluster is 1: its sd is of nothing, of which torch would warn, and warnings are errors."""

    def one(y):
        pyro.sample("mean", dist.Normal(0.0, 2.0))
        pyro.sample("share", dist.Dirichlet(torch.ones(1)))
        pyro.sample("y", dist.Normal(0.0, 1.0), obs=y)

    y = torch.tensor(0.5)
    latents = find_latents(one, y, {})
    found = prior_sds(choose_elbo(one, y), one, y, Start(latents, latents.start))
    assert found.shape == (1,)
    assert abs(found[0] / 2.0 - 1) < 0.2  # 4 standard errors
