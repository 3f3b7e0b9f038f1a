"""Bent noise against torch's own transforms and numerical integration."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from scipy import integrate
from scipy.stats import halfnorm

from neuropyro.guides.arrow import Arrow
from neuropyro.guides.bent import StuckBent
from neuropyro.guides.gaussian import StuckNormal
from neuropyro.inference import Schedule, fit


def bent(skew, tail, generator, d=5, dtype=torch.float64):
    shared = torch.randn(d, d, generator=generator, dtype=dtype).tril(-1) + torch.eye(d) * 1.5
    arrow = Arrow(torch.arange(d), torch.randn(d, generator=generator, dtype=dtype), shared, [], [])
    return StuckBent(arrow, torch.full((d,), skew, dtype=dtype), torch.full((d,), tail, dtype=dtype))


def exact_log_prob(law, x):
    """By the change of variables, the Jacobian from automatic differentiation."""
    inverse = torch.linalg.solve(law.arrow.shared, x - law.arrow.loc)
    noise = torch.sinh(torch.asinh(inverse) * torch.exp(-law.tail) - law.skew)
    slopes = torch.autograd.functional.jacobian(law.mixed, noise).diagonal()
    volume = slopes.abs().log().sum() + law.arrow.shared.diagonal().log().sum()
    return -0.5 * (noise.square().sum() + len(x) * math.log(2 * math.pi)) - volume


@pytest.mark.parametrize(("skew", "tail"), [(0.0, 0.0), (0.8, -0.4), (-1.5, 0.3)])
def test_the_density_and_its_gradient_by_the_draw_are_exact(skew, tail):
    law = bent(skew, tail, torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    drawn = law.rsample(torch.Size([4])).requires_grad_()
    found = law.log_prob(drawn)
    for x, density, gradient in zip(drawn.detach(), found, torch.autograd.grad(found.sum(), drawn)[0], strict=True):
        x.requires_grad_()
        expected = exact_log_prob(law, x)
        torch.testing.assert_close(density, expected)
        # A gradient by the draw alone, checked by central differences of the exact density.
        steps = 1e-5 * torch.eye(len(x), dtype=torch.float64)
        differences = [(exact_log_prob(law, x + s) - exact_log_prob(law, x - s)) / 2e-5 for s in steps]
        torch.testing.assert_close(gradient, torch.stack(differences), rtol=1e-5, atol=1e-6)


def test_unbent_it_is_the_normal():
    law = bent(0.0, 0.0, torch.Generator().manual_seed(2))
    torch.manual_seed(3)
    drawn = law.rsample(torch.Size([6]))
    torch.manual_seed(3)
    normal = StuckNormal(law.arrow)
    torch.testing.assert_close(normal.rsample(torch.Size([6])), drawn)
    torch.testing.assert_close(normal.log_prob(drawn), law.log_prob(drawn))


def one_sided(y):
    """A subject beyond the reach of the only trajectory: x ~ Normal(0, 1), and a steep step at 0 that it is beyond."""
    x = pyro.sample("x", dist.Normal(y.new_zeros(1), 1.0).to_event(1))
    pyro.factor("seen", torch.nn.functional.logsigmoid(8 * x).sum(-1))


def test_a_one_sided_posterior_is_nearer_than_any_normal_is():
    """The posterior is nearly half normal; its moments and evidence come from quadrature."""

    def density(x):
        return math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) / (1 + math.exp(-8 * x))

    evidence, mean, square = (integrate.quad(lambda x, k=k: x**k * density(x), -5, 12)[0] for k in range(3))
    mean, sd = mean / evidence, math.sqrt(square / evidence - (mean / evidence) ** 2)
    assert mean == pytest.approx(halfnorm.mean(), abs=0.03)
    y, schedule = torch.zeros(()), Schedule(max_steps=3000, warm_up=100)
    gaps, found = {}, {}
    for guide in ("mvn", "structured"):
        result = fit(one_sided, y, guide, schedule=schedule, particles=8, seed=0, progress=False)
        found[guide] = result.posterior(20000)["x"]
        gaps[guide] = math.log(evidence) - result.elbo
    assert gaps["structured"] < 0.4 * gaps["mvn"]
    assert found["structured"].std() == pytest.approx(sd, rel=0.06)
    assert found["structured"].mean() == pytest.approx(mean, abs=0.05 * sd)
