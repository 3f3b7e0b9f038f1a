r"""Maps of each vertex's own trajectory, shrunk to its cluster's as far as its data leave it open.

A draw of a vertex's label k and departures e gives its own (d, c, log b, a) = theta_k + T_k e, of which the first four
coefficients are e (:mod:`neuropyro.models.vertex_scatter`).  From it come what a reader of a surface asks for: where
the vertex starts, how much it changes, when, how fast.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.course import Course
from neuropyro.models.speed_law import log_speed
from neuropyro.models.visits import Visits

__all__ = ["VertexMaps", "maps_of_vertices", "own_trajectories", "zero_in_words"]

Floats = NDArray[np.float64]

ENTROPY = "entropy of the cluster"
OWN, SCORE = "{unit}", "sds of {reference}"  # of data and of scores
WHEN = "not known where the change's interval holds 0"
OF_A_CHANGE = ("onset", "years")  # which what does not change has not
MEANINGS = {
    "baseline": ("value long before onset", OWN),
    "change": ("whole change from there", OWN),
    "onset": (f"progression score at the middle of the change; {WHEN}", SCORE),
    "speed": ("change a year at that middle, at the population's median speed", f"{OWN} a year"),
    "years": (f"from a score of 0, the mean of {{zero}}, to the onset, at that speed; {WHEN}", "years"),
    ENTROPY: ("of the posterior of the cluster: 0 is certain", "nats"),
}
"""What each map is, and its unit, by name."""


@dataclass(frozen=True, eq=False)
class VertexMaps:
    """Posterior medians and intervals of vertices' trajectories; NaN of a vertex that never varied.

    Onset and years are NaN also where the interval of the change holds 0: what does not change has none, and would look
    like the first to be affected, or the last.

    Each mapping has ``(vertices,)`` arrays by the names

    - ``baseline``: the value long before onset, in the cohort's unit;
    - ``change``: the whole change, in that unit;
    - ``onset``: the score at the middle of the change;
    - ``speed``: the change a year at that middle, at the population's median speed, in that unit a year;
    - ``years``: from a score of 0, the mean of controls' first visits, to the onset, at that speed.

    Parameters
    ----------
    median, lower, upper
        Posterior median, as in all tables, and the ends of the central interval.
    level
        Of the interval.
    entropy
        ``(vertices,)`` of the posterior of the vertex's cluster, nats: 0 is certain, log K open.

    Examples
    --------
    >>> onset = {"onset": np.array([1.0, 2.0])}
    >>> maps = VertexMaps(onset, onset, onset, level=0.9, entropy=np.zeros(2))
    >>> [name for name, _ in maps.named()]
    ['onset', 'onset 5%', 'onset 95%', 'entropy of the cluster']
    """

    median: Mapping[str, Floats]
    lower: Mapping[str, Floats]
    upper: Mapping[str, Floats]
    level: float
    entropy: Floats

    def named(self) -> Iterator[tuple[str, Floats]]:
        """Yield all maps by names such as ``onset`` and ``onset 5%``, the entropy last."""
        low, high = (100 * (1 - self.level) / 2, 100 * (1 + self.level) / 2)
        for name in self.median:
            yield name, self.median[name]
            yield f"{name} {low:.3g}%", self.lower[name]
            yield f"{name} {high:.3g}%", self.upper[name]
        yield ENTROPY, self.entropy

    def of_a_point(self) -> VertexMaps:
        """Return the same with NaN for ends of intervals without width: by a point estimate nothing is known of it.

        A vertex's own trajectory has a width given its cluster's; where it is the cluster's, there is none.
        """
        none = {name: self.lower[name] == self.upper[name] for name in self.median}
        lower, upper = (
            {name: np.where(none[name], np.nan, ends[name]) for name in ends} for ends in (self.lower, self.upper)
        )
        return replace(self, lower=lower, upper=upper)

    def described(self, unit: str, reference: str = "controls") -> dict[str, dict[str, str]]:
        """Return what each map of `named` is and its unit, under the keys that BIDS has for them.

        ``unit`` is that of the data, in words, ``reference`` as `neuropyro.data.Cohort.reference_in_words`.
        """
        return {name: _described(name, self.level, unit, reference) for name, _ in self.named()}


def _described(name: str, level: float, own: str, reference: str) -> dict[str, str]:
    """Say what a map is whose name may be that of an end of an interval, such as ``onset 5%``."""
    is_end = name.endswith("%")
    what, unit = MEANINGS[name.rpartition(" ")[0] if is_end else name]
    of_what = f"end of the {100 * level:.3g} % interval of: " if is_end else ""
    said = of_what + what.format(zero=zero_in_words(reference))
    return {"Description": said, "Units": unit.format(unit=own, reference=reference)}


def zero_in_words(reference: str) -> str:
    """Return what a score of 0 is the mean of; ``reference`` as `neuropyro.data.Cohort.reference_in_words`.

    Examples
    --------
    >>> zero_in_words("controls"), zero_in_words("first visits")
    ("controls' first visits", 'all first visits')
    """
    return "controls' first visits" if reference == "controls" else f"all {reference}"


def maps_of_vertices(courses: Sequence[Course], visits: Visits, assignments: Floats, level: float) -> VertexMaps:
    """Summarise vertices' trajectories over draws of them.

    Parameters
    ----------
    courses
        Draws.
    visits
        The data of the fit, for the unit.
    assignments
        ``(vertices, K)`` posterior of the labels.
    level
        Of the intervals.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.trajectory import Trajectories
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits, falls = prepare_visits(simulate_reference(3, 1, seed=0), None), [[-2.0], [2.0], [1.0], [0.5]]
    >>> theta, label = Trajectories(*torch.tensor(falls)), torch.tensor([0])
    >>> course = Course(theta, None, torch.ones(1), None, None, torch.zeros(6), label, None)  # at a score a year
    >>> maps = maps_of_vertices([course], visits, np.ones((1, 1)), level=0.9)
    >>> {name: median.tolist() for name, median in maps.median.items()}  # speed: a b / 4
    {'baseline': [0.5], 'change': [-2.0], 'onset': [1.0], 'speed': [-1.0], 'years': [1.0]}
    """
    location, scale = visits.location.double(), visits.scale.double()
    drawn: dict[str, list[Floats]] = {}
    for course in courses:
        for name, values in _trajectory(course, location, scale):
            drawn.setdefault(name, []).append(np.asarray(values.cpu()))
    open_ = ~visits.is_informative.cpu().numpy()
    ends = [(1 - level) / 2, (1 + level) / 2]
    summary: dict[str, list[Floats]] = {}
    for name, several in drawn.items():
        stacked = np.stack(several)
        stacked[:, open_] = np.nan
        summary[name] = [np.median(stacked, 0), *np.quantile(stacked, ends, axis=0)]
    _, low, high = summary["change"]
    for name in OF_A_CHANGE:
        summary[name] = [np.where(low * high > 0, values, np.nan) for values in summary[name]]
    median, lower, upper = ({name: three[i] for name, three in summary.items()} for i in range(3))
    share = np.clip(assignments, np.finfo(np.float64).tiny, 1)
    return VertexMaps(median, lower, upper, level, np.asarray(-(share * np.log(share)).sum(1)))


def own_trajectories(course: Course) -> Tensor:
    """Return d, c, log b and a of each vertex under one draw, ``(4, vertices)``, standardised.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> theta = SimpleNamespace(**dict(zip("dcba", torch.tensor([[0.5, 1], [2, 1], [1, 1], [-3, 1]]))))
    >>> own_trajectories(SimpleNamespace(theta=theta, label=[0, 0, 1], own=None, scatter=None)).T.tolist()
    [[0.5, 2.0, 0.0, -3.0], [0.5, 2.0, 0.0, -3.0], [1.0, 1.0, 0.0, 1.0]]
    """
    theta = course.theta
    cluster = torch.stack([theta.d, theta.c, theta.b.log(), theta.a])[:, course.label]
    if course.own is None or course.scatter is None:
        return cluster
    sd_d, sd_c, sd_b, sd_a, power = course.scatter[course.label].unbind(-1)
    of_d, of_c, of_b, of_a = course.own[:, :4].unbind(-1)
    return cluster + torch.stack([sd_d * of_d, sd_c * of_c, log_speed(of_b, sd_b, power), sd_a * of_a])


def _trajectory(course: Course, location: Tensor, scale: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield each vertex's own quantities under one draw, in the cohort's unit."""
    d, c, log_b, a = own_trajectories(course)
    speed = course.scores[0].exp()
    yield "baseline", d * scale + location
    yield "change", a * scale
    yield "onset", c
    yield "speed", a * scale * log_b.exp() / 4 * speed
    yield "years", c / speed
