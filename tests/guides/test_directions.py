"""Main directions of wide elements: the orthogonal maps, the directions found, and the posterior they give."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch.distributions import MultivariateNormal

from neuropyro.guides import Start, find_latents, make_flat_guide
from neuropyro.guides.directions import MainDirections, Reflections
from neuropyro.guides.lanczos import leading_curvature
from neuropyro.inference import Schedule, fit

ELEMENTS, WIDTH, SEEN = 3, 150, 20


def orthonormal(*shape, seed=0):
    return torch.linalg.qr(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double())[0]


def dense(turns, m):
    return turns.turn(torch.eye(m).double().unsqueeze(1).expand(-1, len(turns.vectors), -1)).permute(1, 2, 0)


@pytest.mark.parametrize(("m", "k"), [(9, 1), (9, 4), (5, 5), (1, 1)])
def test_reflections_are_an_orthogonal_map_with_the_given_columns(m, k):
    columns = orthonormal(2, m, k)
    turns = Reflections.of(columns)
    q = dense(turns, m)
    assert torch.allclose(q.mT @ q, torch.eye(m).double().expand_as(q), atol=1e-12)
    assert torch.allclose((q[..., :k] * columns).sum(1).abs(), torch.ones(2, k).double(), atol=1e-12)
    x = torch.randn(4, 2, m).double()
    assert torch.allclose(turns.turn_back(turns.turn(x)), x, atol=1e-12)


def test_the_map_has_its_inverse_its_volume_and_its_transpose():
    places = torch.tensor([[4, 0, 6], [1, 5, 2]])
    order = torch.cat([torch.tensor([3]), places.flatten()])
    loc, scale = torch.randn(7).double(), torch.rand(7).double() + 0.5
    transform = MainDirections(order, loc, scale, [Reflections.of(orthonormal(2, 3, 2))])
    e = torch.randn(5, 7).double()
    assert torch.allclose(transform._inverse(transform(e)), e, atol=1e-12)
    jacobian = torch.autograd.functional.jacobian(transform._call, e[0])
    assert torch.allclose(transform.log_abs_det_jacobian(e, e)[0], torch.linalg.slogdet(jacobian)[1], atol=1e-12)
    assert torch.allclose(transform.transposed(e[1]), jacobian.mT @ e[1], atol=1e-12)
    assert torch.equal(transform(e)[:, 3], loc[3] + scale[3] * e[:, 3])  # what is in no plate is not turned


def test_leading_curvature_is_that_of_each_element():
    values = torch.cat([torch.tensor([500.0, 60.0, 8.0]), torch.full((WIDTH - 3,), 1.0)]).double()
    axes = orthonormal(ELEMENTS, WIDTH, WIDTH)
    factors = torch.tensor([1.0, 3.0, 0.5]).double()
    hessians = factors[:, None, None] * axes * values @ axes.mT
    places = torch.randperm(ELEMENTS * WIDTH, generator=torch.Generator().manual_seed(1)).reshape(ELEMENTS, WIDTH)

    def potential(flat):
        x = flat[places]
        return 0.5 * torch.einsum("nm,nmk,nk->", x, hessians, x)

    found = leading_curvature(potential, torch.zeros(ELEMENTS * WIDTH).double(), places, 6)
    expected = factors[:, None] * values[:3].flip(0)
    assert torch.allclose(found.curvature[:, -3:], expected, rtol=1e-6)
    assert torch.allclose((found.directions[..., -3:] * axes[..., :3].flip(-1)).sum(1).abs(), torch.ones(3, 3).double())
    assert torch.allclose(found.rest, factors, rtol=1e-6)
    gram = found.directions.mT @ found.directions
    assert torch.allclose(gram, torch.eye(6).double().expand_as(gram), atol=1e-10)


@pytest.fixture(scope="module")
def wide():
    """A linear-Gaussian model of wide elements: model, data, and exact means, covariances and log evidence."""
    source = torch.Generator().manual_seed(2)
    weights = torch.randn(ELEMENTS, SEEN, WIDTH, generator=source)
    y = torch.randn(ELEMENTS, SEEN, generator=source) * WIDTH**0.5

    def model(data):
        with pyro.plate("image", ELEMENTS):
            w = pyro.sample("w", dist.Normal(data.new_zeros(WIDTH), 1.0).to_event(1))
            pyro.sample("y", dist.Normal((weights @ w.unsqueeze(-1)).squeeze(-1), 1.0).to_event(1), obs=data)

    a = weights.double()
    covariance = torch.linalg.inv(a.mT @ a + torch.eye(WIDTH))
    mean = (covariance @ a.mT @ y.double().unsqueeze(-1)).squeeze(-1)
    law = MultivariateNormal(torch.zeros(SEEN).double(), a @ a.mT + torch.eye(SEEN))
    return model, y, weights, mean, covariance, float(law.log_prob(y.double()).sum())


def test_structured_is_the_posterior_of_wide_elements(wide):
    model, y, weights, mean, covariance, evidence = wide
    result = fit(model, y, guide="structured", seed=0, schedule=Schedule(max_steps=300), progress=False)
    assert abs(result.elbo - evidence) < 0.1  # a mean-field guide is 547 nats below
    draws = torch.as_tensor(result.posterior(4000)["w"]).double()
    sds = covariance.diagonal(dim1=-2, dim2=-1).sqrt()
    assert ((draws.mean(0) - mean).abs() < 0.1 * sds).all()  # 6 standard errors of the mean of 4,000 draws
    assert torch.allclose(draws.std(0), sds, rtol=0.08)  # 7 standard errors
    seen = torch.einsum("nsm,dnm->dns", weights.double(), draws)
    exact = (weights.double() @ covariance @ weights.double().mT).diagonal(dim1=-2, dim2=-1).sqrt()
    assert torch.allclose(seen.std(0), exact, rtol=0.08)  # where a mean-field guide is several times too wide


def test_a_guide_of_wide_elements_is_read_back(wide):
    model, y = wide[:2]
    result = fit(model, y, guide="structured", schedule=Schedule(max_steps=2), progress=False)
    latents = find_latents(model, y, {})
    other = make_flat_guide("structured", Start(latents, latents.start))
    other.load_state_dict(result.guide.state_dict())
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = result.guide.draw(4)["w"]
        torch.manual_seed(3)
        assert torch.equal(other.draw(4)["w"], expected)
