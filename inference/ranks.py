"""Tests that whole numbers from 0 to L are uniform.

References
----------
Säilynoja, Bürkner & Vehtari, "Graphical test for discrete uniformity and its applications in goodness-of-fit evaluation
and multiple sample comparison", Statistics and Computing 2022.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import scipy.stats
from numpy.typing import NDArray

__all__ = ["chi_squared_p", "ecdf_envelope", "envelope_p"]

Ranks = NDArray[np.int64]
IN_A_BIN = 5  # expected in a bin of the histogram
MOST_BINS = 20
GRID = 50
REPLICATES = 2000
TAIL = 0.02  # share of the replicates that the tail is carried on from


def chi_squared_p(ranks: Ranks, draws: int) -> float:
    """Return the p-value of a chi-squared test on a histogram of ranks ``(data sets,)`` from 0 to ``draws``.

    Examples
    --------
    >>> chi_squared_p(np.arange(20), draws=19), chi_squared_p(np.zeros(20, int), draws=19) < 1e-6
    (1.0, True)
    """
    bins = int(max(2, min(MOST_BINS, draws + 1, len(ranks) // IN_A_BIN)))
    edges = np.round(np.linspace(0, draws + 1, bins + 1))
    counts, _ = np.histogram(ranks, edges - 0.5)
    expected = len(ranks) * np.diff(edges) / (draws + 1)
    return float(scipy.stats.chisquare(counts, expected).pvalue)


def envelope_p(ranks: Ranks, draws: int) -> float:
    """Return the p-value of the largest departure of the ranks' empirical distribution from uniform.

    The departure at a point is a binomial p-value; the least over a grid is compared with that of uniform ranks.  In
    the far tail, where simulated sets are few, the chance of a least value below x is proportional to x: so that the
    p-value of a site of many numbers, multiplied by their number, can still be small.

    Examples
    --------
    >>> envelope_p(np.arange(20), draws=19) > 0.5, envelope_p(np.zeros(20, int), draws=19) < 1e-3
    (True, True)
    """
    at = _grid(draws)
    reference = _reference(len(ranks), draws)
    least = _least_p(np.searchsorted(np.sort(ranks), at, side="right")[None], at, len(ranks), draws)[0]
    bend = np.quantile(reference, TAIL)
    if least < bend:
        return float(TAIL * least / bend)
    return float((1 + (reference <= least).sum()) / (1 + len(reference)))


def ecdf_envelope(datasets: int, draws: int, level: float = 0.95) -> tuple[NDArray[np.float64], ...]:
    """Return points in (0, 1), and the lower and upper bound between which uniform ranks' whole ECDF stays so often.

    Parameters
    ----------
    datasets
        Number of ranks.
    draws
        Largest rank.
    level
        Probability that the ECDF of uniform ranks stays within, at all points at once.

    Examples
    --------
    >>> share, low, high = ecdf_envelope(datasets=20, draws=19)
    >>> bool((low <= share).all()), bool((share <= high).all()), float(share[9])  # uniform ranks' own is the diagonal
    (True, True, 0.5)
    """
    at = _grid(draws)
    share = (at + 1) / (draws + 1)
    pointwise = np.quantile(_reference(datasets, draws), 1 - level)
    low = scipy.stats.binom.ppf(pointwise / 2, datasets, share)
    high = scipy.stats.binom.ppf(1 - pointwise / 2, datasets, share)
    return share, low / datasets, high / datasets


def _grid(draws: int) -> Ranks:
    """Return the ranks at which the distribution is looked at; the last is left out, where it is always 1."""
    return np.unique(np.linspace(0, draws - 1, min(GRID, draws)).round().astype(np.int64))


@lru_cache(maxsize=8)
def _reference(datasets: int, draws: int) -> NDArray[np.float64]:
    """Return the least p-value of many sets of uniform ranks."""
    at = _grid(draws)
    drawn = np.sort(np.random.default_rng(0).integers(0, draws + 1, (REPLICATES, datasets)), 1)
    counts = np.stack([np.searchsorted(row, at, side="right") for row in drawn])
    return _least_p(counts, at, datasets, draws)


def _least_p(counts: Ranks, at: Ranks, datasets: int, draws: int) -> NDArray[np.float64]:
    law = scipy.stats.binom(datasets, (at + 1) / (draws + 1))
    tails = np.minimum(law.cdf(counts), law.sf(counts - 1))
    return np.asarray(np.minimum(2 * tails, 1).min(1), np.float64)
