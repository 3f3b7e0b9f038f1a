r"""Location and scale of each vertex or biomarker.

The scale is an estimate, from as many degrees of freedom as there are visits beyond those that fix the subjects' lines.
Over thousands of like vertices its error alone would make clusters: hundreds of visits tell a residual sd of .95 from
one of 1.05.  So the variances of like vertices are shrunk towards a common one, as far as they differ by chance:

.. math::  \tilde s_l^2 = \frac{d_0 s_0^2 + d_l s_l^2}{d_0 + d_l},

with d_0 and s_0 from the mean and the variance of log s_l^2.

References
----------
Smyth, "Linear models and empirical Bayes methods for assessing differential expression in microarray experiments",
Statistical Applications in Genetics and Molecular Biology 2004, section 6.2.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

from neuropyro.data import Cohort

__all__ = ["Standardise", "centred_times", "location_and_scale", "moderated"]

Standardise = Literal["controls", "all"] | None
Floats = NDArray[np.float64]
SAME_TIME = 1e-6  # squared years: visits of a subject closer than that are at one time
ROUNDING = 8  # times the precision of a number, of the sum of squares: less is left by subtraction alone
CONSTANT = 1e-6  # a vertex whose sd is below this fraction of its size is constant


class _Moments(NamedTuple):
    """Mean and variance of each vertex, and the degrees of freedom of the variance; 0 of a constant vertex."""

    mean: Floats
    variance: Floats
    freedom: Floats


def location_and_scale(cohort: Cohort, standardise: Standardise, alike: bool) -> tuple[Floats, Floats]:
    """Return location and scale of each vertex, ``(vertices,)`` each; the scale of a constant vertex is 0.

    Parameters
    ----------
    standardise
        ``"controls"``: by the mean of the controls' visits, and by the sd of their values about each subject's own
        line in time (how far a value moves by chance; about its mean, where it was seen but twice), where a diagnosis
        is given, else as ``"all"``: by all visits alike.
        None: values are taken as they are; centre them yourself, since the likelihood loses digits where values
        are large beside their spread.
    alike
        Whether vertices are of one kind and unit, so that their variances are shrunk towards each other.

    Raises
    ------
    ValueError
        Where ``standardise`` is anything else.

    Examples
    --------
    >>> values = np.array([[1.9, 2.5], [2.1, 2.5], [3.9, 2.5], [4.1, 2.5]])  # mm; the second vertex is constant
    >>> cohort = Cohort(values, time=[60, 61, 70, 71], subject=["a", "a", "b", "b"])
    >>> location, scale = location_and_scale(cohort, "all", alike=False)  # the sd is about each subject's own mean
    >>> location.round(2).tolist(), scale.round(3).tolist()
    ([3.0, 2.5], [0.141, 0.0])
    """
    if standardise not in ("controls", "all", None):
        raise ValueError(f"standardise: give 'controls', 'all' or None, not {standardise!r}")
    every = _moments(cohort)
    if standardise is None:
        return np.zeros_like(every.mean), np.where(every.variance > 0, 1.0, 0.0)
    chosen = every
    if standardise == "controls" and cohort.is_control.any():
        controls = _moments(cohort.subset(visits=cohort.is_control))
        usable = (controls.variance > 0) & (every.variance > 0)
        chosen = _Moments(*(np.where(usable, c, e) for c, e in zip(controls, every, strict=True)))
    variance = moderated(chosen.variance, chosen.freedom) if alike else chosen.variance
    return np.nan_to_num(chosen.mean), np.sqrt(variance)


def moderated(variance: Floats, freedom: Floats) -> Floats:
    """Shrink variances towards a common one, as far as they differ by chance; those that are 0 stay so.

    Parameters
    ----------
    variance, freedom
        ``(vertices,)`` estimates and their degrees of freedom.

    Examples
    --------
    >>> moderated(np.array([0.9, 1.0, 1.1, 0.0]), np.full(4, 50.0)).round(3).tolist()  # alike, but for chance
    [1.0, 1.0, 1.0, 0.0]
    >>> moderated(np.array([0.1, 1.0, 10.0]), np.full(3, 50.0)).round(1).tolist()  # far more than chance
    [0.1, 1.0, 9.8]
    """
    known = (variance > 0) & (freedom > 0)
    if known.sum() < 3:
        return variance
    s2, d = variance[known], freedom[known]
    e = np.log(s2) - digamma(d / 2) + np.log(d / 2)
    excess = e.var(ddof=1) - polygamma(1, d / 2).mean()
    shrunk = variance.copy()
    if excess <= 0:  # no more than chance
        shrunk[known] = (d * s2).sum() / d.sum()
        return shrunk
    d0 = 2 * _inverse_trigamma(excess)
    s02 = np.exp(e.mean() + digamma(d0 / 2) - np.log(d0 / 2))
    shrunk[known] = (d0 * s02 + d * s2) / (d0 + d)
    return shrunk


def _inverse_trigamma(value: float) -> float:
    # trigamma(x) lies between 1 / x and 1 / x + 1 / x^2.
    lower, upper = 1 / value, (1 + np.sqrt(1 + 4 * value)) / (2 * value)
    if not lower < upper * (1 - 1e-9):
        return float(upper)
    return float(brentq(lambda x: float(polygamma(1, x)) - value, lower * (1 - 1e-9), upper * (1 + 1e-9)))


def _moments(cohort: Cohort) -> _Moments:
    """Return each vertex's mean, and the variance of its values about their own subject's line in time.

    Of a subject seen but twice, it is about its mean; where no subject was seen twice, that about the overall mean
    stands in.
    """
    seen = ~np.isnan(cohort.values)
    values = np.where(seen, cohort.values, 0)
    count = seen.sum(0)
    mean = values.sum(0, dtype=np.float64) / np.maximum(count, 1)
    deviation = np.where(seen, values - mean.astype(values.dtype), 0)
    total = np.square(deviation).sum(0, dtype=np.float64)
    member = sp.csr_array((np.ones(cohort.n_visits), (cohort.subject_index, np.arange(cohort.n_visits))))
    present = seen.astype(values.dtype)
    time = centred_times(cohort)[0][:, None].astype(values.dtype)
    visits, sums = member @ present, member @ deviation
    between = (np.square(sums) / np.maximum(visits, 1)).sum(0)
    times = member @ (present * time)
    spread = member @ (present * np.square(time)) - np.square(times) / np.maximum(visits, 1)
    product = member @ (deviation * time) - times * sums / np.maximum(visits, 1)
    sloped = (visits >= 3) & (spread > SAME_TIME)
    trend = np.where(sloped, np.square(product) / np.where(sloped, spread, 1), 0).sum(0)
    freedom = np.maximum(visits - 1, 0).sum(0) - sloped.sum(0)
    within = np.maximum(total - between - trend, 0) / np.maximum(freedom, 1)
    overall = total / np.maximum(count, 1)
    least = np.square(CONSTANT * mean)
    overall = np.where(overall > least, overall, 0.0)
    rounding = ROUNDING * np.finfo(values.dtype).eps * total / np.maximum(freedom, 1)  # of what was taken from what
    usable = (freedom > 0) & (within > np.maximum(least, rounding))
    return _Moments(
        np.where(count > 0, mean, np.nan), np.where(usable, within, overall), np.where(usable, freedom, count)
    )


def centred_times(cohort: Cohort) -> tuple[Floats, Floats]:
    """Return years since the mean time of the subject's own visits ``(visits,)``, and those means ``(subjects,)``.

    Examples
    --------
    >>> cohort = Cohort(np.zeros((3, 1)), time=[60.0, 62.0, 70.0], subject=["a", "a", "b"])
    >>> [years.tolist() for years in centred_times(cohort)]
    [[-1.0, 1.0, 0.0], [61.0, 70.0]]
    """
    count = np.bincount(cohort.subject_index)
    mean_time = np.bincount(cohort.subject_index, cohort.time) / count
    return cohort.time - mean_time[cohort.subject_index], mean_time
