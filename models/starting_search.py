"""The best of several starts, by the clusters' mean courses.

Where subjects differ lastingly in a cluster by more than they progress in it, the maps' first component is that
difference, and a start that takes it for the course is never left: scores that are wrong together are a mode.  So
onsets are tried at random too, and the sign turned round; and each cluster in turn is followed alone, as far as
subjects' places go, all that the others differ by being taken for lasting.  Each start is improved on the clusters'
mean courses alone (:mod:`neuropyro.models.starting_courses`), whose density then tells which are the best.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.starting_courses import PRIORS, Courses
from neuropyro.models.starting_curves import BinnedCurves
from neuropyro.models.starting_descent import Start, Values, descend, one_of, stacked
from neuropyro.models.visits import Visits

__all__ = ["search"]

RANDOM = 8  # starts beside the given one and its mirror image
LEADERS = 4  # clusters that are followed alone, those that change most clearly
STEPS, ROUNDS, RATE = 50, 1, 0.07  # of Adam, between looking for better places
STAGES, SPEEDS = np.linspace(-3, 3, 31), (-1.5, 0.0, 1.5)  # places that are looked at
NUMBERS = 300_000  # of courses, at the places that are looked at together
ONSETS, LOG_STEEPNESS = (-1.0, 3.0), 0.4  # at random starts
FAR = 0.4  # what mean courses depart by there


def search(visits: Visits, curves: BinnedCurves, start: Start, rng: np.random.Generator, keep: int) -> list[Start]:
    """Return the sites of the best starts, the best first.

    Parameters
    ----------
    curves
        The clusters' mean courses.
    start
        The sites of scores, trajectories, offsets and visits' effects, in the gauge.
    keep
        How many.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.starting_values import group_and_start
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(simulate_reference(n_subjects=8, n_vertices=12, n_clusters=2, seed=0), "all")
    >>> curves, (start, *_) = group_and_start(visits, 2, np.random.default_rng(0))
    >>> best, second = search(visits, curves, start, np.random.default_rng(0), keep=2)
    >>> courses = Courses(visits, curves)
    >>> losses = [float(courses.loss(stacked([courses.of(one)]))) for one in (best, second, start)]
    >>> losses == sorted(losses)
    True
    """
    courses = Courses(visits, curves)
    starts = [courses.of(start), courses.of(_mirrored(start))]
    starts += [courses.of(_at_random(courses, start, rng)) for _ in range(RANDOM)]
    starts += [courses.of(_led(courses, start, rng, leader)) for leader in _leaders(courses)]
    values = stacked(starts)
    _look_around(courses, values, slice(1, None))
    for _ in range(ROUNDS):
        values = descend(courses.loss, values, STEPS, RATE)
        _look_around(courses, values, slice(None))
    values = descend(courses.loss, values, STEPS, RATE)
    with torch.no_grad():
        order = courses.loss(values).nan_to_num(math.inf).argsort()
        return [start | courses.start(one_of(values, int(which))) for which in order[:keep]]


def _mirrored(start: Start) -> Start:
    """Return the same trajectories run through backwards."""
    place = start["place"] * [-1, 1]
    turned = {"a": -start["a"], "c": -start["c"], "d": start["d"] + start["a"], "tau": np.full_like(start["a"], FAR)}
    return start | turned | {"place": place, "beta_mean": -start["beta_mean"]}


def _at_random(courses: Courses, start: Start, rng: np.random.Generator) -> Start:
    """Return trajectories of random onsets, which rise or fall as the courses do over subjects' time."""
    low, high = np.quantile(courses.observed, [0.03, 0.97], axis=1)
    rises = rng.random(len(low)) < 1 / (1 + np.exp(-courses.trend()))
    drawn = {
        "a": np.where(rises, high - low, low - high),
        "d": np.where(rises, low, high),
        "c": rng.uniform(*ONSETS, len(low)),
        "b": np.full(len(low), math.exp(LOG_STEEPNESS)),
        "rho": np.full(len(low), math.exp(PRIORS["log_rho"][0])),
        "tau": np.full(len(low), FAR),
        "place": np.zeros_like(start["place"]),
        "log_alpha_mean": np.array(-math.log(courses.years)),
        "log_alpha_sd": np.array(math.exp(PRIORS["log_sd_a"][0])),
        "beta_mean": np.array(PRIORS["mean_b"][0]),
        "beta_sd": np.array(math.exp(PRIORS["log_sd_b"][0])),
        "correlation": np.array(0.0),
        "time_share": np.array(PRIORS["share"][0]),
    }
    return start | drawn


def _leaders(courses: Courses) -> NDArray[np.int64]:
    """Return the clusters that change most clearly over subjects' time."""
    return np.argsort(-np.abs(courses.trend()))[:LEADERS]


def _led(courses: Courses, start: Start, rng: np.random.Generator, leader: int) -> Start:
    """Return random onsets, the other clusters' differences between subjects being lasting ones."""
    drawn = _at_random(courses, start, rng)
    rho = np.maximum(courses.between(), drawn["rho"])
    rho[leader] = drawn["rho"][leader]
    return drawn | {"rho": rho}


@torch.no_grad()
def _look_around(courses: Courses, values: Values, which: slice) -> None:
    """Move every subject to the best of many places, where one is better than its own."""
    some = {name: value[which] for name, value in values.items()}
    best, place = courses.misfit(some, some["place"]), some["place"].clone()
    n_starts, n_subjects = best.shape
    for tried in torch.split(_places(), max(NUMBERS // (n_starts * courses.observed.numel()), 1)):
        repeated = {name: value.repeat(len(tried), *[1] * (value.dim() - 1)) for name, value in some.items()}
        everywhere = tried.repeat_interleave(n_starts, 0)[:, None].expand(-1, n_subjects, -1)
        misfit = courses.misfit(repeated, everywhere).reshape(-1, n_starts, n_subjects)
        least, best_tried = misfit.nan_to_num(math.inf).min(0)
        better = least < best
        best, place = torch.where(better, least, best), torch.where(better[..., None], tried[best_tried], place)
    values["place"][which] = place


def _places() -> Tensor:
    """Return the places that are looked at, ``(places, 2)``."""
    speeds, stages = np.meshgrid(SPEEDS, STAGES, indexing="ij")
    return torch.as_tensor(np.stack([stages.ravel(), speeds.ravel()], 1))
