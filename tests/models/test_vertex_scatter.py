"""Scattered trajectories against fine numerical integration, automatic differentiation and their limits."""

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian

from neuropyro.models.trajectory import Trajectories, sigmoid
from neuropyro.models.vertex_scatter import COLUMNS, scattered

SCORES = torch.linspace(-4, 5, 19, dtype=torch.float64)
THETA = Trajectories(
    a=torch.tensor([-2.0, 1.5, 0.3], dtype=torch.float64),
    b=torch.tensor([0.7, 1.6, 3.0], dtype=torch.float64),
    c=torch.tensor([-1.0, 0.2, 2.0], dtype=torch.float64),
    d=torch.tensor([0.5, -0.4, 0.0], dtype=torch.float64),
)


def moments(scatter: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Mean (K, N) and covariance (K, N, N) of scattered courses: d and a by algebra, c and log b by a fine sum."""
    z = np.linspace(-8, 8, 321)
    weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
    pair = np.outer(weight, weight).ravel()
    z1, z2 = (grid.ravel() for grid in np.meshgrid(z, z, indexing="ij"))
    a, b, c, d = (p.numpy()[:, None, None] for p in THETA)
    sd_d, sd_c, sd_b, sd_a, power = scatter
    speed = np.log(np.maximum(1 + power * sd_b * z2, 0.05)) / power if power else sd_b * z2
    rise = 1 / (1 + np.exp(-b * np.exp(speed) * (SCORES.numpy()[:, None] - c - sd_c * z1)))
    first = rise @ pair
    second = np.einsum("knq,kmq,q->knm", rise, rise, pair, optimize=True)
    variance_of_rise = second - first[:, :, None] * first[:, None]
    return d[..., 0] + a[..., 0] * first, sd_d**2 + a**2 * variance_of_rise + sd_a**2 * second


def expanded(scatter: list[float]) -> tuple[np.ndarray, np.ndarray]:
    mean, columns = scattered(SCORES, THETA, torch.tensor([scatter] * 3, dtype=torch.float64))
    return mean.numpy(), (columns @ columns.mT).numpy()


def relative(found: np.ndarray, true: np.ndarray) -> float:
    return float((np.abs(found - true).max((-1, -2)) / np.abs(true).max((-1, -2))).max())


# The steepest of the trajectories bends within a third of a score; the study of DIVE's paper has .21 and .26.
@pytest.mark.parametrize(
    ("scatter", "of_mean", "of_covariance"),
    [
        ([0.4, 0.1, 0.1, 0.2, 0.0], 1e-5, 2e-3),
        ([0.4, 0.2, 0.25, 0.2, 1.0], 1e-3, 0.03),
        ([0.0, 0.4, 0.3, 0.5, 0.0], 1e-2, 0.1),
    ],
    ids=["little", "as in the paper's simulation", "much"],
)
def test_mean_and_covariance_are_those_of_scattered_vertices(scatter, of_mean, of_covariance):
    mean, covariance = expanded(scatter)
    true_mean, true_covariance = moments(scatter)
    assert np.abs(mean - true_mean).max() < of_mean
    assert relative(covariance, true_covariance) < of_covariance


def test_in_the_tails_derivatives_would_miss_most_of_the_spread():
    scatter = [0.0, 0.2, 0.25, 0.0, 0.0]
    _, covariance = expanded(scatter)
    _, true = moments(scatter)
    flat = Trajectories(*(p[1:2] for p in THETA))
    plain = derivatives(flat)[:, 0] * torch.tensor(scatter[:4])
    tail = 0  # the first score is four scores before an onset at .2, with b = 1.6
    exact = true[1, tail, tail]
    assert abs(covariance[1, tail, tail] / exact - 1) < 0.1
    assert float(plain[tail].square().sum()) / exact < 0.5


def derivatives(theta: Trajectories) -> torch.Tensor:
    """Return the derivatives by d, c, log b, a, ``(N, K, 4)``."""

    def of(d: torch.Tensor, c: torch.Tensor, log_b: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        return sigmoid(SCORES, Trajectories(a, log_b.exp(), c, d))

    parts = jacobian(of, (theta.d, theta.c, theta.b.log(), theta.a))  # each (K, N, K)
    return torch.stack([part.diagonal(dim1=0, dim2=2) for part in parts], -1)


def test_little_scatter_leaves_the_trajectory_and_its_derivatives():
    small = torch.full((3, 5), 1e-4, dtype=torch.float64)
    mean, columns = scattered(SCORES, THETA, small)
    torch.testing.assert_close(mean, sigmoid(SCORES, THETA), rtol=0, atol=1e-7)
    first = derivatives(THETA).movedim(0, 1) * 1e-4
    torch.testing.assert_close(columns[..., :4], first, rtol=0, atol=1e-11)
    assert columns[..., 4:].abs().max() < 1e-7  # of the second order in 1e-4, times a curvature of some units


def test_without_scatter_it_is_the_trajectory():
    mean, columns = scattered(SCORES, THETA, torch.zeros(3, 5, dtype=torch.float64))
    torch.testing.assert_close(mean, sigmoid(SCORES, THETA))
    assert columns.abs().max() < 1e-15


def test_batches_stay_apart():
    scores = torch.stack([SCORES, SCORES + 1])
    theta = Trajectories(*(torch.stack([p, 2 * p]) for p in THETA))
    scatter = torch.rand(2, 3, 5, dtype=torch.float64)
    mean, columns = scattered(scores, theta, scatter)
    assert (mean.shape, columns.shape) == ((2, 3, 19), (2, 3, 19, COLUMNS))
    for i in range(2):
        alone = scattered(scores[i], Trajectories(*(p[i] for p in theta)), scatter[i])
        torch.testing.assert_close(mean[i], alone[0])
        torch.testing.assert_close(columns[i], alone[1])


def test_it_is_finite_far_from_onset():
    far = torch.tensor([-1e6, 1e6], dtype=torch.float32)
    theta = Trajectories(*(p.float().requires_grad_() for p in THETA))
    mean, columns = scattered(far, theta, torch.ones(3, 5))
    (mean.sum() + columns.sum()).backward()
    assert torch.isfinite(mean).all()
    assert torch.isfinite(columns).all()
    assert all(torch.isfinite(p.grad).all() for p in theta)
