r"""Vertices whose clusters are known: an atlas, or every biomarker a cluster of its own.

.. math::  p(V \mid Z) = \textstyle\prod_l p(V_l \mid Z_l = z_l),

the model of :mod:`neuropyro.models.vertex_clusters` with Z observed.  Each cluster's vertices meet their own curve
alone, so that an atlas of many regions costs no more than one of few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Size, Tensor

from neuropyro.data import CohortError
from neuropyro.models.mixture import Mixture
from neuropyro.models.visits import Visits

__all__ = ["LabelledMixture", "LabelledVisits", "checked_labels", "with_labels"]


@dataclass(frozen=True)
class LabelledVisits(Visits):
    """Visits of vertices whose clusters are known.

    Parameters
    ----------
    label
        ``(vertices,)`` int; the rest as `Visits`.
    order, place
        ``(vertices,)`` the vertices cluster by cluster, and each vertex's place there.
    counts
        Vertices of each cluster.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> cohort = Cohort(np.array([[0.0, 1.0, 2.0], [2.0, 1.5, 0.0]]), [70.0, 71.0], ["a", "a"])
    >>> visits = with_labels(prepare_visits(cohort, None), [1, 0, 1])
    >>> [vertices.tolist() for vertices in visits.members]
    [[1], [0, 2]]
    """

    label: Tensor = field(kw_only=True)
    order: Tensor = field(kw_only=True)
    place: Tensor = field(kw_only=True)
    counts: tuple[int, ...] = field(kw_only=True)

    @property
    def members(self) -> tuple[Tensor, ...]:
        """The vertices of each cluster."""
        return torch.split(self.order, list(self.counts))


def checked_labels(labels: Any, n_clusters: int) -> tuple[int, ...]:
    """Return labels as given to a model as whole numbers.

    Raises
    ------
    ValueError
        Where they are no whole numbers from 0 to K - 1, one a vertex, or a cluster has no vertex.

    Examples
    --------
    >>> checked_labels([0, 2, 2], n_clusters=3)
    Traceback (most recent call last):
    ValueError: labels: no vertex is of cluster 1; number the regions without gaps
    """
    array = np.asarray(labels)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"labels: must be a whole number for each vertex, not {array.dtype} {array.shape}")
    used = np.unique(array)
    if used.size and (used[0] < 0 or used[-1] >= n_clusters):
        wrong = used[0] if used[0] < 0 else used[-1]
        raise ValueError(
            f"labels: {wrong} is there, where {n_clusters} clusters have 0 to {n_clusters - 1}; leave vertices of no "
            "region out (Cohort.subset)"
        )
    if len(used) < n_clusters:
        absent = np.setdiff1d(np.arange(n_clusters), used)
        raise ValueError(f"labels: no vertex is of cluster {absent[0]}; number the regions without gaps")
    return tuple(array.tolist())


def with_labels(visits: Visits, labels: Sequence[int]) -> LabelledVisits:
    """Join visits and their vertices' labels.

    Raises
    ------
    CohortError
        Where there is not one label for each vertex, or no vertex of a cluster varies.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> cohort = Cohort(np.array([[0.0, 1.0, 2.0], [2.0, 1.5, 0.0]]), [70.0, 71.0], ["a", "a"])
    >>> visits = with_labels(prepare_visits(cohort, None), [1, 0, 1])
    >>> visits.counts, visits.order.tolist(), visits.place.tolist()
    ((1, 2), [1, 0, 2], [1, 0, 2])
    """
    if len(labels) != visits.n_vertices:
        raise CohortError(f"labels: {len(labels)} labels for {visits.n_vertices} vertices; give one for each")
    label = torch.as_tensor(labels, device=visits.values.device)
    varying = set(label[visits.is_informative].tolist())
    silent = sorted(set(labels) - varying)
    if silent:
        raise CohortError(f"values: no vertex of cluster {silent[0]} varies over visits; leave that region out")
    order = label.argsort(stable=True)
    return LabelledVisits(
        **{f.name: getattr(visits, f.name) for f in fields(visits)},
        label=label,
        order=order,
        place=order.argsort(),
        counts=tuple(label.bincount().tolist()),
    )


class LabelledMixture(TorchDistribution):  # type: ignore[misc]
    """The values of vertices of known clusters; batch = vertices, event = visits.

    Parameters
    ----------
    mixture
        The clusters.
    visits
        The design, and the vertices' labels.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> cohort = Cohort(np.array([[0.0, 1.0, 2.0], [2.0, 1.5, 0.0]]), [70.0, 71.0], ["a", "a"])
    >>> visits = with_labels(prepare_visits(cohort, None), [1, 0, 1])
    >>> clusters = Mixture(torch.tensor([0.5, 0.5]), torch.tensor([[1.0, 1.5], [0.0, 2.0]]), None, torch.ones(2))
    >>> density = LabelledMixture(clusters, visits).log_prob(visits.values)
    >>> (density + np.log(2 * np.pi)).round(decimals=3)  # the first two are on their curves, the third is 2 off twice
    tensor([ 0.,  0., -4.])
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as torch declares it)
    support = constraints.real_vector

    def __init__(self, mixture: Mixture, visits: LabelledVisits) -> None:
        self.mixture, self.visits = mixture, visits
        lead = mixture.loc.shape[:-2]
        super().__init__(Size((*lead, visits.n_vertices)), Size((visits.n_visits,)), validate_args=False)

    def expand(self, batch_shape: Size, _instance: Any = None) -> LabelledMixture:
        """Return the same distribution with another batch shape."""
        new: LabelledMixture = self._get_checked_instance(LabelledMixture, _instance)
        new.mixture, new.visits = self.mixture, self.visits
        TorchDistribution.__init__(new, Size(batch_shape), self.event_shape, validate_args=False)
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of ``value (vertices, visits)``, summed over visits; ``(*batch,)``."""
        parts = [
            self.mixture.of_cluster(k, members, self.visits).log_prob(value[members])
            for k, members in enumerate(self.visits.members)
        ]
        return torch.cat(parts, -1)[..., self.visits.place].expand(self.batch_shape)

    @torch.no_grad()
    def sample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 (as torch declares it)
        """Draw ``(*sample_shape, *batch, visits)``; missing values are drawn too."""
        each = self.mixture.of_vertices(self.visits.label, self.visits)
        drawn: Tensor = each.expand(self.batch_shape).sample(sample_shape)
        return drawn
