"""What new subjects share with those that a model was fitted to: one posterior draw of the course."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neuropyro.models.ageing import aged
from neuropyro.models.trajectory import Trajectories, sigmoid
from neuropyro.models.vertex_scatter import scattered
from neuropyro.models.visits import Visits

__all__ = ["Course"]


class Course(NamedTuple):
    """One posterior draw of what a new subject shares with those that were fitted.

    theta: trajectories ``(K,)`` each; scatter ``(K, 5)`` as in `Population`, or None; sigma ``(K,)``; rho ``(K,)``
    sds of subjects' offsets, or None; spread ``(K,)`` sds of visits' effects, or None; scores ``(6,)`` as in
    `Population`; label ``(vertices,)``; own ``(vertices, 9)`` e of
    each vertex, or None; effects ``(2, C)`` of standardised covariates on log speed and on that score, or None; dps
    ``(visits,)`` scores of the visits that were fitted, or None; omega ``(K,)`` sds of vertex effects, or None; ageing
    ``(K,)`` a year, or None.

    Examples
    --------
    >>> theta = Trajectories(*torch.tensor([[-2.0], [1.0], [0.5], [3.0]]))  # from 3 it falls by 2 about the score .5
    >>> course = Course(theta, None, torch.ones(1), None, None, torch.zeros(6), torch.tensor([0, 0]), None)
    >>> course.columns(torch.tensor([-50.0, 0.5, 50.0])).flatten().tolist()
    [3.0, 2.0, 1.0]
    """

    theta: Trajectories
    scatter: Tensor | None
    sigma: Tensor
    rho: Tensor | None
    spread: Tensor | None
    scores: Tensor
    label: Tensor
    own: Tensor | None
    effects: Tensor | None = None
    dps: Tensor | None = None
    omega: Tensor | None = None
    ageing: Tensor | None = None

    def columns(self, scores: Tensor) -> Tensor:
        """Return F and the columns of J at ``scores (G,)``, ``(K, G, 1 or 10)``."""
        if self.scatter is None:
            return sigmoid(scores, self.theta).unsqueeze(-1)
        mean, columns = scattered(scores, self.theta, self.scatter)
        return torch.cat([mean.unsqueeze(-1), columns], -1)

    def aged(self, years: Tensor) -> Tensor:
        """Return what time adds at ``years (n,)`` from the fitted cohort's mean time, ``(vertices or 1, n)``."""
        if self.ageing is None:
            return torch.zeros_like(years).unsqueeze(0)
        return aged(self.ageing.to(years), years)[self.label]

    def without_ageing(self, visits: Visits) -> Visits:
        """Return the visits as if all had been at the fitted cohort's mean time."""
        return visits if self.ageing is None else visits.with_values(visits.values - self.aged(visits.years))

    def only(self, k: int) -> Course:
        """Return the course of one cluster alone."""
        theta = Trajectories(*(p[k : k + 1] for p in self.theta))
        return self._replace(theta=theta, scatter=None if self.scatter is None else self.scatter[k : k + 1])
