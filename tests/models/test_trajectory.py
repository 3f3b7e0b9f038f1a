"""Trajectories against numpy."""

import numpy as np
import pyro
import torch
from pyro import poutine
from scipy.special import expit

from neuropyro.models import TrajectoryPriors
from neuropyro.models.trajectory import Trajectories, sample_trajectories, sigmoid

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
