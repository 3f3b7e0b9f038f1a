"""The loss that a fit descends, beside the one that Pyro works out from two traces."""

from functools import cache

import pyro
import pytest
import torch

from neuropyro.data import simulate_reference
from neuropyro.guides import GUIDES
from neuropyro.inference.fit import build_guide
from neuropyro.inference.objective import choose_elbo
from neuropyro.models import SubjectProgression, VertexClusterMixture

COHORT = simulate_reference(n_subjects=8, n_vertices=12, n_clusters=2, seed=5)
MODELS = {"enumerated": VertexClusterMixture(2, visit_effect=True), "plain": SubjectProgression()}


def loss_and_gradients(elbo, model, guide, data, validate):
    """Where Pyro validates, guide and model are run as programs and traced."""
    guide.zero_grad()
    torch.manual_seed(3)
    with pyro.validation_enabled(validate):
        loss = elbo.differentiable_loss(model, guide, data)
    if loss.requires_grad:
        loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in guide.parameters() if p.grad is not None)]


@cache
def prepared(name):
    """Its visits, and where guides start."""
    visits = MODELS[name].prepare(COHORT, dtype=torch.float64)
    return visits, MODELS[name].init_values(visits)


@pytest.fixture(autouse=True)
def double_and_local():
    torch.set_default_dtype(torch.float64)
    with pyro.settings.context(module_local_params=True):
        yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("guide", "particles"), [*((guide, 1) for guide in GUIDES), ("structured", 3), ("flow", 3)])
def test_loss_and_gradients_are_those_of_pyros_traces(guide, particles, name):
    model, (visits, start) = MODELS[name], prepared(name)
    built = build_guide(model, visits, guide, start)
    elbo = choose_elbo(model, visits, particles)
    pairs = [loss_and_gradients(elbo, model, built, visits, validate) for validate in (True, False)]
    assert len(pairs[0]) == len(pairs[1])
    for traced, direct in zip(*pairs, strict=True):
        # Sums in another order round otherwise; a site's density lost would change the loss by nats.
        torch.testing.assert_close(direct, traced, rtol=1e-9, atol=1e-7)


def test_particles_one_after_the_other_are_their_mean():
    model, (visits, start) = MODELS["plain"], prepared("plain")
    built = build_guide(model, visits, "normal", start)
    one, three = choose_elbo(model, visits), choose_elbo(model, visits, 3, at_once=False)
    with pyro.validation_enabled(False):
        torch.manual_seed(1)
        alone = [one.loss(model, built, visits) for _ in range(3)]
        torch.manual_seed(1)
        assert three.loss(model, built, visits) == pytest.approx(sum(alone) / 3, rel=1e-12)
