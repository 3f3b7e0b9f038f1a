"""Guides by name."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from neuropyro.guides import GUIDES, make_guide


def model(y):
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    with pyro.plate("point", len(y)):
        z = pyro.sample("z", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
        pyro.sample("y", dist.Normal(x + z, 1.0), obs=y)


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_starts_at_the_values_given_and_leaves_enumerated_sites(name):
    with pyro.settings.context(module_local_params=True):
        guide = make_guide(name, model, {"x": torch.tensor(2.0), "scale": torch.tensor(3.0)})
        with torch.no_grad():
            trace = poutine.trace(guide).get_trace(torch.zeros(4))
    assert "z" not in trace.nodes
    # The spread of a guide starts small (.02), so that a draw is near its start.
    assert trace.nodes["x"]["value"].item() == pytest.approx(2.0, abs=0.15)
    assert trace.nodes["scale"]["value"].item() == pytest.approx(3.0, rel=0.15)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="map, normal"):
        make_guide("laplac", model, {})


def test_a_module_is_passed_through():
    guide = torch.nn.Linear(1, 1)
    assert make_guide(guide, model, {}) is guide


def test_a_functions_parameters_stay_out_of_the_global_store():
    def guide(y):
        scale = pyro.param("my.scale", torch.tensor(2.0), constraint=dist.constraints.positive)
        pyro.sample("x", dist.Normal(0.0, scale))

    with pyro.settings.context(module_local_params=True):
        built = make_guide(guide, model, {})
        built(torch.zeros(2))
    (name,) = dict(built.named_parameters())
    assert name == "param_my_scale_unconstrained"
    assert built.param_my_scale.item() == pytest.approx(2.0)
    assert list(pyro.get_param_store().keys()) == []


def test_a_parameter_without_a_start_is_an_error():
    with pytest.raises(ValueError, match="no starting value"):
        make_guide(lambda y: pyro.param("loc"), model, {})(torch.zeros(2))
