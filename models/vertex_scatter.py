r"""Scatter of the vertices of a cluster as one Normal: mean course, and the columns of what vertices depart from it by.

Starts are improved by it, and single vertices' courses are drawn in its columns; where what matters is the density of
values, the finer law of :mod:`neuropyro.models.scatter_nodes` takes its place.

A vertex of cluster k has its own parameters near the cluster's, d + T_d z_0, c + T_c z_1, a + T_a z_3 and b by z_2
(:mod:`neuropyro.models.speed_law`), with z standard normal.  Its course is expanded in Hermite polynomials of z to
second order,

.. math::

   f(s; z) &\approx F_k(s) + \textstyle\sum_j J_{kj}(s)\, h_j(z), \\
   h &= \left(z_0, z_1, z_2, z_3,
      \tfrac{z_1^2 - 1}{\sqrt 2}, z_1 z_2, \tfrac{z_2^2 - 1}{\sqrt 2}, z_1 z_3, z_2 z_3\right),

whose polynomials have mean 0, variance 1 and no correlation, so that F is the exact mean of the scattered courses and
J J' their covariance but for what is of third order.  Taken as Normal, h is integrated out in closed form.  The
coefficients are averages over z_1 and z_2 by Gauss-Hermite quadrature.  Where scatter is small F and J are the
trajectory and its derivatives, and the last five columns vanish; where it is not, derivatives miss the tails, where
thousands of vertices then agree on scores that are off.

References
----------
Xiu & Karniadakis, "The Wiener-Askey polynomial chaos for stochastic differential equations", SIAM Journal on Scientific
Computing 2002, section 3.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from neuropyro.models.speed_law import log_speed
from neuropyro.models.trajectory import Trajectories

__all__ = ["COLUMNS", "scattered"]

NODES = 5  # a parameter: exact for polynomials up to the ninth degree
COLUMNS = 9  # d, c, log b, a; then c c, c b, b b, c a, b a


def scattered(scores: Tensor, theta: Trajectories, scatter: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of scattered trajectories, and the columns J of their covariance J J'.

    Parameters
    ----------
    scores
        ``(*, N)``.
    theta
        ``(*, K)`` each.
    scatter
        ``(*, K, 5)`` sds of d, c, log b, a, and the power of b that is Normal.

    Returns
    -------
    mean ``(*, K, N)``, columns ``(*, K, N, 9)``; a vertex's coefficients of the first four are its z

    Examples
    --------
    >>> theta = Trajectories(*torch.tensor([[-2.0], [3.0], [0.5], [1.0]]))
    >>> law = torch.tensor([[5.0, 0.4, 0.2, 0.3, 0.5]])
    >>> mean, columns = scattered(torch.tensor([0.5]), theta, law)
    >>> bool(mean.abs() < 1e-6)  # at the onset half of the change, however the vertices scatter
    True
    >>> columns[0, 0, [0, 3]]  # the baselines' sd, and half of that of a
    tensor([5.0000, 0.1500])
    """
    a, b, c, d = (p.unsqueeze(-1) for p in theta)
    sd_d, sd_c, sd_b, sd_a, power = (sd.unsqueeze(-1) for sd in scatter.unbind(-1))
    of_c, of_b, polynomials = (torch.as_tensor(x).to(scores) for x in _quadrature())
    steep = b * log_speed(of_b, sd_b, power).exp()  # (*, K, nodes)
    onset = c + sd_c * of_c
    rise = torch.sigmoid(steep.unsqueeze(-2) * (scores[..., None, :, None] - onset.unsqueeze(-2)))
    mean, by_c, by_b, cc, cb, bb = (rise @ polynomials).unbind(-1)
    columns = [sd_d.expand_as(mean), a * by_c, a * by_b, sd_a * mean, a * cc, a * cb, a * bb, sd_a * by_c, sd_a * by_b]
    return d + a * mean, torch.stack(columns, -1)


@cache
def _quadrature() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the nodes z_1 and z_2, ``(nodes,)`` each, and the weighted polynomials there, ``(nodes, 6)``."""
    z, weight = np.polynomial.hermite_e.hermegauss(NODES)
    z1, z2 = (grid.ravel() for grid in np.meshgrid(z, z, indexing="ij"))
    weights = np.outer(weight, weight).ravel() / weight.sum() ** 2
    half = np.sqrt(2)
    polynomials = np.stack([np.ones_like(z1), z1, z2, (z1**2 - 1) / half, z1 * z2, (z2**2 - 1) / half], -1)
    return z1, z2, weights[:, None] * polynomials
