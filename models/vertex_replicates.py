r"""The same vertices measured again: labels and a vertex's own trajectory from their posterior, new noise.

For a vertex of cluster k, V = F_k + J_k e + sigma_k eps with e and eps standard normal, so that e given V is Normal of
precision :math:`I + J_k^\top J_k / \sigma_k^2`.  Vertices drawn anew from the prior over trajectories would be
spread over baselines far wider than any data: what a check of the model's fit needs is a replicate of those at hand.

References
----------
Gelman, Meng & Stern, "Posterior predictive assessment of model fitness via realized discrepancies", Statistica Sinica
1996 (which parameters are kept, and which are drawn anew).
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuropyro.models.visits import Visits

__all__ = ["draw_vertices", "replicate_vertices"]


def replicate_vertices(log_joint: Tensor, loc: Tensor, factor: Tensor | None, sigma: Tensor, visits: Visits) -> Tensor:
    """Draw new values of every vertex under one posterior draw, ``(vertices, visits)``; missing ones too.

    Parameters
    ----------
    log_joint
        ``(vertices, K)`` log p(V_l, Z_l = k).
    loc
        ``(K, visits)`` mean curves.
    factor
        ``(K, visits, r)`` columns of the vertices' scatter, or None.
    sigma
        ``(K,)`` sds of the noise.
    visits
        The data.
    """
    z, own = draw_vertices(log_joint, loc, factor, sigma, visits)
    drawn = loc[z] + sigma[z].unsqueeze(-1) * torch.randn_like(visits.values)
    if factor is not None and own is not None:
        for k in range(len(sigma)):
            members = (z == k).nonzero().squeeze(-1)
            drawn[members] += own[members] @ factor[k].mT
    return drawn


def draw_vertices(
    log_joint: Tensor, loc: Tensor, factor: Tensor | None, sigma: Tensor, visits: Visits
) -> tuple[Tensor, Tensor | None]:
    """Draw every vertex's label ``(vertices,)`` and, with scatter, its e ``(vertices, r)``; arguments as above."""
    z = torch.multinomial(log_joint.softmax(-1), 1).squeeze(-1)
    if factor is None:
        return z, None
    own = loc.new_zeros(len(z), factor.shape[-1])
    for k in range(len(sigma)):
        members = (z == k).nonzero().squeeze(-1)
        own[members] = _own_departures(members, loc[k], factor[k], sigma[k], visits)
    return z, own


def _own_departures(members: Tensor, loc: Tensor, factor: Tensor, sigma: Tensor, visits: Visits) -> Tensor:
    """Draw e of one cluster's vertices given their values, ``(members, r)``."""
    residual = visits.values[members] - loc
    if visits.observed is None:
        gram = (factor.mT @ factor).expand(len(members), -1, -1)
    else:
        seen = visits.observed[members]
        residual = residual * seen
        columns = (factor.unsqueeze(-1) * factor.unsqueeze(-2)).flatten(1)
        gram = (seen @ columns).reshape(len(members), *factor.shape[-1:] * 2)
    eye = torch.eye(factor.shape[-1]).to(factor)
    chol = torch.linalg.cholesky(eye + gram / sigma.square())
    projected = (residual @ factor / sigma.square()).unsqueeze(-1)
    mean: Tensor = torch.cholesky_solve(projected, chol)
    spread = torch.linalg.solve_triangular(chol.mT, torch.randn_like(mean), upper=True)
    own: Tensor = (mean + spread).squeeze(-1)
    return own
