"""The matrix-product Normal against slow, independent densities."""

import numpy as np
import pyro
import pytest
import torch
from scipy.stats import multivariate_normal
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from neuropyro.models import VisitNormal

L, N, K, R = 5, 7, 3, 2  # vertices, visits, curves, columns
TIGHT = {"rtol": 1e-10, "atol": 1e-10}


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@pytest.fixture
def values() -> Tensor:
    return draw(L, N)


@pytest.fixture
def mask() -> Tensor:
    seen = torch.rand(L, N) < 0.7
    seen[1] = True
    seen[2] = False  # a vertex that was never seen
    return seen


# The curves of a cluster are shared by all vertices; or a vertex has its own.
SHARED, OWN = (K, 1), (L,)


def parameters(batch: tuple[int, ...], factor: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    return draw(*batch, N), 0.3 + torch.rand(batch, dtype=torch.float64), draw(*batch, N, R) if factor else None


def slow_log_prob(loc: Tensor, scale: Tensor, factor: Tensor | None, values: Tensor, seen: Tensor) -> Tensor:
    """Each vertex on its own, by scipy, from the visits that were seen alone."""
    batch = torch.broadcast_shapes(loc.shape[:-1], (L,))
    loc, scale = loc.expand(*batch, N), scale.expand(batch)
    low_rank = draw(*batch, N, R) * 0 if factor is None else factor.expand(*batch, N, R)
    slow = torch.zeros(batch, dtype=torch.float64)
    for index in np.ndindex(*batch):
        keep = seen[index[-1]]
        if keep.any():
            J = low_rank[index][keep]
            covariance = scale[index] ** 2 * torch.eye(len(J), dtype=torch.float64) + J @ J.mT
            slow[index] = multivariate_normal(loc[index][keep].numpy(), covariance.numpy()).logpdf(
                values[index[-1]][keep].numpy()
            )
    return slow


@pytest.mark.parametrize("batch", [SHARED, OWN, (2, K, 1)])
def test_without_factor_it_is_a_product_of_normals(batch, values):
    loc, scale, _ = parameters(batch, factor=False)
    slow = Normal(loc, scale.unsqueeze(-1)).log_prob(values).sum(-1)
    torch.testing.assert_close(VisitNormal(loc, scale).log_prob(values), slow, **TIGHT)


@pytest.mark.parametrize("batch", [SHARED, OWN, (2, K, 1)])
def test_with_factor_it_is_a_multivariate_normal(batch, values):
    loc, scale, factor = parameters(batch, factor=True)
    assert factor is not None
    covariance = scale[..., None, None] ** 2 * torch.eye(N, dtype=torch.float64) + factor @ factor.mT
    slow = MultivariateNormal(loc, covariance).log_prob(values)
    torch.testing.assert_close(VisitNormal(loc, scale, factor).log_prob(values), slow, **TIGHT)


@pytest.mark.parametrize("factor", [False, True], ids=["white", "low rank"])
@pytest.mark.parametrize("batch", [SHARED, OWN, (2, K, 1)])
def test_a_mask_drops_what_it_hides(batch, factor, values, mask):
    loc, scale, columns = parameters(batch, factor)
    fast = VisitNormal(loc, scale, columns, observed=mask.double()).log_prob(values * mask)
    torch.testing.assert_close(fast, slow_log_prob(loc, scale, columns, values, mask), **TIGHT)
    assert (fast[..., 2] == 0).all()  # nothing seen, nothing said


@pytest.mark.parametrize("factor", [False, True], ids=["white", "low rank"])
@pytest.mark.parametrize("batch", [SHARED, OWN])
def test_a_mask_of_ones_changes_nothing(batch, factor, values):
    loc, scale, columns = parameters(batch, factor)
    plain = VisitNormal(loc, scale, columns).log_prob(values)
    masked = VisitNormal(loc, scale, columns, observed=torch.ones_like(values)).log_prob(values)
    torch.testing.assert_close(plain, masked, **TIGHT)


def test_given_sums_of_squares_are_used(values):
    loc, scale, columns = parameters(SHARED, factor=True)
    squares = values.square().sum(-1)
    plain = VisitNormal(loc, scale, columns).log_prob(values)
    torch.testing.assert_close(VisitNormal(loc, scale, columns, sum_squares=squares).log_prob(values), plain, **TIGHT)
    more = VisitNormal(loc, scale, columns, sum_squares=squares + 2).log_prob(values)
    torch.testing.assert_close(plain - more, (1 / scale**2).expand(K, L), **TIGHT)


@pytest.mark.parametrize("masked", [False, True], ids=["complete", "masked"])
@pytest.mark.parametrize("factor", [False, True], ids=["white", "low rank"])
@pytest.mark.parametrize("batch", [SHARED, OWN])
def test_gradients(batch, factor, masked, values, mask):
    loc, scale, columns = parameters(batch, factor)
    inputs = [x.requires_grad_() for x in (loc, scale, columns) if x is not None]
    observed = mask.double() if masked else None
    data = values * mask if masked else values

    def log_prob(loc: Tensor, scale: Tensor, columns: Tensor | None = None) -> Tensor:
        return VisitNormal(loc, scale, columns, observed).log_prob(data)

    assert torch.autograd.gradcheck(log_prob, inputs)


def test_a_plate_expands_it_without_copying_curves(values):
    loc, scale, _ = parameters((1,), factor=False)
    with pyro.poutine.trace() as recorded, pyro.plate("vertex", L, dim=-1):
        pyro.sample("V", VisitNormal(loc, scale), obs=values)
    site = recorded.trace.nodes["V"]
    assert tuple(site["fn"].batch_shape) == (L,)
    assert tuple(site["fn"].event_shape) == (N,)
    assert site["fn"].loc.shape == (1, N)
    recorded.trace.compute_log_prob()
    torch.testing.assert_close(site["log_prob"], Normal(loc, scale.unsqueeze(-1)).log_prob(values).sum(-1), **TIGHT)


def test_expanded_log_prob_has_the_new_batch_shape(values):
    loc, scale, factor = parameters(SHARED, factor=True)
    wide = VisitNormal(loc, scale, factor).expand((4, K, L))
    log_prob = wide.log_prob(values)
    assert log_prob.shape == (4, K, L)
    torch.testing.assert_close(log_prob[3], VisitNormal(loc, scale, factor).log_prob(values), **TIGHT)
    assert wide.sample().shape == (4, K, L, N)


@pytest.mark.parametrize("factor", [False, True], ids=["white", "low rank"])
def test_sample_moments(factor):
    loc, scale, columns = parameters((2,), factor)
    n = 100_000
    drawn = VisitNormal(loc, scale, columns).sample((n,))
    assert drawn.shape == (n, 2, N)
    assert drawn.dtype == torch.float64
    for k in range(2):
        low_rank = 0 if columns is None else columns[k] @ columns[k].mT
        covariance = scale[k] ** 2 * torch.eye(N, dtype=torch.float64) + low_rank
        sd = covariance.diagonal().sqrt()
        # Five standard errors: of a mean sd / sqrt(n), of a covariance at most sqrt(2) sd sd' / sqrt(n).
        assert ((drawn[:, k].mean(0) - loc[k]).abs() < 5 * sd / n**0.5).all()
        assert ((drawn[:, k].mT.cov() - covariance).abs() < 5 * 2**0.5 * torch.outer(sd, sd) / n**0.5).all()


def test_rounding_beside_huge_columns_makes_no_peak():
    """In single precision 1e4-fold columns once gave thousands of nats; no density is above that at its own mean."""
    torch.manual_seed(0)
    factor = 3e4 * torch.randn(1, N, R)
    loc = (factor @ torch.randn(1, R, 1)).squeeze(-1)
    law = VisitNormal(loc, torch.tensor([0.1]), factor)
    exact = VisitNormal(loc.double(), torch.tensor([0.1], dtype=torch.float64), factor.double())
    values = torch.randn(L, N)
    top = exact.log_prob(loc.double())
    assert (law.log_prob(values) <= top + 0.1).all()
    assert (exact.log_prob(values.double()) < top).all()
