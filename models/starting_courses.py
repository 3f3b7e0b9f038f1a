r"""How likely a start is, by the clusters' mean courses alone.

.. math::  m_{kn} \sim \mathrm{Normal}\left(f_k(s_n) + u_{i(n)k},\; (\nu_k^2 + 1 / P_{kn})^{1/2}\right), \qquad
           u_{ik} \sim \mathrm{Normal}(0, \rho_k),

with the offsets u integrated out, and scores and priors as in the whole model; nu is what a mean departs by beyond the
white noise 1 / P of its vertices.  Subjects' places are integrated out by Laplace's method: at the peak of the density
itself one cluster's offsets vanish, its course being followed by scores that say nothing of the others (a Heywood case
of factor analysis), which is far from where most of the probability is.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.starting_curves import SPEED_NODES, SPEED_WEIGHTS, BinnedCurves
from neuropyro.models.subject_place import Hyper, SubjectPlace
from neuropyro.models.visits import Visits

__all__ = ["Courses", "Curves", "Start", "Values", "one_of", "stacked"]

Start = dict[str, NDArray[np.float64]]
Values = dict[str, Tensor]

# A population's sds have their mode where few draws come near: they stay, and are then those of the subjects found.
HELD = ("log_sd_a", "log_sd_b", "atanh")
PRIOR_SUBJECTS = 4.0  # what the sds before count for
# Mean and sd, as in the whole model where it has them.
PRIORS = {
    "a": (0.0, 5.0),
    "c": (1.0, 2.0),
    "d": (0.0, 10.0),
    "log_b": (0.3, 0.5),
    "log_rho": (-1.5, 0.8),
    "log_nu": (-2.5, 1.0),
    "mean_b": (0.5, 1.0),
    "log_sd_a": (-1.0, 0.5),
    "log_sd_b": (0.3, 0.5),
}
SPEED_SD = 0.7  # of the prior of the mean log speed


class Curves(NamedTuple):
    """Clusters' mean trajectories at the visits, and their derivatives by the score, ``(starts, K, visits)`` each."""

    mean: Tensor
    slope: Tensor


class Courses:
    """The mean courses' joint density with the sites, of several starts at once.

    Parameters
    ----------
    visits
        When subjects were seen.
    curves
        The clusters' mean courses.
    """

    def __init__(self, visits: Visits, curves: BinnedCurves) -> None:
        self.observed = torch.as_tensor(curves.course)
        self.precision = torch.as_tensor(curves.precision)
        self.spread = curves.spread
        self.subject = visits.subject.cpu()
        self.within, self.time = (x.double().cpu() for x in (visits.time_within, visits.subject_time))
        self.years = float(visits.course)

    def of(self, start: Start) -> Values:
        """Return the free numbers of a start."""
        s = {name: torch.as_tensor(value, dtype=torch.float64) for name, value in start.items()}
        return {
            "a": s["a"],
            "c": s["c"],
            "d": s["d"],
            "log_b": s["b"].log(),
            "log_rho": s["rho"].log(),
            "log_nu": s["tau"].log(),
            "mean_a": s["log_alpha_mean"],
            "log_sd_a": s["log_alpha_sd"].log(),
            "mean_b": s["beta_mean"],
            "log_sd_b": s["beta_sd"].log(),
            "atanh": s["correlation"].atanh(),
            "place": s["place"],
        }

    def start(self, v: Values) -> Start:
        """Return the sites of one start's free numbers, its population's sds being those of its subjects."""
        alone = stacked([self._with_own_sds(v)])
        u = self._offsets(alone, alone["place"])
        sites = {
            "a": alone["a"],
            "b": alone["log_b"].exp(),
            "c": alone["c"],
            "d": alone["d"],
            "rho": alone["log_rho"].exp(),
            "u": u.mT,
            "tau": alone["log_nu"].exp(),
            "log_alpha_mean": alone["mean_a"],
            "log_alpha_sd": alone["log_sd_a"].exp(),
            "beta_mean": alone["mean_b"],
            "beta_sd": alone["log_sd_b"].exp(),
            "correlation": alone["atanh"].tanh(),
            "place": alone["place"],
        }
        return {name: np.asarray(value[0]) for name, value in sites.items()}

    def _with_own_sds(self, v: Values) -> Values:
        law = self._law(stacked([v]))
        log_alpha, stage = law.log_alpha_and_stage(v["place"][None])
        both = torch.stack([log_alpha, stage - log_alpha.exp() * self.time], -1)[0]
        mean, sds = both.mean(0), torch.stack([v["log_sd_a"], v["log_sd_b"]]).exp()
        total = (both - mean).T @ (both - mean) + PRIOR_SUBJECTS * sds.square().diag()
        covariance = total / (len(both) + PRIOR_SUBJECTS)
        sd_b = covariance[1, 1].sqrt()
        shrunk = covariance[0, 1] / (sds[0].square().maximum(covariance[0, 0]).sqrt() * sd_b)
        moved = v | {"mean_b": mean[1], "log_sd_b": sd_b.log(), "atanh": shrunk.atanh()}
        return moved | {"place": self._law(stacked([moved])).place(log_alpha, stage)[0]}

    def trend(self) -> NDArray[np.float64]:
        """Return by how many standard errors each course rises over subjects' time, ``(K,)``."""
        mean = self._of_subject(self.observed) / torch.bincount(self.subject)
        own = self.observed - mean[:, self.subject]
        squares = self.within.square().sum().clamp(min=1e-12)
        slope = (own * self.within).sum(-1) / squares
        error = ((own - slope[:, None] * self.within).square().mean(-1) / squares).sqrt()
        return np.asarray(slope / error.clamp(min=1e-12))

    def loss(self, v: Values) -> Tensor:
        """Return the negative log joint density, places integrated out by Laplace's method, ``(starts,)``."""
        law, curves = self._law(v), self._curves(v, v["place"])
        return self._misfit(v, v["place"], law, curves).sum(-1) + self._volume(v, law, curves) + self._priors(v)

    def misfit(self, v: Values, place: Tensor) -> Tensor:
        """Return the negative log density of each subject's place and courses, ``(starts, subjects)``."""
        return self._misfit(v, place, self._law(v), self._curves(v, place))

    def _priors(self, v: Values) -> Tensor:
        squares = [((v[name] - m) / sd).square().reshape(len(v["a"]), -1).sum(-1) for name, (m, sd) in PRIORS.items()]
        speed = ((v["mean_a"] + math.log(self.years)) / SPEED_SD).square()
        apart = -2 * (1 - v["atanh"].tanh().square()).clamp(min=1e-9).log()  # Beta(2, 2), of the free number
        return 0.5 * (torch.stack(squares).sum(0) + speed) + apart

    def _misfit(self, v: Values, place: Tensor, law: SubjectPlace, curves: Curves) -> Tensor:
        left, weight, precision = self.observed - curves.mean, self._weight(v), (-2 * v["log_rho"]).exp()[..., None]
        total, pull = self._of_subject(weight), self._of_subject(weight * left)
        squares = self._of_subject(weight * left.square() - weight.clamp(min=1e-12).log() * (weight > 0))
        each = squares - pull.square() / (total + precision) + (1 + total / precision).log()
        return 0.5 * (each.sum(1) + law.innovations(place).square().sum(-1))

    def _volume(self, v: Values, law: SubjectPlace, curves: Curves) -> Tensor:
        """Return half the log determinants of the curvature by places, ``(starts,)``, by Gauss and Newton."""
        log_alpha, _ = law.log_alpha_and_stage(v["place"])
        speed = (log_alpha.exp() * law.hyper.sd_a)[:, self.subject] * self.within
        by_place = [
            law.sd[:, self.subject] + speed * law.slant[:, self.subject],
            speed * (law.own / law.sd)[:, self.subject],
        ]
        slopes = [curves.slope * by[:, None] for by in by_place]
        weight = self._weight(v)
        own = self._of_subject(weight) + (-2 * v["log_rho"]).exp()[..., None]

        def curvature(i: int, j: int) -> Tensor:
            both = self._of_subject(weight * slopes[i]) * self._of_subject(weight * slopes[j]) / own
            return (self._of_subject(weight * slopes[i] * slopes[j]) - both).sum(1) + float(i == j)

        return 0.5 * (curvature(0, 0) * curvature(1, 1) - curvature(0, 1).square()).log().sum(-1)

    def _offsets(self, v: Values, place: Tensor) -> Tensor:
        """Return the means of the subjects' offsets, ``(starts, K, subjects)``."""
        weight = self._weight(v)
        pull = self._of_subject(weight * (self.observed - self._curves(v, place).mean))
        return pull / (self._of_subject(weight) + (-2 * v["log_rho"]).exp()[..., None])

    def _scores(self, v: Values, place: Tensor) -> Tensor:
        log_alpha, stage = self._law(v).log_alpha_and_stage(place)
        return stage[:, self.subject] + log_alpha.exp()[:, self.subject] * self.within

    def _curves(self, v: Values, place: Tensor) -> Curves:
        far = self._scores(v, place)[:, None] - v["c"][..., None]
        mean, slope = torch.zeros_like(far), torch.zeros_like(far)
        for node, weight in zip(SPEED_NODES, SPEED_WEIGHTS, strict=True):
            steep = (v["log_b"] + self.spread * node).exp()[..., None]
            rise = torch.sigmoid(steep * far)
            mean, slope = mean + weight * rise, slope + weight * steep * rise * (1 - rise)
        a = v["a"][..., None]
        return Curves(v["d"][..., None] + a * mean, a * slope)

    def _weight(self, v: Values) -> Tensor:
        """Return the precision of the mean courses, 0 where nothing was seen."""
        noise = v["log_nu"].exp().square()[..., None] + 1 / self.precision.clamp(min=1e-9)
        return (self.precision > 0) / noise

    def _law(self, v: Values) -> SubjectPlace:
        hyper = Hyper(v["mean_a"], v["log_sd_a"].exp(), v["mean_b"], v["log_sd_b"].exp(), v["atanh"].tanh())
        return SubjectPlace(Hyper(*(part[:, None] for part in hyper)), self.time)

    def _of_subject(self, x: Tensor) -> Tensor:
        """Sum over each subject's visits, ``(*, subjects)``."""
        return x.new_zeros(*x.shape[:-1], len(self.time)).index_add(-1, self.subject, x)


def stacked(starts: list[Values]) -> Values:
    """Return several starts as one, their numbers along the first axis."""
    return {name: torch.stack([start[name] for start in starts]) for name in starts[0]}


def one_of(values: Values, which: int) -> Values:
    """Return one of several starts."""
    return {name: value[which].detach() for name, value in values.items()}
