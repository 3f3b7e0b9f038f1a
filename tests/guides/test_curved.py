"""Curved noise against automatic differentiation, and a posterior whose widths hang on a global number."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from neuropyro.guides.arrow import Arrow
from neuropyro.guides.bent import StuckBent
from neuropyro.guides.curved import StuckCurved
from neuropyro.inference import Schedule, fit

G, N, M = 3, 4, 2  # global numbers; elements and their numbers
D = G + N * M


def law_parts(generator):
    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    shared, scales = (normal(*s).tril(-1) + 1.5 * torch.eye(s[-1], dtype=torch.float64) for s in ((G, G), (N, M, M)))
    arrow = Arrow(torch.randperm(D, generator=generator), normal(D), shared, [normal(N, M, G)], [scales])
    below = torch.ones(D, G, dtype=torch.float64).tril(-1)
    return (arrow, *(0.2 * normal(D) for _ in range(2)), *(0.2 * normal(D, G) * below for _ in range(2)))


def test_the_density_and_its_gradient_by_the_draw_are_exact():
    """Density of x(noise) by the Jacobian from automatic differentiation; gradient by central differences."""
    law = StuckCurved(*law_parts(torch.Generator().manual_seed(0)))
    noise = torch.randn(D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def exact(e):
        jacobian = torch.autograd.functional.jacobian(lambda e: law.arrow._call(law.mixed(e)), e)
        return -0.5 * (e @ e + D * math.log(2 * math.pi)) - torch.linalg.slogdet(jacobian).logabsdet, jacobian

    density, jacobian = exact(noise)
    x = law.arrow._call(law.mixed(noise)).detach().requires_grad_()
    found = law.log_prob(x)  # not a draw that is kept: it is solved for
    torch.testing.assert_close(found, density)
    steps = 1e-5 * torch.linalg.inv(jacobian).mT  # noise of x a little further along each axis, to first order
    slopes = [(exact(noise + s)[0] - exact(noise - s)[0]) / 2e-5 for s in steps]
    torch.testing.assert_close(torch.autograd.grad(found, x)[0], torch.stack(slopes), rtol=1e-5, atol=1e-5)


def test_a_draw_has_the_density_that_is_solved_for():
    law = StuckCurved(*law_parts(torch.Generator().manual_seed(2)))
    torch.manual_seed(3)
    drawn = law.rsample(torch.Size([5]))
    torch.testing.assert_close(law.log_prob(drawn), law.log_prob(drawn.clone()))


def test_straight_it_is_bent_noise():
    arrow, skew, tail, widths, _ = law_parts(torch.Generator().manual_seed(4))
    none, draws = torch.zeros_like(widths), []
    for law in (StuckCurved(arrow, skew, tail, none, none), StuckBent(arrow, skew, tail)):
        torch.manual_seed(5)
        x = law.rsample(torch.Size([6]))
        draws.append((x, law.log_prob(x)))
    torch.testing.assert_close(draws[0], draws[1])


def unequal(y):
    """Forty numbers about as wide, and with a mean as far, as a global number says; no data, so that all is known."""
    scale = pyro.sample("scale", dist.Normal(y.new_zeros(()), 1.0))
    with pyro.plate("subject", 40, dim=-1):
        pyro.sample("x", dist.Normal(0.2 * scale.square(), (0.3 * scale).exp()))


@pytest.mark.parametrize(("guide", "held"), [("structured", (0.85, 1.1)), ("mvn", (0.0, 0.6))])
def test_widths_and_means_that_hang_on_a_global_number(guide, held):
    """Its sd is 1; what 40 conditional laws are off by keeps a Normal from it.  The evidence is 1."""
    schedule = Schedule(max_steps=1000)
    result = fit(unequal, torch.zeros(()), guide, schedule=schedule, particles=4, seed=0, progress=False)
    assert held[0] < result.posterior(4000)["scale"].std() < held[1]
    assert (result.elbo > -0.5) == (guide == "structured")
