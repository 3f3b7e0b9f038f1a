r"""Subject effects: a subject's own lasting offset from each trajectory.

u_ik ~ Normal(0, rho_k) is sampled in units of its own sd given all else,

.. math::  u^\mathrm{scaled}_{ik} = u_{ik} (\rho_k^{-2} + n_i P_k)^{1/2},

with n_i the subject's visits and P_k the precision at which one of them determines u.  The model is the same, but its
mode is not at rho = 0, where the joint density of u and rho has a pole.
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from neuropyro.models.visits import Visits

__all__ = ["OFFSET_SITES", "sample_offset"]

OFFSET_SITES = ("u", "u_scaled")


def sample_offset(rho: Tensor, information: Tensor, visits: Visits, subjects: pyro.plate) -> Tensor:
    """Sample u_scaled ``(*, subjects, K)`` in the plate of subjects, u being deterministic.

    Parameters
    ----------
    rho
        ``(*, K)`` sd over subjects.
    information
        ``(*, K)`` precision P at which one visit determines u.

    Returns
    -------
    u as ``(*, K, subjects)``
    """
    sd = rho.unsqueeze(-2)
    precision = sd.pow(-2) + information.unsqueeze(-2) * visits.visits_of_subject.unsqueeze(-1)
    with subjects:
        scaled = pyro.sample("u_scaled", dist.Normal(torch.zeros_like(precision), sd * precision.sqrt()).to_event(1))
        own: Tensor = pyro.deterministic("u", scaled * precision.rsqrt(), event_dim=1)
    return own.mT
