"""Visits of many vertices, each of one of several Normal laws, which one is not known and summed over."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.ops.indexing import Vindex
from torch import Size, Tensor

from neuropyro.models.visit_normal import VisitNormal

__all__ = ["VisitMixture"]


class VisitMixture(TorchDistribution):  # type: ignore[misc]
    """A mixture of `VisitNormal` laws; batch = vertices.

    Parameters
    ----------
    laws
        Of batch ``(M, *batch)``, columns included; what they are white by, and what lasts, is the same of all.
    log_weight
        ``(M,)`` of each.

    Examples
    --------
    >>> curves = torch.tensor([[-1.0] * 5, [1.0] * 5]).unsqueeze(1)  # two laws of five visits
    >>> both = VisitMixture(VisitNormal(curves, torch.ones(1)), torch.tensor([0.5, 0.5]).log())
    >>> both.log_prob(torch.zeros(100, 5)).shape
    torch.Size([100])
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as torch declares it)
    support = constraints.real_vector

    def __init__(self, laws: VisitNormal, log_weight: Tensor) -> None:
        self.laws, self.log_weight = laws, log_weight
        super().__init__(laws.batch_shape[1:], laws.event_shape, validate_args=False)

    def expand(self, batch_shape: Size, _instance: Any = None) -> VisitMixture:
        """Return the same distribution with another batch shape; curves stay shared."""
        new: VisitMixture = self._get_checked_instance(VisitMixture, _instance)
        new.laws, new.log_weight = self.laws, self.log_weight
        TorchDistribution.__init__(new, Size(batch_shape), self.event_shape, validate_args=False)
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of ``value (*, vertices, visits)``, summed over visits; ``(*batch,)``."""
        each = self.laws.log_prob(value)
        log_prob = (each + self.log_weight.reshape(-1, *[1] * (each.dim() - 1))).logsumexp(0)
        shape = torch.broadcast_shapes(log_prob.shape, self.batch_shape)  # type: ignore[no-untyped-call]
        return log_prob.expand(shape)

    @torch.no_grad()
    def sample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 (as torch declares it)
        """Draw ``(*sample_shape, *batch, visits)``; missing values are drawn too."""
        laws, shape = self.laws, self._extended_shape(sample_shape)[:-1]
        which = torch.multinomial(self.log_weight.exp(), shape.numel(), replacement=True).reshape(shape)
        loc = Vindex(laws.loc.movedim(0, -2))[..., which, :]
        factor = None if laws.factor is None else Vindex(laws.factor.movedim(0, -3))[..., which, :, :]
        drawn: Tensor = VisitNormal(loc, laws.scale.expand(shape), factor, lasting=laws.lasting).sample()
        return drawn
