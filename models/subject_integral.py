r"""Integrals over a few latents of many subjects at once, by importance draws from a t distribution about each peak.

References
----------
Rubin, "Using the SIR algorithm to simulate posterior distributions", 1988; Geweke, "Bayesian inference in econometric
models using Monte Carlo integration", Econometrica 1989 (why a t).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Integrand", "climb", "derivatives", "integrate", "likeliest"]

Integrand = Callable[[Tensor], Tensor]
"""The logarithm of each subject's integrand, ``(subjects,)``, at its latents ``(subjects, p)``."""

NEWTON_STEPS = 8
CLOSE = 0.02  # of the top, in sds of the prior
FREEDOM = 5.0  # of the t distribution that importance draws come from
FLOOR = 0.5  # least curvature along any direction; that of the prior alone is 1
NUDGE = 1e-5  # sds of the prior, between gradients; second derivatives by a graph of the graph cost three times as much


def integrate(integrand: Integrand, top: Tensor, root: Tensor, draws: int, heavy: int) -> Tensor:
    """Return the logarithm of each subject's integral ``(subjects,)``, by importance draws about its top.

    Parameters
    ----------
    integrand
        Of which the integral is.
    top
        ``(subjects, p)``.
    root
        ``(subjects, p, p)`` R, lower, R R' the covariance of the draws' Normal.
    draws
        How many.
    heavy
        How many latents, the first ones, are drawn with a t's tails.  The rest, in which the integrand is all but
        Normal, are drawn from a Normal given those: many t's at once would all be far out together.

    Examples
    --------
    >>> top, root = torch.zeros(1, 2), torch.eye(2)[None]  # one subject, two latents
    >>> integrate(lambda x: -0.5 * x.square().sum(-1), top, root, draws=4, heavy=0)  # log of 2 pi
    tensor([1.8379])
    >>> by_t = integrate(lambda x: -0.5 * x.square().sum(-1), top, root, draws=500, heavy=2)
    >>> round(float(by_t), 1)
    1.8
    """
    normal = torch.randn(draws, *top.shape).to(top)
    chi = 2 * torch._standard_gamma(top.new_full((draws, len(top), 1), FREEDOM / 2))
    t, rest = normal[..., :heavy] * (FREEDOM / chi).sqrt(), normal[..., heavy:]
    constant = math.lgamma((FREEDOM + heavy) / 2) - math.lgamma(FREEDOM / 2) - 0.5 * heavy * math.log(FREEDOM * math.pi)
    log_t = constant - 0.5 * (FREEDOM + heavy) * torch.log1p(t.square().sum(-1) / FREEDOM)
    log_normal = -0.5 * (rest.square() + math.log(2 * math.pi)).sum(-1)
    volume = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    points = top + (root @ torch.cat([t, rest], -1).unsqueeze(-1)).squeeze(-1)
    values = torch.stack([integrand(x) for x in points])
    return torch.logsumexp(values - log_t - log_normal + volume, 0) - math.log(draws)


def likeliest(integrand: Integrand, places: Tensor) -> Tensor:
    """Return each subject's best of some places ``(several, subjects, p)``, ``(subjects, p)``.

    Examples
    --------
    >>> places = torch.tensor([[[0.0], [0.0]], [[3.0], [9.0]]])  # two places of two subjects
    >>> likeliest(lambda x: -(x[:, 0] - torch.tensor([2.0, 1.0])).square(), places)
    tensor([[3.],
            [0.]])
    """
    best = torch.stack([integrand(place) for place in places]).argmax(0)
    return places[best, torch.arange(places.shape[1], device=places.device)]


def climb(integrand: Integrand, start: Tensor) -> tuple[Tensor, Tensor]:
    """Return each subject's top ``(subjects, p)``, and R ``(subjects, p, p)``, R R' the inverse of the curvature there.

    Examples
    --------
    >>> mean, sd = torch.tensor([[1.0, -2.0]]).double(), torch.tensor([0.5, 0.1]).double()
    >>> top, root = climb(lambda x: -0.5 * ((x - mean) / sd).square().sum(-1), torch.zeros_like(mean))
    >>> top.round(decimals=3).tolist(), root.round(decimals=3).diagonal(dim1=1, dim2=2).tolist()
    ([[1.0, -2.0]], [[0.5, 0.1]])
    """
    place = start
    best = integrand(place)
    for _ in range(NEWTON_STEPS):
        gradient, curvature = derivatives(integrand, place)
        step = torch.linalg.solve(curvature, gradient.unsqueeze(-1)).squeeze(-1)
        if float(step.norm(dim=-1).max()) < CLOSE:
            return place, torch.linalg.cholesky(torch.linalg.inv(curvature))
        step = step / (step.norm(dim=-1, keepdim=True) / 2).clamp_min(1.0)
        for shrink in (1.0, 0.25, 0.05):
            value = integrand(place + shrink * step)
            better = value > best
            place = torch.where(better[:, None], place + shrink * step, place)
            best = torch.where(better, value, best)
            if bool(better.all()):
                break
    _, curvature = derivatives(integrand, place)
    root = torch.linalg.cholesky(torch.linalg.inv(curvature))
    return place, root


def derivatives(integrand: Integrand, place: Tensor) -> tuple[Tensor, Tensor]:
    """Return gradient ``(subjects, p)`` and negative Hessian ``(subjects, p, p)``, made positive definite.

    Examples
    --------
    >>> place, curved = torch.tensor([[2.0, 0.5]]).double(), torch.tensor([[2.0, 4.0], [4.0, 16.0]]).double()
    >>> gradient, found = derivatives(lambda x: -0.5 * ((x @ curved) * x).sum(-1), place)
    >>> gradient.tolist(), found.round(decimals=3).tolist()
    ([[-6.0, -16.0]], [[[2.0, 4.0], [4.0, 16.0]]])
    """
    gradient = _gradient(integrand, place)
    steps = NUDGE * torch.eye(place.shape[-1]).to(place)
    negative = torch.stack([gradient - _gradient(integrand, place + step) for step in steps], 1) / NUDGE
    values, vectors = torch.linalg.eigh((negative + negative.mT) / 2)
    curvature = (vectors * values.clamp_min(FLOOR).unsqueeze(-2)) @ vectors.mT
    return gradient, curvature


def _gradient(integrand: Integrand, place: Tensor) -> Tensor:
    with torch.enable_grad():
        at = place.detach().clone().requires_grad_()
        return torch.autograd.grad(integrand(at).sum(), at)[0]
