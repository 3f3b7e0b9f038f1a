r"""What a subject's visits say of their scores: residuals about each cluster's curve, tabulated, and read at any score.

Of a visit's n vertices of cluster k, each with its departures e, the curve at score s leaves a sum of squares about the
mean residual, Q(s), and that mean, y(s).  Both need of the map only its squared norm and its products with (1, e).
They are tabulated at closely spaced scores across each cluster's own course, beyond which they stay, and read between
two of these by the parabola through the second difference: Q is a parabola where a subject is well placed.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neuropyro.models.course import Course
from neuropyro.models.visits import Visits

__all__ = ["FINE", "MapSums", "ResidualTables", "map_sums"]

FINE = 2048  # scores of a table
STEEP = 14.0  # b (s - c) from which on a curve is flat: e^-14
SDS = 4.0  # of a cluster's scatter, by which its vertices' curves reach further


class MapSums(NamedTuple):
    """Of each visit's map over a cluster's vertices: squares, products with (1, e), and their Gram matrix."""

    squares: Tensor  # (visits, K)
    products: Tensor  # (visits, K, r)
    grams: Tensor  # (visits or 1, K, r, r)


def map_sums(course: Course, visits: Visits) -> MapSums:
    """Sum the maps of visits over the clusters' vertices: one pass over the data."""
    maps = visits.values.mT
    one = torch.ones(len(course.label), 1).to(maps)
    rows = one if course.own is None else torch.cat([one, course.own], -1)
    member = torch.nn.functional.one_hot(course.label, len(course.sigma)).to(maps)
    pairs = rows.unsqueeze(-1) * rows.unsqueeze(-2)
    seen = one.mT if visits.observed is None else visits.observed.mT

    def over_vertices(left: Tensor, right: Tensor) -> Tensor:
        wide = (member.unsqueeze(-1) * right.flatten(1).unsqueeze(1)).flatten(1)
        return (left @ wide).reshape(len(left), member.shape[1], *right.shape[1:])

    return MapSums(maps.square() @ member, over_vertices(maps, rows), over_vertices(seen, pairs))


class ResidualTables:
    """Residuals of some subjects' visits.

    Parameters
    ----------
    course
        The curves.
    sums
        Of all visits.
    at
        ``(subjects, m)`` rows of the visits, padded to the longest.
    real
        ``(subjects, m)`` False where a row stands for nothing.
    """

    def __init__(self, course: Course, sums: MapSums, at: Tensor, real: Tensor) -> None:
        self.low, self.step, columns = _across(course)
        every = len(sums.squares)
        grams, products = sums.grams.expand(every, -1, -1, -1)[at], sums.products[at]  # (subjects, m, K, ...)
        self.count = (grams[..., 0, 0] * real.unsqueeze(-1)).mT.unsqueeze(-1)  # (subjects, K, m, 1)
        crossed = torch.einsum("imkr,kgr->ikmg", products, columns)
        mean = torch.einsum("imkr,kgr->ikmg", grams[..., 0], columns)
        if len(sums.grams) == 1:  # nothing is missing: one for all visits
            fitted = torch.einsum("kgr,krq,kgq->kg", columns, sums.grams[0], columns).unsqueeze(1)
        else:
            fitted = torch.einsum("imkgq,kgq->ikmg", torch.einsum("imkrq,kgr->imkgq", grams, columns), columns)
        here = self.count > 0
        self.mean = (products[..., 0].mT.unsqueeze(-1) - mean) / self.count.clamp_min(1) * here
        squares = sums.squares[at].mT.unsqueeze(-1) - 2 * crossed + fitted - self.count * self.mean.square()
        self.misfit = squares / course.sigma.square()[:, None, None] * here
        bend = self.misfit.diff(n=2, dim=-1) / 2
        self.bend = torch.cat([bend[..., :1], (bend[..., 1:] + bend[..., :-1]) / 2, bend[..., -1:]], -1)

    def at(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return Q / sigma^2 and y at ``scores (subjects, P, m)``, ``(subjects, K, m, P)`` each."""
        place = (scores.mT.unsqueeze(1) - self.low[:, None, None]) / self.step[:, None, None]
        place = place.clamp(0, FINE - 1)
        left = place.long().clamp_max(FINE - 2)
        share = place - left

        def between(table: Tensor) -> Tensor:
            below, above = table.gather(-1, left), table.gather(-1, left + 1)
            return below + share * (above - below)

        return between(self.misfit) - share * (1 - share) * self.bend.gather(-1, left), between(self.mean)


def _across(course: Course) -> tuple[Tensor, Tensor, Tensor]:
    """Return the first score of each cluster's table and the step, ``(K,)``, and its columns ``(K, FINE, r)``."""
    _, b, c, _ = course.theta
    half = STEEP / b
    if course.scatter is not None:
        half = half * (SDS * course.scatter[:, 2]).exp().clamp_max(STEEP) + SDS * course.scatter[:, 1]
    low, step = c - half, 2 * half / (FINE - 1)
    scores = low[:, None] + step[:, None] * torch.arange(FINE).to(low)
    return low, step, torch.stack([course.only(k).columns(scores[k])[0] for k in range(len(b))])
