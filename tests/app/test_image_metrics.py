import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from neuropyro.image_metrics import (
    coverage,
    crps,
    image_metrics,
    interval,
    interval_width,
    lpips,
    mae,
    psnr,
    rmse,
    ssim,
)


def pair(batch=3, channels=1, size=24):
    truth = torch.rand(batch, channels, size, size, dtype=torch.float64) * 2 - 1
    return truth + 0.1 * torch.randn_like(truth), truth


def test_a_constant_error_in_closed_form():
    truth = torch.zeros(2, 1, 4, 4)
    estimate = truth + torch.tensor([0.1, -0.2])[:, None, None, None]
    torch.testing.assert_close(rmse(estimate, truth), torch.tensor([12.75, 25.5]))
    torch.testing.assert_close(mae(estimate, truth), torch.tensor([12.75, 25.5]))
    torch.testing.assert_close(psnr(estimate, truth), torch.tensor([20 * math.log10(20), 20.0]))
    assert psnr(truth, truth).tolist() == [math.inf, math.inf]


def test_averages_over_some_pixels():
    truth = torch.zeros(1, 1, 2, 2)
    estimate = torch.tensor([[1.0, 3.0], [5.0, 7.0]])[None, None]
    where = torch.tensor([[1, 0], [1, 0]])
    assert mae(estimate, truth, where).item() == pytest.approx(127.5 * 3)
    assert rmse(estimate, truth, where).item() == pytest.approx(127.5 * math.sqrt(13))
    assert mae(estimate, truth, torch.zeros(2, 2)).isnan().all()


def slow_ssim(x, y):
    """Equation 13 of the paper, window by window."""
    offsets = np.arange(-5, 6)
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    c1, c2, values = (0.01 * 2) ** 2, (0.03 * 2) ** 2, []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb, cov = (
                (window * (a - ma) ** 2).sum(),
                (window * (b - mb) ** 2).sum(),
                (window * (a - ma) * (b - mb)).sum(),
            )
            values.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return np.mean(values)


def test_ssim_is_the_papers():
    estimate, truth = pair(channels=2, size=16)
    expected = [
        np.mean([slow_ssim(*channels) for channels in zip(e, t, strict=True)])
        for e, t in zip(estimate.numpy(), truth.numpy(), strict=True)
    ]
    np.testing.assert_allclose(ssim(estimate, truth), expected, atol=1e-12)
    torch.testing.assert_close(ssim(truth, truth), torch.ones(3, dtype=torch.float64))


def test_ssim_is_scikit_images():
    metrics = pytest.importorskip("skimage.metrics")
    estimate, truth = pair()
    settings = {"data_range": 2.0, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = [
        metrics.structural_similarity(e[0].numpy(), t[0].numpy(), **settings)
        for e, t in zip(estimate, truth, strict=True)
    ]
    np.testing.assert_allclose(ssim(estimate, truth), expected, atol=1e-10)


def test_crps_of_normal_draws_in_closed_form():
    truth = torch.linspace(-2, 2, 256, dtype=torch.float64).reshape(1, 1, 16, 16)
    draws = torch.randn(4000, 1, 1, 16, 16, dtype=torch.float64)
    z = truth.numpy()
    expected = z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / math.sqrt(math.pi)
    # sd of E|X - y| over 4,000 draws is about 1 / 63, and 256 pixels are averaged
    assert crps(draws, truth).item() == pytest.approx(127.5 * expected.mean(), rel=0.01)


def test_crps_by_brute_force_and_of_one_draw():
    draws, truth = torch.randn(5, 2, 1, 3, 3), torch.randn(2, 1, 3, 3)
    spread = torch.stack([(a - b).abs() for a in draws for b in draws]).sum(dim=0) / (5 * 4)
    expected = ((draws - truth).abs().mean(dim=0) - spread / 2).mean(dim=(1, 2, 3))
    torch.testing.assert_close(crps(draws, truth), 127.5 * expected)
    torch.testing.assert_close(crps(draws[:1], truth), mae(draws[0], truth))


def test_crps_does_not_depend_on_the_number_of_draws_on_average():
    truth = torch.zeros(1, 1, 64, 64)
    few, many = (crps(torch.randn(n, 1, 1, 64, 64), truth).item() for n in (3, 300))
    assert few == pytest.approx(many, rel=0.06)  # 4,096 pixels


def test_coverage_and_width_of_normal_intervals():
    draws, truth = torch.randn(1000, 2, 1, 40, 40), torch.randn(2, 1, 40, 40)
    for level in (0.5, 0.9):
        assert coverage(draws, truth, level).mean().item() == pytest.approx(level, abs=0.03)  # 3,200 pixels: sd .009
        expected = 2 * 127.5 * norm.ppf((1 + level) / 2)
        assert interval_width(draws, level).mean().item() == pytest.approx(expected, rel=0.02)
    assert coverage(draws, truth + 10).max() == 0


@pytest.mark.parametrize("count", [7, 19, 64])
def test_interval_ends_are_weibulls_quantiles(count):
    draws = torch.randn(count, 2, 1, 3, 3)
    ends = interval(draws, 0.8)
    for end, share in zip(ends, (0.1, 0.9), strict=True):
        expected = np.quantile(draws.numpy(), share, axis=0, method="weibull")
        torch.testing.assert_close(end, torch.from_numpy(expected).to(end))


@pytest.mark.parametrize("count", [19, 30, 64])
def test_intervals_of_few_draws_hold_another_draw_as_often_as_they_say(count):
    draws, another = torch.randn(count, 1, 1, 200, 200), torch.randn(1, 1, 200, 200)
    held = coverage(draws, another, 0.9).item()  # 40,000 pixels: sd .0015
    assert 0.894 < held < 0.915  # a little more where ends are interpolated between two draws


def test_the_interval_of_one_draw_is_that_draw():
    draws = torch.randn(7, 2, 1, 3, 3)
    alone = interval(draws[:1], 0.8)
    assert torch.equal(alone[0], draws[0])
    with pytest.raises(ValueError, match="between 0 and 1"):
        interval(draws, 1.0)


class Doubling:
    def distance(self, a, b):
        return 2 * (a - b).square().sum(dim=(1, 2, 3))


def test_all_that_apply_under_their_names():
    estimate, truth = pair()
    draws = truth + 0.1 * torch.randn(8, *truth.shape)
    observed = torch.ones(1, 1, 24, 24)
    assert image_metrics(estimate, truth).keys() == {"psnr", "rmse", "mae", "ssim"}
    assert "mae_hole" not in image_metrics(estimate, truth, observed=observed)
    observed[..., :6] = 0
    found = image_metrics(estimate, truth, draws, observed, features=Doubling())
    of_draws = {"crps", "coverage90", "width90", "coverage90_hole", "width90_hole"}
    assert found.keys() == {"psnr", "rmse", "mae", "ssim", "mae_hole", "lpips"} | of_draws
    assert all(value.shape == (3,) for value in found.values())
    torch.testing.assert_close(found["mae_hole"], mae(estimate[..., :6], truth[..., :6]))
    torch.testing.assert_close(found["coverage90_hole"], coverage(draws[..., :6], truth[..., :6]))
    torch.testing.assert_close(found["width90_hole"], interval_width(draws[..., :6]))
    brain = torch.zeros(1, 1, 24, 24)
    brain[..., 4:12] = 1
    within = image_metrics(estimate, truth, draws, observed, brain)
    torch.testing.assert_close(within["coverage90_hole"], coverage(draws[..., 4:6], truth[..., 4:6]))
    torch.testing.assert_close(within["mae_hole"], found["mae_hole"])  # of errors all pixels count
    brain[..., 4:6] = 0
    assert "coverage90_hole" not in image_metrics(estimate, truth, draws, observed, brain)
    assert torch.equal(found["lpips"], lpips(estimate, truth, Doubling()))
    assert "ssim" not in image_metrics(estimate[..., :8], truth[..., :8])


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"got \(1, 1, 4, 4\) and \(1, 1, 4, 5\)"):
        rmse(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5))
    with pytest.raises(ValueError, match="at least 11 x 11 px"):
        ssim(torch.zeros(1, 1, 8, 12), torch.zeros(1, 1, 8, 12))
    with pytest.raises(ValueError, match="draws must be"):
        crps(torch.zeros(1, 4, 4), torch.zeros(1, 1, 4, 4))
