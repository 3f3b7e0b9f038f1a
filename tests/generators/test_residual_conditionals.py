"""Conditionals against dense matrices, and what they learn against the covariance that made the residuals."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from neuropyro.generators.residual_cards import residual_in, residual_of_card
from neuropyro.generators.residual_conditionals import ConditionalSpread, coarse_to_fine, neighbours_before
from neuropyro.generators.residuals import ResidualSpread

SHAPE = (1, 8, 8)
N = 64


def exponential(length=3.0):
    """Covariance of a smooth field whose sd rises across the image."""
    rows, columns = np.indices((8, 8)).reshape(2, -1)
    apart = np.hypot(rows[:, None] - rows, columns[:, None] - columns)
    sd = 0.1 + 0.05 * columns
    return sd[:, None] * sd * np.exp(-apart / length)


def drawn(covariance, count, seed=0):
    values = np.random.default_rng(seed).multivariate_normal(np.zeros(len(covariance)), covariance, count)
    return torch.from_numpy(values).reshape(count, *SHAPE).float()


def dense(spread, shape=SHAPE):
    size = int(np.prod(shape))
    units = torch.eye(size, dtype=torch.float64)
    return spread.multiply(units.reshape(size, *shape)).reshape(size, size).numpy()


@pytest.fixture(scope="module")
def learned():
    return ConditionalSpread.of(drawn(exponential(), 300), neighbours=12)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 5, 7), (3, 4, 6)])
def test_the_order_is_a_permutation_from_coarse_to_fine(shape):
    order = coarse_to_fine(shape)
    assert sorted(order) == list(range(int(np.prod(shape))))
    _, rows, columns = np.unravel_index(order, shape)
    spacing = np.gcd(np.gcd(rows, columns), 64)[1:]
    assert (np.diff(np.minimum(spacing, spacing[0])) <= 0).all()


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 4, 6)])
def test_neighbours_come_before_and_are_the_nearest(shape):
    order, found = coarse_to_fine(shape), neighbours_before(shape, 5)
    rank = np.argsort(order)
    channels, rows, columns = np.unravel_index(np.arange(len(order)), shape)
    points = np.stack([rows, columns, 0.5 * channels], 1)
    for i, pixel in enumerate(order):
        kept = found[i][found[i] >= 0]
        assert (rank[kept] < i).all()
        assert len(set(kept)) == min(i, 5)
        away = np.sort(np.linalg.norm(points[order[:i]] - points[pixel], axis=1))[:5]
        np.testing.assert_allclose(np.sort(np.linalg.norm(points[kept] - points[pixel], axis=1)), away)


def test_root_product_and_density_are_those_of_one_matrix(learned):
    units = torch.eye(N, dtype=torch.float64).reshape(N, *SHAPE)
    root, S = learned.root(units).reshape(N, N).numpy().T, dense(learned)
    np.testing.assert_allclose(root @ root.T, S, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(S, S.T, atol=1e-12)
    values = drawn(exponential(), 7, seed=3).flatten(1).double().numpy()
    expected = multivariate_normal.logpdf(values, cov=S).mean()
    assert learned.log_density(values) == pytest.approx(expected, rel=1e-6)


def test_with_all_pixels_before_it_is_the_covariance_itself():
    truth = exponential()
    samples = drawn(truth, 4000)
    found = ConditionalSpread.of(samples, neighbours=N - 1)
    # Log-densities of new residuals differ by a few of the 2,080 numbers' worth of estimation, 2080 / 2 / 4000 nats.
    values = drawn(truth, 2000, seed=1).flatten(1).double().numpy()
    best = multivariate_normal.logpdf(values, cov=truth).mean()
    assert best - 1.0 < found.log_density(values) < best


def test_few_neighbours_and_residuals_tell_more_than_a_stationary_correlation(learned):
    truth, residuals = exponential(), drawn(exponential(), 300)
    values = drawn(truth, 2000, seed=1).flatten(1).double().numpy()
    best = multivariate_normal.logpdf(values, cov=truth).mean()
    stationary = multivariate_normal.logpdf(values, cov=dense(ResidualSpread.of(residuals))).mean()
    assert best - learned.log_density(values) < 0.5 * (best - stationary)


def test_colours_and_other_shapes(tmp_path):
    residuals = torch.randn(40, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    residuals[:, 1] = residuals[:, 0] + 0.1 * residuals[:, 1]  # two channels alike
    S = dense(ConditionalSpread.of(residuals, neighbours=8), (3, 4, 6)).reshape(3, 24, 3, 24)
    own, other = (S[a, range(24), b, range(24)].mean() for a, b in ((0, 0), (0, 1)))
    assert other > 0.5 * own


def test_precision_and_shape_follow_what_is_multiplied(learned):
    x = torch.randn(2, 3, *SHAPE)
    assert learned.multiply(x).dtype == torch.float32
    torch.testing.assert_close(learned.multiply(x)[1, 2], learned.multiply(x[1, 2]))
    assert learned.to(torch.device("cpu"), torch.float64).root(x.double()).dtype == torch.float64


def test_a_card_gives_the_more_detailed_one(learned):
    plain = ResidualSpread.of(drawn(exponential(), 20))
    assert isinstance(residual_in(plain.to_arrays()), ResidualSpread)
    both = residual_in(plain.to_arrays() | learned.to_arrays())
    assert isinstance(both, ConditionalSpread)
    assert torch.equal(both.weights, learned.weights)
    assert residual_of_card(None) is None
    assert residual_in({}) is None


def test_black_pixels_everywhere_stay_finite():
    residuals = drawn(exponential(), 60)
    residuals[:, :, :3] = 0
    found = ConditionalSpread.of(residuals, neighbours=12)
    made = found.root(torch.randn(50, *SHAPE))
    assert torch.isfinite(made).all()
    assert made[:, :, :2].abs().max() < 0.1 * made[:, :, 3:].abs().max()
