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
    """
    sd = rho.unsqueeze(-2)
    scale = (sd.pow(-2) + visits.sum_of_subject(information).mT).sqrt()
    mean = visits.sum_of_subject(information * curve).mT / scale
    with subjects:
        scaled = pyro.sample("u_scaled", dist.Normal(mean, sd * scale).to_event(1))
        own: Tensor = pyro.deterministic("u", (scaled - mean) / scale, event_dim=1)
    return own.mT[..., visits.subject]


def with_offsets(program: Callable[[Visits], Any], visits: Visits, sites: dict[str, Tensor]) -> dict[str, Tensor]:
    """Put u_scaled in the place of ``u (subjects, K)`` among values of a program's sites."""
    given = without_offsets(sites) | {"rho": sites["rho"]}
    law = law_of_offsets(program, visits, given)
    return given | {"u_scaled": law.loc + sites["u"] * law.scale / sites["rho"]}


@torch.no_grad()
def law_of_offsets(program: Callable[[Visits], Any], visits: Visits, given: Mapping[str, Tensor]) -> Any:
    """Return the Normal of u_scaled ``(subjects, K)``, given a program's other sites."""
    with torch.random.fork_rng(), poutine.block():
        trace = poutine.trace(poutine.condition(program, dict(given))).get_trace(visits)
    return trace.nodes["u_scaled"]["fn"].base_dist


def without_offsets(sites: dict[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what is of subjects' offsets."""
    return {site: value for site, value in sites.items() if site not in ("rho", "u")}
