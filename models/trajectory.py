r"""Sigmoid trajectories over the progression score, one for each cluster or biomarker.

.. math::  f(s; \theta_k) = d_k + \frac{a_k}{1 + \exp(-b_k (s - c_k))}, \qquad b_k > 0,

where d is the value long before onset, a the whole change (of either sign), c the score at its middle, and a b / 4 the
steepest slope.

References
----------
Marinescu et al., NeuroImage 2019 (DIVE), eq. 2; there a and d are frozen at their starting values, here all four are
learned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pyro
import torch
from torch import Tensor

from neuropyro.models.priors import Pair, log_normal, normal

__all__ = ["OF_BIOMARKERS", "Trajectories", "TrajectoryPriors", "sample_trajectories", "sigmoid"]


class Trajectories(NamedTuple):
    """Parameters of K sigmoids, each ``(*, K)``.

    Examples
    --------
    >>> falling = Trajectories(*torch.tensor([[-2.0], [3.0], [0.5], [1.0]]))  # from 1 to -1, fastest at a score of 0.5
    >>> sigmoid(torch.tensor([-9.0, 0.5, 9.0]), falling)
    tensor([[ 1.,  0., -1.]])
    """

    a: Tensor
    b: Tensor
    c: Tensor
    d: Tensor


@dataclass(frozen=True)
class TrajectoryPriors:
    """Priors on standardised data, as (location, scale): Normal for a, c, d; LogNormal for the rest.

    Parameters
    ----------
    a, d
        In sds of a vertex's values.
    c
        In scores.
    b
        Per score.
    sigma
        Sd of the residuals, in sds of a vertex's values.

    Examples
    --------
    >>> TrajectoryPriors(c=(0.0, 3.0)).b
    (0.3, 0.5)
    """

    a: Pair = (0.0, 5.0)
    b: Pair = (0.3, 0.5)
    c: Pair = (1.0, 2.0)
    d: Pair = (0.0, 2.0)
    sigma: Pair = (0.0, 0.5)


OF_BIOMARKERS = TrajectoryPriors(a=(0.0, 10.0), d=(0.0, 3.0))
"""Of biomarkers: a test of patients is easily 15 sds of the controls below theirs, a cortex hardly one."""


def sample_trajectories(priors: TrajectoryPriors, like: Tensor) -> tuple[Trajectories, Tensor]:
    """Sample the sites a, b, c, d, sigma inside the caller's plate; all ``(*, K)``, on ``like``'s device and dtype.

    Examples
    --------
    >>> with pyro.poutine.trace() as tracer, pyro.plate("cluster", 2):
    ...     theta, sigma = sample_trajectories(TrajectoryPriors(), like=torch.zeros(()))
    >>> tracer.trace.stochastic_nodes, bool((theta.b > 0).all() and (sigma > 0).all())
    (['cluster', 'a', 'b', 'c', 'd', 'sigma'], True)
    """
    theta = Trajectories(
        a=pyro.sample("a", normal(priors.a, like)),
        b=pyro.sample("b", log_normal(priors.b, like)),
        c=pyro.sample("c", normal(priors.c, like)),
        d=pyro.sample("d", normal(priors.d, like)),
    )
    return theta, pyro.sample("sigma", log_normal(priors.sigma, like))


def sigmoid(scores: Tensor, theta: Trajectories) -> Tensor:
    """Evaluate K trajectories at ``scores (*, N)``; returns ``(*, K, N)``.

    Examples
    --------
    >>> theta = Trajectories(*torch.tensor([[4.0, -4.0], [1.0, 2.0], [0.0, 1.0], [0.0, 2.0]]))
    >>> sigmoid(torch.tensor([0.0, 1.0]), theta)  # at an onset c: d + a / 2
    tensor([[2.0000, 2.9242],
            [1.5232, 0.0000]])
    """
    a, b, c, d = (p.unsqueeze(-1) for p in theta)
    return d + a * torch.sigmoid(b * (scores.unsqueeze(-2) - c))
