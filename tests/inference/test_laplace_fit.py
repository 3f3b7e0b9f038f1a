"""The Laplace fit against closed forms: where a part stands for all, and where the search for the mode ends early."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from neuropyro.guides import Start, find_latents
from neuropyro.inference import Schedule, fit
from neuropyro.inference.laplace_fit import MODE_NATS, _settled


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


def seen_through_exp(rate):
    pyro.sample("rate", dist.Gamma(torch.tensor(50.0, dtype=torch.float64), 10.0), obs=None)


def potential(x):
    """Of a Gamma(50, 10)'s logarithm, up to a constant: 10 exp(x) - 50 x, its mode at log 5, curvature 50."""
    return (10 * x.exp() - 50 * x).sum()


@pytest.mark.parametrize("away", [0.0, 0.3, -0.5, 1.5])
def test_newtons_steps_lead_from_where_the_search_ended_to_the_mode(away):
    latents = find_latents(seen_through_exp, None, {})
    point = torch.tensor([math.log(5.0) + away], dtype=torch.float64)
    guide, left = _settled(Start(latents, point, potential))
    assert left < MODE_NATS
    assert guide.law.whitening.loc.item() == pytest.approx(math.log(5.0), abs=0.14 / 50**0.5)
    # The curvature is of a place .05 nats off at most, .32 sds or .045, and there exp(.045) times as large at most.
    assert guide.law.whitening.shared.item() == pytest.approx(50**-0.5, rel=0.03)


def test_where_no_step_gets_nearer_the_nats_that_are_left_are_told():
    latents = find_latents(seen_through_exp, None, {})
    start = Start(latents, torch.tensor([2.0], dtype=torch.float64), lambda x: torch.log1p(x.abs()).sum())
    _, left = _settled(start)  # a cusp: everywhere else the curvature is below 0
    assert left > MODE_NATS


def test_a_fit_without_warm_up_is_refused():
    with pytest.raises(ValueError, match="allow steps to find it"):
        fit(Halved(), torch.zeros(4), "laplace", schedule=Schedule(warm_up=0), progress=False)
