r"""A subject's speed and stage in coordinates that leave what the data say of the one out of the other.

Maps tell a subject's stage, the score at the mean time t_i of its visits, far better than its speed.  How far along
the course older subjects are is the cohort's own: as far as their speeds say where all of a population are followed,
no further than younger ones where people are recruited by their diagnosis.  So of the years t_i a share h counts, which
is learned: (log alpha, beta*) is Normal over subjects, beta* = stage - h alpha t_i the score by h of the way back to
the cohort's mean time.  (h = 1 is the law of the DIVE paper.  Where it does not hold, it bends scores: those of fast
subjects are drawn together, for their betas would be decades of travel apart.)  To first order in log alpha about its
mean m, with t_i standing for h t_i,

.. math::

   \mu_i = \mu_\beta + \bar\alpha_i t_i, \qquad
   \sigma_i^2 = \tau_\beta^2 + 2 \rho \tau_\alpha \tau_\beta \bar\alpha_i t_i + (\tau_\alpha \bar\alpha_i t_i)^2,
   \qquad \rho_i = (\rho \tau_\beta + \tau_\alpha \bar\alpha_i t_i) / \sigma_i,

for mean, sd and correlation with log alpha; alpha-bar = exp(m).  A *place* y is

.. math::

   \mathrm{stage} = \mu_i + \sigma_i y_1, \qquad
   \log\alpha = m + \tau_\alpha \left(\rho_i y_1 + (1 - \rho_i^2)^{1/2} y_2\right).

A speed of which nothing is known is then y_2 ~ Normal(0, 1) whatever the stage, the correlation and the sds are.  (In
units of beta given log alpha, a stage that is known would tie them to each other, and a Normal guide would be sure of a
correlation that it knows nothing of.)  The map from the independent standard normals behind (log alpha, beta) to y
keeps volumes, so that the density of y is exactly theirs.

References
----------
Betancourt & Girolami, "Hamiltonian Monte Carlo for hierarchical models", 2015; Papaspiliopoulos, Roberts & Skold, "A
general framework for the parametrization of hierarchical models", Statistical Science 2007.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from torch import Size, Tensor
from torch.distributions import constraints

__all__ = ["Hyper", "SubjectPlace"]


class Hyper(NamedTuple):
    """What subjects have in common; each broadcasts to ``(*, subjects)``.

    ``mean_a``, ``sd_a`` of log alpha, ``mean_b``, ``sd_b`` of beta*, their ``correlation``, and the ``share`` of
    the years between subjects that counts.

    Examples
    --------
    >>> scores = torch.tensor([-1.0, 0.3, 0.5, 1.2, 0.6, 1.0])
    >>> SubjectPlace(Hyper(*scores), torch.zeros(1)).sd  # of the stage: at the cohort's mean time it is beta
    tensor([1.2000])
    """

    mean_a: Tensor
    sd_a: Tensor
    mean_b: Tensor
    sd_b: Tensor
    correlation: Tensor
    share: Tensor


class SubjectPlace(dist.TorchDistribution):  # type: ignore[misc]
    """Distribution of places y, event ``(2,)``, of subjects whose (log alpha, beta*) is Normal.

    Parameters
    ----------
    hyper
        Of the population.
    time
        ``(subjects,)`` t_i: years from the cohort's mean time to that of a subject's visits.

    Examples
    --------
    >>> hyper = Hyper(*torch.tensor([-1.0, 0.3, 0.5, 1.2, 0.6, 0.5]))
    >>> law = SubjectPlace(hyper, torch.tensor([-4.0, 3.0]))  # two subjects
    >>> place = law.place(torch.tensor([-0.8, -1.1]), torch.tensor([0.5, 2.1]))
    >>> law.log_alpha_and_stage(place)
    (tensor([-0.8000, -1.1000]), tensor([0.5000, 2.1000]))
    >>> law.log_prob(place) + 0.5 * law.innovations(place).square().sum(-1)  # minus log 2 pi
    tensor([-1.8379, -1.8379])
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as torch declares it)
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, hyper: Hyper, time: Tensor) -> None:
        self.hyper = Hyper(*torch.broadcast_tensors(*hyper, time)[:6])  # type: ignore[no-untyped-call]
        self.time = time.expand_as(self.hyper.mean_a)
        self.counted = self.hyper.share * self.time
        travelled = self.hyper.mean_a.exp() * self.counted
        slope = self.hyper.sd_a * travelled
        rho, sd_b = self.hyper.correlation, self.hyper.sd_b
        self.own = (1 - rho.square()).sqrt() * sd_b  # sd of beta* given log alpha
        self.middle = self.hyper.mean_b + travelled
        self.sd = (self.own.square() + (rho * sd_b + slope).square()).sqrt()
        self.slant = (rho * sd_b + slope) / self.sd
        super().__init__(self.middle.shape, Size([2]), validate_args=False)

    def expand(self, batch_shape: Size, _instance: Any = None) -> SubjectPlace:
        """Return it with another batch shape."""
        shape = Size(batch_shape)
        return SubjectPlace(Hyper(*(part.expand(shape) for part in self.hyper)), self.time.expand(shape))

    def rsample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 (as torch declares it)
        """Draw, differentiably."""
        shape = self._extended_shape(sample_shape)
        z = torch.randn(shape, dtype=self.middle.dtype, device=self.middle.device)
        log_alpha = self.hyper.mean_a + self.hyper.sd_a * z[..., 0]
        beta = self.hyper.mean_b + self.hyper.correlation * self.hyper.sd_b * z[..., 0] + self.own * z[..., 1]
        return self.place(log_alpha, beta + log_alpha.exp() * self.counted)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of places ``(*, subjects, 2)``."""
        density: Tensor = -0.5 * self.innovations(value).square().sum(-1) - math.log(2 * math.pi)
        return density

    def place(self, log_alpha: Tensor, stage: Tensor) -> Tensor:
        """Return the places of subjects of that log speed and stage, ``(*, subjects, 2)``."""
        first = (stage - self.middle) / self.sd
        second = ((log_alpha - self.hyper.mean_a) / self.hyper.sd_a - self.slant * first) * self.sd / self.own
        return torch.stack([first, second], -1)

    def log_alpha_and_stage(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """Return log speeds and stages ``(*, subjects)`` at places."""
        return self.hyper.mean_a + self.hyper.sd_a * self._speed(place), self.middle + self.sd * place[..., 0]

    def centred(self, place: Tensor, share: Tensor) -> Tensor:
        """Return places centred as far as ``share (subjects, 2)`` says, by :mod:`neuropyro.guides.centring`."""
        return torch.stack(
            [
                share[..., 0] * self.middle + self.sd.pow(share[..., 0]) * place[..., 0],
                share[..., 1] * self._speed_given(place[..., 0]) + self._speed_sd.pow(share[..., 1]) * place[..., 1],
            ],
            -1,
        )

    def sampled(self, centred: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Return the places of centred ones ``(*, subjects, 2)``, and the log-volume of that ``(*, subjects)``."""
        first = (centred[..., 0] - share[..., 0] * self.middle) / self.sd.pow(share[..., 0])
        second = (centred[..., 1] - share[..., 1] * self._speed_given(first)) / self._speed_sd.pow(share[..., 1])
        return torch.stack([first, second], -1), -share[..., 0] * self.sd.log() - share[..., 1] * self._speed_sd.log()

    def _speed_given(self, first: Tensor) -> Tensor:
        """Return the expected log speed of a stage ``first`` sds from its middle."""
        return self.hyper.mean_a + self.hyper.sd_a * self.slant * first

    @property
    def _speed_sd(self) -> Tensor:
        """Sd of the log speed given the stage."""
        return self.hyper.sd_a * self.own / self.sd

    def innovations(self, place: Tensor) -> Tensor:
        """Return the independent standard normals behind (log alpha, beta*), ``(*, subjects, 2)``, at places."""
        log_alpha, stage = self.log_alpha_and_stage(place)
        z, beta = self._speed(place), stage - log_alpha.exp() * self.counted
        return torch.stack(
            [z, (beta - self.hyper.mean_b - self.hyper.correlation * self.hyper.sd_b * z) / self.own], -1
        )

    def _speed(self, place: Tensor) -> Tensor:
        """Return log speeds in sds from their mean."""
        return self.slant * place[..., 0] + self.own / self.sd * place[..., 1]
