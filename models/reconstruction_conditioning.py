r"""The residual image given the measurements and the generated image, by conditioning (Matheron's rule).

With r, eps from their priors,

.. math::  r + \tau^2 S L^\top (\tau^2 K + \sigma^2)^{-1} (y - A(G(w)) - L r - \varepsilon)

is a draw of its posterior.  There K is never approximated: where only its diagonal is kept
(:mod:`neuropyro.models.reconstruction_kernel`), the system is solved by conjugate gradients.

References
----------
Rasmussen and Williams, "Gaussian processes for machine learning", 2006, eq. 2.23 (conditioning); Wilson et al.,
"Pathwise conditioning of Gaussian processes", JMLR 2021 (Matheron's rule).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from neuropyro.generators.residuals import ResidualCovariance
from neuropyro.models.corruption_operator import Corruption, as_measurements, flat_reals
from neuropyro.models.reconstruction_spread import MeasurementSpread

__all__ = ["conditional_residual"]

ITERATIONS, TOLERANCE = 200, 1e-5  # of conjugate gradients


def conditional_residual(
    corruption: Corruption,
    residual: ResidualCovariance,
    spread: MeasurementSpread,
    deviation: Tensor,
    sigma: Tensor,
    scale: Tensor,
    white: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Residual images (B, C, H, W) given y and w: their mean, or a draw.

    Parameters
    ----------
    deviation
        y - A(G(w)), (B, ...), 0 where measurements do not count; complex where they are.
    sigma, scale
        (B,)
    white
        White noise (B, C, H, W) and (B, ...) for a draw; the mean if None.

    Examples
    --------
    >>> from neuropyro.generators.residuals import ResidualSpread
    >>> from neuropyro.models.reconstruction_kernel import spread_of
    >>> from neuropyro.models.corruption import Identity
    >>> white, y = ResidualSpread(torch.full((1, 2, 2), 0.3), torch.ones(16)), torch.full((1, 1, 2, 2), 0.5)
    >>> spread = spread_of(Identity(), white, torch.ones(1, 4, dtype=torch.bool), y)
    >>> conditional_residual(Identity(), white, spread, y, torch.tensor([0.1]), torch.ones(1))[0, 0, 0]
    tensor([0.4500, 0.4500])
    """
    event = deviation.ndim - 1
    tau, sd = (t.reshape(-1, *[1] * event) for t in (scale, sigma))
    prior = None
    if white is not None:
        prior = scale.reshape(-1, 1, 1, 1) * residual.root(white[0])
        deviation = deviation - corruption.linear(prior) - sd * white[1]

    def back(v: Tensor) -> Tensor:
        """S L' v of vectors (B, n)."""
        return residual.multiply(corruption.A_adjoint(as_measurements(v, deviation)))

    flat = flat_reals(deviation, event)
    weights = spread.coordinates(flat) / spread.total(sigma, scale)
    solved = spread.vectors(weights, flat.shape[-1])  # S L' of what is across U is 0
    if spread.basis is None:
        seen = spread.vectors(torch.ones_like(weights), flat.shape[-1])

        def product(v: Tensor) -> Tensor:
            through = flat_reals(corruption.linear(back(v)), event)
            return seen * (scale.square().unsqueeze(-1) * through + sigma.square().unsqueeze(-1) * v)

        solved = _conjugate_gradients(product, seen * flat, solved)
    mean = tau.square().reshape(-1, 1, 1, 1) * back(solved)
    return mean if prior is None else prior + mean


def _conjugate_gradients(product: Callable[[Tensor], Tensor], b: Tensor, x: Tensor) -> Tensor:
    """Solve product(x) = b (B, n) for each row, from ``x``; product is symmetric and positive."""
    r = b - product(x)
    p, norm = r, r.square().sum(-1, keepdim=True)
    goal = TOLERANCE**2 * b.square().sum(-1, keepdim=True)
    for _ in range(ITERATIONS):
        if bool((norm <= goal).all()):
            break
        q = product(p)
        step = norm / (p * q).sum(-1, keepdim=True).clamp_min(1e-30)
        x, r = x + step * p, r - step * q
        new = r.square().sum(-1, keepdim=True)
        p, norm = r + new / norm.clamp_min(1e-30) * p, new
    return x
