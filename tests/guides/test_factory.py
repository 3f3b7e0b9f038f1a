"""Guides by name."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from neuropyro.guides import FLAT_GUIDES, Start, check_name, find_latents, make_flat_guide, make_guide


def model(y):
    x = pyro.sample("x", dist.Normal(0.0, 1.0))
    pyro.sample("scale", dist.LogNormal(0.0, 1.0))
    with pyro.plate("point", len(y)):
        z = pyro.sample("z", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
        pyro.sample("y", dist.Normal(x + z, 1.0), obs=y)


START = {"x": torch.tensor(2.0), "scale": torch.tensor(3.0)}
Y = torch.zeros(4)


def trace_of(guide):
    with torch.no_grad():
        return poutine.trace(guide).get_trace(Y)


@pytest.fixture(autouse=True)
def local_parameters():
    with pyro.settings.context(module_local_params=True):
        yield


def test_the_point_guide_starts_at_the_values_given_and_leaves_enumerated_sites():
    trace = trace_of(make_guide("map", model, Y, START))
    assert "z" not in trace.nodes
    assert trace.nodes["x"]["value"].item() == pytest.approx(2.0)
    assert trace.nodes["scale"]["value"].item() == pytest.approx(3.0)


@pytest.mark.parametrize("name", FLAT_GUIDES)
def test_a_guide_without_curvature_starts_narrow_about_the_values_given(name):
    latents = find_latents(model, Y, START)
    guide = make_flat_guide(name, Start(latents, latents.start))
    trace = trace_of(guide)
    assert "z" not in trace.nodes
    draws = guide.draw(4000)
    # Whitened sd .1; `laplace`, which is never without curvature when it is used, has its unit sd.
    sd = 1.0 if name == "laplace" else 0.1
    assert draws["x"].mean().item() == pytest.approx(2.0, abs=4 * sd / 4000**0.5)
    assert draws["x"].std().item() == pytest.approx(sd, rel=0.1)
    assert draws["scale"].log().mean().item() == pytest.approx(torch.tensor(3.0).log().item(), abs=4 * sd / 4000**0.5)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="map, laplace, normal"):
        check_name("laplac")
    with pytest.raises(ValueError, match=r"no guide named 'Structured'; .*; did you mean 'structured'\?"):
        check_name("Structured")
    with pytest.raises(ValueError, match=r"any Pyro guide$"):
        check_name("sgd")
    with pytest.raises(ValueError, match="no guide named"):
        make_guide("laplac", model, Y, {})


def test_a_module_is_passed_through():
    guide = torch.nn.Linear(1, 1)
    assert make_guide(guide, model, Y, {}) is guide


def test_a_functions_parameters_stay_out_of_the_global_store():
    def guide(y):
        scale = pyro.param("my.scale", torch.tensor(2.0), constraint=dist.constraints.positive)
        pyro.sample("x", dist.Normal(0.0, scale))

    built = make_guide(guide, model, Y, {})
    built(torch.zeros(2))
    (name,) = dict(built.named_parameters())
    assert name == "param_my_scale_unconstrained"
    assert built.param_my_scale.item() == pytest.approx(2.0)
    assert list(pyro.get_param_store().keys()) == []


def test_a_parameter_without_a_start_is_an_error():
    with pytest.raises(ValueError, match="no starting value"):
        make_guide(lambda y: pyro.param("loc"), model, Y, {})(torch.zeros(2))


def test_a_discrete_site_that_is_not_enumerated_is_an_error():
    def coin(y):
        pyro.sample("coin", dist.Bernoulli(0.5))

    with pytest.raises(ValueError, match=r"'coin' is discrete.*enumerate"):
        find_latents(coin, Y, {})


def test_a_start_outside_the_support_is_an_error():
    with pytest.raises(ValueError, match="'scale' starts outside"):
        find_latents(model, Y, {"scale": torch.tensor(0.0)})


def test_a_subsampled_plate_of_latents_is_an_error():
    def sampled(y):
        with pyro.plate("point", 4, subsample_size=2):
            pyro.sample("x", dist.Normal(0.0, 1.0))

    with pytest.raises(ValueError, match="subsampled plate"):
        find_latents(sampled, Y, {})
