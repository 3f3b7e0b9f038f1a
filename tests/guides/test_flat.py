"""Flat vectors, blocks, arrows and curvature against dense linear algebra."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch.distributions import MultivariateNormal

from neuropyro.guides import Start, find_latents, make_flat_guide
from neuropyro.guides.arrow import Arrow
from neuropyro.guides.blocks import Blocks, one_block, plate_blocks
from neuropyro.guides.curvature import ArrowHessian, arrow_at, arrow_hessian, descend, hessian_diagonal
from neuropyro.guides.gaussian import StuckNormal


def hierarchy(y):
    """Global sites of all supports, a small plate, and a large one with an event dimension."""
    pyro.sample("mean", dist.Normal(0.0, 1.0))
    pyro.sample("share", dist.Dirichlet(torch.ones(3)))
    with pyro.plate("cluster", 2, dim=-1):
        pyro.sample("sd", dist.LogNormal(0.0, 1.0))
    with pyro.plate("subject", 7, dim=-1):
        pyro.sample("speed", dist.Normal(0.0, 1.0))
        pyro.sample("offset", dist.Normal(torch.zeros(7, 2), 1.0).to_event(1))
    pyro.sample("y", dist.Normal(0.0, 1.0), obs=y)


Y = torch.tensor(0.5)


def random_spd(n, generator):
    root = torch.randn(n, n, generator=generator, dtype=torch.float64)
    return root @ root.mT / n + torch.eye(n)


def test_blocks_follow_the_plates():
    latents = find_latents(hierarchy, Y, {})
    blocks = plate_blocks(latents)
    assert latents.size == 1 + 2 + 2 + 7 + 14
    assert [tuple(index.shape) for index in blocks.local] == [(7, 3)]
    assert len(blocks.shared) == 5
    assert blocks.order.sort().values.tolist() == list(range(latents.size))
    flat = torch.arange(latents.size, dtype=torch.float32)
    values = latents.constrain(flat.unsqueeze(0))
    by_element = flat[blocks.local[0][4]]
    assert by_element[0] == values["speed"][0, 4]
    assert by_element[1:].tolist() == values["offset"][0, 4].tolist()


def test_a_limit_makes_further_plates_local():
    assert [tuple(i.shape) for i in plate_blocks(find_latents(hierarchy, Y, {}), limit=4).local] == [(7, 3), (2, 1)]


def test_the_density_of_emitted_sites_counts_the_change_of_variables():
    latents = find_latents(hierarchy, Y, {})
    flat = torch.randn(latents.size, generator=torch.Generator().manual_seed(0))
    trace = poutine.trace(lambda y: latents.emit(flat)).get_trace(Y)
    trace.compute_log_prob()
    got = sum(site["log_prob_sum"] for site in trace.nodes.values() if site["type"] == "sample")
    sd, share = trace.nodes["sd"]["value"], trace.nodes["share"]["value"]
    at = next(site.offset for site in latents.sites if site.name == "share")
    jacobian = torch.autograd.functional.jacobian(
        lambda free: dist.transforms.biject_to(dist.constraints.simplex)(free)[:2], flat[at : at + 2]
    )
    expected = -sd.log().sum() - jacobian.det().abs().log()
    assert share.sum().item() == pytest.approx(1.0)
    assert float(got) == pytest.approx(float(expected), abs=1e-4)


def random_arrow(generator):
    blocks = Blocks(torch.tensor([3, 0]), (torch.tensor([[1, 5], [2, 4], [7, 6]]),))

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    shared = random(2, 2).tril(-1) + torch.eye(2)
    scales = random(3, 2, 2).tril(-1) + 0.5 * torch.eye(2)
    return Arrow(blocks.order, random(8), shared, [random(3, 2, 2)], [scales]), blocks


def test_an_arrow_is_affine_inverts_and_knows_its_volume():
    generator = torch.Generator().manual_seed(1)
    arrow, _ = random_arrow(generator)
    e = torch.randn(5, 8, generator=generator, dtype=torch.float64)
    x = arrow._call(e)
    torch.testing.assert_close(arrow._inverse(x), e)
    matrix = torch.autograd.functional.jacobian(arrow._call, e[0])
    torch.testing.assert_close(x, arrow.loc + e @ matrix.mT)
    torch.testing.assert_close(arrow.log_abs_det_jacobian(e, x), matrix.det().abs().log().expand(5))


def test_the_arrow_at_a_quadratic_potential_has_the_inverse_of_its_curvature():
    generator = torch.Generator().manual_seed(2)
    arrow, blocks = random_arrow(generator)
    root = torch.autograd.functional.jacobian(arrow._call, torch.zeros(8, dtype=torch.float64))
    precision = (root @ root.mT).inverse()
    found = arrow_at(arrow.loc, arrow_hessian(lambda x: 0.5 * x @ precision @ x, arrow.loc, blocks))
    again = torch.autograd.functional.jacobian(found._call, torch.zeros(8, dtype=torch.float64))
    torch.testing.assert_close(again @ again.mT, root @ root.mT)


def test_probing_is_near_the_local_blocks_where_elements_are_coupled():
    """Element scales differ a thousandfold; coupling of .02 a pair is noise of .02 * sqrt(39 / 8) in a scaled block."""
    generator = torch.Generator().manual_seed(3)
    n, m = 40, 2
    scale = torch.logspace(-1.5, 1.5, n, dtype=torch.float64).repeat_interleave(m)
    hessian = (torch.eye(n * m) + 0.02 * torch.ones(n * m, n * m)).double() * scale * scale.unsqueeze(-1)
    index = torch.arange(n * m).reshape(n, m)
    blocks = Blocks(torch.empty(0, dtype=torch.long), (index,))
    point = torch.randn(n * m, generator=generator, dtype=torch.float64)
    (found,) = arrow_hessian(lambda x: 0.5 * x @ hessian @ x, point, blocks).local
    expected = torch.stack([hessian[i][:, i] for i in index])
    unit = expected.diagonal(dim1=1, dim2=2).sqrt()
    error = (found - expected) / (unit.unsqueeze(-1) * unit.unsqueeze(-2))
    assert error.abs().max() < 0.25  # 5 sds


def test_the_diagonal_of_a_large_hessian():
    generator = torch.Generator().manual_seed(4)
    precision = random_spd(300, generator)
    latents = find_latents(lambda y: pyro.sample("x", dist.Normal(torch.zeros(300), 1.0).to_event(1)), Y, {})
    point = torch.zeros(300, dtype=torch.float64)
    found = hessian_diagonal(lambda x: 0.5 * x @ precision @ x, point, one_block(latents))
    # 32 probes: an element's sd is that of the sum of its row's other elements, over sqrt(32).
    sd = (precision.square().sum(1) - precision.diagonal().square()).sqrt() / 32**0.5
    assert ((found - precision.diagonal()).abs() < 5 * sd).all()


@pytest.fixture(scope="module")
def regression():
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(30, 4, generator=generator)
    y = x @ torch.tensor([1.0, -1.0, 0.5, 0.0]) + 0.5 * torch.randn(30, generator=generator)

    def model(data):
        w = pyro.sample("w", dist.Normal(torch.zeros(4), 2.0).to_event(1))
        with pyro.plate("row", 30):
            pyro.sample("y", dist.Normal((data[0] @ w.unsqueeze(-1)).squeeze(-1), 0.5), obs=data[1])

    precision = x.mT @ x / 0.25 + torch.eye(4) / 4
    mean = torch.linalg.solve(precision, x.mT @ y / 0.25)
    evidence = MultivariateNormal(torch.zeros(30), 0.25 * torch.eye(30) + 4 * x @ x.mT).log_prob(y)
    return model, (x, y), mean, precision, float(evidence)


@pytest.mark.parametrize("name", ["laplace", "mvn", "structured", "flow"])
def test_guides_with_all_correlations_start_at_a_normal_posterior(regression, name):
    model, data, mean, _, evidence = regression
    latents = find_latents(model, data, {"w": mean})
    elbo = Trace_ELBO()

    def potential(flat):
        return elbo.differentiable_loss(model, lambda _: latents.emit(flat), data)

    with pyro.settings.context(module_local_params=True):
        guide = make_flat_guide(name, Start(latents, latents.start, potential))
        losses = [elbo.loss(model, guide, data) for _ in range(3)]
        # The guide is the posterior: every single draw gives the evidence.
        assert losses == pytest.approx([-evidence] * 3, abs=1e-3)


@pytest.mark.parametrize("name", ["normal", "mvn", "structured"])
def test_sticking_gradients_vanish_at_the_posterior(regression, name):
    _, _, mean, precision, _ = regression
    diagonal = torch.diag(precision.diagonal())

    def independent(rows):
        w = pyro.sample("w", dist.MultivariateNormal(mean, precision_matrix=diagonal))
        pyro.sample("y", dist.Normal(w.sum() * 0.0, 1.0), obs=rows)

    latents = find_latents(independent, Y, {"w": mean})
    elbo = Trace_ELBO()

    def potential(flat):
        return elbo.differentiable_loss(independent, lambda _: latents.emit(flat), Y)

    with pyro.settings.context(module_local_params=True):
        guide = make_flat_guide(name, Start(latents, latents.start, potential))
        elbo.loss_and_grads(independent, guide, Y)
    assert all(p.grad.abs().max() < 1e-4 for p in guide.parameters())


def test_the_transpose_of_an_arrow():
    generator = torch.Generator().manual_seed(6)
    arrow, _ = random_arrow(generator)
    matrix = torch.autograd.functional.jacobian(arrow._call, torch.zeros(8, dtype=torch.float64))
    x = torch.randn(8, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(arrow.transposed(x), matrix.mT @ x)


def test_the_transpose_of_an_arrow_is_solved_for():
    generator = torch.Generator().manual_seed(7)
    arrow, _ = random_arrow(generator)
    matrix = torch.autograd.functional.jacobian(arrow._call, torch.zeros(8, dtype=torch.float64))
    e = torch.randn(3, 8, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(arrow.solve_transposed(e), torch.linalg.solve(matrix.mT, e.mT).mT)


def test_a_stuck_density_is_the_normal_one_with_the_gradient_by_the_draw():
    generator = torch.Generator().manual_seed(8)
    arrow, _ = random_arrow(generator)
    matrix = torch.autograd.functional.jacobian(arrow._call, torch.zeros(8, dtype=torch.float64))
    arrow.loc.requires_grad_()
    arrow.shared.requires_grad_()
    drawn = StuckNormal(arrow).rsample(torch.Size([5]))
    exact = MultivariateNormal(arrow.loc.detach(), scale_tril=torch.linalg.cholesky(matrix @ matrix.mT))
    stuck, expected = StuckNormal(arrow).log_prob(drawn), exact.log_prob(drawn)
    torch.testing.assert_close(stuck, expected)
    for found, wanted in zip(
        torch.autograd.grad(stuck.sum(), [arrow.loc, arrow.shared], retain_graph=True),
        torch.autograd.grad(expected.sum(), [arrow.loc, arrow.shared]),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


def test_the_density_of_a_draw_is_exact_however_ill_conditioned_the_arrow():
    """Solved for in single precision, the noise of such a draw is 10^20 times as large as it was."""
    generator = torch.Generator().manual_seed(9)
    n = 400
    shared = (0.5 * torch.randn(n, n, generator=generator)).tril(-1) + torch.eye(n)
    arrow = Arrow(torch.arange(n), torch.zeros(n), shared, [], [])
    torch.manual_seed(0)
    law = StuckNormal(arrow)
    drawn = law.rsample(torch.Size([100]))
    squares = -2 * law.log_prob(drawn) - n * math.log(2 * math.pi)  # chi-squared; the volume is 0
    assert abs(float(squares.mean()) - n) < 5 * (2 * n / 100) ** 0.5
    solved = arrow._inverse(drawn).square().sum(-1)
    assert float(solved.mean()) > 1e6 * n


def test_the_descent_finds_the_mode_of_a_bent_potential():
    def potential(x):
        return 50 * (x[0] - 1).square() + 0.5 * (x[1] - x[0]).square() + 0.1 * x[1] ** 4

    latents = find_latents(lambda y: pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1)), Y, {})
    found = descend(potential, torch.tensor([1.1, 0.6]), one_block(latents), rounds=2).requires_grad_()
    (gradient,) = torch.autograd.grad(potential(found), found)
    assert gradient.abs().max() < 0.02


def test_no_direction_of_an_arrow_is_wider_than_allowed():
    """In units of the largest sds no eigenvalue of a block's covariance exceeds 1; what is narrower stays as it is."""
    generator = torch.Generator().manual_seed(11)
    latents = find_latents(hierarchy, Y, {})
    blocks, d = plate_blocks(latents), latents.size
    precision = random_spd(d, generator)
    precision[0] *= 1e-3
    precision[:, 0] *= 1e-3
    widest = torch.full((d,), math.inf, dtype=torch.float64)
    widest[blocks.shared[:3]] = torch.tensor([3.0, 0.5, 100.0], dtype=torch.float64)
    point = torch.zeros(d, dtype=torch.float64)
    hessian = arrow_hessian(lambda x: 0.5 * x @ precision @ x, point, blocks)
    free, limited = (arrow_at(point, hessian, w) for w in (None, widest))
    before, after = (arrow.shared @ arrow.shared.mT for arrow in (free, limited))
    units = widest[blocks.shared].clamp_max(1e6)
    assert torch.linalg.eigvalsh(before / units / units.unsqueeze(-1)).max() > 1.5
    assert torch.linalg.eigvalsh(after / units / units.unsqueeze(-1)).max() < 1 + 1e-6
    assert torch.linalg.eigvalsh(before - after).min() > -1e-6 * before.max()  # no direction is wider than it was
    torch.testing.assert_close(free.scales, limited.scales)
    (coupling,), (bounded,) = free.couplings, limited.couplings  # of elements on numbers, not on whitened ones
    torch.testing.assert_close(
        bounded @ torch.linalg.inv(limited.shared), coupling @ torch.linalg.inv(free.shared), rtol=1e-5, atol=1e-6
    )


def test_a_mean_field_start_is_no_wider_than_allowed():
    latents = find_latents(hierarchy, Y, {})
    widest = torch.linspace(0.5, 3.0, latents.size)
    start = Start(latents, latents.start, lambda x: 0.5 * x.square().sum(), widest=widest)
    torch.testing.assert_close(start.diagonal().scale, widest.clamp_max(1.0))


def test_a_limit_far_below_every_width_is_the_width():
    blocks = Blocks(torch.arange(2), (torch.tensor([[2, 3], [4, 5]]),))
    unit = torch.eye(2, dtype=torch.float64)
    hessian = ArrowHessian(blocks, unit, [torch.zeros(2, 2, 2, dtype=torch.float64)], [unit.repeat(2, 1, 1)])
    widest = torch.full((6,), 5e-12, dtype=torch.float64)
    arrow = arrow_at(torch.zeros(6, dtype=torch.float64), hessian, widest)
    torch.testing.assert_close(arrow.scales[0], 5e-12 * unit.repeat(2, 1, 1), rtol=1e-6, atol=0)
    torch.testing.assert_close(arrow.shared, 5e-12 * unit, rtol=1e-6, atol=0)
