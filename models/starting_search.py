r"""The best of several starts, by a small model of the clusters' mean courses.

Where subjects differ lastingly in a cluster by more than they progress in it, the maps' first component is that
difference, and a start that takes it for the course is never left: scores that are wrong together are a mode.  So
onsets are tried at random too, and the sign turned round.  Each start is improved on the clusters' mean courses alone,

.. math::  m_{kn} \sim \mathrm{Normal}\left(f_k(s_n) + u_{i(n)k},\; (\nu_k^2 + 1 / P_{kn})^{1/2}\right), \qquad
           u_{ik} \sim \mathrm{Normal}(0, \rho_k),

with the offsets u integrated out, and scores and priors as in the whole model; nu is what a mean departs by beyond the
white noise 1 / P of its vertices.  The start of the highest joint density, subjects' places integrated out by Laplace's
method, is taken.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.starting_curves import SPEED_NODES, SPEED_WEIGHTS, BinnedCurves
from neuropyro.models.subject_place import Hyper, SubjectPlace
from neuropyro.models.visits import Visits

__all__ = ["search"]

Start = dict[str, NDArray[np.float64]]
Values = dict[str, Tensor]
RANDOM = 6  # starts beside the given one and its mirror image
STEPS, ROUNDS, RATE = 50, 2, 0.07  # of Adam, between looking for better places
STAGES, SPEEDS = np.linspace(-3, 3, 31), (-1.5, 0.0, 1.5)  # places that are looked at
ONSETS, LOG_STEEPNESS = (-1.0, 3.0), 0.4  # at random starts
STEP = 1e-4  # of finite differences
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


def search(visits: Visits, curves: BinnedCurves, start: Start, rng: np.random.Generator) -> Start:
    """Return the values of a start's sites, or those of a better start.

    Parameters
    ----------
    curves
        The clusters' mean courses.
    start
        The sites of scores and trajectories, and ``rho (K,)``, in the gauge.
    """
    courses = _Courses(visits, curves)
    starts = [courses.of(start), courses.of(_mirrored(start))]
    starts += [courses.of(_at_random(courses, start, rng)) for _ in range(RANDOM)]
    values = {name: torch.stack([one[name] for one in starts]).requires_grad_() for name in starts[0]}
    courses.look_around(values, slice(1, None))
    for _ in range(ROUNDS):
        courses.descend(values)
        courses.look_around(values, slice(None))
    courses.descend(values)
    with torch.no_grad():
        loss = courses.loss(values).sum(-1) + courses.volume(values)
        best = int(loss.nan_to_num(math.inf).argmin())
        return start | courses.start(courses.with_own_sds({name: value[best] for name, value in values.items()}))


def _mirrored(start: Start) -> Start:
    """Return the same trajectories run through backwards."""
    place = start["place"] * [-1, 1]
    turned = {"a": -start["a"], "c": -start["c"], "d": start["d"] + start["a"]}
    return start | turned | {"place": place, "beta_mean": -start["beta_mean"]}


def _at_random(courses: _Courses, start: Start, rng: np.random.Generator) -> Start:
    """Return trajectories of random onsets, which rise or fall as the courses do over subjects' time."""
    low, high = np.quantile(courses.course, [0.03, 0.97], axis=1)
    rises = rng.random(len(low)) < 1 / (1 + np.exp(-courses.trend()))
    n_subjects = len(start["place"])
    drawn = {
        "a": np.where(rises, high - low, low - high),
        "d": np.where(rises, low, high),
        "c": rng.uniform(*ONSETS, len(low)),
        "b": np.full(len(low), math.exp(LOG_STEEPNESS)),
        "rho": np.full(len(low), math.exp(PRIORS["log_rho"][0])),
        "place": np.zeros((n_subjects, 2)),
        "log_alpha_mean": np.array(-math.log(courses.years)),
        "log_alpha_sd": np.array(math.exp(PRIORS["log_sd_a"][0])),
        "beta_mean": np.array(PRIORS["mean_b"][0]),
        "beta_sd": np.array(math.exp(PRIORS["log_sd_b"][0])),
        "correlation": np.array(0.0),
    }
    return start | drawn


class _Courses:
    """The mean courses' joint density with the sites, of several starts at once."""

    def __init__(self, visits: Visits, curves: BinnedCurves) -> None:
        self.course = curves.course
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
            "log_nu": torch.full_like(s["a"], -1.0),
            "mean_a": s["log_alpha_mean"],
            "log_sd_a": s["log_alpha_sd"].log(),
            "mean_b": s["beta_mean"],
            "log_sd_b": s["beta_sd"].log(),
            "atanh": s["correlation"].atanh(),
            "place": s["place"],
        }

    def with_own_sds(self, v: Values) -> Values:
        """Return one start with the sds and the correlation of its subjects' log alpha and beta."""
        law = self._law({name: value[None] for name, value in v.items()})
        log_alpha, stage = law.log_alpha_and_stage(v["place"][None])
        both = torch.stack([log_alpha, stage - log_alpha.exp() * self.time], -1)[0]
        mean, sds = both.mean(0), torch.stack([v["log_sd_a"], v["log_sd_b"]]).exp()
        total = (both - mean).T @ (both - mean) + PRIOR_SUBJECTS * sds.square().diag()
        covariance = total / (len(both) + PRIOR_SUBJECTS)
        sd_b = covariance[1, 1].sqrt()
        shrunk = covariance[0, 1] / (sds[0].square().maximum(covariance[0, 0]).sqrt() * sd_b)
        moved = v | {"mean_b": mean[1], "log_sd_b": sd_b.log(), "atanh": shrunk.atanh()}
        law = self._law({name: value[None] for name, value in moved.items()})
        return moved | {"place": law.place(log_alpha, stage)[0]}

    def start(self, v: Values) -> Start:
        """Return the sites of one start's free numbers."""
        left, weight, precision = self._left({name: value[None] for name, value in v.items()}, v["place"][None])
        u = self._of_subject(weight * left) / (self._of_subject(weight) + precision)
        sites = {
            "a": v["a"],
            "b": v["log_b"].exp(),
            "c": v["c"],
            "d": v["d"],
            "rho": v["log_rho"].exp(),
            "u": u[0].T,
            "log_alpha_mean": v["mean_a"],
            "log_alpha_sd": v["log_sd_a"].exp(),
            "beta_mean": v["mean_b"],
            "beta_sd": v["log_sd_b"].exp(),
            "correlation": v["atanh"].tanh(),
            "place": v["place"],
        }
        return {name: np.asarray(value) for name, value in sites.items()}

    def trend(self) -> NDArray[np.float64]:
        """Return by how many standard errors each course rises over subjects' time, ``(K,)``."""
        mean = self._of_subject(self.observed) / torch.bincount(self.subject)
        own = self.observed - mean[:, self.subject]
        squares = self.within.square().sum().clamp(min=1e-12)
        slope = (own * self.within).sum(-1) / squares
        error = ((own - slope[:, None] * self.within).square().mean(-1) / squares).sqrt()
        return np.asarray(slope / error.clamp(min=1e-12))

    def loss(self, v: Values) -> Tensor:
        """Return the negative log joint density by subject, ``(starts, subjects)``; the first has the globals' too."""
        each = self._misfit(v, v["place"])
        shared = sum(((v[name] - m) / sd).square().reshape(len(each), -1).sum(-1) for name, (m, sd) in PRIORS.items())
        speed = ((v["mean_a"] + math.log(self.years)) / SPEED_SD).square()
        apart = -2 * (1 - v["atanh"].tanh().square()).clamp(min=1e-9).log()  # Beta(2, 2), of the free number
        return each + ((0.5 * (shared + speed) + apart) / each.shape[-1])[:, None]

    def volume(self, v: Values) -> Tensor:
        """Return half the log determinants of the curvature by places, ``(starts,)``, by Gauss and Newton."""
        steps = STEP * torch.eye(2, dtype=torch.float64)
        left, weight, precision = self._left(v, v["place"])
        slopes = [(self._left(v, v["place"] + step)[0] - left) / STEP for step in steps]
        own = self._of_subject(weight) + precision

        def curvature(i: int, j: int) -> Tensor:
            both = self._of_subject(weight * slopes[i]) * self._of_subject(weight * slopes[j]) / own
            return (self._of_subject(weight * slopes[i] * slopes[j]) - both).sum(1) + float(i == j)

        return 0.5 * (curvature(0, 0) * curvature(1, 1) - curvature(0, 1).square()).log().sum(-1)

    def descend(self, values: Values) -> None:
        """Take steps down the loss."""
        optimiser = torch.optim.Adam([value for name, value in values.items() if name not in HELD], RATE)
        for _ in range(STEPS):
            optimiser.zero_grad()
            self.loss(values).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()

    @torch.no_grad()
    def look_around(self, values: Values, which: slice) -> None:
        """Move every subject to the best of many places, where one is better than its own."""
        some = {name: value[which] for name, value in values.items()}
        best, place = self._misfit(some, some["place"]), some["place"].clone()
        for speed in SPEEDS:
            for stage in STAGES:
                tried = torch.tensor([stage, speed]).expand_as(place)
                misfit = self._misfit(some, tried)
                better = misfit < best
                best, place = torch.where(better, misfit, best), torch.where(better[..., None], tried, place)
        values["place"].data[which] = place

    def _misfit(self, v: Values, place: Tensor) -> Tensor:
        """Return the negative log density of each subject's place and courses, ``(starts, subjects)``."""
        left, weight, precision = self._left(v, place)
        total, pull = self._of_subject(weight), self._of_subject(weight * left)
        squares = self._of_subject(weight * left.square() - weight.clamp(min=1e-12).log() * (weight > 0))
        each = squares - pull.square() / (total + precision) + (1 + total / precision).log()
        return 0.5 * (each.sum(1) + self._law(v).innovations(place).square().sum(-1))

    def _left(self, v: Values, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what curves leave, its precision ``(starts, K, visits)``, and offsets' ``(starts, K, 1)``."""
        log_alpha, stage = self._law(v).log_alpha_and_stage(place)
        scores = stage[:, self.subject] + log_alpha.exp()[:, self.subject] * self.within
        far = scores[:, None] - v["c"][..., None]
        rise = torch.zeros_like(far)
        for node, weight in zip(SPEED_NODES, SPEED_WEIGHTS, strict=True):
            rise = rise + weight * torch.sigmoid((v["log_b"] + self.spread * node).exp()[..., None] * far)
        left = self.observed - v["d"][..., None] - v["a"][..., None] * rise
        noise = v["log_nu"].exp().square()[..., None] + 1 / self.precision.clamp(min=1e-9)
        return left, (self.precision > 0) / noise, (-2 * v["log_rho"]).exp()[..., None]

    def _law(self, v: Values) -> SubjectPlace:
        hyper = Hyper(v["mean_a"], v["log_sd_a"].exp(), v["mean_b"], v["log_sd_b"].exp(), v["atanh"].tanh())
        return SubjectPlace(Hyper(*(part[:, None] for part in hyper)), self.time)

    def _of_subject(self, x: Tensor) -> Tensor:
        """Sum over each subject's visits, ``(*, subjects)``."""
        return x.new_zeros(*x.shape[:-1], len(self.time)).index_add(-1, self.subject, x)
