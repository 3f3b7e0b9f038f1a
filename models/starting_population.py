r"""Where subjects start: each one's speed and stage on given trajectories, and what they have in common.

Log speed and stage of a subject are weighed on a grid by how well its visits then follow the trajectories, and by the
population Normal(m, C) of (log alpha, beta); m and C are learned from the weights, by EM.  So a population whose speed
rises with its stage starts as one: an optimiser finds that relation last, since a bend of all scores would do as well.

References
----------
Dempster, Laird & Rubin, "Maximum likelihood from incomplete data via the EM algorithm", JRSS B 1977; Aitkin, "A general
maximum likelihood analysis of variance components in generalized linear models", Biometrics 1999 (on a grid).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHARE", "SHARE_SD", "Places", "Population", "VisitMisfit", "place_subjects", "time_share"]

Floats = NDArray[np.float64]
SPEEDS, SPEED_REACH = 17, 1.6  # grid of log speed, about the population's mean
STAGES = 241
EM_ROUNDS = 5
MOST_NUMBERS = 4_000_000  # grid points times subjects of a chunk
PRIOR_SUBJECTS = 4.0  # what the start of the sds counts for
SPEED_SD, MOST_CORRELATION = 0.3, 0.95
SHARE, SHARE_SD = 0.5, 0.5  # prior of the share of years that counts, as in the whole model


@dataclass(frozen=True)
class Population:
    """Mean ``(2,)`` and covariance ``(2, 2)`` of (log alpha, beta).

    Examples
    --------
    >>> people = Population(np.array([-1.0, 0.5]), np.array([[0.09, 0.12], [0.12, 1.0]]))
    >>> people.sd.round(6).tolist(), round(people.correlation, 6)
    ([0.3, 1.0], 0.4)
    """

    mean: Floats
    covariance: Floats

    @property
    def sd(self) -> Floats:
        """Standard deviations, ``(2,)``."""
        return np.asarray(np.sqrt(np.diagonal(self.covariance)))

    @property
    def correlation(self) -> float:
        """Correlation of log alpha and beta."""
        return float(self.covariance[0, 1] / self.sd.prod())


class VisitMisfit(NamedTuple):
    """Half the squared distance of each visit from the trajectories at scores on a grid.

    Examples
    --------
    >>> scores, seen = np.linspace(-2, 2, 5), np.array([-1.0, 1.0])  # of two visits
    >>> misfit = VisitMisfit(scores, 0.5 * (seen[:, None] - scores) ** 2)
    >>> misfit.at(np.array([0, 1]), np.array([-1.0, -9.0])).tolist()  # the second is beyond the grid: as at its end
    [0.0, 4.5]
    """

    scores: Floats  # (G,), evenly spaced
    misfit: Floats  # (visits, G)

    def at(self, visit: NDArray[np.int64], scores: Floats) -> Floats:
        """Return the misfit of visits at scores of one shape, that of ``visit`` first; the grid's ends go on."""
        step = self.scores[1] - self.scores[0]
        place = np.clip(np.rint((scores - self.scores[0]) / step), 0, len(self.scores) - 1).astype(np.int64)
        return np.asarray(self.misfit[visit.reshape(-1, *[1] * (scores.ndim - 1)), place])


class Places(NamedTuple):
    """Posterior means ``(subjects,)`` of log speed and stage, and the population.

    Examples
    --------
    >>> people, nothing = Population(np.array([-1.0, 0.3]), np.diag([0.09, 0.8])), np.zeros(2)
    >>> flat = VisitMisfit(np.linspace(-6, 6, 241), np.zeros((2, 241)))  # two subjects' visits, which say nothing
    >>> places = place_subjects(flat, np.array([0, 1]), nothing, nothing, people)
    >>> places.log_alpha.round(3).tolist(), places.stage.round(2).tolist()  # both are at the population's mean
    ([-1.0, -1.0], [0.3, 0.3])
    """

    log_alpha: Floats
    stage: Floats
    population: Population


def place_subjects(
    misfit: VisitMisfit,
    subject: NDArray[np.int64],
    within: Floats,
    subject_time: Floats,
    population: Population,
    rounds: int = EM_ROUNDS,
) -> Places:
    """Weigh every subject's log speed and stage, and learn their population.

    Parameters
    ----------
    misfit
        Of the visits.
    subject, within
        ``(visits,)`` each visit's subject, and years since the mean time of that subject's visits.
    subject_time
        ``(subjects,)`` years from the cohort's mean time to a subject's, as far as they count.
    population
        Where EM begins.
    rounds
        Of EM.

    Examples
    --------
    >>> scores, seen = np.linspace(-6, 6, 241), np.array([0.5, 1.5, -1.0, 0.0])  # of two subjects, a year apart
    >>> misfit = VisitMisfit(scores, 0.5 * ((seen[:, None] - scores) / 0.01) ** 2)
    >>> people, years = Population(np.zeros(2), np.diag([0.09, 1.0])), np.array([-0.5, 0.5, -0.5, 0.5])
    >>> places = place_subjects(misfit, np.array([0, 0, 1, 1]), years, np.zeros(2), people)
    >>> places.stage.round(2).tolist(), np.exp(places.log_alpha).round(2).tolist()  # one score a year
    ([1.0, -0.5], [1.0, 1.0])
    """
    speeds = population.mean[0] + np.linspace(-SPEED_REACH, SPEED_REACH, SPEEDS)
    stages = np.linspace(misfit.scores[0], misfit.scores[-1], STAGES)
    grid = _Grid(*(axis.ravel() for axis in np.meshgrid(speeds, stages, indexing="ij")))
    chunk = max(1, MOST_NUMBERS // len(grid.stage))
    begins = range(0, len(subject_time), chunk)
    losses = [_losses(misfit, subject, within, begin, begin + chunk, grid) for begin in begins]
    for _ in range(rounds):
        moments = [
            grid.moments(loss, subject_time[begin : begin + chunk], population)
            for begin, loss in zip(begins, losses, strict=True)
        ]
        first, second, found_stage = (np.concatenate(part) for part in zip(*moments, strict=True))
        population = _learned(first, second, population)
    return Places(first[:, 0], found_stage, population)


def time_share(stage: Floats, travelled: Floats) -> float:
    """Return the share of the years between subjects that counts, by regression of their stages.

    Parameters
    ----------
    stage
        ``(subjects,)``.
    travelled
        ``(subjects,)`` the score that each would have gone through since the cohort's mean time.

    Examples
    --------
    >>> by_age = np.linspace(-5, 5, 50)
    >>> by_stage = np.tile([-1.0, 1.0], 25)
    >>> round(time_share(by_age, by_age), 2), round(time_share(by_stage, by_age), 2), time_share(by_stage, 0 * by_age)
    (1.0, 0.02, 0.5)
    """
    x, y = travelled - travelled.mean(), stage - stage.mean()
    squares = float(x @ x)
    share = float(x @ y) / squares if squares > 0 else SHARE
    noise = float(((y - share * x) ** 2).mean())
    return (float(x @ y) * SHARE_SD**2 + noise * SHARE) / max(squares * SHARE_SD**2 + noise, 1e-12)


def _losses(
    misfit: VisitMisfit,
    subject: NDArray[np.int64],
    within: Floats,
    begin: int,
    end: int,
    grid: _Grid,
) -> NDArray[np.float32]:
    """Return the misfit of some subjects at every point of the grid, ``(subjects, points)``."""
    visits = np.flatnonzero((subject >= begin) & (subject < end))
    total = np.zeros((min(end, int(subject.max()) + 1) - begin, len(grid.stage)), np.float32)
    alpha = np.exp(grid.log_alpha)
    for n in visits:
        total[subject[n] - begin] += misfit.at(np.array([n]), (grid.stage + alpha * within[n])[None])[0]
    return total


class _Grid:
    """Points of log speed and stage, and all products of which moments and distances are sums."""

    def __init__(self, log_alpha: Floats, stage: Floats) -> None:
        alpha = np.exp(log_alpha)
        columns = [log_alpha, stage, alpha, log_alpha**2, log_alpha * stage, log_alpha * alpha]
        self.log_alpha, self.stage = log_alpha, stage
        self.products = np.stack([*columns, stage**2, stage * alpha, alpha**2], -1)

    def moments(self, loss: NDArray[np.float32], time: Floats, population: Population) -> tuple[Floats, Floats, Floats]:
        """Return E[x], E[x x'] of x = (log alpha, beta), and E[stage], of each subject."""
        log_weight = -loss - 0.5 * self._distance(time, population)
        weight = np.exp(log_weight - log_weight.max(1, keepdims=True))
        weight /= weight.sum(1, keepdims=True)
        a, stage, alpha, aa, a_stage, a_alpha, ss, s_alpha, alpha_2 = (weight @ self.products).T
        first = np.stack([a, stage - time * alpha], -1)
        ab, bb = a_stage - time * a_alpha, ss - 2 * time * s_alpha + time**2 * alpha_2
        return first, np.moveaxis(np.array([[aa, ab], [ab, bb]]), -1, 0), stage

    def _distance(self, time: Floats, population: Population) -> Floats:
        """Return the squared distances from the mean, ``(subjects, points)``, but for a constant."""
        (p, q), (_, r) = np.linalg.inv(population.covariance)
        m, n = population.mean
        by_a, by_b = -2 * (p * m + q * n), -2 * (q * m + r * n)
        one = np.ones_like(time)
        weights = [by_a * one, by_b * one, -by_b * time, p * one, 2 * q * one, -2 * q * time]
        weights += [r * one, -2 * r * time, r * time**2]
        return np.asarray(np.stack(weights, -1) @ self.products.T)


def _learned(first: Floats, second: Floats, before: Population) -> Population:
    """Return the population of the largest expected likelihood; a weak prior keeps its sds from 0."""
    n, mean = len(first), first.mean(0)
    covariance = second.mean(0) - np.outer(mean, mean)
    prior = np.array([SPEED_SD**2, before.covariance[1, 1]])
    covariance = (n * covariance + PRIOR_SUBJECTS * np.diag(prior)) / (n + PRIOR_SUBJECTS)
    limit = MOST_CORRELATION * np.sqrt(covariance[0, 0] * covariance[1, 1])
    covariance[0, 1] = covariance[1, 0] = np.clip(covariance[0, 1], -limit, limit)
    return Population(mean, covariance)
