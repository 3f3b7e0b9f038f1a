r"""Draws of two latents of many subjects from densities that may be narrow, by grids that close in on them.

A grid over the prior would miss a posterior far narrower than its steps.  So the log-density is first tempered, times
:math:`\tau \le 1`, as far as it takes for its sd to be a step of the grid in every direction; the next grid spans the
mean and the covariance found, and so on until nothing needs tempering.  Draws are points of a last grid, spread over
their cells, or else of the first, where it reaches beyond: a subject whom the curves hardly place has a long tail.

References
----------
Rubin, "Using the SIR algorithm to simulate posterior distributions", 1988 (draws from weighted points); Neal, "Annealed
importance sampling", Statistics and Computing 2001 (tempering).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["draw_pairs", "lattice"]

PASSES = 12  # grids that close in, at most; each halves what is left
SIDE, REACH = 13, 3.0  # points along an axis of such a grid, and its half-width in sds
LAST_SIDE, LAST_REACH = 25, 5.0  # of the last one: wide, for tails that are long
HALVINGS = 12  # of the interval of log temperatures
COLDEST = 40.0  # of the negative log temperature


def lattice(*sides: int, like: Tensor) -> Tensor:
    """Return the points of a grid in steps from its middle, ``(P, 2)``.

    Examples
    --------
    >>> lattice(3, 2, like=torch.zeros(())).tolist()
    [[-1.0, -0.5], [-1.0, 0.5], [0.0, -0.5], [0.0, 0.5], [1.0, -0.5], [1.0, 0.5]]
    """
    axes = [torch.arange(side).to(like) - (side - 1) / 2 for side in sides]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)


def draw_pairs(
    log_density: Callable[[Tensor], Tensor], points: Tensor, steps: Tensor, area: Tensor, draws: int
) -> Tensor:
    """Draw pairs of latents of each subject, ``(subjects, draws, 2)``.

    Parameters
    ----------
    log_density
        Of ``(subjects, P, 2)``; returns ``(subjects, P)``.
    points
        ``(subjects, P, 2)`` a first grid, wide enough.
    steps
        ``(P, 2)`` the same in steps: see `lattice`.
    area
        Of its cells, a scalar.
    draws
        How many.

    Examples
    --------
    >>> steps = lattice(41, 41, like=torch.zeros(()))
    >>> law = dist.Normal(torch.tensor([0.3, -1.2]), torch.tensor([0.01, 1.0]))  # far narrower than the grid, and broad
    >>> drawn = draw_pairs(lambda x: law.log_prob(x).sum(-1), steps[None] / 4, steps, torch.tensor(1 / 16), 4000)
    >>> standard = (drawn - law.mean) / law.stddev
    >>> standard.shape, bool((standard.mean(1).abs() < 0.1).all()), bool(((standard.std(1) - 1).abs() < 0.1).all())
    (torch.Size([1, 4000, 2]), True, True)
    """
    first = log_density(points)
    weight, _ = _tempered(first, steps)
    near = lattice(SIDE, SIDE, like=points)
    closer = _around(points, weight, near * (2 * REACH / (SIDE - 1)))[0]
    for _ in range(PASSES):
        weight, coarse = _tempered(log_density(closer), near)
        if not bool(coarse.any()):
            break
        # A grid that is fine enough stays: cut again and again, long tails would go.
        next_one = _around(closer, weight, near * (2 * REACH / (SIDE - 1)))[0]
        closer = torch.where(coarse.unsqueeze(-1), next_one, closer)
    step = 2 * LAST_REACH / (LAST_SIDE - 1)
    last, root, centre = _around(closer, weight, lattice(LAST_SIDE, LAST_SIDE, like=points) * step)
    inside = torch.linalg.solve_triangular(root, (points - centre).mT, upper=False).abs().amax(1)
    beyond = (first + area.log()).masked_fill(inside < LAST_REACH + step / 2, -torch.inf)
    cell = root.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True) + 2 * math.log(step)
    log_weight = torch.cat([log_density(last) + cell, beyond], 1)
    chosen = torch.multinomial(log_weight.softmax(-1), draws, replacement=True)
    within = torch.rand(*chosen.shape, 2).to(points) - 0.5
    within = within * (chosen < last.shape[1]).unsqueeze(-1) * step
    every = torch.cat([last, points], 1)
    return every.gather(1, chosen.unsqueeze(-1).expand(-1, -1, 2)) + within @ root.mT


def _around(points: Tensor, weight: Tensor, grid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return grids about the means of weighted points, the roots of their covariances, which scale them, and the means.

    ``(subjects, P, 2)``, ``(subjects, 2, 2)`` and ``(subjects, 1, 2)``.
    """
    centre = (weight.unsqueeze(-1) * points).sum(1, keepdim=True)
    left = points - centre
    covariance = torch.einsum("ip,ipa,ipb->iab", weight, left, left)
    scale = covariance.diagonal(dim1=-2, dim2=-1)
    # What keeps a covariance of points on a line positive definite.
    tiny = torch.diag_embed(1e-9 * scale + torch.finfo(scale.dtype).tiny)
    root = torch.linalg.cholesky(covariance + tiny)
    return centre + grid @ root.mT, root, centre


def _tempered(value: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights ``(subjects, P)`` whose sd is a step in every direction, and which needed it ``(subjects, 1)``."""
    value = value - value.amax(-1, keepdim=True)
    moments = torch.stack([steps[:, 0], steps[:, 1], steps[:, 0] ** 2, steps.prod(-1), steps[:, 1] ** 2], -1)
    coarse = _narrowest(value, moments) < 1
    low, high = torch.zeros_like(value[:, :1]), torch.full_like(value[:, :1], COLDEST)
    for _ in range(HALVINGS * int(coarse.any())):
        middle = (low + high) / 2
        few = _narrowest(value * (-middle).exp(), moments) < 1
        low, high = torch.where(few, middle, low), torch.where(few, high, middle)
    return (value * torch.where(coarse, (-high).exp(), torch.ones_like(high))).softmax(-1), coarse


def _narrowest(value: Tensor, moments: Tensor) -> Tensor:
    """Return the smallest sd in any direction, in steps, of the points under log weights, ``(subjects, 1)``."""
    x, y, xx, xy, yy = (value.softmax(-1) @ moments).unsqueeze(-1).unbind(1)
    a, b, c = xx - x * x, xy - x * y, yy - y * y
    return ((a + c - ((a - c).square() + 4 * b.square()).sqrt()) / 2).clamp_min(0).sqrt()
