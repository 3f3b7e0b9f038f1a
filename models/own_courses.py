"""Where all visits of a fit put each vertex's own course, under each cluster that it may belong to."""

from __future__ import annotations

import torch
from torch import Tensor

from neuropyro.models.packed_grams import solve
from neuropyro.models.population import Population
from neuropyro.models.subject_parts import Courses, pair_densities, vertex_densities, whole_of
from neuropyro.models.visits import Visits

__all__ = ["own_courses"]

ROUNDS, LONGEST, FARTHEST = 8, 1.0, 4.0  # of Gauss and Newton's steps; of one, and of all of them together, in sds
CLOSE = 0.01  # sds
UNLIKELY = 30.0  # nats below a vertex's likeliest cluster, which no subject's few visits of that vertex make up for


def own_courses(population: Population, own: Tensor, visits: Visits) -> Courses:
    """Return the most likely onset and log speed of each vertex, under the clusters that it may belong to.

    Parameters
    ----------
    population
        A draw of the globals.
    own
        ``(subjects, p)`` latents of the fitted subjects, in units of the population.
    visits
        The data of the fit.

    Examples
    --------
    >>> import numpy as np
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.trajectory import Trajectories
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(Cohort(np.array([[9.0, -9.0, 0.0], [8.0, -8.0, 1.0]]), [70.0, 71.0], ["a", "a"]), None)
    >>> two, zero = torch.ones(2), torch.zeros(2)
    >>> flat = Trajectories(a=zero, b=two, c=zero, d=torch.tensor([-9.0, 9.0]))
    >>> shared = Population(two / 2, flat, None, two, zero, zero, torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0, 1.0]))
    >>> found = own_courses(shared, torch.zeros(1, 4), visits)  # the third vertex may be of either cluster
    >>> list(zip(found.vertex.tolist(), found.cluster.tolist()))
    [(0, 1), (1, 0), (2, 0), (2, 1)]
    """
    courses = _at_clusters(population, visits)
    for _ in range(ROUNDS if population.scatter is not None else 0):
        whole = whole_of(population, own, visits, courses)
        _, onset, speed, _ = solve(whole.grams, whole.products)[:, 0]
        moved = [_towards(*pair) for pair in ((courses.onset, onset), (courses.speed, speed))]
        step = max(float((new - old).abs().max()) for new, old in zip(moved, courses[2:], strict=True))
        courses = Courses(courses.vertex, courses.cluster, *moved)
        if step < CLOSE:
            break
    return _likely(population, own, visits, courses)


def _at_clusters(population: Population, visits: Visits) -> Courses:
    """Return a pair for every vertex and cluster, at the cluster's own course."""
    n_clusters, device = len(population.sigma), visits.values.device
    cluster = torch.arange(n_clusters, device=device).repeat(visits.n_vertices)
    vertex = torch.arange(visits.n_vertices, device=device).repeat_interleave(n_clusters)
    start = population.sigma.new_zeros(len(vertex))
    return Courses(vertex, cluster, start, start)


def _towards(old: Tensor, new: Tensor) -> Tensor:
    return (old + (new - old).clamp(-LONGEST, LONGEST)).clamp(-FARTHEST, FARTHEST)


def _likely(population: Population, own: Tensor, visits: Visits, courses: Courses) -> Courses:
    """Return the pairs that are not all but impossible."""
    joint = pair_densities(population, whole_of(population, own, visits, courses), courses)
    best = vertex_densities(joint, courses, visits.n_vertices)[0, courses.vertex]
    return Courses(*(of_pair[joint[0] > best - UNLIKELY] for of_pair in courses))
