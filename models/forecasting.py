r"""Maps and biomarkers at later times, with predictive intervals.

A subject's score goes on along its line, s(t) = alpha (t - t0) + beta.  Under each posterior draw of the course, its
speed, stage and offsets are drawn given its own visits (:mod:`neuropyro.models.new_subjects`), whether it was among
those that were fitted or not; so is what lasts of its departure at each vertex (:mod:`neuropyro.models.lasting`).  A
value at time t is then

.. math::  V_{l}(t) = F_k(s(t)) + J_k(s(t))\, e_l + \gamma_k (t - t_0) + u_k + v_k + r_l + \epsilon_l,

with gamma the ageing, if the fit has it, e_l the vertex's own trajectory given all data, and v, epsilon the visit's and
the value's own.  Intervals are of each value by itself; draws of neighbouring vertices share nothing but s, u and v.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from tqdm import tqdm

from neuropyro.data import Cohort, CohortError
from neuropyro.models.course import Course
from neuropyro.models.lasting import Components, by_subject, centred_residuals, own_deviation
from neuropyro.models.new_subjects import Personalized, draw_subjects, seeded
from neuropyro.models.posterior import Posterior
from neuropyro.models.visits import Visits, visits_like

__all__ = ["Forecasted", "Request", "forecast_visits", "requested"]

Floats = NDArray[np.float64]
MOST_NUMBERS = 40_000_000  # predicted values that are held at once


@dataclass(frozen=True, eq=False)
class Forecasted:
    """What is expected of later visits; arrays in the order of the rows that were asked for.

    Parameters
    ----------
    subject, time
        ``(rows,)`` whose visit, and when, on the cohort's time axis.
    dps
        ``(draws, rows)`` scores.
    mean, lower, upper
        ``(rows, vertices)`` of the predictive distribution, in the cohort's unit: its mean and the ends of its central
        interval; NaN of a vertex that never varied.
    level
        Of the interval.
    draws
        ``(draws, rows, vertices)`` of the predictive distribution, where they were asked for, else None.

    Examples
    --------
    >>> zero = np.zeros((1, 2))
    >>> one = Forecasted(np.array(["a"]), np.array([71.0]), np.zeros((4, 1)), zero, zero - 1, zero + 1, level=0.9)
    >>> (one.upper - one.lower).tolist()
    [[2.0, 2.0]]
    """

    subject: NDArray[Any]
    time: Floats
    dps: Floats
    mean: Floats
    lower: Floats
    upper: Floats
    level: float
    draws: NDArray[np.floating[Any]] | None = None


class Request(NamedTuple):
    """The rows of a forecast: the subject's place in the cohort, and the time, ``(rows,)`` each.

    Examples
    --------
    >>> cohort = Cohort(np.ones((3, 2)), [70.0, 71.0, 65.0], ["a", "a", "b"])
    >>> rows = requested(cohort, [80.0, 90.0], subjects=["b", "a"])
    >>> rows.subject.tolist(), cohort.subjects[rows.subject].tolist(), rows.time.tolist()
    ([1, 0], ['b', 'a'], [80.0, 90.0])
    """

    subject: NDArray[np.int64]
    time: Floats


def requested(cohort: Cohort, times: ArrayLike, subjects: ArrayLike | None) -> Request:
    """Return the rows that are asked for.

    Parameters
    ----------
    times
        Years after each subject's last visit with a value, every subject at each; with ``subjects``, times on the
        cohort's own axis.
    subjects
        Names, one for each time, or None.

    Raises
    ------
    CohortError
        Where a subject is not in the cohort or has no value, a time is not finite, or years are below 0.

    Examples
    --------
    >>> cohort = Cohort(np.ones((3, 2)), [70.0, 71.0, 65.0], ["a", "a", "b"])
    >>> requested(cohort, [0.5, 2.0], subjects=None).time.tolist()  # years after 71 and after 65
    [71.5, 73.0, 65.5, 67.0]
    """
    when = np.atleast_1d(np.asarray(times, np.float64))
    if when.ndim != 1 or not when.size or not np.isfinite(when).all():
        raise CohortError("forecast: times must be finite numbers of years, one or a list of them")
    if subjects is not None:
        names = np.atleast_1d(np.asarray(subjects))
        if names.shape != when.shape:
            raise CohortError(f"forecast: {names.size} subjects for {when.size} times; give one time for each")
        unknown = np.setdiff1d(names, cohort.subjects)
        if unknown.size:
            raise CohortError(f"forecast: subject {unknown[0]} is not in the cohort; give its visits too")
        return Request(np.searchsorted(cohort.subjects, names), when)
    if (when < 0).any():
        raise CohortError(
            f"forecast: {when.min():g} years is before the last visit; give years after it, or, with `subjects`, times "
            "on the cohort's own axis"
        )
    last = np.full(cohort.n_subjects, -np.inf)
    seen = cohort.observed_rows
    np.maximum.at(last, cohort.subject_index[seen], cohort.time[seen])
    unseen = np.flatnonzero(~np.isfinite(last))
    if unseen.size:
        raise CohortError(
            f"forecast: subject {cohort.subjects[unseen[0]]} has no value at any visit; leave it out (Cohort.subset)"
        )
    return Request(np.repeat(np.arange(cohort.n_subjects), len(when)), np.add.outer(last, when).ravel())


def forecast_visits(
    courses: Iterator[Course],
    count: int,
    components: Callable[[Course], Components],
    result: Posterior,
    cohort: Cohort,
    request: Request,
    draws: int,
    level: float,
    keep_draws: bool,
    progress: bool,
) -> Forecasted:
    """Forecast later visits of a cohort's subjects, in chunks of subjects.

    Parameters
    ----------
    courses, count
        Draws of the course, and how many there are.
    components
        Variances of what lasts and passes at each vertex, given one draw of the course.
    result
        The fit.
    cohort
        The subjects' visits so far.
    request
        What is asked for.
    draws
        Predictive draws, spread evenly over draws of the course.
    level, keep_draws
        See `Forecasted`.
    progress
        Whether to show a bar on standard error.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from neuropyro.models.trajectory import Trajectories
    >>> from neuropyro.models.visits import prepare_visits
    >>> cohort = Cohort(np.array([[2.0], [4.0]]), [70.0, 71.0], ["a", "a"])
    >>> flat = Trajectories(*torch.tensor([[0.0], [1.0], [0.0], [3.0]]).double())  # at 3
    >>> course = Course(flat, None, torch.ones(1).double(), None, None, torch.tensor([0.0, 1, 0, 1, 0, 1]).double(),
    ...                 torch.tensor([0]), None)
    >>> result, passes = SimpleNamespace(data=prepare_visits(cohort, None), seed=0), torch.tensor([1e-6])
    >>> found = forecast_visits(iter([course]), 1, lambda _: Components(0 * passes, passes), result, cohort,
    ...                         requested(cohort, 1.0, None), draws=9, level=0.9, keep_draws=False, progress=False)
    >>> found.time.tolist(), found.mean.round(2).tolist()
    ([72.0], [[3.0]])
    """
    visits = visits_like(result.data, cohort)
    with torch.random.fork_rng(), torch.no_grad():
        exact = visits.to(None, torch.float64)
        drawn_courses = seeded(courses, result.seed)
        bar = tqdm(drawn_courses, "subjects placed", total=count, unit="course", disable=not progress)
        placed = [(course, draw_subjects(course, exact, -(-draws // count))) for course in bar]
        variances = components(placed[0][0])
        scale, location = (np.asarray(x.double().cpu()) for x in (visits.scale, visits.location))
        location = np.where(result.data.is_informative.cpu().numpy(), location, np.nan)
        rows, n_draws = len(request.time), sum(len(part.alpha) for _, part in placed)
        shape = (rows, visits.n_vertices)
        mean, lower, upper = (np.empty(shape) for _ in range(3))
        kept = np.empty((n_draws, *shape), np.float32) if keep_draws else None
        scores = np.empty((n_draws, rows))
        for some in tqdm(list(_chunks(request, n_draws * visits.n_vertices)), "forecast", disable=not progress):
            wanted = Request(request.subject[some], request.time[some])
            drawn, scores[:, some] = _predict(placed, variances, visits, wanted)
            values = drawn * scale.astype(drawn.dtype) + location.astype(drawn.dtype)
            mean[some] = values.mean(0, dtype=np.float64)
            lower[some], upper[some] = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
            if kept is not None:
                kept[:, some] = values
    return Forecasted(cohort.subjects[request.subject], request.time, scores, mean, lower, upper, level, kept)


def _chunks(request: Request, width: int) -> Iterator[NDArray[np.int64]]:
    """Yield rows of whole subjects, as many as fit; of a subject with too many rows, all."""
    order = np.argsort(request.subject, kind="stable")
    of_subject = np.split(order, np.flatnonzero(np.diff(request.subject[order])) + 1)
    some: list[NDArray[np.int64]] = []
    for rows in of_subject:
        if some and (sum(map(len, some)) + len(rows)) * width > MOST_NUMBERS:
            yield np.concatenate(some)
            some = []
        some.append(rows)
    yield np.concatenate(some)


def _predict(
    placed: list[tuple[Course, Personalized]], variances: Components, visits: Visits, wanted: Request
) -> tuple[NDArray[np.floating[Any]], Floats]:
    """Draw standardised values ``(draws, rows, vertices)`` and scores ``(draws, rows)``."""
    who, row = np.unique(wanted.subject, return_inverse=True)
    history = _History(visits, who)
    years = wanted.time - float(visits.origin)
    values, scores = [], []
    for course, part in placed:
        for alpha, beta, u in zip(part.alpha[:, who], part.beta[:, who], part.u[:, who], strict=True):
            dps = alpha[row] * years + beta[row]
            scores.append(dps)
            expected = _expected(course, torch.as_tensor(dps).to(course.sigma), torch.as_tensor(u[row]))
            expected = expected + course.aged(torch.as_tensor(years).to(expected)).mT
            lasts = history.lasting(course, variances, alpha, beta)
            values.append(_noisy(expected.to(visits.values) + lasts.mT[row], course, variances).cpu().numpy())
    return np.stack(values), np.stack(scores)


def _expected(course: Course, dps: Tensor, u: Tensor) -> Tensor:
    """Return the vertices' own trajectories with the subject's offsets, ``(rows, vertices)``."""
    columns = course.columns(dps)  # (K, rows, r)
    out = dps.new_empty(len(dps), len(course.label))
    for k in range(len(course.sigma)):
        members = (course.label == k).nonzero().squeeze(-1)
        curve = columns[k, :, :1] + u[:, k, None].to(dps)
        out[:, members] = curve if course.own is None else curve + columns[k, :, 1:] @ course.own[members].to(dps).mT
    return out


def _noisy(values: Tensor, course: Course, variances: Components) -> Tensor:
    """Add the visits' and the values' own noise."""
    passing = variances.passing.sqrt().to(values)
    values = values + passing * torch.randn_like(values)
    if course.spread is None:
        return values
    visit = course.spread.to(values) * torch.randn(len(values), len(course.spread)).to(values)
    return values + visit[:, course.label]


class _History:
    """Some subjects' visits so far."""

    def __init__(self, visits: Visits, who: NDArray[np.int64]) -> None:
        place = torch.full((visits.n_subjects,), -1, device=visits.subject.device)
        place[torch.as_tensor(who, device=place.device)] = torch.arange(len(who), device=place.device)
        rows = (place[visits.subject] >= 0).nonzero().squeeze(-1)
        self.subject, self.n_subjects = place[visits.subject[rows]], len(who)
        self.values = visits.values[:, rows]
        self.observed = None if visits.observed is None else visits.observed[:, rows]
        self.years = visits.years[rows]

    def lasting(self, course: Course, variances: Components, alpha: Floats, beta: Floats) -> Tensor:
        """Draw what lasts of each subject at each vertex, ``(vertices, subjects)``."""
        speed, stage = (torch.as_tensor(x).to(course.sigma) for x in (alpha, beta))
        if not bool((variances.lasting > 0).any()):
            return self.values.new_zeros(len(self.values), self.n_subjects)
        dps = speed[self.subject] * self.years.to(speed) + stage[self.subject]
        residual = centred_residuals(course, self.values - course.aged(self.years), self.observed, dps)
        sums, count = by_subject(residual, self.observed, self.subject, self.n_subjects)
        mean, variance = own_deviation(variances, sums, count)
        drawn = mean + variance.sqrt() * torch.randn_like(mean)
        return drawn.to(self.values)
