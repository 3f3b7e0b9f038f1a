r"""Subject effects: a subject's own lasting offset from each trajectory.

u_ik ~ Normal(0, rho_k) is sampled in units of its own sd given all else, and together with the mean f_ik, over the
subject's visits, of the curve F that it is an offset from:

.. math::  u^\mathrm{scaled}_{ik} = p_{ik} (u_{ik} + w_{ik} f_{ik}), \qquad
           p_{ik} = (\rho_k^{-2} + \textstyle\sum_n P_{kn})^{1/2}, \qquad w_{ik} = \sum_n P_{kn} / p_{ik}^2, \qquad
           f_{ik} = \sum_n P_{kn} F_{kn} / \sum_n P_{kn},

with P_kn the precision at which a visit n of the subject determines u: none where nothing was seen.  The model is the
same.  But its mode is not at rho = 0, where the joint density of u and rho has a pole; and since u given the data and f
has mean w (mean of the data - f), what is sampled does not depend on f: neither an optimiser nor a guide has to move
offsets along whenever scores move.  Where every vertex has a baseline of its own, data say nothing of what all offsets
and the curve have in common: F is then the curve less its mean over all visits, or all offsets would have to move along
whenever that moves.

References
----------
Papaspiliopoulos, Roberts & Skold, "A general framework for the parametrization of hierarchical models", Statistical
Science 2007 (partial centring).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor

from neuropyro.models.visits import Visits

__all__ = ["OFFSET_SITES", "law_of_offsets", "sample_offset", "with_offsets", "without_offsets"]

OFFSET_SITES = ("u", "u_scaled")


def sample_offset(rho: Tensor, information: Tensor, curve: Tensor, visits: Visits, subjects: pyro.plate) -> Tensor:
    """Sample u_scaled ``(*, subjects, K)`` in the plate of subjects, u being deterministic.

    Parameters
    ----------
    rho
        ``(*, K)`` sd over subjects.
    information
        ``(*, K, visits)`` precision P at which a visit determines u.
    curve
        ``(*, K, visits)`` F.

    Returns
    -------
    Each visit's u, ``(*, K, visits)``

    Examples
    --------
    >>> import numpy as np
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(Cohort(np.arange(3.0)[:, None], [70.0, 71.0, 72.0], ["a", "a", "b"]), None)
    >>> one, subjects = torch.ones(1, 3), pyro.plate("subject", 2, dim=-1)
    >>> program = lambda visits: sample_offset(torch.ones(1), one, 0 * one, visits, subjects)
    >>> pyro.condition(program, {"u_scaled": torch.ones(2, 1)})(visits)  # 1 / p, by the number of visits
    tensor([[0.5774, 0.5774, 0.7071]])
    """
    sd = rho.unsqueeze(-2)
    scale = (sd.pow(-2) + visits.sum_of_subject(information).mT).sqrt()
    mean = visits.sum_of_subject(information * curve).mT / scale
    with subjects:
        scaled = pyro.sample("u_scaled", dist.Normal(mean, sd * scale).to_event(1))
        own: Tensor = pyro.deterministic("u", (scaled - mean) / scale, event_dim=1)
    return own.mT[..., visits.subject]


def with_offsets(program: Callable[[Visits], Any], visits: Visits, sites: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put u_scaled in the place of ``u (subjects, K)`` among values of a program's sites.

    Examples
    --------
    >>> import numpy as np
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(Cohort(np.arange(3.0)[:, None], [70.0, 71.0, 72.0], ["a", "a", "b"]), None)
    >>> one, subjects = torch.ones(1, 3), pyro.plate("subject", 2, dim=-1)
    >>> program = lambda visits: sample_offset(torch.ones(1), one, 0 * one, visits, subjects)
    >>> sites = with_offsets(program, visits, {"rho": torch.ones(1), "u": torch.tensor([[0.3], [-0.2]])})
    >>> pyro.condition(program, {"u_scaled": sites["u_scaled"]})(visits)
    tensor([[ 0.3000,  0.3000, -0.2000]])
    """
    given = without_offsets(sites) | {"rho": sites["rho"]}
    law = law_of_offsets(program, visits, given)
    return given | {"u_scaled": law.loc + sites["u"] * law.scale / sites["rho"]}


@torch.no_grad()
def law_of_offsets(program: Callable[[Visits], Any], visits: Visits, given: Mapping[str, Tensor]) -> Any:
    """Return the Normal of u_scaled ``(subjects, K)``, given a program's other sites.

    Examples
    --------
    >>> import numpy as np
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(Cohort(np.arange(3.0)[:, None], [70.0, 71.0, 72.0], ["a", "a", "b"]), None)
    >>> one, subjects = torch.ones(1, 3), pyro.plate("subject", 2, dim=-1)
    >>> program = lambda visits: sample_offset(torch.ones(1), one, 0 * one, visits, subjects)
    >>> law_of_offsets(program, visits, {}).variance.flatten()  # rho p, squared: one and the visits
    tensor([3.0000, 2.0000])
    """
    with torch.random.fork_rng(), poutine.block():
        trace = poutine.trace(poutine.condition(program, dict(given))).get_trace(visits)
    return trace.nodes["u_scaled"]["fn"].base_dist


def without_offsets(sites: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what is of subjects' offsets.

    Examples
    --------
    >>> sorted(without_offsets(dict.fromkeys(("a", "rho", "sigma", "u"), torch.ones(1))))
    ['a', 'sigma']
    """
    return {site: value for site, value in sites.items() if site not in ("rho", "u")}
