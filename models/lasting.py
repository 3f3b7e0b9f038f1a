r"""What lasts of a subject's departure at a single vertex, beyond the course, its offset in the cluster, and the visit.

People differ in the shape of their cortex, and registration errs at the same place again.  So residuals of one subject
at one vertex resemble each other from visit to visit.  To stage subjects a cluster's own sd of them is enough
(:mod:`neuropyro.models.vertex_effects`); to forecast their maps each vertex's own says more.  With residuals R_nl, less
their mean over the cluster's vertices at the visit (which is the offset's and the visit's share),

.. math::  R_{nl} = r_{i(n)l} + \epsilon_{nl}, \qquad r_{il} \sim \mathrm{Normal}(0, \omega_l), \quad
   \epsilon_{nl} \sim \mathrm{Normal}(0, \psi_l),

omega and psi are estimated by moments: the products of a subject's residuals at different visits have mean omega^2.
Both variances are shrunk towards those of the cluster, as if some more subjects had been seen there.  Given a subject's
history at the vertex, r is Normal in closed form.

References
----------
Searle, Casella & McCulloch, *Variance Components*, 1992, chapter 3 (moments); Robinson, "That BLUP is a good thing",
Statistical Science 1991 (what is expected of a new visit).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from neuropyro.models.course import Course
from neuropyro.models.vertex_effects import lasting_weight
from neuropyro.models.visits import Visits

__all__ = ["Components", "by_subject", "centred_residuals", "components_of", "own_deviation"]

LIKE = 20.0  # subjects of the cluster's average vertex that a vertex's own are joined by
LEAST = 0.05  # of the variance, at least, passes from visit to visit


class Components(NamedTuple):
    """Variances of each vertex, ``(vertices,)``: what lasts, and what passes.

    Examples
    --------
    >>> variances = Components(lasting=torch.tensor([3.0]), passing=torch.tensor([1.0]))
    >>> one = torch.ones(1, 1)
    >>> own_deviation(variances, sums=one, count=one)[0]  # of one visit's residual, three quarters are taken to last
    tensor([[0.7500]])
    """

    lasting: Tensor
    passing: Tensor


def centred_residuals(course: Course, values: Tensor, observed: Tensor | None, dps: Tensor) -> Tensor:
    """Return residuals about the vertices' own trajectories, less their cluster's mean, ``(vertices, visits)``.

    Parameters
    ----------
    course
        What is known of the vertices.
    values, observed
        ``(vertices, visits)`` as in :class:`~neuropyro.models.visits.Visits`; residuals are 0 where nothing was seen.
    dps
        ``(visits,)`` scores.

    Examples
    --------
    >>> from neuropyro.models.trajectory import Trajectories
    >>> flat = Trajectories(*torch.tensor([[0.0], [1.0], [0.0], [0.0]]))
    >>> course = Course(flat, None, torch.ones(1), None, None, torch.zeros(6), torch.tensor([0, 0]), None)
    >>> centred_residuals(course, torch.tensor([[1.0, 0.0], [3.0, 6.0]]), observed=None, dps=torch.zeros(2))
    tensor([[-1., -3.],
            [ 1.,  3.]])
    """
    left = torch.empty_like(values)
    columns = course.columns(dps.to(course.sigma)).to(left)  # (K, visits, 1 or 10)
    for k in range(len(course.sigma)):
        members = (course.label == k).nonzero().squeeze(-1)
        own = values[members]
        if course.own is not None:
            own = own - course.own[members].to(left) @ columns[k, :, 1:].mT
        seen = torch.ones_like(own) if observed is None else observed[members]
        mean = (own * seen).sum(0) / seen.sum(0).clamp_min(1)
        left[members] = (own - mean) * seen
    return left


def components_of(course: Course, visits: Visits, dps: Tensor) -> Components:
    """Estimate the variances from the visits that the course was fitted to, and their scores.

    Examples
    --------
    >>> from neuropyro.models.trajectory import Trajectories
    >>> flat = Trajectories(*torch.tensor([[0.0], [1.0], [0.0], [0.0]]))
    >>> course = Course(flat, None, torch.ones(1), None, None, torch.zeros(6), torch.tensor([0, 0]), None)
    >>> import numpy as np
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> values = np.array([[1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, 1.0]])  # each subject's last
    >>> visits = prepare_visits(Cohort(values, [70.0, 71.0, 70.0, 71.0], ["a", "a", "b", "b"]), None)
    >>> components_of(course, visits, dps=torch.zeros(4)).lasting  # of a variance of 2, all but the least that passes
    tensor([1.9000, 1.9000], dtype=torch.float64)
    """
    residual = centred_residuals(course, course.without_ageing(visits).values, visits.observed, dps)
    sums, count = by_subject(residual, visits.observed, visits.subject, visits.n_subjects)
    pairs = (count * (count - 1)).sum(-1)
    products = sums.square().sum(-1) - residual.double().square().sum(-1)
    squares, number = residual.double().square().sum(-1), count.sum(-1)
    lasting, total = torch.zeros_like(squares), course.sigma.to(squares).square()[course.label]
    for k in range(len(course.sigma)):
        own = course.label == k
        n = int(own.sum())
        if n > 1 and float(pairs[own].sum()) > 0:
            freed = n / (n - 1)  # of the mean that was taken off
            total[own] = freed * _shrunk(squares[own], number[own], visits.n_subjects)
            lasting[own] = freed * _shrunk(products[own], pairs[own], visits.n_subjects)
    lasting = lasting.clamp_min(0).minimum((1 - LEAST) * total)
    return Components(lasting, total - lasting)


def _shrunk(sums: Tensor, counts: Tensor, n_subjects: int) -> Tensor:
    """Return means ``sums / counts`` of like vertices, each joined by some subjects of the average one."""
    joined = LIKE * counts.mean() / n_subjects
    return (sums + joined * sums.sum() / counts.sum()) / (counts + joined)


def by_subject(residual: Tensor, observed: Tensor | None, subject: Tensor, n_subjects: int) -> tuple[Tensor, Tensor]:
    """Return sums over a subject's visits, and how many were seen, ``(vertices, subjects)`` each.

    Examples
    --------
    >>> sums, count = by_subject(torch.tensor([[1.0, 2.0, 4.0]]), None, subject=torch.tensor([0, 0, 1]), n_subjects=2)
    >>> sums.tolist(), count.tolist()
    ([[3.0, 4.0]], [[2.0, 1.0]])
    """
    member = torch.nn.functional.one_hot(subject, n_subjects).double()
    seen = torch.ones_like(residual) if observed is None else observed
    return residual.double() @ member, seen.double() @ member


def own_deviation(components: Components, sums: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of what lasts, ``(vertices, subjects)`` each, given what `by_subject` returns.

    Examples
    --------
    >>> variances = Components(lasting=torch.tensor([1.0]), passing=torch.tensor([1.0]))
    >>> own_deviation(variances, sums=torch.tensor([[6.0]]), count=torch.tensor([[2.0]]))  # of two visits
    (tensor([[2.]]), tensor([[0.3333]]))
    """
    lasting, passing = (x.unsqueeze(-1) for x in components)
    share = lasting_weight(lasting, passing, count)
    return share * sums, share * passing
