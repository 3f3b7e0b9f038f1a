r"""Some subjects' part of the likelihood of every vertex under each cluster: sums over their visits.

A vertex's own trajectory, z sds from its cluster's in (d, c, log b, a), is linearised about its own z*, which all
visits of a fit say of it (:mod:`neuropyro.models.own_courses`):

.. math::  f(s; z) \approx f(s; z^*) + J(s) (z - z^*) = F(s) + J(s) z, \qquad z \sim \mathrm{Normal}(0, I),

so that z is integrated out in closed form.  Of the data only the squared distances to F, the products p = J'(V - F) and
G = J'J enter, in units of the residuals, which are sums over subjects: one subject's part is exchanged at the cost of
its own visits.  Where many visits have been seen, this is the density of the scattered courses themselves (Laplace's
method), nearer than any law of a whole cluster's vertices is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from neuropyro.models.covariates import shifts
from neuropyro.models.packed_grams import lower_triangle, quadratic
from neuropyro.models.population import Population
from neuropyro.models.speed_law import log_speed, log_speed_slope
from neuropyro.models.trajectory import sigmoid
from neuropyro.models.vertex_effects import lasting_weight
from neuropyro.models.visits import Visits

__all__ = ["Courses", "Parts", "SubjectVisits", "chunks", "pair_densities", "vertex_densities", "whole_of"]

MOST_NUMBERS = 200_000  # values of a chunk of subjects, times clusters: some megabytes a tensor


class Courses(NamedTuple):
    """Pairs of a vertex and a cluster that it may belong to, P of them.

    Parameters
    ----------
    vertex, cluster
        ``(P,)`` int; every vertex has a pair.
    onset, speed
        ``(P,)`` z* of the vertex's own c and log b, in sds of the cluster's scatter.

    Examples
    --------
    >>> vertex, cluster = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0])  # only the first may be of either cluster
    >>> courses = Courses(vertex, cluster, onset=torch.zeros(3), speed=torch.zeros(3))
    >>> vertex_densities(torch.tensor([[0.25, 0.5, 0.125]]).log(), courses, 2).exp()
    tensor([[0.7500, 0.1250]])
    """

    vertex: Tensor
    cluster: Tensor
    onset: Tensor
    speed: Tensor


class Parts(NamedTuple):
    """Sums over visits, in units of the residuals, of the white part with what lasts of a subject at each vertex.

    Parameters
    ----------
    squares
        ``(subjects, P)``, for P pairs.
    products
        ``(r, subjects, P)``, for r columns of J.
    grams
        ``(r (r + 1) / 2, subjects, P)``, packed.
    volume
        ``(subjects, P)`` log determinants.

    Examples
    --------
    >>> squares = torch.tensor([[1.0], [2.0]])  # two subjects, one pair
    >>> parts = Parts(squares, squares[None], squares[None], squares)
    >>> parts.of_all().squares, parts.plus(parts).plus(parts, sign=-1).squares.flatten()
    (tensor([[3.]]), tensor([1., 2.]))
    """

    squares: Tensor
    products: Tensor
    grams: Tensor
    volume: Tensor

    def plus(self, other: Parts, sign: int = 1) -> Parts:
        """Add what other visits say, or take it off."""
        return Parts(*(a + sign * b for a, b in zip(self, other, strict=True)))

    def of_all(self) -> Parts:
        """Return the sums over the subjects, as of one."""
        return Parts(*(part.sum(-2, keepdim=True) for part in self))


class SubjectVisits:
    """Some subjects' visits, padded to the longest: values and mask ``(visits, subjects, P)``.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.trajectory import Trajectories
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits, one, none = prepare_visits(simulate_reference(3, 2, seed=0), "all"), torch.ones(1), torch.zeros(1)
    >>> flat = Population(one, Trajectories(none, one, none, none), None, 2 * one, none, none, torch.zeros(6))
    >>> courses = Courses(torch.arange(2), torch.zeros(2).long(), torch.zeros(2), torch.zeros(2))
    >>> parts = SubjectVisits(visits, torch.arange(3), courses).parts(flat, torch.zeros(3, 3))
    >>> squares = visits.sum_of_subject(visits.values.square()).mT  # (subjects, vertices)
    >>> bool(torch.allclose(parts.squares, squares / 4))  # sigma is 2
    True
    """

    def __init__(self, visits: Visits, subjects: Tensor, courses: Courses) -> None:
        at = visits.rows_of(subjects)
        real = (at >= 0).to(visits.values)
        self.courses = courses
        self.within, self.time = visits.time_within[at] * real, visits.subject_time[subjects]
        self.years = (visits.time_within[at] + self.time) * real
        self.covariates = None if visits.covariates is None else visits.covariates[subjects]
        self.mask = real.unsqueeze(-1)
        if visits.observed is not None:
            self.mask = self.mask * visits.observed.T[at][..., courses.vertex]
        self.values = visits.values.T[at][..., courses.vertex] * self.mask

    def parts(self, population: Population, latent: Tensor) -> Parts:
        """Return each subject's sums at its latents ``(subjects, 2 + K, or 2 + K + visits x K with levels)``."""
        cluster, count = self.courses.cluster, self.mask.sum(0)
        sigma, lasting = population.sigma[cluster], population.omega[cluster].square()
        weight = self.mask / sigma
        mean, columns = self._linearised(population, self._scores(population, latent))
        left = (self.values - mean - self._shared(population, latent)[..., cluster]) * weight
        columns = [column * weight for column in columns]
        volume = count * (2 * math.pi * sigma.square()).log() + torch.log1p(count * lasting / sigma.square())
        products = torch.stack([(left * column).sum(0) for column in columns])
        grams = torch.stack([(columns[i] * columns[j]).sum(0) for i, j in lower_triangle(len(columns))])
        parts = Parts(left.square().sum(0), products, grams, volume.expand_as(products[0]))
        if not bool(lasting.any()):
            return parts
        share = lasting_weight(lasting, sigma.square(), count)
        return _without_lasting(parts, left.sum(0), [column.sum(0) for column in columns], share)

    def _shared(self, population: Population, latent: Tensor) -> Tensor:
        """Return what all vertices of a cluster share beyond its curve, ``(visits or 1, subjects, K)``."""
        n_clusters = len(population.sigma)
        own, levels = latent[:, 2 : 2 + n_clusters], latent[:, 2 + n_clusters :]
        shared = (population.rho * own).unsqueeze(0)
        if population.ageing is not None:
            shared = shared + population.ageing * self.years.unsqueeze(-1)
        if population.spread is not None:
            by_visit = levels.reshape(len(latent), -1, n_clusters).transpose(0, 1)
            shared = shared + population.spread * by_visit[: len(self.years)]
        return shared

    def _scores(self, population: Population, latent: Tensor) -> Tensor:
        mean_a, sd_a, mean_b, sd_b, correlation, share = population.scores
        on_speed, on_beta = shifts(self.covariates, population.effects)
        alpha = (mean_a + on_speed + sd_a * latent[:, 0]).exp()
        residual = (1 - correlation.square()).clamp_min(0).sqrt()
        beta = mean_b + on_beta + sd_b * (correlation * latent[:, 0] + residual * latent[:, 1])
        scores: Tensor = alpha * (self.within + share * self.time) + beta
        return scores

    def _linearised(self, population: Population, scores: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return F ``(visits, subjects, P)`` and the columns of J, ``(r, visits, subjects, P)``, at the scores."""
        cluster, onset, speed = self.courses.cluster, self.courses.onset, self.courses.speed
        if population.scatter is None:
            mean = sigmoid(scores, population.theta).mT[..., cluster]
            return mean, [torch.zeros_like(mean)]
        a, b, c, d = (parameter[cluster] for parameter in population.theta)
        sd_d, sd_c, sd_b, sd_a, power = (sd[cluster] for sd in population.scatter.unbind(-1))
        steep = b * log_speed(speed, sd_b, power).exp()
        ahead = steep * (scores.unsqueeze(-1) - c - sd_c * onset)
        rise = torch.sigmoid(ahead)
        slope = a * rise * (1 - rise)
        by_c, by_b = (-steep * sd_c) * slope, log_speed_slope(speed, sd_b, power) * ahead * slope
        mean = d + a * rise - by_c * onset - by_b * speed
        return mean, [sd_d.expand_as(mean), by_c, by_b, sd_a * rise]


def _without_lasting(parts: Parts, total: Tensor, sums: Sequence[Tensor], share: Tensor) -> Parts:
    """Take off what a subject's lasting difference at a vertex explains, of sums over its visits."""
    return Parts(
        parts.squares - share * total.square(),
        parts.products - share * torch.stack([total * own for own in sums]),
        parts.grams - share * torch.stack([sums[i] * sums[j] for i, j in lower_triangle(len(sums))]),
        parts.volume,
    )


def whole_of(population: Population, own: Tensor, visits: Visits, courses: Courses) -> Parts:
    """Return the sums over all subjects' visits, at their latents ``own (subjects, p)``, as of one subject.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.trajectory import Trajectories
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits, one, none = prepare_visits(simulate_reference(3, 2, seed=0), "all"), torch.ones(1), torch.zeros(1)
    >>> flat = Population(one, Trajectories(none, one, none, none), None, one, none, none, torch.zeros(6))
    >>> courses = Courses(torch.arange(2), torch.zeros(2).long(), torch.zeros(2), torch.zeros(2))
    >>> whole = whole_of(flat, torch.zeros(3, 3), visits, courses)
    >>> bool(torch.allclose(whole.squares[0], visits.sum_squares))
    True
    """
    total: Parts | None = None
    for some in chunks(visits, courses):
        summed = SubjectVisits(visits, some, courses).parts(population, own[some]).of_all()
        total = summed if total is None else total.plus(summed)
    assert total is not None
    return total


def chunks(visits: Visits, courses: Courses) -> Iterator[Tensor]:
    """Yield numbers of subjects, as many at once as caches bear.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits, nothing = prepare_visits(simulate_reference(5, 2, seed=0), "all"), torch.zeros(20_000)
    >>> pairs = Courses(nothing.long(), nothing.long(), nothing, nothing)
    >>> [some.tolist() for some in chunks(visits, pairs)]  # two subjects of four visits each are 160 000 values
    [[0, 1], [2, 3], [4]]
    """
    chunk = max(1, MOST_NUMBERS // (len(courses.vertex) * int(visits.visits_of_subject.max())))
    for begin in range(0, visits.n_subjects, chunk):
        yield torch.arange(begin, min(begin + chunk, visits.n_subjects), device=visits.values.device)


def pair_densities(population: Population, parts: Parts, courses: Courses) -> Tensor:
    """Return log p(V_l, Z_l = k) of every pair, ``(subjects, P)``.

    Examples
    --------
    >>> one, none = torch.ones(1), torch.zeros(1)
    >>> theta = (none, one, none, none)
    >>> flat = Population(torch.tensor([0.5]), theta, None, one, none, none, torch.zeros(6))
    >>> nothing = torch.zeros(1, 1)  # no visits at all: what remains is the share
    >>> courses = Courses(torch.tensor([0]), torch.tensor([0]), none, none)
    >>> pair_densities(flat, Parts(nothing, nothing[None], nothing[None], nothing), courses).exp()
    tensor([[0.5000]])
    """
    explained, volume = quadratic(parts.grams, parts.products)
    each_own = population.share.dim() == 2
    share = population.share[(courses.vertex, courses.cluster) if each_own else courses.cluster]
    return share.log() - 0.5 * (parts.squares - explained + volume + parts.volume)


def vertex_densities(pairs: Tensor, courses: Courses, n_vertices: int) -> Tensor:
    """Return log p(V_l), labels summed out, ``(subjects, vertices)``, from those of pairs.

    Examples
    --------
    >>> courses = Courses(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), torch.zeros(3), torch.zeros(3))
    >>> found = vertex_densities(torch.tensor([[-900.0, -900.0, -900.0]]), courses, n_vertices=2) + 900
    >>> [round(float(x), 2) for x in found[0]]  # log 1, log 2
    [0.0, 0.69]
    """
    to = courses.vertex.expand_as(pairs)
    low = pairs.new_full((len(pairs), n_vertices), -math.inf)
    top = low.scatter_reduce(-1, to, pairs.detach(), "amax")
    above = (pairs - top.gather(-1, to)).exp()
    return top + above.new_zeros(top.shape).scatter_add(-1, to, above).log()
