import pytest
import torch

from neuropyro.image_total_variation import default_weight, divergence, gradient, squared_norm, total_variation
from neuropyro.models.corruption import Blur, Compose, Downsample, Identity, Intensity, Mask, Undersample
from neuropyro.models.corruption_mask_shapes import Pixels


def objective(corruption, x, y, weight):
    residual = corruption.observed(y) * (corruption.A(x) - y)
    length = gradient(x).square().sum(dim=0).sqrt()
    return float(0.5 * residual.abs().square().sum() + weight * length.sum())


def test_divergence_is_minus_the_adjoint_of_the_gradient():
    x, p = torch.randn(2, 3, 5, 7, dtype=torch.float64), torch.randn(2, 2, 3, 5, 7, dtype=torch.float64)
    torch.testing.assert_close((gradient(x) * p).sum(), -(x * divergence(p)).sum())


@pytest.mark.parametrize(
    "corruption", [Blur(1.0), Downsample(2), Undersample(2), Compose(Blur(0.7), Mask(Pixels(0.3)))]
)
def test_norm_is_that_of_the_dense_matrix(corruption):
    columns = corruption.linear(torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)).flatten(1)
    columns = torch.view_as_real(columns).flatten(1) if columns.is_complex() else columns
    expected = float(torch.linalg.svdvals(columns)[0] ** 2)
    found = squared_norm(corruption, torch.zeros(3, 1, 8, 8, dtype=torch.float64))
    assert 0.99 * expected < found < 1.02 * expected  # 1 % are added


def test_two_levels_in_closed_form():
    """Two halves of unlike brightness come nearer by 2 lambda / width each: perimeter over area."""
    x = torch.full((1, 1, 6, 10), -0.5, dtype=torch.float64)
    x[..., 5:] = 0.5
    found = total_variation(Identity(), x, weight=0.3, steps=3000)
    expected = torch.sign(x) * (0.5 - 2 * 0.3 / 10)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("corruption", [Downsample(2), Undersample(2), Mask(Pixels(0.5))])
def test_nothing_near_is_better(corruption):
    """The problem is convex, so a minimum along every direction is the minimum."""
    x = (torch.rand(1, 1, 16, 16, dtype=torch.float64) - 0.5).cumsum(dim=2) / 4
    y = corruption.A(x.clamp(-0.8, 0.8))
    best = total_variation(corruption, y, weight=0.02, steps=2000)
    least = objective(corruption, best, y, 0.02)
    for seed in range(20):
        step = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
        for size in (1e-3, 1e-2):
            assert objective(corruption, best + size * step, y, 0.02) > least
    assert objective(corruption, x, y, 0.02) > least
    few = objective(corruption, total_variation(corruption, y, weight=0.02), y, 0.02)
    assert few < 1.02 * least  # 300 steps


def test_images_of_a_batch_do_not_touch():
    y = Downsample(2).A(torch.rand(3, 1, 8, 8, dtype=torch.float64))
    whole = total_variation(Downsample(2), y, weight=0.05, steps=2000)
    alone = total_variation(Downsample(2), y[1:2], weight=0.05, steps=2000)
    torch.testing.assert_close(whole[1:2], alone, atol=1e-4, rtol=0)  # step sizes differ with the estimated norm


def test_weight_of_the_posterior_mode():
    assert default_weight(Identity(0.1)) == pytest.approx(0.04)
    assert default_weight(Identity()) == default_weight(Identity(0.0)) > 0
    with pytest.raises(ValueError, match="above 0, got 0"):
        total_variation(Identity(), torch.zeros(1, 1, 4, 4), weight=0.0)
    with pytest.raises(ValueError, match="linear"):
        total_variation(Intensity(gamma=2.0), torch.zeros(1, 1, 4, 4))
