"""What subjects share under one posterior draw, and each subject's own latents in units of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from neuropyro.models.control_group import CONTROL_SITES
from neuropyro.models.covariates import effects_of
from neuropyro.models.scores import SCORE_GLOBALS, marginal_scores, place_law
from neuropyro.models.trajectory import Trajectories
from neuropyro.models.visits import Visits

__all__ = ["Population", "population_of"]


@dataclass(frozen=True)
class Population:
    """One posterior draw of what subjects share; everything in one gauge.

    Parameters
    ----------
    share
        ``(K,)`` of the vertices; or each vertex's own, ``(vertices, K)``.
    theta, scatter, sigma
        Of the clusters' trajectories; ``scatter (K, 5)``: sds of d, c, log b, a, and the power of b that is Normal; or
        None.
    rho, omega
        ``(K,)`` sds of the subjects' offsets and of vertex effects, zeros for none.
    scores
        ``(6,)``: mean and sd of log speed, mean and sd of the score at the mean time, correlation, share of the years
        between subjects that counts.
    effects
        ``(2, C)`` of standardised covariates on log speed and on that score, or None.
    ageing
        ``(K,)`` a year, or None.
    spread
        ``(K,)`` sds of the clusters' levels at a visit about their curves, or None for none.

    Examples
    --------
    >>> import numpy as np
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(Cohort(np.array([[0.0], [1.0]]), [70.0, 71.0], ["a", "a"]), None)
    >>> draw = dict.fromkeys(("a", "b", "c", "d", "pi", "sigma"), torch.ones(1)) | {"place": torch.zeros(1, 2)}
    >>> draw |= dict.fromkeys(SCORE_GLOBALS, torch.tensor(0.5))
    >>> shared, _ = population_of(draw, None, visits)
    >>> shared.scores, shared.rho, shared.omega  # a draw without offsets and vertex effects
    (tensor([0.5000, 0.5000, 0.5000, 0.5000, 0.5000, 0.5000]), tensor([0.]), tensor([0.]))
    """

    share: Tensor
    theta: Trajectories
    scatter: Tensor | None
    sigma: Tensor
    rho: Tensor
    omega: Tensor
    scores: Tensor
    effects: Tensor | None = None
    ageing: Tensor | None = None
    spread: Tensor | None = None


def population_of(draw: Mapping[str, Tensor], scatter: Tensor | None, visits: Visits) -> tuple[Population, Tensor]:
    """Return the globals of a posterior draw, and each subject's latents in units of its population.

    Parameters
    ----------
    draw
        One draw by site; without ``rho`` and ``u``, subjects have no offsets, without ``omega`` no vertex effects.
    scatter
        ``(K, 5)``, or None for none.
    visits
        The data: when subjects were seen, and their covariates.

    Examples
    --------
    >>> import numpy as np
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(Cohort(np.array([[0.0], [1.0]]), [70.0, 71.0], ["a", "a"]), None)
    >>> draw = dict.fromkeys(("a", "b", "c", "d", "pi", "sigma"), torch.ones(1)) | {"place": torch.zeros(1, 2)}
    >>> draw |= dict.fromkeys(SCORE_GLOBALS, torch.tensor(0.5))
    >>> draw |= {"rho": torch.tensor([0.5]), "u": torch.tensor([[2.0]])}
    >>> population_of(draw, None, visits)[1]  # a subject of average speed and stage, and four sds off
    tensor([[0., 0., 4.]])
    """
    theta = Trajectories(*(draw[name] for name in Trajectories._fields))
    rho, omega = (draw.get(site, torch.zeros_like(draw["pi"])) for site in ("rho", "omega"))
    scores = marginal_scores(draw, visits)
    alike = {site: value for site, value in draw.items() if site not in CONTROL_SITES}
    everybody = place_law(alike | dict(zip(SCORE_GLOBALS, scores, strict=True)), visits)
    own = everybody.innovations(everybody.place(*place_law(draw, visits).log_alpha_and_stage(draw["place"])))
    offsets = draw["u"] / rho if "u" in draw else own.new_zeros(len(own), len(rho))
    shared = Population(
        draw["pi"], theta, scatter, draw["sigma"], rho, omega, scores, effects_of(draw), draw.get("ageing")
    )
    return shared, torch.cat([own, offsets], -1)
