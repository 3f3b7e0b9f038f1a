r"""People who came as controls: a group with a mean speed, a mean stage and a spread of its own.

Scores are measured in sds of the controls' first visits, and controls are chosen for what they have not got: many lie
where no curve has begun to change, and their values say no more than that.  Under one Normal law for all people each of
them would be as uncertain as the whole population is wide; drawn so, controls spread too far, and the unit with them,
by a factor that a posterior is sure of.  So the law knows who came as a control, which cohorts say:

.. math::

   E \log\alpha = \mu_\alpha + g \delta_\alpha, \qquad E \beta = \mu_\beta + g \delta_\beta \tau_\beta, \qquad
   \mathrm{sd}\,\beta = \lambda^g \tau_\beta,

g being 1 for a control and 0 for others.  Of new people the diagnosis is not asked: their law is the Normal with the
moments of the mixture of both groups.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.data import Cohort
from neuropyro.models.subject_place import Hyper

__all__ = ["CONTROL_SITES", "ControlGroup", "controls_of"]

CONTROL_SITES = ("control_log_alpha", "control_beta", "control_sd")
FEWEST = 5  # people of a group that has means and an sd of its own


class ControlGroup(NamedTuple):
    """How controls' law departs from that of the others; each has no dimensions, or those of draws.

    ``log_alpha`` is added to the mean log speed, ``beta`` times the others' sd to the mean beta*; ``sd`` is how many
    times as wide as the others' their beta* spreads.

    Examples
    --------
    >>> others = Hyper(*torch.tensor([-1.0, 0.3, 2.0, 1.5, 0.6, 0.5]))
    >>> early = ControlGroup(*torch.tensor([-0.5, -2.0, 0.4]))
    >>> own = early.of(others, torch.tensor([1.0, 0.0]))  # a control and a patient
    >>> own.mean_b, own.sd_b
    (tensor([-1.,  2.]), tensor([0.6000, 1.5000]))
    """

    log_alpha: Tensor
    beta: Tensor
    sd: Tensor

    def of(self, others: Hyper, controls: Tensor) -> Hyper:
        """Return the law of each subject, ``controls (subjects,)`` being 1 for a control and else 0."""
        return others._replace(
            mean_a=others.mean_a + self.log_alpha * controls,
            mean_b=others.mean_b + self.beta * others.sd_b * controls,
            sd_b=others.sd_b * self.sd.pow(controls),
        )

    def marginal(self, others: Hyper, share: Tensor | float) -> Hyper:
        """Return the moments over people of either group, a ``share`` of whom are controls."""
        apart_a, apart_b, between = self.log_alpha, self.beta * others.sd_b, share * (1 - share)
        sd_a = (others.sd_a.square() + between * apart_a.square()).sqrt()
        within = others.sd_b.square() * (1 - share + share * self.sd.square())
        sd_b = (within + between * apart_b.square()).sqrt()
        shared = others.correlation * others.sd_a * others.sd_b * (1 - share + share * self.sd)
        correlation = (shared + between * apart_a * apart_b) / (sd_a * sd_b)
        mean_a, mean_b = others.mean_a + share * apart_a, others.mean_b + share * apart_b
        return Hyper(mean_a, sd_a, mean_b, sd_b, correlation, others.share)


def controls_of(cohort: Cohort) -> NDArray[np.float64] | None:
    """Return who came as a control, ``(subjects,)`` 1 or 0; None where there are fewer than `FEWEST` of either kind.

    Examples
    --------
    >>> people = [f"p{i}" for i in range(12)]
    >>> cohort = Cohort(np.ones((12, 1)), time=[70] * 12, subject=people, diagnosis=["CN", "AD"] * 6)
    >>> int(controls_of(cohort).sum()), controls_of(cohort.subset(visits=np.arange(8)))
    (6, None)
    """
    first = np.flatnonzero(cohort.is_first_visit & cohort.is_control)
    controls = np.bincount(cohort.subject_index[first], minlength=cohort.n_subjects).astype(np.float64)
    return controls if min(controls.sum(), (1 - controls).sum()) >= FEWEST else None
