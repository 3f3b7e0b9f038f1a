"""Where fitted curves leave the data: means of what is left over, by thirds of the score.

A curve may miss nearly all the values of the least affected, say, and the fit have converged nevertheless: clusters
force courses together, or a start has led to a poor mode.  People lie off a curve by offsets of their own, but
these are as often above it as below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Misfit", "misfits"]

THIRDS = ("low", "middling", "high")
FEWEST = 5  # people in a third
LARGE, CLEAR = 0.35, 5.0  # of a course's sd over all visits, and of the standard error (few people: t is wide)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Misfit:
    """A third of the scores at which a course misses its data.

    Attributes
    ----------
    course
        Its number.
    third
        "low", "middling" or "high".
    off
        Mean of value minus curve there, in the values' unit.
    """

    course: int
    third: str
    off: float

    @property
    def in_words(self) -> str:
        """How the curve lies to the values.

        Examples
        --------
        >>> Misfit(0, "low", 150.2).in_words
        '150 below its values at low scores'
        """
        return f"{abs(self.off):.3g} {'below' if self.off > 0 else 'above'} its values at {self.third} scores"


def misfits(values: Floats, curves: Floats, score: Floats, subject: NDArray[np.int64]) -> Iterator[Misfit]:
    """Yield the worst misfit of each course that has one, by people's means within a third of the visits.

    Parameters
    ----------
    values, curves
        ``(visits, courses)`` in any unit; NaN where missing.
    score
        ``(visits,)``.
    subject
        ``(visits,)`` whose visit.

    Examples
    --------
    >>> score = np.linspace(0, 1, 60)
    >>> curve = np.stack([score, score], 1)
    >>> values = curve + np.random.default_rng(0).normal(0, 0.1, curve.shape)
    >>> values[:20, 1] += 0.5
    >>> [(found.course, found.in_words) for found in misfits(values, curve, score, np.arange(60))]
    [(1, '0.515 below its values at low scores')]
    """
    third = np.searchsorted(np.quantile(score, [1 / 3, 2 / 3]), score)
    for course in range(values.shape[1]):
        left, seen = values[:, course] - curves[:, course], np.isfinite(values[:, course])
        unit, found = np.std(values[seen, course]) if seen.any() else 0.0, []
        for k, name in enumerate(THIRDS):
            there = seen & (third == k)
            mean, error, count = _mean_of_people(left[there], subject[there])
            if count >= FEWEST and abs(mean) > max(LARGE * unit, CLEAR * error):
                found.append(Misfit(course, name, mean))
        if found:
            yield max(found, key=lambda one: abs(one.off))


def _mean_of_people(left: Floats, subject: NDArray[np.int64]) -> tuple[float, float, int]:
    """Return mean and standard error of people's means, and their number."""
    if not left.size:
        return 0.0, 0.0, 0
    who = np.unique(subject, return_inverse=True)[1]
    means = np.bincount(who, left) / np.bincount(who)
    error = means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.inf
    return float(means.mean()), float(error), len(means)
