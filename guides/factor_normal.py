r"""A Normal whose covariance is diagonal plus a product of few columns, which never makes a GPU wait.

With C = I + F' S^{-2} F (Woodbury, and the matrix determinant lemma) for the covariance S^2 + F F':

.. math::  x' (S^2 + F F')^{-1} x = |S^{-1} x|^2 - |C^{-1/2} F' S^{-2} x|^2, \qquad
           \log|S^2 + F F'| = 2 \sum \log s + \log|C|.

torch's own distribution has the same density, but looks whether each factorisation came out well; C has no eigenvalue
below 1, so that it does.
"""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints

__all__ = ["FactorNormal"]


class FactorNormal(dist.TorchDistribution):  # type: ignore[misc]
    """Normal(loc, diag(sd^2) + factor factor').

    Parameters
    ----------
    loc
        ``(D,)``.
    factor
        ``(D, rank)``.
    sd
        ``(D,)`` positive.
    batch_shape
        Of independent copies.

    Examples
    --------
    >>> law = FactorNormal(torch.zeros(2), factor=torch.ones(2, 1), sd=torch.ones(2))
    >>> law.covariance_matrix.tolist(), round(float(law.log_prob(torch.zeros(2))), 3)  # -log 2 pi - log(3) / 2
    ([[2.0, 1.0], [1.0, 2.0]], -2.387)
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as torch declares it)
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, factor: Tensor, sd: Tensor, batch_shape: Size = Size()) -> None:  # noqa: B008
        self.loc, self.factor, self.sd = loc, factor, sd
        super().__init__(batch_shape, loc.shape, validate_args=False)

    @property
    def covariance_matrix(self) -> Tensor:
        """``(D, D)``."""
        return torch.diag(self.sd.square()) + self.factor @ self.factor.mT

    def expand(self, batch_shape: Size, _instance: Any = None) -> FactorNormal:
        """Return it with another batch shape."""
        return FactorNormal(self.loc, self.factor, self.sd, Size(batch_shape))

    def rsample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 (as torch declares it)
        """Draw, differentiably."""
        shape = Size(sample_shape) + self.batch_shape
        common = torch.randn(*shape, self.factor.shape[1], dtype=self.loc.dtype, device=self.loc.device)
        own = torch.randn(*shape, len(self.loc), dtype=self.loc.dtype, device=self.loc.device)
        drawn: Tensor = self.loc + common @ self.factor.mT + own * self.sd
        return drawn

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of ``value (*, D)``."""
        scaled = (value - self.loc) / self.sd
        columns = self.factor / self.sd.unsqueeze(-1)
        capacitance = columns.mT @ columns + torch.eye(columns.shape[1], dtype=value.dtype, device=value.device)
        lower, _ = torch.linalg.cholesky_ex(capacitance)
        explained = torch.linalg.solve_triangular(lower, (scaled @ columns).unsqueeze(-1), upper=False)
        distance = scaled.square().sum(-1) - explained.square().sum((-2, -1))
        volume = self.sd.log().sum() + lower.diagonal().log().sum()
        density: Tensor = -0.5 * distance - volume - 0.5 * len(self.loc) * math.log(2 * math.pi)
        return density
