"""The spread of measurements against dense matrices; the residual image given them against Gaussian conditioning."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from neuropyro.models import reconstruction_kernel
from neuropyro.models.corruption import Blur, Compose, Downsample, Identity, Intensity, Mask, Undersample, as_corruption
from neuropyro.models.corruption_intensity import BiasField
from neuropyro.models.corruption_kspace_patterns import Lines
from neuropyro.models.corruption_mask_shapes import Pixels, Rectangle
from neuropyro.models.corruption_operator import as_measurements, flat_reals
from neuropyro.models.reconstruction_conditioning import conditional_residual
from neuropyro.models.reconstruction_kernel import spread_of
from neuropyro.models.reconstruction_spread import MeasuredNormal

RNG = np.random.default_rng(0)
OWN_MASKS = np.stack([RNG.random((1, 8, 8)) > share for share in (0.2, 0.6)])


class EverySecondPixel:
    """As deepinv's Physics."""

    def A(self, x):  # noqa: N802
        return 2 * x[..., ::2, ::2]

    def A_adjoint(self, y):  # noqa: N802
        x = torch.zeros(*y.shape[:2], 8, 8).to(y)
        x[..., ::2, ::2] = 2 * y
        return x


CASES = {
    "physics of another library": as_corruption(EverySecondPixel()),
    "downsampled": Downsample(2),
    "hole": Mask(Rectangle(0.5, 0.4)),
    "blurred, with bias and lost pixels": Compose(Intensity(BiasField()), Blur(0.7), Mask(Pixels(0.3))),
    "k-space": Undersample(Lines(2.0, 0.2)),
    "two coils": Undersample(Lines(2.0, 0.2), coils=2),
    "more numbers than pixels": Undersample(Lines(1.3, 0.2), coils=4),
    "a mask for each image": Mask(OWN_MASKS),
    "a phase for each image": Undersample(Lines(2.0, 0.2), phase=RNG.standard_normal((2, 8, 8))),
}
SIGMA, TAU = torch.tensor([0.05, 0.2]).double(), torch.tensor([1.3, 0.6]).double()


class Design:
    """The same by dense matrices."""

    def __init__(self, corruption, residual):
        self.corruption, self.residual = corruption, residual
        self.y = torch.randn(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        self.y = corruption.corrupt(self.y, seed=2, noise=0.1)
        seen = (corruption.observed(self.y) != 0).expand(self.y.shape)
        seen = torch.stack([seen, seen], -1) if self.y.is_complex() else seen
        self.seen = seen.reshape(2, -1)
        units = torch.eye(64, dtype=torch.float64).reshape(64, 1, 1, 8, 8).expand(-1, 2, -1, -1, -1)
        self.linear = flat_reals(corruption.linear(units), self.y.ndim - 1).permute(1, 2, 0)  # (2, n, 64)
        self.covariance = residual.multiply(units[:, 0]).reshape(64, 64)
        self.spread = spread_of(corruption, residual, self.seen, self.y)

    def measured_covariance(self, i):
        rows = self.linear[i][self.seen[i]]
        noise = SIGMA[i] ** 2 * torch.eye(len(rows), dtype=torch.float64)
        return TAU[i] ** 2 * rows @ self.covariance @ rows.T + noise


@pytest.fixture(params=CASES, ids=str)
def design(request, residual, monkeypatch):
    if request.param == "more numbers than pixels":
        monkeypatch.setattr(reconstruction_kernel, "DENSE_LIMIT", 64)
    return Design(CASES[request.param], residual)


def test_of_more_numbers_than_pixels_as_many_directions_are_kept(residual, monkeypatch):
    monkeypatch.setattr(reconstruction_kernel, "DENSE_LIMIT", 64)
    spread = Design(CASES["more numbers than pixels"], residual).spread
    assert spread.basis.shape == (1, 384, 64)  # 6 of 8 lines of 8 complex numbers, of 4 coils
    assert spread.beyond == 320
    torch.testing.assert_close(spread.basis[0].mT @ spread.basis[0], torch.eye(64, dtype=torch.float64))


def test_log_density_is_that_of_a_multivariate_normal(design):
    v = flat_reals(design.y, design.y.ndim - 1)
    found = design.spread.log_density(v, SIGMA, TAU)
    for i in range(2):
        kept = v[i][design.seen[i]].numpy()
        expected = multivariate_normal.logpdf(kept, np.zeros(len(kept)), design.measured_covariance(i).numpy())
        assert float(found[i]) == pytest.approx(expected, rel=1e-9)


def test_leading_dimensions_are_draws(design):
    v = flat_reals(design.y, design.y.ndim - 1)
    several = torch.stack([v, 2 * v, v - 1])
    found = design.spread.log_density(several, SIGMA.expand(3, 2), TAU.expand(3, 2))
    each = torch.stack([design.spread.log_density(one, SIGMA, TAU) for one in several])
    torch.testing.assert_close(found, each)


def test_without_a_residual_measurements_are_independent(design):
    spread = spread_of(design.corruption, None, design.seen, design.y)
    v = flat_reals(design.y, design.y.ndim - 1)
    found = spread.log_density(v, SIGMA, 1.0)
    terms = torch.distributions.Normal(0.0, SIGMA[:, None]).log_prob(v)
    torch.testing.assert_close(found, (terms * design.seen).sum(1))


def test_measurements_that_do_not_count_are_not_looked_at(design):
    v = flat_reals(design.y, design.y.ndim - 1)
    other = torch.where(design.seen, v, 1e6)
    torch.testing.assert_close(
        design.spread.log_density(other, SIGMA, TAU), design.spread.log_density(v, SIGMA, TAU), rtol=1e-12, atol=0
    )


def test_draws_have_the_covariance(design):
    n = design.seen.shape[1]
    law = MeasuredNormal(torch.zeros(2, n, dtype=torch.float64), design.spread, SIGMA, TAU, 1)
    drawn = law.rsample(torch.Size([4_000]))
    assert drawn.shape == (4_000, 2, n)
    for i in range(2):
        kept = drawn[:, i][:, design.seen[i]]
        expected = design.measured_covariance(i)
        assert (drawn[:, i][:, ~design.seen[i]] == 0).all()
        error = (torch.cov(kept.T) - expected).abs().max() / expected.diagonal().max()
        assert error < 0.14  # 6 standard errors of a variance of 4,000 draws


def given_by_conditioning(design, i):
    """Mean and covariance of r given y, by dense matrices."""
    rows, prior = design.linear[i][design.seen[i]], TAU[i] ** 2 * design.covariance
    gain = prior @ rows.T @ torch.linalg.inv(design.measured_covariance(i))
    v = flat_reals(design.y, design.y.ndim - 1)[i][design.seen[i]]
    return gain @ v, prior - gain @ rows @ prior


def clean_data(design):
    """Deviations, 0 where they do not count."""
    seen = as_measurements(design.seen.double(), design.y)
    return torch.where(seen.real != 0, design.y, 0.0)


def test_residual_given_the_measurements(design, residual):
    y = clean_data(design)
    arguments = (design.corruption, residual, design.spread, y, SIGMA, TAU)
    mean = conditional_residual(*arguments)
    white = (torch.zeros(2, 1, 8, 8).double(), torch.zeros_like(y))
    torch.testing.assert_close(conditional_residual(*arguments, white), mean)
    columns = []  # a draw is the mean plus a linear map of white noise
    for part in range(2):
        reals = flat_reals(white[part], white[part].ndim - 1)
        for j in design.seen.any(0).nonzero().flatten().tolist() if part else range(reals.shape[1]):
            unit = torch.zeros_like(reals)
            unit[:, j] = design.seen[:, j] if part else 1.0
            noise = [white[0], white[1]]
            noise[part] = as_measurements(unit, white[part])
            columns.append((conditional_residual(*arguments, tuple(noise)) - mean).flatten(1))
    root = torch.stack(columns, -1)
    for i in range(2):
        expected_mean, expected_covariance = given_by_conditioning(design, i)
        scale = expected_covariance.diagonal().max()
        assert (mean[i].flatten() - expected_mean).abs().max() <= 1e-8 * expected_mean.abs().max()
        assert (root[i] @ root[i].T - expected_covariance).abs().max() <= 1e-8 * scale


def test_conjugate_gradients_where_measurements_are_many(design, residual, monkeypatch):
    y = clean_data(design)
    white = (torch.randn(2, 1, 8, 8).double(), torch.randn_like(y) * (y != 0))
    expected = conditional_residual(design.corruption, residual, design.spread, y, SIGMA, TAU, white)
    monkeypatch.setattr(reconstruction_kernel, "DENSE_LIMIT", 0)
    spread = spread_of(design.corruption, residual, design.seen, design.y)
    assert spread.basis is None
    found = conditional_residual(design.corruption, residual, spread, y, SIGMA, TAU, white)
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_many_measurements_keep_their_variances(residual, monkeypatch):
    monkeypatch.setattr(reconstruction_kernel, "DENSE_LIMIT", 0)
    design = Design(Identity(), residual)
    assert design.spread.basis is None
    expected = design.covariance.diagonal()
    assert (design.spread.variance[0] / expected - 1).abs().max() < 0.2  # 1,000 draws: sd 4.5 %


@pytest.mark.parametrize("complex_numbers", [False, True])
def test_reals_and_back(complex_numbers):
    y = torch.randn(2, 3, 4, 5, dtype=torch.complex64 if complex_numbers else torch.float32)
    flat = flat_reals(y, 3)
    assert flat.shape == (2, 120 if complex_numbers else 60)
    assert torch.equal(as_measurements(flat, y), y)
