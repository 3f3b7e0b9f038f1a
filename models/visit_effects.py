r"""Visit effects: what all vertices of a cluster share at one visit beyond the trajectory and the subject's offset.

Residuals of real maps are smooth over the surface, and a scanner's mood moves whole regions, so that a cluster's mean
at a visit departs from its curve by more than thousands of independent vertices would let it.  Without this, the
vertices count as so many witnesses, and intervals of scores are absurdly narrow.

.. math::  m_{nk} \sim \mathrm{Normal}\left(F_{nk},\; \sqrt{\tau_k^2 + \sigma_k^2 K / L}\right),

the *level* of cluster k at visit n, takes F's place as the mean of its vertices.  The second term is the variance of
the mean of L / K vertices by their own noise, L being their effective number
(:mod:`neuropyro.models.effective_vertices`): it keeps the sd from 0, where the joint density of levels and tau has a
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

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(simulate_reference(n_subjects=3, n_vertices=8, seed=0), "all")
    >>> level_sd(None, torch.ones(2), visits)  # noise of the mean of 8 / 2 vertices
    tensor([0.5000, 0.5000])
    >>> level_sd(torch.tensor([0.0, 1.2]), torch.ones(2), visits)
    tensor([0.5000, 1.3000])
    """
    noise = sigma.square() * sigma.shape[-1] / visits.effective_vertices
    return (noise if tau is None else tau.square() + noise).sqrt()


def offset_information(sd: Tensor, visits: Visits) -> Tensor:
    """Return the precision ``(*, K, visits)`` at which visits determine offsets, given the sd ``(*, K)`` of levels.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> values = [[1.0, 2.0], [3.0, float("nan")], [2.0, 5.0]]  # of two vertices; at the second visit one was seen
    >>> visits = prepare_visits(Cohort(values, time=[60, 61, 70], subject=["a", "a", "b"]), None)
    >>> offset_information(torch.tensor([0.5]), visits)
    tensor([[4., 2., 4.]])
    """
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

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(simulate_reference(n_subjects=3, n_vertices=8, seed=0), "all")
    >>> curves = torch.linspace(0, 1, 12).expand(2, 12)  # two clusters, twelve visits
    >>> levels = sample_levels(curves, torch.tensor([1e-6, 1.0]), visits)
    >>> torch.allclose(levels[0], curves[0], atol=1e-4), torch.allclose(levels[1], curves[1], atol=1e-4)
    (True, False)
    """
    mean = curve.mT
    with pyro.plate("visit", visits.n_visits, dim=-1):
        level: Tensor = pyro.sample("level", dist.Normal(mean, sd.unsqueeze(-2).expand_as(mean)).to_event(1))
    return level.mT
