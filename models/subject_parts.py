r"""Some subjects' part of the likelihood of every vertex under each cluster: sums over their visits.

A vertex's own trajectory, z sds from its cluster's in (d, c, log b, a), is linearised about its own z*, which all
visits of a fit say of it (`own_modes`):

.. math::  f(s; z) \approx f(s; z^*) + J(s) (z - z^*) = F(s) + J(s) z, \qquad z \sim \mathrm{Normal}(0, I),

so that z is integrated out in closed form.  Of the data only the squared distances to F, the products r = J'(V - F) and
G = J'J enter, which are sums over subjects: one subject's part is exchanged at the cost of its own visits.  Where many
visits have been seen, this is the density of the scattered courses themselves (Laplace's method), nearer than any law
of a whole cluster's vertices is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from neuropyro.models.ageing import aged
from neuropyro.models.covariates import shifts
from neuropyro.models.population import Population
from neuropyro.models.trajectory import sigmoid
from neuropyro.models.vertex_effects import lasting_weight
from neuropyro.models.visits import Visits

__all__ = ["Parts", "SubjectVisits", "chunks", "own_modes", "rows", "whole_of"]

MOST_NUMBERS = 4_000_000  # values of a chunk of subjects, times clusters
ROUNDS, LONGEST, FARTHEST = 8, 1.0, 4.0  # of Gauss and Newton's steps; of one, and of all of them together, in sds
CLOSE = 0.01  # sds


class Parts(NamedTuple):
    """Sums over visits: squares ``(*, L, K)``, products ``(*, L, K, r)``, grams ``(*, L or 1, K, r, r)``.

    They are of the white part with what lasts of a subject at each vertex, whose log determinant is the volume.
    """

    squares: Tensor
    products: Tensor
    grams: Tensor
    volume: Tensor  # (*, L or 1, K)

    def plus(self, other: Parts, sign: int = 1) -> Parts:
        """Add what other visits say, or take it off."""
        return Parts(*(a + sign * b for a, b in zip(self, other, strict=True)))

    def of_everyone(self) -> Parts:
        """Return the same for every subject, ``(1, ...)``."""
        return Parts(*(part.unsqueeze(0) for part in self))


class SubjectVisits:
    """Some subjects' visits, padded to the longest: values and mask ``(subjects, L, m)``."""

    def __init__(self, visits: Visits, subjects: Tensor) -> None:
        rows = [(visits.subject == i).nonzero().squeeze(-1) for i in subjects]
        at = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
        real = (at >= 0).to(visits.values)
        self.within = visits.time_within[at] * real
        self.mean_time = visits.subject_time[subjects]
        self.covariates = None if visits.covariates is None else visits.covariates[subjects]
        observed = real.unsqueeze(1) if visits.observed is None else visits.observed.T[at].mT * real.unsqueeze(1)
        self.mask = observed
        self.values = visits.values.T[at].mT * observed

    def parts(self, population: Population, latent: Tensor, modes: Tensor) -> Parts:
        """Return each subject's sums at its latents ``(subjects, 2 + K)``, vertices' z* ``(L, K, 2)`` given."""
        mean_a, sd_a, mean_b, sd_b, correlation = population.scores
        on_speed, on_beta = shifts(self.covariates, population.effects)
        alpha = (mean_a + on_speed + sd_a * latent[:, 0]).exp()
        residual = (1 - correlation.square()).clamp_min(0).sqrt()
        beta = mean_b + on_beta + sd_b * (correlation * latent[:, 0] + residual * latent[:, 1])
        years = self.within + self.mean_time[:, None]
        mean, columns = _linearised(alpha[:, None] * years + beta[:, None], population, modes)
        shared = (population.rho * latent[:, 2:]).unsqueeze(-1)  # (subjects, K, m)
        shared = shared if population.ageing is None else shared + aged(population.ageing, years.unsqueeze(-2))
        seen = self.mask.unsqueeze(2)
        left = (self.values.unsqueeze(2) - mean - shared.unsqueeze(1)) * seen  # (subjects, L, K, m)
        of_seen = columns * seen.unsqueeze(-1)
        count = self.mask.sum(-1, keepdim=True)
        variance, lasting = population.sigma.square(), population.omega.square()
        parts = Parts(
            left.square().sum(-1),
            (left.unsqueeze(-2) @ columns).squeeze(-2),
            of_seen.mT @ columns,
            count * (2 * math.pi * variance).log() + torch.log1p(count * lasting / variance),
        )
        if not bool(lasting.any()):
            return parts
        weight = lasting_weight(lasting, variance, count)  # (subjects, L or 1, K)
        total, sums = left.sum(-1), of_seen.sum(-2)
        weighted = weight.unsqueeze(-1) * sums
        return Parts(
            parts.squares - weight * total.square(),
            parts.products - total.unsqueeze(-1) * weighted,
            parts.grams - weighted.unsqueeze(-1) * sums.unsqueeze(-2),
            parts.volume,
        )


def _linearised(scores: Tensor, population: Population, modes: Tensor) -> tuple[Tensor, Tensor]:
    """Return F ``(subjects, L or 1, K, m)`` and J ``(subjects, L or 1, K, m, r)`` at ``scores (subjects, m)``."""
    if population.scatter is None:
        mean = sigmoid(scores, population.theta).unsqueeze(1)
        return mean, torch.zeros_like(mean).unsqueeze(-1)
    sd_d, sd_c, sd_b, sd_a = (sd.unsqueeze(-1) for sd in population.scatter.unbind(-1))  # (K, 1)
    a, b, c, d = (p.unsqueeze(-1) for p in population.theta)
    of_c, of_b = (z.unsqueeze(-1) for z in modes.unbind(-1))  # (L, K, 1)
    steep = b * (sd_b * of_b).exp()
    ahead = steep * (scores[:, None, None] - c - sd_c * of_c)
    rise = torch.sigmoid(ahead)
    slope = a * rise * (1 - rise)
    by_c, by_b = -steep * sd_c * slope, sd_b * ahead * slope
    mean = d + a * rise - by_c * of_c - by_b * of_b
    return mean, torch.stack([sd_d.expand_as(mean), by_c, by_b, sd_a * rise], -1)


def own_modes(population: Population, own: Tensor, visits: Visits) -> Tensor:
    """Return where each vertex's own onset and log speed are most likely under each cluster, ``(L, K, 2)`` sds."""
    modes = visits.values.new_zeros(visits.n_vertices, len(population.sigma), 2)
    if population.scatter is None:
        return modes
    variance = population.sigma.square()[:, None, None]
    for _ in range(ROUNDS):
        whole = whole_of(population, own, visits, modes)
        precision = torch.eye(4).to(variance) + whole.grams / variance
        found = torch.linalg.solve(precision, whole.products.unsqueeze(-1) / variance).squeeze(-1)[..., 1:3]
        step = (found - modes).clamp(-LONGEST, LONGEST)
        modes = (modes + step).clamp(-FARTHEST, FARTHEST)
        if float(step.abs().max()) < CLOSE:
            break
    return modes


def whole_of(population: Population, own: Tensor, visits: Visits, modes: Tensor) -> Parts:
    """Return the sums over all subjects' visits, at their latents ``own (subjects, 2 + K)``."""
    total: Parts | None = None
    for some in chunks(population, visits):
        parts = SubjectVisits(visits, some).parts(population, own[some], modes)
        summed = Parts(*(part.sum(0) for part in parts))
        total = summed if total is None else total.plus(summed)
    assert total is not None
    return total


def chunks(population: Population, visits: Visits) -> Iterator[Tensor]:
    """Yield numbers of subjects, as many at once as memory bears."""
    chunk = max(1, MOST_NUMBERS // (visits.n_vertices * len(population.sigma) * int(visits.visits_of_subject.max())))
    for begin in range(0, visits.n_subjects, chunk):
        yield torch.arange(begin, min(begin + chunk, visits.n_subjects), device=visits.values.device)


def rows(population: Population, parts: Parts) -> Tensor:
    """Return log p(V_l), labels summed out, ``(subjects, L)``."""
    variance = population.sigma.square()
    eye = torch.eye(parts.grams.shape[-1]).to(variance)
    chol = torch.linalg.cholesky(eye + parts.grams / variance[:, None, None])  # (subjects, L or 1, K, r, r)
    whitened = torch.linalg.solve_triangular(chol, parts.products.unsqueeze(-1), upper=False).square().sum((-2, -1))
    volume = 2 * chol.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    distance = (parts.squares - whitened / variance) / variance
    each = -0.5 * (distance + volume + parts.volume)
    return torch.logsumexp(each + population.share.log(), -1)
