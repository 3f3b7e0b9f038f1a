"""Priors given as plain numbers, placed on the data's device and dtype."""

from __future__ import annotations

import pyro.distributions as dist
from torch import Tensor

__all__ = ["Pair", "log_normal", "normal"]

Pair = tuple[float, float]


def normal(prior: Pair, like: Tensor) -> dist.Normal:
    """Return a Normal of that mean and sd.

    Examples
    --------
    >>> prior = normal((1.0, 2.0), like=torch.zeros(3, dtype=torch.float64))
    >>> prior.mean, prior.variance
    (tensor(1., dtype=torch.float64), tensor(4., dtype=torch.float64))
    """
    return dist.Normal(*_filled(prior, like))


def log_normal(prior: Pair, like: Tensor) -> dist.LogNormal:
    """Return a LogNormal of that mean and sd of the logarithm.

    Examples
    --------
    >>> log_normal((0.0, 1.0), like=torch.zeros(3)).mean.log()  # half the variance of the logarithm
    tensor(0.5000)
    """
    return dist.LogNormal(*_filled(prior, like))


def _filled(prior: Pair, like: Tensor) -> tuple[Tensor, Tensor]:
    # new_full, not new_tensor: a fill does not make a GPU wait for the host.
    return like.new_full((), prior[0]), like.new_full((), prior[1])
