r"""How likely a subject's visits are, given everyone else's: the term of leaving one subject out.

For subject i, given the globals and the other subjects' latents of a posterior draw,

.. math::

   p(V_i \mid V_{-i}) = \int \mathrm{Normal}(x; 0, I) \prod_l \frac{p(V_l \mid x)}{p(V_{l,-i})} \, dx,

where x are the subject's own latents in units of their population: log speed, stage, and an offset in each cluster.
They must be integrated out, not drawn: with its own latents conditioned on, no subject can be left out by importance
weights.  V_l is coupled over subjects, by the vertex's label and scatter, so that both p(V_l | x) and p(V_{l,-i})
are of whole rows; but only squared distances d, products r = J'(V - F) and G = J'J enter them, which are sums over
subjects: one subject's part is exchanged at the cost of its own visits.  All are of each cluster's each node
(:mod:`neuropyro.models.scatter_nodes`), of which there are C.

The integrand is a narrow peak.  Newton's method finds its top, and importance draws from a t distribution with the
curvature there give the integral.

References
----------
Vehtari, Gelman & Gabry, "Practical Bayesian model evaluation using leave-one-out cross-validation and WAIC", Statistics
and Computing 2017; Merkle, Furr & Rabe-Hesketh, "Bayesian comparison of latent variable models: conditional versus
marginal likelihoods", Psychometrika 2019.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from neuropyro.models.ageing import aged
from neuropyro.models.covariates import effects_of, shifts
from neuropyro.models.mixture import curves
from neuropyro.models.scatter_nodes import ScatterNodes, log_weights
from neuropyro.models.scores import SCORE_GLOBALS, place_law
from neuropyro.models.subject_integral import climb, derivatives, integrate, spanned
from neuropyro.models.trajectory import Trajectories
from neuropyro.models.vertex_effects import lasting_weight
from neuropyro.models.visits import Visits

__all__ = [
    "Population",
    "integrated_log_likelihood",
    "new_subject_terms",
    "population_of",
    "subject_terms",
]

MOST_NUMBERS = 4_000_000  # values of a chunk of subjects, times C

IMPORTANCE_DRAWS, MORE_DRAWS = 16, 64  # about a top, and about the mean of draws


@dataclass(frozen=True)
class Population:
    """One posterior draw of what subjects share; everything in one gauge.

    Parameters
    ----------
    share
        ``(K,)`` of the vertices; or each vertex's own, ``(vertices, K)``.
    theta, scatter, sigma
        Of the clusters' trajectories; ``scatter (K, 4)`` sds of d, c, log b, a, or None.
    rho, omega
        ``(K,)`` sds of the subjects' offsets and of vertex effects, zeros for none.
    scores
        ``(5,)``: mean and sd of log speed, mean and sd of the score at the mean time, correlation.
    effects
        ``(2, C)`` of standardised covariates on log speed and on that score, or None.
    ageing
        ``(K,)`` a year, or None.
    """

    share: Tensor
    theta: Trajectories
    scatter: Tensor | None
    sigma: Tensor
    rho: Tensor
    omega: Tensor
    scores: Tensor
    effects: Tensor | None = None
    ageing: Tensor | None = None

    @property
    def log_weight(self) -> Tensor:
        """``(M,)`` of a cluster's nodes."""
        return torch.zeros_like(self.sigma[:1]) if self.scatter is None else log_weights(self.sigma)

    def of_nodes(self, sds: Tensor) -> Tensor:
        """Return the squares of clusters' ``sds (K,)`` for each of their nodes, ``(C,)``."""
        return sds.square().repeat_interleave(len(self.log_weight))


class _Parts(NamedTuple):
    """Sums over visits: squares ``(*, L, C)``, products ``(*, L, C, r)``, grams ``(*, L or 1, C, r, r)``.

    They are of the white part with what lasts of a subject at each vertex, whose log determinant is the volume.
    """

    squares: Tensor
    products: Tensor
    grams: Tensor
    volume: Tensor  # (*, L or 1, C)

    def plus(self, other: _Parts, sign: int = 1) -> _Parts:
        return _Parts(*(a + sign * b for a, b in zip(self, other, strict=True)))

    def of_everyone(self) -> _Parts:
        """Return the same for every subject, ``(1, ...)``."""
        return _Parts(*(part.unsqueeze(0) for part in self))


def population_of(draw: Mapping[str, Tensor], scatter: Tensor | None, visits: Visits) -> tuple[Population, Tensor]:
    """Return the globals of a posterior draw, and each subject's latents in units of its population.

    Parameters
    ----------
    draw
        One draw by site; without ``rho`` and ``u``, subjects have no offsets, without ``omega`` no vertex effects.
    scatter
        ``(K, 4)``, or None for none.
    visits
        The data: when subjects were seen, and their covariates.
    """
    theta = Trajectories(*(draw[name] for name in Trajectories._fields))
    rho, omega = (draw.get(site, torch.zeros_like(draw["pi"])) for site in ("rho", "omega"))
    scores = torch.stack([draw[name] for name in SCORE_GLOBALS])
    own = place_law(draw, visits).innovations(draw["place"])
    offsets = draw["u"] / rho if "u" in draw else own.new_zeros(len(own), len(rho))
    shared = Population(
        draw["pi"], theta, scatter, draw["sigma"], rho, omega, scores, effects_of(draw), draw.get("ageing")
    )
    return shared, torch.cat([own, offsets], -1)


def subject_terms(population: Population, own: Tensor, visits: Visits, seed: int = 0) -> Tensor:
    """Return log p(V_i | V_-i) of every subject under one draw, ``(subjects,)``, of standardised values.

    Parameters
    ----------
    population
        The draw of the globals.
    own
        ``(subjects, 2 + K)`` the draw of the subjects' latents in units of their population.
    visits
        The data.
    seed
        Of the importance draws.
    """
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        whole = _whole(population, own, visits)
        found = []
        for some in _chunks(population, visits):
            integrand = _without(population, own, visits, some, whole)
            found.append(integrate(integrand, *climb(integrand, own[some]), IMPORTANCE_DRAWS))
    return torch.cat(found)


def new_subject_terms(
    population: Population, own: Tensor, fitted: Visits, new: Visits, near: Tensor, seed: int = 0
) -> Tensor:
    """Return log p(V_i | fit) of subjects that the fit has not seen, under one draw, ``(new subjects,)``.

    Their vertices' labels and own trajectories are summed and integrated out, given what the fit saw of them.

    Parameters
    ----------
    population, own
        The draw, and the fitted subjects' latents, as in `subject_terms`.
    fitted, new
        The data of the fit, and those of the new subjects, standardised alike.
    near
        ``(several, new subjects, 2 + K)`` draws of their latents, in units of the population, from a posterior near
        theirs: where to look.
    seed
        Of the importance draws.
    """
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        whole = _whole(population, own, fitted)
        found = []
        for some in _chunks(population, new):
            integrand = _Subjects(population, new, some, whole.of_everyone())
            found.append(integrate(integrand, *spanned(near[:, some]), MORE_DRAWS))
    return torch.cat(found)


def integrated_log_likelihood(population: Population, own: Tensor, visits: Visits) -> float:
    """Return log p(V | globals), subjects' latents integrated out by Laplace's method about their draw, nats.

    Their curvature is taken subject by subject: that two subjects share vertices is left out of it.
    """
    total = 0.0
    with torch.no_grad():
        whole = _whole(population, own, visits)
        for some in _chunks(population, visits):
            integrand = _without(population, own, visits, some, whole)
            _, curvature = derivatives(integrand, own[some])
            volume = torch.linalg.cholesky(curvature).diagonal(dim1=-2, dim2=-1).log().sum()
            total -= float(0.5 * own[some].square().sum() + volume)
        total += float(_rows(population, whole.of_everyone()).sum())
    return total


def _chunks(population: Population, visits: Visits) -> Iterator[Tensor]:
    """Yield numbers of subjects, as many at once as memory bears."""
    laws = len(population.sigma) * len(population.log_weight)
    chunk = max(1, MOST_NUMBERS // (visits.n_vertices * laws * int(visits.visits_of_subject.max())))
    for begin in range(0, visits.n_subjects, chunk):
        yield torch.arange(begin, min(begin + chunk, visits.n_subjects), device=visits.values.device)


def _whole(population: Population, own: Tensor, visits: Visits) -> _Parts:
    """Return the sums over all subjects' visits."""
    total: _Parts | None = None
    for some in _chunks(population, visits):
        parts = _Visits(visits, some).parts(population, own[some])
        summed = _Parts(*(part.sum(0) for part in parts))
        total = summed if total is None else total.plus(summed)
    assert total is not None
    return total


def _without(population: Population, own: Tensor, visits: Visits, some: Tensor, whole: _Parts) -> _Subjects:
    """Return the integrands of some subjects, given all others."""
    mine = _Visits(visits, some).parts(population, own[some])
    return _Subjects(population, visits, some, whole.of_everyone().plus(mine, -1))


class _Visits:
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

    def parts(self, population: Population, latent: Tensor) -> _Parts:
        """Return each subject's sums at its latents ``(subjects, 2 + K)``."""
        mean_a, sd_a, mean_b, sd_b, correlation = population.scores
        on_speed, on_beta = shifts(self.covariates, population.effects)
        alpha = (mean_a + on_speed + sd_a * latent[:, 0]).exp()
        residual = (1 - correlation.square()).clamp_min(0).sqrt()
        beta = mean_b + on_beta + sd_b * (correlation * latent[:, 0] + residual * latent[:, 1])
        years = self.within + self.mean_time[:, None]
        scores = alpha[:, None] * years + beta[:, None]
        mean, nodes = curves(scores, population.theta, population.scatter)
        mean = mean + (population.rho * latent[:, 2:]).unsqueeze(-1)
        mean = mean if population.ageing is None else mean + aged(population.ageing, years.unsqueeze(-2))
        nodes = ScatterNodes.single(torch.zeros_like(mean).unsqueeze(-1)) if nodes is None else nodes
        columns = nodes.columns.flatten(1, 2)  # (subjects, C, m, r)
        mean = (mean.unsqueeze(2) + nodes.departure).flatten(1, 2)
        left = (self.values.unsqueeze(2) - mean.unsqueeze(1)) * self.mask.unsqueeze(2)  # (subjects, L, C, m)
        sums = torch.einsum("ilm,ikmp->ilkp", self.mask, columns)
        pairs = (columns.unsqueeze(-1) * columns.unsqueeze(-2)).flatten(-2)
        grams = torch.einsum("ilm,ikmp->ilkp", self.mask, pairs).reshape(*sums.shape, -1)
        count = self.mask.sum(-1, keepdim=True)
        variance, lasting = population.of_nodes(population.sigma), population.of_nodes(population.omega)
        weight = lasting_weight(lasting, variance, count)  # (subjects, L or 1, C)
        total, weighted = left.sum(-1), weight.unsqueeze(-1) * sums
        return _Parts(
            left.square().sum(-1) - weight * total.square(),
            torch.einsum("ilkm,ikmp->ilkp", left, columns) - total.unsqueeze(-1) * weighted,
            grams - weighted.unsqueeze(-1) * sums.unsqueeze(-2),
            count * (2 * math.pi * variance).log() + torch.log1p(count * lasting / variance),
        )


class _Subjects:
    """The logarithm of each subject's integrand."""

    def __init__(self, population: Population, visits: Visits, subjects: Tensor, others: _Parts) -> None:
        self.population = population
        self.visits = _Visits(visits, subjects)
        self.others = others
        self.base = _rows(population, others).sum(-1)

    def __call__(self, latent: Tensor) -> Tensor:
        """Return ``(subjects,)``: the prior of the latents, and the likelihood with them over that without."""
        rows = _rows(self.population, self.others.plus(self.visits.parts(self.population, latent)))
        prior = -0.5 * latent.square().sum(-1) - 0.5 * latent.shape[-1] * math.log(2 * math.pi)
        return rows.sum(-1) - self.base + prior


def _rows(population: Population, parts: _Parts) -> Tensor:
    """Return log p(V_l), labels and nodes summed out, ``(subjects, L)``."""
    variance = population.of_nodes(population.sigma)
    eye = torch.eye(parts.grams.shape[-1]).to(variance)
    chol = torch.linalg.cholesky(eye + parts.grams / variance[:, None, None])  # (subjects, L or 1, C, r, r)
    if chol.shape[1] == 1:  # one for all vertices: they become columns of one triangular solve
        products = parts.products.permute(0, 2, 3, 1)
        whitened = torch.linalg.solve_triangular(chol.squeeze(1), products, upper=False).square().sum(-2).mT
    else:
        whitened = torch.linalg.solve_triangular(chol, parts.products.unsqueeze(-1), upper=False).square().sum((-2, -1))
    volume = 2 * chol.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    distance = (parts.squares - whitened / variance) / variance
    each = -0.5 * (distance + volume + parts.volume)
    weight = population.share.log().unsqueeze(-1) + population.log_weight  # (K or L x K, M)
    return torch.logsumexp(each + weight.flatten(-2), -1)
