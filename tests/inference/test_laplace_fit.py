"""The Laplace fit against closed forms: where a part stands for all, and where the search for the mode ends early."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from neuropyro.guides import Start, find_latents
from neuropyro.inference import Schedule, fit
from neuropyro.inference.laplace_fit import MODE_NATS, _settled
from neuropyro.inference.optimise import Monitor


class Halved:
    """A conjugate model that lets half of the data stand for all."""

    def __call__(self, y):
        mean = pyro.sample("mean", dist.Normal(torch.zeros((), dtype=y.dtype), 1.0))
        with pyro.plate("visit", len(y)):
            pyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    def curvature_part(self, y):
        return y[: len(y) // 2].double()


def test_a_part_gives_mode_and_width_and_the_guide_is_of_the_whole_fits_precision():
    y = torch.linspace(0, 3, 32)
    result = fit(Halved(), y, "laplace", progress=False)
    whitening = result.runs[0].guide.law.whitening
    assert result.converged
    assert whitening.loc.item() == pytest.approx(y[:16].sum().item() / 17, rel=1e-5)  # 16 visits and the prior
    assert whitening.shared.item() == pytest.approx(17**-0.5, rel=1e-5)
    assert {x.dtype for x in whitening.buffers() if x.is_floating_point()} == {torch.float32}
    assert result.posterior(4000)["mean"].std() == pytest.approx(17**-0.5, rel=0.05)


class Scaled:
    """Numbers in a population whose sd is not looked for."""

    scale_sites = ("sd",)

    def __init__(self, begin):
        self.begin = begin

    def __call__(self, y):
        sd = pyro.sample("sd", dist.LogNormal(torch.zeros((), dtype=y.dtype), 1.0))
        with pyro.plate("element", len(y)):
            x = pyro.sample("x", dist.Normal(torch.zeros((), dtype=y.dtype), sd))
            pyro.sample("y", dist.Normal(x, 1.0), obs=y)

    def init_values(self, y, seed):
        return {"sd": torch.tensor(self.begin, dtype=y.dtype), "x": torch.zeros_like(y)}


def test_a_scale_stays_where_it_started_and_has_the_width_of_the_curvature_there():
    y = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)
    result = fit(Scaled(2.0), y, "laplace", dtype=torch.float64, progress=False)
    drawn = result.posterior(20_000)
    x = y * 4 / 5  # the mode given the sd

    def joint(flat):
        """Minus the log density of log sd and x."""
        return (
            0.5 * (flat[0] ** 2 + (flat[1:] / flat[0].exp()).square().sum() + (y - flat[1:]).square().sum())
            + 3 * flat[0]
        )

    at = torch.cat([torch.tensor([math.log(2.0)], dtype=torch.float64), x])
    covariance = torch.linalg.inv(torch.autograd.functional.hessian(joint, at))
    assert result.converged
    whitening = result.runs[0].guide.law.whitening
    torch.testing.assert_close(whitening.loc, at, atol=1e-6, rtol=0)
    found = torch.tensor([drawn["x"][:, i].std() for i in range(3)], dtype=torch.float64)
    torch.testing.assert_close(found, covariance.diagonal()[1:].sqrt(), rtol=0.03, atol=0)  # of 20,000 draws: .5 %
    assert torch.tensor(drawn["sd"]).log().std().item() == pytest.approx(covariance[0, 0].sqrt().item(), rel=0.03)


def test_where_there_is_no_curvature_nothing_gets_wider_than_its_prior():
    y = torch.tensor([2.0, -1.0, 0.5], dtype=torch.float64)  # by which the sd is larger: there is a saddle
    drawn = fit(Scaled(0.5), y, "laplace", dtype=torch.float64, progress=False).posterior(4000)
    assert 0.3 < torch.tensor(drawn["sd"]).log().std() < 1.1  # 1 beforehand


def seen_through_exp(rate):
    pyro.sample("rate", dist.Gamma(torch.tensor(50.0, dtype=torch.float64), 10.0), obs=None)


def potential(x):
    """Of a Gamma(50, 10)'s logarithm, up to a constant: 10 exp(x) - 50 x, its mode at log 5, curvature 50."""
    return (10 * x.exp() - 50 * x).sum()


@pytest.mark.parametrize("away", [0.0, 0.3, -0.5, 1.5])
def test_newtons_steps_lead_from_where_the_search_ended_to_the_mode(away):
    latents = find_latents(seen_through_exp, None, {})
    point = torch.tensor([math.log(5.0) + away], dtype=torch.float64)
    guide, left = _settled(Start(latents, point, potential), Monitor(""))
    assert left < MODE_NATS
    assert guide.law.whitening.loc.item() == pytest.approx(math.log(5.0), abs=0.14 / 50**0.5)
    # The curvature is of a place .05 nats off at most, .32 sds or .045, and there exp(.045) times as large at most.
    assert guide.law.whitening.shared.item() == pytest.approx(50**-0.5, rel=0.03)


def test_where_no_step_gets_nearer_the_nats_that_are_left_are_told():
    latents = find_latents(seen_through_exp, None, {})
    start = Start(latents, torch.tensor([2.0], dtype=torch.float64), lambda x: torch.log1p(x.abs()).sum())
    _, left = _settled(start, Monitor(""))  # a cusp: everywhere else the curvature is below 0
    assert left > MODE_NATS


def test_a_fit_without_warm_up_is_refused():
    with pytest.raises(ValueError, match="allow steps to find it"):
        fit(Halved(), torch.zeros(4), "laplace", schedule=Schedule(warm_up=0), progress=False)
