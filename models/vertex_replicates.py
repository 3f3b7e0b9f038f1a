r"""The same vertices measured again: labels, own trajectories and what lasts from their posterior, new noise.

For a vertex of cluster k, V = F_k + J_k e + r + sigma_k eps with e and eps standard normal and r what lasts of each
subject (:mod:`neuropyro.models.vertex_effects`), so that e given V is Normal, and r given both.  Vertices drawn anew
from the prior over trajectories would be spread over baselines far wider than any data: what a check of the model's fit
needs is a replicate of those at hand.

References
----------
Gelman, Meng & Stern, "Posterior predictive assessment of model fitness via realized discrepancies", Statistica Sinica
1996 (which parameters are kept, and which are drawn anew).
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuropyro.models.mixture import Mixture
from neuropyro.models.vertex_effects import lasting_weight
from neuropyro.models.visit_mixture import VisitMixture
from neuropyro.models.visits import Visits

__all__ = ["draw_vertices", "replicate_vertices"]


def replicate_vertices(log_joint: Tensor, mixture: Mixture, visits: Visits) -> Tensor:
    """Draw new values of every vertex under one posterior draw, ``(vertices, visits)``; missing ones too.

    Parameters
    ----------
    log_joint
        ``(vertices, K)`` log p(V_l, Z_l = k).
    mixture
        The clusters under that draw, of one Normal each.
    visits
        The data.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(simulate_reference(3, 2, seed=0), "all")
    >>> sure, curves = torch.tensor([[0.0, -99.0], [-99.0, 0.0]]), torch.tensor([[-1.0], [2.0]]).expand(2, 12)
    >>> again = replicate_vertices(sure, Mixture(torch.ones(2) / 2, curves, None, 1e-4 * torch.ones(2)), visits)
    >>> bool(torch.allclose(again, curves, atol=1e-2))  # each its cluster's curve, almost without noise
    True
    """
    z, own = draw_vertices(log_joint, mixture, visits)
    expected = mixture.loc[z]
    if mixture.nodes is not None and own is not None:
        for k, members in enumerate(_members(z, mixture)):
            expected[members] += own[members] @ mixture.nodes.columns[k, 0].mT
    if mixture.omega is not None:
        expected += _lasting(mixture.omega[z], mixture.sigma[z], expected, visits)
    return expected + mixture.sigma[z].unsqueeze(-1) * torch.randn_like(visits.values)


def draw_vertices(log_joint: Tensor, mixture: Mixture, visits: Visits) -> tuple[Tensor, Tensor | None]:
    """Draw every vertex's label ``(vertices,)`` and, with scatter, its e ``(vertices, r)``; arguments as above.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits, clusters = prepare_visits(simulate_reference(3, 2, seed=0), "all"), torch.ones(2)
    >>> sure = torch.tensor([[-99.0, 0.0], [0.0, -99.0]])
    >>> draw_vertices(sure, Mixture(clusters / 2, torch.zeros(2, 12), None, clusters), visits)  # no scatter, no e
    (tensor([1, 0]), None)
    """
    z = torch.multinomial(log_joint.softmax(-1), 1).squeeze(-1)
    if mixture.nodes is None:
        return z, None
    own = mixture.loc.new_zeros(len(z), mixture.nodes.columns.shape[-1])
    for k, members in enumerate(_members(z, mixture)):
        law = mixture.of_cluster(k, members, visits)
        assert isinstance(law, VisitMixture)
        own[members] = law.laws.sample_weights(visits.values[members])[0]
    return z, own


def _members(z: Tensor, mixture: Mixture) -> list[Tensor]:
    return [(z == k).nonzero().squeeze(-1) for k in range(len(mixture.sigma))]


def _lasting(omega: Tensor, sigma: Tensor, expected: Tensor, visits: Visits) -> Tensor:
    """Draw what lasts of each subject given what is left of the values, at each visit, ``(vertices, visits)``."""
    seen = torch.ones_like(visits.values) if visits.observed is None else visits.observed
    left = visits.sum_of_subject((visits.values - expected) * seen)
    lasting, passing = (sd.square().unsqueeze(-1) for sd in (omega, sigma))
    weight = lasting_weight(lasting, passing, visits.sum_of_subject(seen))
    drawn = weight * left + (passing * weight).sqrt() * torch.randn_like(left)
    return drawn[:, visits.subject]
