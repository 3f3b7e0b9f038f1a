"""Trajectories against numpy, automatic differentiation and Monte Carlo."""

import numpy as np
import pyro
import torch
from pyro import poutine
from scipy.special import expit
from torch.autograd.functional import jacobian as slow_jacobian

from neuropyro.models import TrajectoryPriors
from neuropyro.models.trajectory import Trajectories, jacobian, mean_shift, sample_trajectories, sigmoid

SCORES = torch.linspace(-4, 5, 19, dtype=torch.float64)
THETA = Trajectories(
    a=torch.tensor([-2.0, 1.5, 0.3], dtype=torch.float64),
    b=torch.tensor([0.7, 1.6, 3.0], dtype=torch.float64),
    c=torch.tensor([-1.0, 0.2, 2.0], dtype=torch.float64),
    d=torch.tensor([0.5, -0.4, 0.0], dtype=torch.float64),
)


def test_sigmoid_in_numpy():
    a, b, c, d = (p.numpy()[:, None] for p in THETA)
    np.testing.assert_allclose(sigmoid(SCORES, THETA), d + a * expit(b * (SCORES.numpy() - c)), rtol=1e-13)


def test_parameters_mean_what_they_say():
    at_onset = torch.stack([sigmoid(c.reshape(1), THETA)[k, 0] for k, c in enumerate(THETA.c)])
    torch.testing.assert_close(at_onset, THETA.d + THETA.a / 2)
    ends = sigmoid(torch.tensor([-1e4, 1e4], dtype=torch.float64), THETA)
    torch.testing.assert_close(ends[:, 0], THETA.d)
    torch.testing.assert_close(ends[:, 1], THETA.d + THETA.a)


def test_batches_stay_apart():
    scores = torch.stack([SCORES, SCORES + 1])
    theta = Trajectories(*(torch.stack([p, 2 * p]) for p in THETA))
    both = sigmoid(scores, theta)
    assert both.shape == (2, 3, 19)
    torch.testing.assert_close(both[0], sigmoid(SCORES, THETA))
    torch.testing.assert_close(both[1], sigmoid(SCORES + 1, Trajectories(*(2 * p for p in THETA))))
    assert jacobian(scores, theta).shape == (2, 3, 19, 4)
    assert mean_shift(scores, theta, torch.ones(2, 3, 4, dtype=torch.float64)).shape == (2, 3, 19)


def test_jacobian_is_the_derivative_by_d_c_log_b_a():
    def of(d: torch.Tensor, c: torch.Tensor, log_b: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        return sigmoid(SCORES, Trajectories(a, log_b.exp(), c, d))

    parts = slow_jacobian(of, (THETA.d, THETA.c, THETA.b.log(), THETA.a))  # each (K, N, K)
    slow = torch.stack([part.diagonal(dim1=0, dim2=2).mT for part in parts], -1)
    torch.testing.assert_close(jacobian(SCORES, THETA), slow, rtol=1e-10, atol=1e-12)


def test_jacobian_is_finite_far_from_onset():
    far = torch.tensor([-1e6, 1e6], dtype=torch.float32)
    theta = Trajectories(*(p.float() for p in THETA))
    assert torch.isfinite(jacobian(far, theta)).all()
    assert torch.isfinite(mean_shift(far, theta, torch.ones(3, 4))).all()


def test_mean_shift_is_that_of_scattered_vertices():
    scatter = torch.tensor([[0.3, 0.12, 0.08, 0.2]] * 3, dtype=torch.float64)  # d, c, log b, a
    n = 200_000
    d, c, log_b, a = (scatter.T[..., None] * torch.randn(4, 3, n // 2, dtype=torch.float64)).unbind(0)
    # Pairs of opposite scatter: the first order cancels exactly, and only the bend is left to be measured.
    drawn = torch.zeros(3, len(SCORES), dtype=torch.float64)
    for sign in (1, -1):
        theta = Trajectories(
            THETA.a[:, None] + sign * a,
            THETA.b[:, None] * (sign * log_b).exp(),
            THETA.c[:, None] + sign * c,
            THETA.d[:, None] + sign * d,
        )
        for n_score, score in enumerate(SCORES):
            drawn[:, n_score] += (theta.d + theta.a * torch.sigmoid(theta.b * (score - theta.c))).mean(-1) / 2
    measured = drawn - sigmoid(SCORES, THETA)
    predicted = mean_shift(SCORES, THETA, scatter)
    # What is left out is of fourth order: a few percent of the largest shift at this scatter.
    assert predicted.abs().max() > 0.002
    assert (measured - predicted).abs().max() < 0.1 * predicted.abs().max()


def test_scatter_of_d_and_a_alone_shifts_nothing():
    straight = torch.tensor([[3.0, 0.0, 0.0, 2.0]] * 3, dtype=torch.float64)
    assert (mean_shift(SCORES, THETA, straight) == 0).all()


def test_priors_are_those_stated():
    priors = TrajectoryPriors(a=(1.0, 2.0), b=(0.1, 0.4), c=(2.0, 3.0), d=(-1.0, 0.5), sigma=(-0.7, 0.2))
    with poutine.trace() as recorded, pyro.plate("cluster", 40_000, dim=-1):
        theta, sigma = sample_trajectories(priors, SCORES)
    assert [n for n, s in recorded.trace.nodes.items() if s["type"] == "sample"][1:] == ["a", "b", "c", "d", "sigma"]
    for name, drawn in {**theta._asdict(), "b": theta.b.log(), "sigma": sigma.log()}.items():
        mean, sd = getattr(priors, name)
        assert drawn.dtype == torch.float64
        assert abs(float(drawn.mean()) - mean) < 5 * sd / 200  # five standard errors
        assert abs(float(drawn.std()) - sd) < 5 * sd / 280
