r"""What any forecast of maps has to beat: the last value carried forward, and a linear mixed model at each vertex.

The mixed model of vertex l, with intercept and slope of each subject i,

.. math::  V_{nl} = x_n^\top \beta_l + b_{il} + g_{il} t_n + \epsilon_{nl}, \qquad
   b \sim \mathrm{Normal}(0, \gamma_0 \sigma^2), \; g \sim \mathrm{Normal}(0, \gamma_1 \sigma^2),

has x = (1, age at entry, years since entry, patient at entry, patient times years).  Given the ratios gamma, which are
searched on a grid, everything is least squares that all vertices of one pattern of missing values share.

References
----------
Laird & Ware, "Random-effects models for longitudinal data", Biometrics 1982; Bernal-Rusiel et al., "Statistical
analysis of longitudinal neuroimage data with linear mixed effects models", NeuroImage 2013.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import norm

from neuropyro.data import Cohort
from neuropyro.models.forecasting import Request

__all__ = ["Baseline", "last_value", "linear_mixed"]

Floats = NDArray[np.float64]
INTERCEPTS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # gamma_0
SLOPES = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # gamma_1, a year squared


@dataclass(frozen=True, eq=False)
class Baseline:
    """A forecast: mean and interval ``(rows, vertices)``, NaN where a subject or a vertex has no value.

    Examples
    --------
    >>> from neuropyro.models.forecasting import requested
    >>> cohort = Cohort([[2.5, np.nan]], time=[70], subject=["a"])
    >>> found = last_value(cohort, requested(cohort, [71.0], ["a"]))
    >>> found.mean.tolist(), found.upper.tolist()  # a vertex was never seen, and this baseline has no interval
    ([[2.5, nan]], [[nan, nan]])
    """

    mean: Floats
    lower: Floats
    upper: Floats


def last_value(cohort: Cohort, request: Request) -> Baseline:
    """Carry each subject's last value at each vertex forward; it has no interval (NaN).

    Examples
    --------
    >>> from neuropyro.models.forecasting import requested
    >>> cohort = Cohort([[2.5], [2.3], [2.8]], time=[70, 72, 66], subject=["a", "a", "b"])
    >>> wanted = requested(cohort, [73.0, 68.0], ["a", "b"])
    >>> last_value(cohort, wanted).mean.round(2).tolist()
    [[2.3], [2.8]]
    """
    last = np.full((cohort.n_subjects, cohort.n_vertices), np.nan)
    for row in np.argsort(cohort.time, kind="stable"):
        values = cohort.values[row]
        seen = ~np.isnan(values)
        last[cohort.subject_index[row], seen] = values[seen]
    mean = last[request.subject]
    return Baseline(mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan))


def linear_mixed(cohort: Cohort, request: Request, level: float = 0.9) -> Baseline:
    """Forecast by a linear mixed model at each vertex.

    Parameters
    ----------
    cohort
        The visits so far.
    request
        Whose values, when.
    level
        Of the intervals, which leave out what is not known of the coefficients.

    Examples
    --------
    >>> from neuropyro.models.forecasting import requested
    >>> year, person = np.tile([0.0, 1.0, 2.0], 20), np.repeat(np.arange(20), 3)
    >>> slopes = np.random.default_rng(0).normal(-0.05, 0.02, 20)[person]
    >>> cohort = Cohort((2.5 + slopes * year)[:, None], 70 + year, person)
    >>> found = linear_mixed(cohort, requested(cohort, [75.0], [3]))
    >>> bool(abs(found.mean[0, 0] - (2.5 + 5 * slopes[9])) < 0.02)
    True
    """
    design = _Design.of(cohort)
    wanted = design.at(request)
    shape = (len(request.time), cohort.n_vertices)
    mean, sd = np.full(shape, np.nan), np.full(shape, np.nan)
    seen = ~np.isnan(np.asarray(cohort.values))
    patterns, place = np.unique(seen, axis=1, return_inverse=True)
    for pattern in range(patterns.shape[1]):
        rows, columns = np.flatnonzero(patterns[:, pattern]), np.flatnonzero(place.ravel() == pattern)
        if len(rows) > design.fixed.shape[1] + 2:
            values = np.asarray(cohort.values, np.float64)[np.ix_(rows, columns)]
            mean[:, columns], sd[:, columns] = _fitted(design.subset(rows), wanted, values)
    reach = float(norm.ppf((1 + level) / 2))
    return Baseline(mean, mean - reach * sd, mean + reach * sd)


@dataclass(frozen=True, eq=False)
class _Design:
    """Fixed effects ``(rows, p)``, the subject and its years since entry, ``(rows,)`` each."""

    fixed: Floats
    subject: NDArray[np.int64]
    years: Floats
    entry: Floats
    patient: Floats

    @classmethod
    def of(cls, cohort: Cohort) -> _Design:
        first = np.flatnonzero(cohort.is_first_visit)
        first = first[np.argsort(cohort.subject_index[first])]
        entry = cohort.time[first]
        patient = np.asarray(~cohort.is_control[first] & cohort.is_control.any(), np.float64)
        return cls._made(cohort.subject_index, cohort.time, entry, patient)

    @classmethod
    def _made(cls, subject: NDArray[np.int64], time: Floats, entry: Floats, patient: Floats) -> _Design:
        years = time - entry[subject]
        columns = [np.ones_like(years), entry[subject] - entry.mean(), years]
        if 0 < patient.mean() < 1:
            columns += [patient[subject], patient[subject] * years]
        return cls(np.stack(columns, 1), subject, years, entry, patient)

    def at(self, request: Request) -> _Design:
        return self._made(request.subject, request.time, self.entry, self.patient)

    def subset(self, rows: NDArray[np.int64]) -> _Design:
        return _Design(self.fixed[rows], self.subject[rows], self.years[rows], self.entry, self.patient)

    @property
    def own(self) -> sp.csr_array:
        """Indicators of the subjects, and these times years, ``(rows, 2 subjects)``."""
        n, rows = len(self.entry), np.arange(len(self.subject))
        data = np.concatenate([np.ones_like(self.years), self.years])
        place = (np.tile(rows, 2), np.concatenate([self.subject, self.subject + n]))
        return sp.csr_array((data, place), shape=(len(rows), 2 * n))


def _fitted(design: _Design, wanted: _Design, values: Floats) -> tuple[Floats, Floats]:
    """Return mean and sd of the values wanted, ``(rows wanted, columns)``, each column at its own best ratios."""
    cost = np.full(values.shape[1], np.inf)
    mean, sd = (np.empty((len(wanted.years), values.shape[1])) for _ in range(2))
    for intercept, slope in itertools.product(INTERCEPTS, SLOPES):
        one = _Ratio.of(design, intercept, slope)
        coefficients, left, variance = one.regress(values)
        minus_log = len(values) * np.log(variance) + one.log_det
        better = minus_log < cost
        if better.any():
            cost[better] = minus_log[better]
            shift, spread = one.own_effects(wanted, left[:, better])
            mean[:, better] = wanted.fixed @ coefficients[:, better] + shift
            sd[:, better] = np.sqrt(np.outer(spread, variance[better]))
    return mean, sd


@dataclass(frozen=True, eq=False)
class _Ratio:
    """The design under given ratios: V = I + Z G Z', by Woodbury."""

    design: _Design
    prior: Floats
    inner: sp.csc_array
    log_det: float

    @classmethod
    def of(cls, design: _Design, intercept: float, slope: float) -> _Ratio:
        n = len(design.entry)
        prior = np.repeat([intercept, max(slope, 1e-12)], n)
        own = design.own
        precision = (own.T @ own + sp.diags_array(1 / prior)).tocsc()
        a, b, c = precision.diagonal()[:n], precision.diagonal(n), precision.diagonal()[n:]
        det = a * c - b * b  # 2 x 2 for each subject
        diagonal, off = [sp.diags_array(x / det) for x in (c, a)], sp.diags_array(-b / det)
        inner = sp.block_array([[diagonal[0], off], [off, diagonal[1]]])
        return cls(design, prior, inner.tocsc(), float(np.log(det).sum() + np.log(prior).sum()))

    def solve(self, values: Floats) -> Floats:
        """Return V^-1 times values."""
        own = self.design.own
        return np.asarray(values - own @ (self.inner @ (own.T @ values)))

    def regress(self, values: Floats) -> tuple[Floats, Floats, Floats]:
        """Return coefficients ``(p, columns)``, what is left of the values, and the variance ``(columns,)``."""
        fixed = self.design.fixed
        whitened = self.solve(fixed)
        coefficients = scipy.linalg.lstsq(fixed.T @ whitened, whitened.T @ values)[0]
        left = values - fixed @ coefficients
        return coefficients, left, np.maximum((left * self.solve(left)).sum(0) / len(values), 1e-30)

    def own_effects(self, wanted: _Design, left: Floats) -> tuple[Floats, Floats]:
        """Return the subjects' own part of the values wanted, and its variance and the noise's, in units of it."""
        there, own = wanted.own, self.design.own
        shift = there @ (self.inner @ (own.T @ left))
        return np.asarray(shift), 1 + np.asarray((there @ self.inner).multiply(there).sum(1)).ravel()
