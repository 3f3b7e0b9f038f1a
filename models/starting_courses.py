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
from neuropyro.models.starting_descent import Start, Values, stacked
from neuropyro.models.starting_population import SHARE, SHARE_SD
from neuropyro.models.subject_place import Hyper, SubjectPlace
from neuropyro.models.visits import Visits

__all__ = ["Courses", "Curves"]

NODES, WEIGHTS = torch.as_tensor(SPEED_NODES), torch.as_tensor(SPEED_WEIGHTS)
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
    "share": (SHARE, SHARE_SD),
}
PRIOR_MOMENTS = torch.tensor(list(PRIORS.values()), dtype=torch.float64).T  # (2, sites)
SPEED_SD = 0.7  # of the prior of the mean log speed


class Curves(NamedTuple):
    """Clusters' mean trajectories at the visits, and their derivatives by the score, ``(starts, K, visits)`` each.

    Examples
    --------
    >>> rise = torch.sigmoid(torch.tensor([[[-2.0, 0.0, 2.0]]]))  # one start, one cluster, three visits
    >>> Curves(4 * rise, 4 * rise * (1 - rise)).slope  # steepest at the onset: a b / 4
    tensor([[[0.4200, 1.0000, 0.4200]]])
    """

    mean: Tensor
    slope: Tensor


class _Placed(NamedTuple):
    """Subjects at their places, of several starts."""

    law: SubjectPlace
    place: Tensor  # (starts, subjects, 2)
    alpha: Tensor  # (starts, subjects)
    scores: Tensor  # (starts, visits)


class _Noise(NamedTuple):
    """Precisions of what departs from the curves."""

    weight: Tensor  # (starts, K, visits)
    total: Tensor  # (starts, K, subjects) of a subject's visits
    offsets: Tensor  # (starts, K, 1)


class Courses:
    """The mean courses' joint density with the sites, of several starts at once.

    Parameters
    ----------
    visits
        When subjects were seen.
    curves
        The clusters' mean courses.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.starting_values import group_and_start
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(simulate_reference(n_subjects=8, n_vertices=12, n_clusters=2, seed=0), "all")
    >>> curves, (start, *_) = group_and_start(visits, 2, np.random.default_rng(0))
    >>> courses = Courses(visits, curves)
    >>> np.allclose(courses.start(courses.of(start))["place"], start["place"])
    True
    >>> given, later = (stacked([courses.of(start | {"c": start["c"] + by})]) for by in (0, 2))
    >>> bool(courses.loss(given) < courses.loss(later))  # onsets 2 scores too late are less likely
    True
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
            "share": s["time_share"],
            "place": s["place"],
        }

    def start(self, v: Values) -> Start:
        """Return the sites of one start's free numbers."""
        alone = stacked([v])
        u = self._offsets(alone, self._curves(alone, self._placed(alone, alone["place"]).scores))
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
            "time_share": alone["share"],
            "place": alone["place"],
        }
        return {name: np.asarray(value[0]) for name, value in sites.items()}

    def trend(self) -> NDArray[np.float64]:
        """Return by how many standard errors each course rises over subjects' time, ``(K,)``."""
        own = self.observed - self._of_visit(self._subject_means())
        squares = self.within.square().sum().clamp(min=1e-12)
        slope = (own * self.within).sum(-1) / squares
        error = ((own - slope[:, None] * self.within).square().mean(-1) / squares).sqrt()
        return np.asarray(slope / error.clamp(min=1e-12))

    def between(self) -> NDArray[np.float64]:
        """Return the sds of subjects' mean values, ``(K,)``."""
        return np.asarray(self._subject_means().std(-1, correction=0))

    def loss(self, v: Values) -> Tensor:
        """Return the negative log joint density, places integrated out by Laplace's method, ``(starts,)``."""
        at = self._placed(v, v["place"])
        return self._marginal(v, at, self._curves(v, at.scores)) + self._priors(v)

    def misfit(self, v: Values, place: Tensor) -> Tensor:
        """Return the negative log density of each subject's place and courses, ``(starts, subjects)``."""
        at = self._placed(v, place)
        return self._misfit(self._noise(v), at, self._curves(v, at.scores))

    def _priors(self, v: Values) -> Tensor:
        # One tensor: a step on small data costs as much as there are operations.
        own = {name: v[name].reshape(len(v["a"]), -1) for name in PRIORS}
        sizes = torch.tensor([part.shape[1] for part in own.values()])
        mean, sd = PRIOR_MOMENTS.repeat_interleave(sizes, 1)
        squares: Tensor = ((torch.cat(list(own.values()), 1) - mean) / sd).square().sum(-1)
        speed = ((v["mean_a"] + math.log(self.years)) / SPEED_SD).square()
        apart = -2 * (1 - v["atanh"].tanh().square()).clamp(min=1e-9).log()  # Beta(2, 2), of the free number
        return 0.5 * (squares + speed) + apart

    def _marginal(self, v: Values, at: _Placed, curves: Curves) -> Tensor:
        """Return the negative log density of the courses, offsets and places integrated out, ``(starts,)``."""
        noise = self._noise(v)
        return self._misfit(noise, at, curves).sum(-1) + self._volume(noise, at, curves)

    def _misfit(self, noise: _Noise, at: _Placed, curves: Curves) -> Tensor:
        left, weight, total = self.observed - curves.mean, noise.weight, noise.total
        pulled = weight * left
        squares = pulled * left - weight.clamp(min=1e-12).log() * (weight > 0)
        pull, squares = self._of_subject(torch.stack([pulled, squares]))
        each = squares - pull.square() / (total + noise.offsets) + (1 + total / noise.offsets).log()
        misfit: Tensor = 0.5 * (each.sum(1) + at.law.innovations(at.place).square().sum(-1))
        return misfit

    def _volume(self, noise: _Noise, at: _Placed, curves: Curves) -> Tensor:
        """Return half the log determinants of the curvature by places, ``(starts,)``, by Gauss and Newton."""
        law = at.law
        speed = at.alpha * law.hyper.sd_a
        of_place = torch.stack([law.sd, speed * law.slant, speed * law.own / law.sd], 1)
        stage, along, across = self._of_visit(of_place).unbind(1)
        first = curves.slope * (stage + along * self.within)[:, None]
        second = curves.slope * (across * self.within)[:, None]
        by_first, by_second = noise.weight * first, noise.weight * second
        sums = [by_first, by_second, by_first * first, by_first * second, by_second * second]
        one, two, *squares = self._of_subject(torch.stack(sums))
        own = noise.total + noise.offsets
        apart = [one * one / own, one * two / own, two * two / own]
        ff, fs, ss = ((square - less).sum(1) for square, less in zip(squares, apart, strict=True))
        volume: Tensor = 0.5 * ((ff + 1) * (ss + 1) - fs.square()).log().sum(-1)
        return volume

    def _offsets(self, v: Values, curves: Curves) -> Tensor:
        """Return the means of the subjects' offsets, ``(starts, K, subjects)``."""
        noise = self._noise(v)
        return self._of_subject(noise.weight * (self.observed - curves.mean)) / (noise.total + noise.offsets)

    def _placed(self, v: Values, place: Tensor) -> _Placed:
        law = self._law(v)
        log_alpha, stage = law.log_alpha_and_stage(place)
        alpha = log_alpha.exp()
        of_visit = self._of_visit(torch.stack([stage, alpha], 1))
        return _Placed(law, place, alpha, of_visit[:, 0] + of_visit[:, 1] * self.within)

    def _curves(self, v: Values, scores: Tensor) -> Curves:
        far = (scores[:, None] - v["c"][..., None])[..., None]
        steep = (v["log_b"][..., None] + self.spread * NODES).exp()[..., None, :]
        rise, a = torch.sigmoid(steep * far), v["a"][..., None]
        mean, slope = rise @ WEIGHTS, (steep * rise * (1 - rise)) @ WEIGHTS
        return Curves(v["d"][..., None] + a * mean, a * slope)

    def _noise(self, v: Values) -> _Noise:
        weight = self._weight(v)
        return _Noise(weight, self._of_subject(weight), (-2 * v["log_rho"]).exp()[..., None])

    def _weight(self, v: Values) -> Tensor:
        """Return the precision of the mean courses, 0 where nothing was seen."""
        noise = v["log_nu"].exp().square()[..., None] + 1 / self.precision.clamp(min=1e-9)
        return (self.precision > 0) / noise

    def _law(self, v: Values) -> SubjectPlace:
        sds = v["log_sd_a"].exp(), v["log_sd_b"].exp()
        hyper = Hyper(v["mean_a"], sds[0], v["mean_b"], sds[1], v["atanh"].tanh(), v["share"])
        return SubjectPlace(Hyper(*(part[:, None] for part in hyper)), self.time)

    def _subject_means(self) -> Tensor:
        """Return what each subject's courses have in the mean over its visits, ``(K, subjects)``."""
        return self._of_subject(self.observed) / torch.bincount(self.subject)

    def _of_visit(self, x: Tensor) -> Tensor:
        """Return at each visit what its subject has, ``(*, visits)``."""
        return x.index_select(-1, self.subject)

    def _of_subject(self, x: Tensor) -> Tensor:
        """Sum over each subject's visits, ``(*, subjects)``."""
        return x.new_zeros(*x.shape[:-1], len(self.time)).index_add(-1, self.subject, x)
