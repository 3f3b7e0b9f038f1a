r"""New subjects on a course that was fitted to others: speed, stage, scores and offsets, with intervals.

**The maths.**  Given one posterior draw of all that the fit learned, every vertex's label and own departure e from its
cluster among it, vertex l of cluster k has at a visit of score s

.. math::  V_l \sim \mathrm{Normal}(F_k(s) + J_k(s)\, e_l + u_k + v_k,\; \sigma_k),

with u the subject's and v the visit's effect.  Summed over a cluster's vertices this needs of the visit's map only its
products with the columns (1, e), and the squared norm: one pass over the data, whatever s.  What is left for each visit
and cluster is a residual about the mean curve, Q(s), and a mean residual y(s) with variance

.. math::  D = \sigma_k^2 / n + \mathrm{spread}_k^2;

u is then integrated out in closed form.  The two latents that remain, log speed and stage in units of their
population, are integrated on a grid, so that intervals are as good as the fit's own: nothing is assumed of their shape.
A subject's visits do not change what was learned from the others.

References
----------
Rasmussen & Williams, *Gaussian Processes for Machine Learning*, 2006, section A.3 (the integral over u); Rubin, "Using
the SIR algorithm to simulate posterior distributions", 1988 (draws from a weighted grid).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.covariates import shifts
from neuropyro.models.trajectory import Trajectories, sigmoid
from neuropyro.models.vertex_scatter import scattered
from neuropyro.models.visits import Visits

__all__ = ["Course", "Personalized", "draw_subjects", "gathered"]

SPEEDS, REACH_OF_SPEED = 21, 3.5  # grid of log speed, in sds of the population
STAGES, REACH_OF_STAGE = 401, 5.0  # grid of the stage given the speed, likewise
FINE = 2048  # scores at which curves are evaluated once for all
MOST_NUMBERS = 20_000_000  # grid points times visits times clusters of a chunk of subjects


@dataclass(frozen=True)
class Personalized:
    """Posterior draws of subjects on a course; arrays in the order of the cohort's subjects and visits.

    Parameters
    ----------
    subject
        ``(subjects,)`` names.
    alpha
        ``(draws, subjects)`` scores a year.
    beta
        ``(draws, subjects)`` score at the mean time of the cohort that was fitted.
    dps
        ``(draws, visits)`` scores.
    u
        ``(draws, subjects, K)`` offsets, in sds of a vertex; zeros where the model has none.
    """

    subject: NDArray[Any]
    alpha: NDArray[np.float64]
    beta: NDArray[np.float64]
    dps: NDArray[np.float64]
    u: NDArray[np.float64]

    def interval(self, site: str, level: float = 0.9) -> NDArray[np.float64]:
        """Return the lower and upper end of a site's central interval, ``(2, ...)``."""
        return np.asarray(np.quantile(getattr(self, site), [(1 - level) / 2, (1 + level) / 2], axis=0))


class Course(NamedTuple):
    """One posterior draw of what a new subject shares with those that were fitted.

    theta: trajectories ``(K,)`` each; scatter ``(K, 4)`` sds of d, c, log b, a, or None; sigma ``(K,)``; rho ``(K,)``
    sds of subjects' offsets, or None; spread ``(K,)`` sds of visits' effects, or None; scores ``(5,)``: mean and sd of
    log speed, mean and sd of the score at the mean time, correlation; label ``(vertices,)``; own ``(vertices, 9)`` e of
    each vertex, or None; effects ``(2, C)`` of standardised covariates on log speed and on that score, or None.
    """

    theta: Trajectories
    scatter: Tensor | None
    sigma: Tensor
    rho: Tensor | None
    spread: Tensor | None
    scores: Tensor
    label: Tensor
    own: Tensor | None
    effects: Tensor | None = None

    def columns(self, scores: Tensor) -> Tensor:
        """Return F and the columns of J at ``scores (G,)``, ``(K, G, 1 or 10)``."""
        if self.scatter is None:
            return sigmoid(scores, self.theta).unsqueeze(-1)
        mean, columns = scattered(scores, self.theta, self.scatter)
        return torch.cat([mean.unsqueeze(-1), columns], -1)


class _Sums(NamedTuple):
    """Of each visit's map over a cluster's vertices: squares, products with (1, e), and their Gram matrix."""

    squares: Tensor  # (visits, K)
    products: Tensor  # (visits, K, r)
    grams: Tensor  # (visits or 1, K, r, r)


@torch.no_grad()
def draw_subjects(course: Course, visits: Visits, draws: int) -> Personalized:
    """Draw the latents of every subject under one draw of the course, by subjects in chunks.

    Parameters
    ----------
    course
        What was learned from others.
    visits
        The new subjects', standardised and timed as the fitted cohort: see `visits_like`.
    draws
        How many.
    """
    sums = _sums(course, visits)
    largest = int(visits.visits_of_subject.max())
    chunk = max(1, MOST_NUMBERS // (SPEEDS * STAGES * largest * len(course.sigma)))
    parts = [
        _draw_chunk(course, visits, sums, torch.arange(begin, min(begin + chunk, visits.n_subjects)), draws)
        for begin in range(0, visits.n_subjects, chunk)
    ]
    alpha, stage, u = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    dps = alpha[:, visits.subject] * visits.time_within + stage[:, visits.subject]
    beta = stage - alpha * visits.subject_time
    arrays = (np.asarray(x.double().cpu()) for x in (alpha, beta, dps, u))
    return Personalized(np.asarray(visits.names["subject"]), *arrays)


def gathered(parts: list[Personalized]) -> Personalized:
    """Return the draws under several draws of the course as one."""
    arrays = {f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(parts[0])[1:]}
    return Personalized(parts[0].subject, **arrays)


def _sums(course: Course, visits: Visits) -> _Sums:
    maps = visits.values.mT
    one = torch.ones(len(course.label), 1).to(maps)
    rows = one if course.own is None else torch.cat([one, course.own], -1)
    member = torch.nn.functional.one_hot(course.label, len(course.sigma)).to(maps)
    pairs = rows.unsqueeze(-1) * rows.unsqueeze(-2)
    seen = one.mT if visits.observed is None else visits.observed.mT

    def over_vertices(left: Tensor, right: Tensor) -> Tensor:
        wide = (member.unsqueeze(-1) * right.flatten(1).unsqueeze(1)).flatten(1)
        return (left @ wide).reshape(len(left), member.shape[1], *right.shape[1:])

    return _Sums(
        maps.square() @ member,
        over_vertices(maps, rows),
        over_vertices(seen, pairs),
    )


def _draw_chunk(
    course: Course, visits: Visits, sums: _Sums, subjects: Tensor, draws: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw alpha and stage ``(draws, subjects)``, and u ``(draws, subjects, K)``."""
    rows = [(visits.subject == i).nonzero().squeeze(-1) for i in subjects.to(visits.subject.device)]
    at = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
    real = at >= 0
    log_weight, alpha, stage = _prior_grid(course, visits, subjects)
    scores = alpha.unsqueeze(-1) * (visits.time_within[at] * real)[:, None] + stage.unsqueeze(-1)  # (subjects, P, m)
    fine = torch.linspace(0, 1, FINE).to(scores) * (scores.max() - scores.min()) + scores.min()
    place = ((scores - fine[0]) / (fine[1] - fine[0])).round().long().clamp(0, FINE - 1)
    misfit, mean, precision = _residuals(course, sums, at, real, fine)
    wide = place.unsqueeze(-2).expand(-1, -1, misfit.shape[1], -1)  # (subjects, P, K, m)
    take = wide.permute(0, 2, 3, 1)
    loss, y = (table.gather(-1, take) for table in (misfit, mean))  # (subjects, K, m, P)
    weighted = (precision.unsqueeze(-1) * y).sum(2)
    total = precision.sum(2).unsqueeze(-1)
    shrunk = total if course.rho is None else total + course.rho.pow(-2)[:, None]
    explained = torch.zeros_like(weighted) if course.rho is None else weighted.square() / shrunk
    distance = loss.sum(2) + (precision.unsqueeze(-1) * y.square()).sum(2) - explained
    chosen = torch.multinomial((log_weight - 0.5 * distance.sum(1)).softmax(-1), draws, replacement=True)
    own = torch.zeros_like(weighted)
    if course.rho is not None:
        own = weighted / shrunk + shrunk.rsqrt() * torch.randn_like(weighted)
    picked = own.gather(-1, chosen.unsqueeze(1).expand(-1, own.shape[1], -1))
    return alpha.gather(1, chosen).mT, stage.gather(1, chosen).mT, picked.permute(2, 0, 1)


def _prior_grid(course: Course, visits: Visits, subjects: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log weights, alpha and stage at the points of the grid, ``(P,)`` and ``(subjects, P)`` twice."""
    mean_a, sd_a, mean_b, sd_b, correlation = course.scores
    subject_time = visits.subject_time[subjects]
    speeds = torch.linspace(-REACH_OF_SPEED, REACH_OF_SPEED, SPEEDS).to(subject_time)
    stages = torch.linspace(-REACH_OF_STAGE, REACH_OF_STAGE, STAGES).to(subject_time)
    z_speed, z_stage = (z.flatten() for z in torch.meshgrid(speeds, stages, indexing="ij"))
    design = None if visits.covariates is None else visits.covariates[subjects]
    on_speed, on_beta = shifts(design, course.effects)
    each = torch.ones_like(subject_time)
    alpha = (((mean_a + on_speed) * each)[:, None] + sd_a * z_speed).exp()
    residual = (1 - correlation.square()).clamp_min(0).sqrt()
    beta = ((mean_b + on_beta) * each)[:, None] + sd_b * (correlation * z_speed + residual * z_stage)
    stage = beta + alpha * subject_time[:, None]
    return -0.5 * (z_speed.square() + z_stage.square()), alpha, stage


def _residuals(course: Course, sums: _Sums, at: Tensor, real: Tensor, fine: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return, of each padded visit: Q and y at the fine scores ``(subjects, K, m, G)``, 1 / D ``(subjects, K, m)``."""
    columns = course.columns(fine)
    grams = sums.grams.expand(len(sums.squares), -1, -1, -1)[at]
    products = sums.products[at]
    crossed = torch.einsum("imkr,kgr->ikmg", products, columns)
    fitted = torch.einsum("imkrq,kgr,kgq->ikmg", grams, columns, columns)
    count = (grams[..., 0, 0] * real.unsqueeze(-1)).mT.unsqueeze(-1)  # (subjects, K, m, 1)
    mean = torch.einsum("imkr,kgr->ikmg", grams[..., 0], columns)
    mean = (products[..., 0].mT.unsqueeze(-1) - mean) / count.clamp_min(1)
    variance = course.sigma.square()[:, None]
    squares = sums.squares[at].mT.unsqueeze(-1) - 2 * crossed + fitted - count * mean.square()
    misfit = squares / variance[..., None] * (count > 0)
    spread = 0.0 if course.spread is None else course.spread.square()[:, None]
    n = count.squeeze(-1)
    precision = torch.where(n > 0, 1 / (variance / n.clamp_min(1) + spread), torch.zeros_like(n))
    return misfit, mean, precision
