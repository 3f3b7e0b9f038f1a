r"""Visit effects: what all vertices of a cluster share at one visit beyond the trajectory and the subject's offset.

Residuals of real maps are smooth over the surface, and a scanner's mood moves whole regions, so that a cluster's mean
at a visit departs from its curve by more than thousands of independent vertices would let it.  Without this, the
vertices count as so many witnesses, and intervals of scores are absurdly narrow.

.. math::  m_{nk} \sim \mathrm{Normal}\left(F_{nk},\; \sqrt{\tau_k^2 + \sigma_k^2 K / L}\right),

the *level* of cluster k at visit n, takes F's place as the mean of its vertices.  The second term is the variance of
the mean of L / K vertices by their own noise: it keeps the sd from 0, where the joint density of levels and tau has a
pole, and errs to the wide side.
"""

from __future__ import annotations

import pyro
import pyro.distributions as dist
from torch import Tensor

from neuropyro.models.visits import Visits

__all__ = ["level_sd", "offset_information", "sample_levels"]


def level_sd(tau: Tensor | None, sigma: Tensor, visits: Visits) -> Tensor:
    """Return the sd of a level about its curve, ``(*, K)``; without tau, what the vertices' noise leaves of it.

    A cluster's own share of the vertices has no place here: levels and offsets in units of it would draw it to where
    their densities are high, and away from what the vertices say.
    """
    noise = sigma.square() * sigma.shape[-1] / visits.n_vertices
    return (noise if tau is None else tau.square() + noise).sqrt()


def offset_information(sd: Tensor, visits: Visits) -> Tensor:
    """Return the precision ``(*, K, visits)`` at which visits determine offsets, given the sd ``(*, K)`` of levels."""
    return sd.pow(-2).unsqueeze(-1) * visits.share_seen


def sample_levels(curve: Tensor, sd: Tensor, visits: Visits) -> Tensor:
    """Sample the site ``level (*, visits, K)`` in a plate of visits.

    Parameters
    ----------
    curve
        ``(*, K, visits)`` F.
    sd
        ``(*, K)``.

    Returns
    -------
    ``(*, K, visits)``
    """
    mean = curve.mT
    with pyro.plate("visit", visits.n_visits, dim=-1):
        level: Tensor = pyro.sample("level", dist.Normal(mean, sd.unsqueeze(-2).expand_as(mean)).to_event(1))
    return level.mT
