"""Clusters of vertices as distributions: a mean curve, the scatter about it, and the white residuals of each."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neuropyro.models.picking import picked
from neuropyro.models.scatter_nodes import ScatterNodes, noded
from neuropyro.models.trajectory import Trajectories, sigmoid
from neuropyro.models.vertex_effects import Lasting
from neuropyro.models.visit_mixture import VisitMixture
from neuropyro.models.visit_normal import VisitNormal
from neuropyro.models.visits import Visits

__all__ = ["Mixture", "curves"]


class Mixture(NamedTuple):
    """The clusters' shares of the vertices ``(*, K)``, and what their vertices' values are like.

    ``loc (*, K, visits)``, ``nodes`` of the scatter or None, ``sigma (*, K)``; ``coupling`` of neighbours' labels, a
    scalar or ``(*, 1)``, or None where labels are independent; ``omega (*, K)`` of vertex effects, or None.

    Examples
    --------
    >>> import numpy as np
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(Cohort(np.array([[0.0], [2.0]]), [70.0, 71.0], ["a", "a"]), None)
    >>> clusters = Mixture(torch.tensor([0.5, 0.5]), torch.tensor([[0.0, 2.0], [0.0, 0.0]]), None, torch.ones(2))
    >>> each = clusters.log_likelihood(visits.values, visits)
    >>> (each + np.log(2 * np.pi)).round(decimals=3)  # on the first cluster's curve, 2 off the second's at one visit
    tensor([[ 0., -2.]])
    """

    share: Tensor
    loc: Tensor
    nodes: ScatterNodes | None
    sigma: Tensor
    coupling: Tensor | None = None
    omega: Tensor | None = None

    def log_likelihood(self, values: Tensor, visits: Visits) -> Tensor:
        """Return log p(V_l | Z_l = k) of ``values (vertices, visits)``, ``(*, vertices, K)``."""
        n_clusters = self.sigma.shape[-1]
        labels = torch.arange(n_clusters, device=values.device).reshape(-1, *[1] * (self.loc.dim() - 1))
        each: Tensor = self.of_vertices(labels, visits).log_prob(values)
        return each.movedim(0, -1)

    def of_vertices(self, z: Tensor, visits: Visits) -> VisitNormal | VisitMixture:
        """Return the distribution of the values of vertices with labels ``z (*, 1 or vertices)``."""
        # A dimension for vertices goes before that of clusters, out of which z then picks.
        sigma = picked(self.sigma.unsqueeze(-2), z)
        lasting = None
        if self.omega is not None:
            lasting = Lasting(picked(self.omega.unsqueeze(-2), z), sigma, visits.own_sums)
        data = (visits.observed, visits.sum_squares, lasting)
        loc = picked(self.loc.unsqueeze(-3), z, event_dim=1)
        if self.nodes is None:
            return VisitNormal(loc, sigma, None, *data)
        departure = picked(self.nodes.departure.unsqueeze(-4), z, event_dim=2)
        columns = picked(self.nodes.columns.unsqueeze(-5), z, event_dim=3)
        return _law(loc, sigma, ScatterNodes(departure, columns, self.nodes.log_weight), *data)

    def of_cluster(self, k: int, members: Tensor, visits: Visits) -> VisitNormal | VisitMixture:
        """Return the distribution of the values of some vertices of one cluster."""
        sigma, lasting = self.sigma[..., k, None], None
        if self.omega is not None:
            lasting = Lasting(self.omega[..., k, None], sigma, visits.own_sums.of_vertices(members))
        seen = None if visits.observed is None else visits.observed[members]
        data = (seen, visits.sum_squares[members], lasting)
        loc = self.loc[..., k, None, :]
        if self.nodes is None:
            return VisitNormal(loc, sigma, None, *data)
        departure, columns = self.nodes.departure[..., k, None, :, :], self.nodes.columns[..., k, None, :, :, :]
        return _law(loc, sigma, ScatterNodes(departure, columns, self.nodes.log_weight), *data)


def _law(
    loc: Tensor, sigma: Tensor, nodes: ScatterNodes, observed: Tensor | None, squares: Tensor, lasting: Lasting | None
) -> VisitMixture:
    """Return the mixture over the nodes of vertices' clusters, picked: ``(*, M, visits)``."""
    courses, columns = loc + nodes.departure.movedim(-2, 0), nodes.columns.movedim(-3, 0)
    return VisitMixture(VisitNormal(courses, sigma, columns, observed, squares, lasting), nodes.log_weight)


def curves(scores: Tensor, theta: Trajectories, scatter: Tensor | None) -> tuple[Tensor, ScatterNodes | None]:
    """Return the mean curve of each cluster and what its vertices scatter by.

    Parameters
    ----------
    scores
        ``(*, visits)``.
    scatter
        ``(*, K, 4)`` sds of d, c, log b, a over a cluster's vertices, or None.

    Returns
    -------
    loc ``(*, K, visits)``, nodes or None

    Examples
    --------
    >>> theta = Trajectories(*torch.tensor([[-2.0], [1.0], [0.5], [3.0]]))
    >>> curves(torch.tensor([-50.0, 0.5, 50.0]), theta, scatter=None)[0].tolist()
    [[3.0, 2.0, 1.0]]
    """
    return (sigmoid(scores, theta), None) if scatter is None else noded(scores, theta, scatter)
