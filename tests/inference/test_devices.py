"""Where tensors live, without a GPU: tensors of device "meta" stand for those of another device than the host.

They have no values, so that whatever needs one on the host (``item``, an ``if``) is an error, as it would make a GPU
wait; and an operation on tensors of both devices is refused, also where torch itself would let it pass on "meta".
"""

import dataclasses
from functools import cache

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from neuropyro.data import simulate_reference
from neuropyro.guides import FLAT_GUIDES, GUIDES, Start, find_latents, make_flat_guide, make_guide
from neuropyro.inference import Schedule, fit
from neuropyro.inference.joint_density import JointDensity
from neuropyro.inference.noise_density import NoiseDensity
from neuropyro.inference.objective import choose_elbo, potential_of
from neuropyro.inference.optimise import _State, _step
from neuropyro.inference.warm_start import prior_sds
from neuropyro.models import SubjectProgression, VertexClusterMixture

AWAY = "meta"


def growth(data):
    """A hierarchical regression, its tensors placed by its data."""
    t, y = data
    slope = pyro.sample("slope", dist.Normal(t.new_zeros(()), 2.0))
    noise = pyro.sample("noise", dist.LogNormal(t.new_zeros(()), 1.0))
    with pyro.plate("child", len(y), dim=-1):
        level = pyro.sample("level", dist.Normal(t.new_zeros(()), 1.0))
        line = level.unsqueeze(-1) + slope.unsqueeze(-1) * t
        pyro.sample("y", dist.Normal(line, noise.unsqueeze(-1)).to_event(1), obs=y)


MODELS = {
    "growth": growth,
    "VertexClusterMixture": VertexClusterMixture(2),
    "VertexClusterMixture+visits": VertexClusterMixture(2, visit_effect=True),
    "SubjectProgression": SubjectProgression(),
    "SubjectProgression+covariates": SubjectProgression(covariates=("education",)),
    "VertexClusterMixture+labels": VertexClusterMixture(2, labels=[0, 1] * 4),
}


@cache
def case_of(name):
    """Return a model, its data, and where it starts, which takes seconds to find."""
    model = MODELS[name]
    if name == "growth":
        t = torch.linspace(0, 1, 4)
        return model, (t, torch.ones(5, 4) + t), {}
    cohort = simulate_reference(n_subjects=6, n_vertices=8, seed=2)
    cohort = dataclasses.replace(cohort, covariates={"education": cohort.subject % 3})
    visits = model.prepare(cohort, None, torch.float32)
    return model, visits, model.init_values(visits, 0)


WAITS = ("_local_scalar_dense", "nonzero", "equal.default", "masked_select", "_linalg_check_errors")


class Away(TorchDispatchMode):
    """Refuses operations on tensors of two devices, and those whose result the host has to know before it goes on.

    Numbers in tensors without dimensions go with any device.
    """

    def __init__(self, may_wait=False):
        super().__init__()
        self.may_wait = may_wait

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        devices = {x.device.type for x in tensors if x.dim()}
        assert len(devices) < 2, f"{function} of tensors on {sorted(devices)}"
        if not self.may_wait and any(x.device.type == AWAY for x in tensors):
            by_mask = "index" in str(function) and any(x.dtype == torch.bool for x in tensors[1:])
            assert not by_mask, f"{function} by a mask makes the host wait"
            assert not any(name in str(function) for name in WAITS), f"{function} makes the host wait"
        return function(*args, **(kwargs or {}))


def moved(data):
    return tuple(x.to(AWAY) for x in data) if isinstance(data, tuple) else data.to(AWAY, None)


@pytest.fixture(autouse=True)
def as_within_a_step():
    with pyro.settings.context(module_local_params=True), pyro.validation_enabled(False):
        yield


def latents_away(model, data, latents):
    if latents.centring is None:
        return dataclasses.replace(latents, start=latents.start.to(AWAY))
    frame = {name: constant.to(AWAY) for name, constant in latents.frame.items()}
    there = {"centring": model.centring(moved(data)), "frame": frame}
    return dataclasses.replace(latents, start=latents.start.to(AWAY), **there)


def guide_away(name, model, data, init, curved=False):
    """Return a guide whose start was at home, built anew for the device of the data."""
    if name == "map":
        point = make_guide("map", model, data, init)
        point(data)
        point.sites = latents_away(model, data, point.sites)
        return point.to(AWAY)
    latents = latents_away(model, data, find_latents(model, data, init))
    elbo, there = choose_elbo(model, data), moved(data)
    start = Start(latents, latents.start, potential_of(elbo, model, there, latents) if curved else None)
    with Away(may_wait=True):  # once a fit
        widest = prior_sds(elbo, model, there, start) if curved else None
        return make_flat_guide(name, dataclasses.replace(start, widest=widest))


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize("name", GUIDES)
def test_models_and_guides_are_where_the_data_are_and_nothing_waits_within_a_step(name, case):
    model, data, init = case_of(case)
    guide = guide_away(name, model, data, init)
    assert {x.device.type for x in (*guide.parameters(), *guide.buffers())} == {AWAY}
    elbo, there = choose_elbo(model, data)(model, guide), moved(data)
    with Away():
        assert elbo(there).device.type == AWAY
        if name != "laplace":
            state = _State(elbo, Schedule(), torch.optim.Adam(elbo.parameters()), Schedule().rule())
            assert _step(state, there).device.type == AWAY
            assert all(p.grad.device.type == AWAY for p in elbo.parameters())


@pytest.mark.parametrize("name", FLAT_GUIDES)
def test_the_curvature_is_where_the_data_are(name):
    guide = guide_away(name, *case_of("growth"), curved=True)
    assert {x.device.type for x in (*guide.parameters(), *guide.buffers())} == {AWAY}


@pytest.mark.parametrize("case", ["growth", "VertexClusterMixture"])
def test_the_potential_of_nuts_is_where_the_data_are(case):
    model, data, init = case_of(case)
    guide = guide_away("structured", model, data, init)
    joint = JointDensity(model, data, guide.latents)  # it draws of the model once, which has no twin away
    joint.data = moved(data)
    density = NoiseDensity(joint, guide)
    e = torch.zeros(1, guide.latents.size, device=AWAY, requires_grad=True)
    with Away():
        (gradient,) = torch.autograd.grad(density(e).sum(), e)
        drawn = guide.draw(3)
    assert {gradient.device.type} | {x.device.type for x in drawn.values()} == {AWAY}


def test_a_global_block_is_spread_where_it_is():
    law = guide_away("structured", *case_of("growth")).law
    n = len(law.shared) + law.ties.directions.shape[1]
    with Away():
        law.tie(law.ties.directions, law.ties.root.diagonal())
        law.respread(torch.zeros(n, device=AWAY), torch.zeros(n, n, device=AWAY))
        with law.global_block_held():
            law.stuck().rsample().sum().backward()
    assert {p.grad.device.type for p in law.parameters()} == {AWAY}


def test_what_is_looked_for_would_be_found():
    x, away = torch.ones(3, 3), torch.ones(3, 3, device=AWAY)
    waiting = [lambda: away[away > 0], lambda: torch.linalg.cholesky(away), lambda: away.sum().item()]
    for call in waiting:
        with Away(), pytest.raises(AssertionError, match="makes the host wait"):
            call()
    for call in (lambda: torch.matmul(x, away), lambda: away.copy_(x)):
        with Away(), pytest.raises(AssertionError, match="of tensors on"):
            call()


def test_a_fit_on_the_device_asked_for(device):
    y = torch.tensor([0.3, 1.2, -0.4])

    def model(y):
        mean = pyro.sample("mean", dist.Normal(y.new_zeros(()), 1.0))
        with pyro.plate("visit", len(y)):
            pyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    for name in FLAT_GUIDES:
        result = fit(model, y, name, schedule=Schedule(max_steps=4, warm_up=2), device=device, progress=False)
        assert result.data.device.type == device.type
        assert {x.device.type for x in (*result.guide.parameters(), *result.guide.buffers())} == {device.type}
        assert result.posterior(3)["mean"].shape == (3,)
