r"""A Potts prior over the clusters of neighbouring vertices, in place of independent labels.

**The story.**  Neighbours on the cortex tend to belong to one cluster.  How much so is learned.

**The maths.**  Over the mesh's M edges, with all labels alike otherwise,

.. math::

   \lambda \sim \mathrm{LogNormal}, \qquad
   p(Z \mid \lambda) = \frac{1}{C(\lambda)} \exp\Big(\lambda \sum_{l \sim j} [Z_l = Z_j]\Big),

with log C by thermodynamic integration (:mod:`neuropyro.models.spatial_normaliser`).  Z cannot be summed out any more.
This is the one place where it has a q of its own, :math:`q(Z) = \prod_l q_l(Z_l)`, swept on a colouring of the mesh
(:mod:`neuropyro.models.spatial_sweeps`) inside the density: the data's site has the log-density

.. math::

   \mathcal{F} = \sum_{lk} q_{lk} \big(\log p(V_l \mid k) - \log q_{lk}\big)
      + \lambda \sum_{l \sim j} \sum_k q_{lk} q_{jk} - \log C(\lambda) \;\le\; \log p(V \mid \lambda, \dots),

E_q[log p(V | Z)] + E_q[log p(Z)] + H(q) at the best q for the other sites' values: a collapsed variational bound.  All
guides and runners see a density of their sites, as ever; an ELBO of theirs is one of the whole model.  With lambda = 0
it is log p(V) exactly, that of the enumerated model with equal shares.

q depends on the values of the other sites alone, and on no earlier step.  Being a bound, the density is the lower where
labels remain open and depend on each other: mean field takes neighbours' doubts for independent, and is surer of a
vertex between two clusters than it should be.

References
----------
Potts, "Some generalized order-disorder transformations", 1952; Marinescu et al., NeuroImage 2019 (DIVE), section on
spatial constraints, of which this is a proper version: there neighbours' opinions compound from one step to the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Size, Tensor

from neuropyro.data import CohortError, Mesh
from neuropyro.models.mixture import Mixture
from neuropyro.models.spatial_normaliser import PottsNormaliser, draw_labels, potts_normaliser
from neuropyro.models.spatial_sweeps import Neighbours, mean_field, neighbours_of
from neuropyro.models.visits import Visits

__all__ = ["MeshVisits", "PottsMixture", "PottsPrior", "on_mesh"]

SWEEPS = 20


@dataclass(frozen=True)
class PottsPrior:
    """p(Z | lambda) on one mesh.

    Parameters
    ----------
    mesh
        Of the vertices.
    neighbours
        The same mesh, laid out for sweeps.
    normaliser
        log C.

    Examples
    --------
    >>> mesh = Mesh.grid(1, 2)  # two neighbours, and two labels that may be any of four pairs
    >>> flat = PottsNormaliser(torch.zeros(1), torch.zeros(1, 5), n_edges=1, at_zero=float(np.log(4)))
    >>> log_p = torch.tensor([[0.0, -1.0], [-2.0, 0.0]])
    >>> prior = PottsPrior(mesh, neighbours_of(mesh), flat)
    >>> prior.bound(log_p, torch.tensor(0.0)), log_p.logsumexp(-1).sum() - flat.at_zero  # exact without coupling
    (tensor(-0.9461), tensor(-0.9461))
    """

    mesh: Mesh
    neighbours: Neighbours
    normaliser: PottsNormaliser

    def to(self, device: torch.device | str | None, dtype: torch.dtype | None) -> PottsPrior:
        """Return the same prior on a device, in a dtype; None leaves as it is."""
        moved = replace(self, neighbours=self.neighbours.to(device))
        return replace(moved, normaliser=self.normaliser.to(device, dtype))

    def bound(self, log_likelihood: Tensor, coupling: Tensor, sweeps: int = SWEEPS) -> Tensor:
        """Return the bound on log p(V), nats, ``(*,)``.

        Parameters
        ----------
        log_likelihood
            ``(*, L, K)`` log p(V_l | Z_l = k).
        coupling
            lambda, ``(*,)`` or a scalar.
        """
        log_q = mean_field(log_likelihood, coupling, self.neighbours, sweeps)
        q = log_q.exp()
        alone = (q * (log_likelihood - log_q)).sum((-2, -1))
        agreeing = (q * self.neighbours.sums(q)).sum((-2, -1)) / 2  # an edge is seen from both of its ends
        return alone + coupling * agreeing - self.normaliser(coupling)

    def log_shares(self, log_likelihood: Tensor, coupling: Tensor, sweeps: int = 5 * SWEEPS) -> Tensor:
        """Return what each vertex's neighbours say of its label, the log of shares ``(L, K)``.

        Times the vertex's own likelihood, they are its q.
        """
        q = mean_field(log_likelihood, coupling, self.neighbours, sweeps).exp()
        return (coupling * self.neighbours.sums(q)).log_softmax(-1)


@dataclass(frozen=True)
class MeshVisits(Visits):
    """Visits of vertices that lie on a mesh.

    Parameters
    ----------
    prior
        The Potts prior over the vertices' labels; the rest as `Visits`.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.visits import prepare_visits
    >>> mesh, normaliser = Mesh.grid(1, 2), PottsNormaliser(torch.zeros(1), torch.zeros(1, 5), 1, 0.0)
    >>> visits = prepare_visits(simulate_reference(n_subjects=3, n_vertices=2, seed=0), "all")
    >>> laid = MeshVisits(**vars(visits), prior=PottsPrior(mesh, neighbours_of(mesh), normaliser))
    >>> double = laid.to(None, torch.float64)  # the prior goes with the values
    >>> double.values.dtype, double.prior.normaliser.knots.dtype
    (torch.float64, torch.float64)
    """

    prior: PottsPrior = field(kw_only=True)

    def to(self, device: torch.device | str | None, dtype: torch.dtype | None) -> MeshVisits:
        """Return the same visits on a device, their real numbers in a dtype; None leaves as it is."""
        moved = super().to(device, dtype)
        assert isinstance(moved, MeshVisits)
        return replace(moved, prior=self.prior.to(device, dtype))


def on_mesh(visits: Visits, mesh: Mesh | None, n_clusters: int) -> MeshVisits:
    """Lay visits on a mesh, and find the normaliser of K labels on it: seconds, once for a fit.

    Raises
    ------
    CohortError
        Where the mesh is not known, or has no edge.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(simulate_reference(n_subjects=3, n_vertices=4, seed=0), "all")
    >>> on_mesh(visits, None, n_clusters=2)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    neuropyro.data.errors.CohortError: mesh: the spatial prior needs to know which vertices are neighbours; give ...
    """
    if mesh is None or mesh.edges is None or not len(mesh.edges):
        raise CohortError(
            "mesh: the spatial prior needs to know which vertices are neighbours; give `edges` (E, 2) or `faces` (F, 3)"
        )
    prior = PottsPrior(mesh, neighbours_of(mesh), potts_normaliser(mesh, n_clusters))
    prior = prior.to(visits.values.device, visits.values.dtype)
    return MeshVisits(**{f.name: getattr(visits, f.name) for f in fields(visits)}, prior=prior)


class PottsMixture(TorchDistribution):  # type: ignore[misc]
    """The values of all vertices, ``(vertices, visits)``, their labels under a Potts prior.

    Parameters
    ----------
    mixture
        The clusters, and the coupling.
    visits
        The design, and the mesh.

    Raises
    ------
    ValueError
        Where the visits are on no mesh.

    Notes
    -----
    Its ``log_prob`` is a lower bound on the log-density: see :mod:`neuropyro.models.spatial`.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(simulate_reference(n_subjects=3, n_vertices=2, seed=0), "all")
    >>> alike = Mixture(torch.ones(2) / 2, torch.zeros(2, 12), None, torch.ones(2), coupling=torch.tensor(0.0))
    >>> PottsMixture(alike, visits)
    Traceback (most recent call last):
    ValueError: the visits are on no mesh; let the model with the spatial prior prepare the cohort
    >>> mesh, log_c = Mesh.grid(1, 2), PottsNormaliser(torch.zeros(1), torch.zeros(1, 5), 1, float(np.log(4)))
    >>> laid = MeshVisits(**vars(visits), prior=PottsPrior(mesh, neighbours_of(mesh), log_c))
    >>> standard = dist.Normal(0, 1).log_prob(visits.values).sum()  # where clusters are alike, labels do not matter
    >>> bool(torch.allclose(PottsMixture(alike, laid).log_prob(visits.values), standard))
    True
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as torch declares it)
    support = constraints.independent(constraints.real, 2)

    def __init__(self, mixture: Mixture, visits: Visits) -> None:
        if not isinstance(visits, MeshVisits) or mixture.coupling is None:
            raise ValueError("the visits are on no mesh; let the model with the spatial prior prepare the cohort")
        self.mixture, self.visits = mixture, visits
        lead = mixture.loc.shape[:-2]
        batch = torch.broadcast_shapes(mixture.coupling.shape, lead + (1,) * bool(lead))  # type: ignore[no-untyped-call]
        super().__init__(batch, visits.values.shape, validate_args=False)

    def expand(self, batch_shape: Size, _instance: Any = None) -> PottsMixture:
        """Return the same distribution with another batch shape."""
        new: PottsMixture = self._get_checked_instance(PottsMixture, _instance)
        new.mixture, new.visits = self.mixture, self.visits
        TorchDistribution.__init__(new, Size(batch_shape), self.event_shape, validate_args=False)
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Bound the log-density of ``value (vertices, visits)``; ``(*batch,)``."""
        each = self.mixture.log_likelihood(value, self.visits)
        coupling = self.mixture.coupling
        assert coupling is not None
        bound = self.visits.prior.bound(each, coupling.squeeze(-1) if coupling.dim() else coupling)
        return (bound.unsqueeze(-1) if bound.dim() else bound).expand(self.batch_shape)

    @torch.no_grad()
    def sample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 (as torch declares it)
        """Draw labels by Swendsen and Wang's sweeps, and values given them, ``(vertices, visits)``.

        Raises
        ------
        ValueError
            Where several draws are asked for, or the clusters are of several draws.
        """
        if sample_shape or self.batch_shape:
            raise ValueError("PottsMixture: draw once at a time, and of one draw of the clusters; loop over more")
        assert self.mixture.coupling is not None
        rng = np.random.default_rng(int(torch.randint(2**31, (1,))))
        n_clusters = self.mixture.sigma.shape[-1]
        z = draw_labels(self.visits.prior.mesh, n_clusters, float(self.mixture.coupling), rng)
        drawn: Tensor = self.mixture.of_vertices(
            torch.as_tensor(z, device=self.mixture.loc.device), self.visits
        ).sample()
        return drawn
