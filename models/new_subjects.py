r"""New subjects on a course that was fitted to others: speed, stage, scores and offsets, with intervals.

**The maths.**  Given one posterior draw of all that the fit learned, every vertex's label and own departure e from its
cluster among it, vertex l of cluster k has at a visit of score s

.. math::  V_l \sim \mathrm{Normal}(F_k(s) + J_k(s)\, e_l + u_k + v_k,\; \sigma_k),

with u the subject's and v the visit's effect.  Summed over a cluster's vertices this needs of the visit's map only its
products with the columns (1, e), and the squared norm: one pass over the data, whatever s.  What is left for each visit
and cluster is a residual about the mean curve, Q(s), and a mean residual y(s) with variance

.. math::  D = \sigma_k^2 / n + \mathrm{spread}_k^2;

u is then integrated out in closed form.  Where vertices have effects that last, so are these: of u they make
Normal(0, rho^2 + omega^2 / n), and take the squares of the residuals summed over visits off Q
(:mod:`neuropyro.models.vertex_effects`).  Where a vertex counts for w of an independent one
(:mod:`neuropyro.models.effective_vertices`), w n is in the place of n, and w Q in that of Q.  Where single values are
missing, the mean and what the vertices depart from it by are taken to be independent still.  The two latents that
remain, log speed and stage, are integrated on grids that close in on them (:mod:`neuropyro.models.subject_grid`), so
that intervals are as good as the fit's own: nothing is assumed of their shape.  A subject's visits do not change what
was learned from the others.

References
----------
Rasmussen & Williams, *Gaussian Processes for Machine Learning*, 2006, section A.3 (the integral over u).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.data import Cohort
from neuropyro.models.course import Course
from neuropyro.models.covariates import shifts
from neuropyro.models.posterior import Posterior
from neuropyro.models.residual_tables import FINE, MapSums, ResidualTables, map_sums
from neuropyro.models.subject_grid import draw_pairs, lattice
from neuropyro.models.visits import Visits, visits_like

__all__ = ["Personalized", "courses_for", "draw_subjects", "personalized", "seeded"]

SPEEDS, REACH_OF_SPEED = 9, 3.5  # first grid of the log speed, in sds of the population
STAGES, REACH_OF_STAGE = 41, 5.0  # first grid of the stage given the speed, likewise
COURSES, FEWEST_COURSES = 50, 10  # draws of what was learned that subjects are placed on
MOST_PLACED = 20_000  # subjects times courses, while there are more than the fewest
MOST_NUMBERS = 10_000_000  # in a table of a chunk of subjects


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

    Examples
    --------
    >>> draws = np.linspace(0, 1, 11)[:, None]
    >>> placed = Personalized(np.array(["a"]), draws, draws, draws, np.zeros((11, 1, 2)))
    >>> placed.interval("dps", 0.8).ravel().round(1).tolist()
    [0.1, 0.9]
    """

    subject: NDArray[Any]
    alpha: NDArray[np.float64]
    beta: NDArray[np.float64]
    dps: NDArray[np.float64]
    u: NDArray[np.float64]

    def interval(self, site: str, level: float = 0.9) -> NDArray[np.float64]:
        """Return the lower and upper end of a site's central interval, ``(2, ...)``."""
        return np.asarray(np.quantile(getattr(self, site), [(1 - level) / 2, (1 + level) / 2], axis=0))


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

    Examples
    --------
    >>> from neuropyro.models.trajectory import Trajectories
    >>> flat = Trajectories(*torch.tensor([[0.0], [1.0], [0.0], [0.0]]).double())  # maps say nothing of the score
    >>> scores = torch.tensor([np.log(2.0), 1e-4, 0.5, 1e-4, 0.0, 1.0])  # by 2 a year, from .5 at the mean time
    >>> course = Course(flat, None, torch.ones(1).double(), None, None, scores, torch.tensor([0]), None)
    >>> cohort = Cohort(np.array([[0.0], [1.0]]), [70.0, 71.0], ["a", "a"])
    >>> from neuropyro.models.visits import prepare_visits
    >>> placed = draw_subjects(course, prepare_visits(cohort, None, dtype=torch.float64), draws=3)
    >>> placed.dps.round(2).tolist()
    [[-0.5, 1.5], [-0.5, 1.5], [-0.5, 1.5]]
    """
    visits = course.without_ageing(visits)
    sums = map_sums(course, visits)
    width = int(visits.visits_of_subject.max()) * len(course.sigma)
    width *= 1 if course.omega is None else sums.products.shape[-1]  # whose curves are read with all their columns
    chunk = max(1, MOST_NUMBERS // (max(FINE, draws) * width))
    parts = [
        _Chunk(course, visits, sums, torch.arange(begin, min(begin + chunk, visits.n_subjects))).draw(draws)
        for begin in range(0, visits.n_subjects, chunk)
    ]
    alpha, stage, u = (torch.cat(part, 1) for part in zip(*parts, strict=True))
    dps = alpha[:, visits.subject] * visits.time_within + stage[:, visits.subject]
    beta = stage - alpha * visits.subject_time
    arrays = (np.asarray(x.double().cpu()) for x in (alpha, beta, dps, u))
    return Personalized(np.asarray(visits.names["subject"]), *arrays)


def personalized(courses: Iterator[Course], count: int, result: Posterior, cohort: Cohort, draws: int) -> Personalized:
    """Place a cohort's subjects on the course of a fit.

    Parameters
    ----------
    courses, count
        Draws of the course, and how many there are.
    result
        The fit.
    cohort
        Of the same columns, in the unit of the cohort that was fitted.
    draws
        Of each subject's latents, spread evenly over draws of the course.

    Examples
    --------
    >>> from neuropyro.models.trajectory import Trajectories
    >>> flat = Trajectories(*torch.tensor([[0.0], [1.0], [0.0], [0.0]]).double())  # maps say nothing of the score
    >>> scores = torch.tensor([np.log(2.0), 1e-4, 0.5, 1e-4, 0.0, 1.0])  # by 2 a year, from .5 at the mean time
    >>> course = Course(flat, None, torch.ones(1).double(), None, None, scores, torch.tensor([0]), None)
    >>> cohort = Cohort(np.array([[0.0], [1.0]]), [70.0, 71.0], ["a", "a"])
    >>> from types import SimpleNamespace
    >>> from neuropyro.models.visits import prepare_visits
    >>> result = SimpleNamespace(data=prepare_visits(cohort, None), seed=0)
    >>> placed = personalized(iter([course, course]), 2, result, cohort, draws=4)
    >>> placed.alpha.round(2).ravel().tolist(), placed.beta.round(2).ravel().tolist()
    ([2.0, 2.0, 2.0, 2.0], [0.5, 0.5, 0.5, 0.5])
    """
    visits = visits_like(result.data, cohort).to(None, torch.float64)
    with torch.random.fork_rng():
        parts = [draw_subjects(course, visits, -(-draws // count)) for course in seeded(courses, result.seed)]
    return _gathered(parts)


def seeded(courses: Iterator[Course], seed: int) -> Iterator[Course]:
    """Yield courses whose random numbers do not depend on what is drawn between them.

    Examples
    --------
    >>> first, again = ([float(torch.rand(())) for _ in seeded(iter(["course", "course"]), seed=7)] for _ in range(2))
    >>> first == again, first[0] == first[1]
    (True, False)
    """
    for step in itertools.count():
        torch.manual_seed(seed + step)
        course = next(courses, None)
        if course is None:
            return
        yield course


def courses_for(n_subjects: int, draws: int, is_point: bool) -> int:
    """Return on how many draws of the course subjects are placed: fewer for thousands of subjects, or of a point.

    Examples
    --------
    >>> [courses_for(subjects, draws=200, is_point=False) for subjects in (30, 1000, 100_000)]
    [50, 20, 10]
    """
    wanted = FEWEST_COURSES if is_point else min(COURSES, MOST_PLACED // n_subjects)
    return min(draws, max(FEWEST_COURSES, wanted))


def _gathered(parts: list[Personalized]) -> Personalized:
    """Return the draws under several draws of the course as one."""
    arrays = {f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(parts[0])[1:]}
    return Personalized(parts[0].subject, **arrays)


class _Chunk:
    """Some subjects' visits, padded to the longest, and their place in the population; `draw` is what it is for."""

    def __init__(self, course: Course, visits: Visits, sums: MapSums, subjects: Tensor) -> None:
        at = visits.rows_of(subjects).T
        real = at >= 0
        self.course = course
        self.within = visits.time_within[at] * real
        self.tables = ResidualTables(course, sums, at, real)
        spread = torch.zeros_like(course.sigma) if course.spread is None else course.spread
        self.weight = visits.weight
        count = (self.weight * self.tables.count).clamp_min(self.weight)
        variance = course.sigma.square()[:, None, None] / count + spread.square()[:, None, None]
        self.precision = (self.tables.count > 0) / variance  # (subjects, K, m, 1)
        self.offset = self._variance_of_offsets()
        design = None if visits.covariates is None else visits.covariates[subjects]
        mean_a, _, mean_b, _, _, share = course.scores
        self.time = share * visits.subject_time[subjects]  # as far as it counts
        each = torch.ones_like(self.time)
        on_speed, on_beta = shifts(design, course.effects)
        self.mean_speed, self.mean_beta = (mean_a + on_speed) * each, (mean_b + on_beta) * each

    def draw(self, draws: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draw alpha and stage ``(draws, subjects)``, and u ``(draws, subjects, K)``."""
        pairs = draw_pairs(self._log_density, *self._prior_points(), draws)
        alpha, stage = self._alpha(pairs[..., 0]), pairs[..., 1]
        _, weighted, shrunk = self._distances(alpha, stage)
        own = torch.zeros_like(weighted)
        if self.offset is not None and self.course.rho is not None:
            total = weighted / shrunk + shrunk.rsqrt() * torch.randn_like(weighted)
            share = (self.course.rho.square() / self.offset).unsqueeze(1)  # the rest is of the vertices' own effects
            own = share * total + (share * (1 - share) * self.offset.unsqueeze(1)).sqrt() * torch.randn_like(total)
        return alpha.mT, stage.mT, own.movedim(1, 0)

    def _variance_of_offsets(self) -> Tensor | None:
        """Return that of what all of a cluster's vertices share of a subject, ``(subjects, K)``, or None for none."""
        rho, omega = self.course.rho, self.course.omega
        count = self.weight * self.tables.count.amax((-2, -1)).clamp_min(1)
        if omega is not None:
            return omega.square() / count + (0.0 if rho is None else rho.square())
        return None if rho is None else rho.square().expand_as(count)

    def _prior_points(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return a grid over the prior of (log speed in units of its population, stage), in steps too, and its cells.

        ``(subjects, P, 2)``, ``(P, 2)`` and the area of a cell.
        """
        steps = lattice(SPEEDS, STAGES, like=self.time)
        step_speed, step_stage = 2 * REACH_OF_SPEED / (SPEEDS - 1), 2 * REACH_OF_STAGE / (STAGES - 1)
        z_speed = (steps[:, 0] * step_speed).expand(len(self.time), -1)
        mean, sd = self._stage_given(z_speed)
        stage = mean + sd * step_stage * steps[:, 1]
        return torch.stack([z_speed, stage], -1), steps, step_speed * step_stage * sd

    def _alpha(self, z_speed: Tensor) -> Tensor:
        return torch.exp(self.mean_speed[:, None] + self.course.scores[1] * z_speed)

    def _stage_given(self, z_speed: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean ``(subjects, P)`` and sd of the stage, given the speed."""
        _, _, _, sd_b, correlation, _ = self.course.scores
        mean = self.mean_beta[:, None] + sd_b * correlation * z_speed + self._alpha(z_speed) * self.time[:, None]
        return mean, sd_b * (1 - correlation.square()).clamp_min(0).sqrt()

    def _log_density(self, pairs: Tensor) -> Tensor:
        z_speed, stage = pairs.unbind(-1)
        mean, sd = self._stage_given(z_speed)
        distance, _, _ = self._distances(self._alpha(z_speed), stage)
        return -0.5 * (z_speed.square() + ((stage - mean) / sd).square() + distance)

    def _distances(self, alpha: Tensor, stage: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return, at latents ``(subjects, P)``: the squared distance; of u its precision times mean, and its precision.

        The distance is ``(subjects, P)``, the others are ``(subjects, P, K)``.
        """
        scores = alpha.unsqueeze(-1) * self.within.unsqueeze(1) + stage.unsqueeze(-1)
        misfit, mean = self.tables.at(scores)
        weighted = (self.precision * mean).sum(2)  # (subjects, K, P)
        shrunk, explained = self.precision.sum(2).expand_as(weighted), torch.zeros_like(weighted)
        if self.offset is not None:
            shrunk = shrunk + self.offset.reciprocal().unsqueeze(-1)
            explained = weighted.square() / shrunk
        about = misfit.sum(2) - self.tables.lasts(scores, mean)  # their mean
        distance = self.weight * about + (self.precision * mean.square()).sum(2) - explained
        return distance.sum(1), weighted.mT, shrunk.mT
