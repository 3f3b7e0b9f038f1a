"""Priors of clusters of vertices, and the sites that they are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from neuropyro.models.priors import Pair
from neuropyro.models.trajectory import Trajectories

__all__ = ["CLUSTER_SITES", "POWER", "SCATTER", "VertexPriors"]

SCATTER = ("scatter_c", "scatter_log_b", "scatter_a")
POWER = "power_b"
CLUSTER_SITES = ("pi", *Trajectories._fields, "sigma", "rho", "tau", "omega", "ageing", *SCATTER, POWER)


@dataclass(frozen=True)
class VertexPriors:
    """Priors of what `VertexClusterMixture` adds to trajectories and scores, on standardised data.

    Parameters
    ----------
    pi
        Concentration of the Dirichlet.
    rho
        LogNormal (location, scale): sd of the subjects' offsets.
    tau
        LogNormal (location, scale): sd of the visits' effects.
    omega
        LogNormal (location, scale): sd of what lasts of a subject at a single vertex.
    ageing
        Normal (location, scale): change a year of a cluster's vertices that is not of the progression.
    scatter
        LogNormal (location, scale): sds over a cluster's vertices of c, log b, a.
    power
        Normal (location, scale): the power of b that is Normal over a cluster's vertices
        (:mod:`neuropyro.models.speed_law`).
    baseline
        Sd over a cluster's vertices of d; fixed and wide, so that each vertex has a baseline of its own.
    coupling
        LogNormal (location, scale): lambda of the spatial prior.

    Examples
    --------
    >>> from neuropyro.models import VertexClusterMixture
    >>> VertexClusterMixture(3, vertex_priors=VertexPriors(pi=1.0)).vertex_priors.pi
    1.0
    """

    pi: float = 5.0
    rho: Pair = (-1.5, 0.8)
    tau: Pair = (-2.0, 1.0)
    omega: Pair = (-0.7, 0.7)
    ageing: Pair = (0.0, 0.1)
    scatter: Pair = (-1.5, 0.5)
    power: Pair = (0.5, 0.5)
    baseline: float = 5.0
    coupling: Pair = (-0.3, 0.7)

    def scatter_law(self, learned: Sequence[Tensor]) -> Tensor:
        """Return the sds of d, c, log b, a, and the power of b that is Normal, ``(*, K, 5)``.

        All but the first are learned, ``(*, K)`` each, in the order of `SCATTER` and `POWER`.
        """
        return torch.stack([torch.full_like(learned[0], self.baseline), *learned], -1)
