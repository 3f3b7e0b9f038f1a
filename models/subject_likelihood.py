r"""How likely a subject's visits are, given everyone else's: the term of leaving one subject out.

For subject i, given the globals and the other subjects' latents of a posterior draw,

.. math::

   p(V_i \mid V_{-i}) = \int \mathrm{Normal}(x; 0, I) \prod_l \frac{p(V_l \mid x)}{p(V_{l,-i})} \, dx,

where x are the subject's own latents in units of their population: log speed, stage, an offset in each cluster, and
where visits have levels of their own these.
They must be integrated out, not drawn: with its own latents conditioned on, no subject can be left out by importance
weights.  V_l is coupled over subjects, by the vertex's label and own trajectory, so that both p(V_l | x) and
p(V_{l,-i}) are of whole rows; but what enters them are sums over subjects (:mod:`neuropyro.models.subject_parts`), of
which one subject's part is exchanged.

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

import torch
from torch import Tensor

from neuropyro.models.own_courses import own_courses
from neuropyro.models.population import Population
from neuropyro.models.subject_integral import Integrand, climb, integrate, likeliest
from neuropyro.models.subject_parts import (
    Courses,
    Parts,
    SubjectVisits,
    chunks,
    pair_densities,
    vertex_densities,
    whole_of,
)
from neuropyro.models.visits import Visits

__all__ = ["integrated_log_likelihood", "new_subject_terms", "subject_terms"]

IMPORTANCE_DRAWS = 16
STARTS = 10  # draws near a new subject's latents, of which the likeliest is climbed from


def subject_terms(population: Population, own: Tensor, visits: Visits, seed: int = 0) -> Tensor:
    """Return log p(V_i | V_-i) of every subject under one draw, ``(subjects,)``, of standardised values.

    Parameters
    ----------
    population
        The draw of the globals.
    own
        ``(subjects, p)`` the draw of the subjects' latents in units of their population: p is 2 + K, and where visits
        have levels K more for each visit of the subject with most.
    visits
        The data.
    seed
        Of the importance draws.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.trajectory import Trajectories
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(simulate_reference(3, 2, seed=0), "all", dtype=torch.float64)
    >>> one, none, scores = torch.ones(1).double(), torch.zeros(1).double(), torch.tensor([0, 1, 0, 1, 0, 1.0])
    >>> flat = Population(one, Trajectories(none, one, none, none), None, one, none, none, scores)  # white noise
    >>> terms = subject_terms(flat, torch.zeros(3, 3).double(), visits)
    >>> alone = visits.sum_of_subject(dist.Normal(0, 1).log_prob(visits.values)).sum(0)  # others say nothing of it
    >>> bool(torch.allclose(terms, alone, atol=0.5))
    True
    """
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        courses = own_courses(population, own, visits)
        whole = whole_of(population, own, visits, courses)
        found = []
        for some in chunks(visits, courses):
            integrand = _without(population, own, visits, some, courses, whole)
            found.append(_integral(integrand, own[some], population))
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
        ``(several, new subjects, 2 + K)`` draws of their latents but for levels, in units of the population, from a
        posterior near theirs: where to look.
    seed
        Of the importance draws.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.trajectory import Trajectories
    >>> from neuropyro.models.visits import prepare_visits
    >>> fitted, new = (prepare_visits(simulate_reference(n, 2, seed=n), None, dtype=torch.float64) for n in (3, 2))
    >>> one, none, scores = torch.ones(1).double(), torch.zeros(1).double(), torch.tensor([0, 1, 0, 1, 0, 1.0])
    >>> flat = Population(one, Trajectories(none, one, none, none), None, one, none, none, scores)  # white noise
    >>> terms = new_subject_terms(flat, torch.zeros(3, 3).double(), fitted, new, near=torch.zeros(1, 2, 3).double())
    >>> alone = new.sum_of_subject(dist.Normal(0, 1).log_prob(new.values)).sum(0)
    >>> bool(torch.allclose(terms, alone, atol=0.5))
    True
    """
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        courses = own_courses(population, own, fitted)
        whole = whole_of(population, own, fitted, courses)
        found = []
        for some in chunks(new, courses):
            integrand = _Subjects(population, new, some, courses, whole)
            places = _without_levels(near[:STARTS, some], population, new)
            found.append(_integral(integrand, likeliest(integrand, places), population))
    return torch.cat(found)


def _without_levels(near: Tensor, population: Population, visits: Visits) -> Tensor:
    """Return latents with the levels of all visits, where there are such, where their curves put them."""
    n_levels = 0 if population.spread is None else len(population.spread) * int(visits.visits_of_subject.max())
    return torch.cat([near, near.new_zeros(*near.shape[:-1], n_levels)], -1)


def _integral(integrand: Integrand, start: Tensor, population: Population) -> Tensor:
    return integrate(integrand, *climb(integrand, start), IMPORTANCE_DRAWS, heavy=2 + len(population.sigma))


def integrated_log_likelihood(population: Population, own: Tensor, visits: Visits) -> float:
    """Return log p(V | globals), subjects' latents integrated out by Laplace's method, nats.

    Subject by subject, from its draw to its top and by the curvature there, the others being where they were drawn:
    that two subjects share vertices is left out of it.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.trajectory import Trajectories
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(simulate_reference(3, 2, seed=0), "all", dtype=torch.float64)
    >>> one, none, scores = torch.ones(1).double(), torch.zeros(1).double(), torch.tensor([0, 1, 0, 1, 0, 1.0])
    >>> flat = Population(one, Trajectories(none, one, none, none), None, one, none, none, scores)  # white noise
    >>> nats = integrated_log_likelihood(flat, torch.zeros(3, 3).double(), visits)
    >>> abs(nats - float(dist.Normal(0, 1).log_prob(visits.values).sum())) < 1e-3
    True
    """
    total = 0.0
    with torch.no_grad():
        courses = own_courses(population, own, visits)
        whole = whole_of(population, own, visits, courses)
        for some in chunks(visits, courses):
            integrand = _without(population, own, visits, some, courses, whole)
            top, root = climb(integrand, own[some])
            gain = integrand(top) - integrand(own[some])
            volume = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            total += float((gain + volume - 0.5 * own[some].square().sum(-1)).sum())
        total += float(_rows(population, whole, courses, visits).sum())
    return total


def _without(
    population: Population, own: Tensor, visits: Visits, some: Tensor, courses: Courses, whole: Parts
) -> _Subjects:
    """Return the integrands of some subjects, given all others."""
    mine = SubjectVisits(visits, some, courses).parts(population, own[some])
    return _Subjects(population, visits, some, courses, whole.plus(mine, -1))


def _rows(population: Population, parts: Parts, courses: Courses, visits: Visits) -> Tensor:
    """Return log p(V), summed over vertices by their weight, ``(subjects,)``."""
    each = vertex_densities(pair_densities(population, parts, courses), courses, visits.n_vertices)
    return visits.weight * each.sum(-1)


class _Subjects:
    """The logarithm of each subject's integrand."""

    def __init__(
        self, population: Population, visits: Visits, subjects: Tensor, courses: Courses, others: Parts
    ) -> None:
        self.population, self.courses, self.fitted = population, courses, visits
        self.visits = SubjectVisits(visits, subjects, courses)
        self.others = others
        self.base = _rows(population, others, courses, visits)

    def __call__(self, latent: Tensor) -> Tensor:
        """Return ``(subjects,)``: the prior of the latents, and the likelihood with them over that without."""
        mine = self.visits.parts(self.population, latent)
        whole = _rows(self.population, self.others.plus(mine), self.courses, self.fitted)
        prior = -0.5 * latent.square().sum(-1) - 0.5 * latent.shape[-1] * math.log(2 * math.pi)
        return whole - self.base + prior
