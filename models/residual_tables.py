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
from neuropyro.models.speed_law import log_speed
from neuropyro.models.vertex_effects import SubjectSums, lasting_weight
from neuropyro.models.visits import Visits

__all__ = ["FINE", "MapSums", "ResidualTables", "map_sums"]

FINE = 2048  # scores of a table
STEEP = 14.0  # b (s - c) from which on a curve is flat: e^-14
SDS = 4.0  # of a cluster's scatter, by which its vertices' curves reach further


class MapSums(NamedTuple):
    """Of each visit's map over a cluster's vertices: squares, products with (1, e), and their Gram matrix.

    With vertex effects also those of maps summed over a subject's visits, or over each pattern of them in which a
    vertex was seen; and which visits these are, ``(P, visits)``.

    Examples
    --------
    >>> import numpy as np
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.trajectory import Trajectories
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(Cohort(np.array([[1.0, 3.0], [0.0, 6.0]]), [70.0, 71.0], ["a", "a"]), None)
    >>> theta = Trajectories(*torch.tensor([[0.0], [1.0], [0.0], [1.0]]))  # flat at 1, for both vertices
    >>> course = Course(theta, None, torch.ones(1), None, None, torch.zeros(6), torch.tensor([0, 0]), None)
    >>> sums = map_sums(course, visits)
    >>> mean = sums.products[..., 0] / sums.grams[..., 0, 0]  # over the vertices of each visit
    >>> mean.flatten().tolist()
    [2.0, 3.0]
    """

    squares: Tensor  # (visits, K)
    products: Tensor  # (visits, K, r)
    grams: Tensor  # (visits or 1, K, r, r)
    of_subject: MapSums | None = None
    member: Tensor | None = None


def map_sums(course: Course, visits: Visits) -> MapSums:
    """Sum the maps of visits over the clusters' vertices: one pass over the data.

    Examples
    --------
    >>> import numpy as np
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.trajectory import Trajectories
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(Cohort(np.array([[1.0, 3.0], [0.0, 6.0]]), [70.0, 71.0], ["a", "a"]), None)
    >>> theta = Trajectories(*torch.tensor([[0.0], [1.0], [0.0], [1.0]]))  # flat at 1, for both vertices
    >>> course = Course(theta, None, torch.ones(1), None, None, torch.zeros(6), torch.tensor([0, 0]), None)
    >>> sums = map_sums(course, visits)
    >>> sums.squares.tolist(), sums.products.flatten().tolist()  # 1 + 9 and 0 + 36; 1 + 3 and 0 + 6
    ([[10.0], [36.0]], [4.0, 6.0])
    """
    maps = visits.values
    found = _sums(course, maps, maps.square(), visits.observed)
    if course.omega is None:
        return found
    own = SubjectSums.of(maps, visits.observed, visits.subject)
    lasting = _sums(course, own.sums, own.sums * own.sums, own.seen)
    return found._replace(of_subject=lasting, member=own.member)


def _sums(course: Course, maps: Tensor, squares: Tensor, seen: Tensor | None) -> MapSums:
    """Sum ``maps (vertices, n)`` over the clusters' vertices."""
    one = torch.ones(len(course.label), 1, dtype=maps.dtype, device=maps.device)
    rows = one if course.own is None else torch.cat([one, course.own.to(one)], -1)
    member = torch.nn.functional.one_hot(course.label, len(course.sigma)).to(one)
    pairs = rows.unsqueeze(-1) * rows.unsqueeze(-2)

    def over_vertices(left: Tensor, right: Tensor) -> Tensor:
        wide = (member.unsqueeze(-1) * right.flatten(1).unsqueeze(1)).flatten(1)
        return (left.t() @ wide).reshape(left.shape[1], member.shape[1], *right.shape[1:])

    return MapSums(squares.t() @ member, over_vertices(maps, rows), over_vertices(one if seen is None else seen, pairs))


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

    Examples
    --------
    >>> import numpy as np
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.trajectory import Trajectories
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(Cohort(np.array([[1.0, 3.0], [0.0, 6.0]]), [70.0, 71.0], ["a", "a"]), None)
    >>> theta = Trajectories(*torch.tensor([[0.0], [1.0], [0.0], [1.0]]))  # flat at 1, for both vertices
    >>> course = Course(theta, None, torch.ones(1), None, None, torch.zeros(6), torch.tensor([0, 0]), None)
    >>> at = torch.tensor([[0, 1]])  # the one subject's visits
    >>> misfit, mean = ResidualTables(course, map_sums(course, visits), at, at >= 0).at(torch.zeros(1, 1, 2))
    >>> misfit.flatten().tolist(), mean.flatten().tolist()  # 1 and 3 are about 2, 0 and 6 about 3; the curve is at 1
    ([2.0, 18.0], [1.0, 2.0])
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
        self.bend = _at_ends(bend)
        self.lasting = None
        if course.omega is not None:
            self.lasting = _LastingTable(course, columns, sums, at, real)

    def at(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return Q / sigma^2 and y at ``scores (subjects, P, m)``, ``(subjects, K, m, P)`` each."""
        left, share = self._places(scores)

        def between(table: Tensor) -> Tensor:
            below, above = table.gather(-1, left), table.gather(-1, left + 1)
            return below + share * (above - below)

        return between(self.misfit) - share * (1 - share) * self.bend.gather(-1, left), between(self.mean)

    def lasts(self, scores: Tensor, mean: Tensor) -> Tensor | float:
        """Return by how much Q / sigma^2, summed over visits, is less for what lasts, ``(subjects, K, P)``; 0 for none.

        ``mean (subjects, K, m, P)`` is the y that `at` returns at the same scores.
        """
        return 0.0 if self.lasting is None else self.lasting.at(*self._places(scores), mean)

    def _places(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return the entry before each score, ``(subjects, K, m, P)``, and the share of the step beyond it."""
        place = (scores.mT.unsqueeze(1) - self.low[:, None, None]) / self.step[:, None, None]
        place = place.clamp(0, FINE - 1)
        left = place.long().clamp_max(FINE - 2)
        return left, place - left


class _LastingTable:
    """Squares of residuals summed over a subject's visits, weighted by g of :mod:`neuropyro.models.vertex_effects`."""

    def __init__(self, course: Course, columns: Tensor, sums: MapSums, at: Tensor, real: Tensor) -> None:
        assert sums.of_subject is not None
        assert sums.member is not None
        assert course.omega is not None
        self.columns, self.bend = columns, _at_ends(columns.diff(n=2, dim=1).mT / 2).mT
        owner = torch.full((sums.member.shape[1],), -1, device=at.device)
        owner[at[real]] = torch.arange(len(at), device=at.device).unsqueeze(-1).expand_as(at)[real]
        owner = owner[sums.member.argmax(1)]  # of each pattern
        rows = [(owner == i).nonzero().squeeze(-1) for i in range(len(at))]
        of = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)  # (subjects, p)
        part = sums.of_subject
        self.squares, self.products = part.squares[of], part.products[of]
        self.grams = part.grams.expand(len(part.squares), -1, -1, -1)[of]
        self.member = sums.member[of.unsqueeze(-1), at.unsqueeze(1)] * real.unsqueeze(1)  # (subjects, p, m)
        count = self.member.sum(-1, keepdim=True)
        variance = course.sigma.square()
        weight = lasting_weight(course.omega.square(), variance, count) / variance
        self.weight = weight * (of >= 0).unsqueeze(-1)  # (subjects, p, K)

    def at(self, left: Tensor, share: Tensor, mean: Tensor) -> Tensor:
        """Return the weighted sum of squares, ``(subjects, K, P)``; see `ResidualTables.lasts`."""
        k = torch.arange(len(self.columns), device=left.device)[:, None, None]
        below, above, share = self.columns[k, left], self.columns[k, left + 1], share.unsqueeze(-1)
        curve = below + share * (above - below) - share * (1 - share) * self.bend[k, left]
        curve[..., 0] += mean  # so that the residual's mean over the vertices is 0 at every visit
        total = torch.einsum("ipm,ikmgr->ipkgr", self.member, curve)
        fitted = (total @ self.grams * total).sum(-1)
        squares = self.squares.unsqueeze(-1) - 2 * (total @ self.products.unsqueeze(-1)).squeeze(-1) + fitted
        return (self.weight.unsqueeze(-1) * squares).sum(1)


def _at_ends(inside: Tensor) -> Tensor:
    """Return second differences between every two entries of a table, from those about its inner entries."""
    return torch.cat([inside[..., :1], (inside[..., 1:] + inside[..., :-1]) / 2, inside[..., -1:]], -1)


def _across(course: Course) -> tuple[Tensor, Tensor, Tensor]:
    """Return the first score of each cluster's table and the step, ``(K,)``, and its columns ``(K, FINE, r)``."""
    _, b, c, _ = course.theta
    half = STEEP / b
    if course.scatter is not None:
        _, sd_c, sd_b, _, power = course.scatter.unbind(-1)
        slowest = -log_speed(torch.full_like(sd_b, -SDS), sd_b, power)
        half = half * slowest.exp().clamp_max(STEEP) + SDS * sd_c
    low, step = c - half, 2 * half / (FINE - 1)
    scores = low[:, None] + step[:, None] * torch.arange(FINE).to(low)
    return low, step, torch.stack([course.only(k).columns(scores[k])[0] for k in range(len(b))])
