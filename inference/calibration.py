r"""Simulation-based calibration: whether a guide's uncertainty means what it says.

Parameters drawn from the prior, data drawn given them, a fit to those data: over many such data sets the truth is one
more draw from each posterior.  So its rank among the draws is uniform, and a central interval of 90 % holds it nine
times in ten, if and only if (for these statistics) the posteriors are right.

References
----------
Talts, Betancourt, Simpson, Vehtari & Gelman, "Validating Bayesian inference algorithms with simulation-based
calibration", 2018; Säilynoja, Bürkner & Vehtari, "Graphical test for discrete uniformity and its applications in
goodness-of-fit evaluation and multiple sample comparison", Statistics and Computing 2022 (the envelope).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from neuropyro.inference.fit import fit
from neuropyro.inference.ranks import chi_squared_p, envelope_p
from neuropyro.inference.result import Fit
from neuropyro.inference.simulation import Simulated, simulate_prior

__all__ = ["LEVELS", "Calibration", "Coverage", "calibrate"]

LEVELS = (0.5, 0.8, 0.9, 0.95)
Runner = Callable[[Any, int], Fit]


@dataclass(frozen=True)
class Coverage:
    """How often central intervals of a site hold the truth.

    Parameters
    ----------
    nominal
        What the intervals promise.
    actual
        Share of the truths inside, over data sets and a site's elements.
    error
        Monte Carlo standard error of ``actual``, data sets being independent and a site's elements not.

    Examples
    --------
    >>> found: Coverage = Calibration({"mean": np.arange(20)[:, None]}, draws=19).coverage("mean", 0.9)
    >>> found.nominal, found.actual, round(found.error, 3)  # 18 of 20
    (0.9, 0.9, 0.069)
    """

    nominal: float
    actual: float
    error: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks of the truth among posterior draws.

    Parameters
    ----------
    ranks
        ``(data sets, elements)`` by site, each from 0 to ``draws``.
    draws
        Posterior draws a data set.

    Examples
    --------
    >>> found = Calibration({"mean": np.arange(20)[:, None]}, draws=19)
    >>> found.datasets, found.coverage("mean", 0.9).actual
    (20, 0.9)
    """

    ranks: dict[str, NDArray[np.int64]]
    draws: int

    @property
    def datasets(self) -> int:
        """Number of data sets."""
        return len(next(iter(self.ranks.values())))

    def p_value(self, site: str, test: str = "chi-squared") -> float:
        """Return the p-value of uniform ranks, the least over a site's elements times their number.

        Parameters
        ----------
        site
            Its name.
        test
            ``"chi-squared"``, of a histogram of the ranks, or ``"ecdf"``, of the largest departure of their empirical
            distribution from uniform.

        Raises
        ------
        ValueError
            Where there is no such test.
        """
        tests = {"chi-squared": chi_squared_p, "ecdf": envelope_p}
        if test not in tests:
            raise ValueError(f"p_value: no test {test!r}; there are {', '.join(tests)}")
        columns = self.ranks[site].T
        return min(1.0, len(columns) * min(tests[test](ranks, self.draws) for ranks in columns))

    def coverage(self, site: str, level: float) -> Coverage:
        """Return how often the central interval of this level holds a site's truth.

        Raises
        ------
        ValueError
            Where the level is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"coverage: a level is between 0 and 1, not {level}")
        tail = round((1 - level) / 2 * (self.draws + 1))
        low, high = tail, self.draws - round((1 - level) * (self.draws + 1)) + tail
        inside = ((self.ranks[site] >= low) & (self.ranks[site] <= high)).mean(1)
        error = inside.std(ddof=1) / np.sqrt(len(inside)) if len(inside) > 1 else np.nan
        return Coverage(level, float(inside.mean()), float(error))

    def passes(self, level: float = 0.01, sites: Iterable[str] | None = None) -> bool:
        """Whether no site's ranks depart from uniform at this level, by either test."""
        chosen = list(self.ranks if sites is None else sites)
        return all(self.p_value(site, test) > level for site in chosen for test in ("chi-squared", "ecdf"))

    def __str__(self) -> str:
        """Tell of every site: p-values of both tests, and the coverage of each level with its error."""
        head = f"{'site':<16}{'chi-sq p':>9}{'ecdf p':>8}" + "".join(f"{level:>14.0%}" for level in LEVELS)
        lines = [f"{self.datasets} data sets, {self.draws} draws each", head]
        for site in self.ranks:
            found = [self.coverage(site, level) for level in LEVELS]
            cells = "".join(f"{c.actual:>8.1%} ±{c.error:>5.1%}" for c in found)
            p = [self.p_value(site, test) for test in ("chi-squared", "ecdf")]
            lines.append(f"{site:<16}{p[0]:>9.3f}{p[1]:>8.3f}{cells}")
        return "\n".join(lines)


def calibrate(
    model: Callable[[Any], Any],
    design: Any,
    guide: str | Callable[..., Any] | None = None,
    datasets: int = 100,
    *,
    draws: int = 199,
    sites: Iterable[str] | None = None,
    seed: int = 0,
    runner: Runner | None = None,
    progress: bool = True,
    **options: Any,
) -> Calibration:
    """Simulate from a model's prior, fit, and rank the truth among the draws.

    Parameters
    ----------
    model
        A Pyro program whose factors are all densities; proper priors.
    design
        Data, of which everything but the observed values matters (and which of them are missing).
    guide
        As in :func:`~neuropyro.inference.fit`; an object is copied for each data set.
    datasets
        How many.
    draws
        Posterior draws a data set; one less than a multiple of 20 makes all intervals exact.
    sites
        Names; by default all that the posterior has and the prior draws.
    seed
        Each data set is drawn from a seed of its own, and fitted from another, so that the noise of the posterior's
        draws is not the noise that made truth and data.
    runner
        ``runner(data, seed)`` returns a fit, in the place of ``fit``; to calibrate NUTS, say.
    progress
        Whether to show a bar.
    options
        Passed to ``fit``: schedule, restarts, device, dtype.

    Returns
    -------
    Calibration
        Truth and draws are as ``model.identify`` leaves them together: in one gauge, with one labelling.

    Raises
    ------
    ValueError
        Where a number is less than 1, or a site is not both in prior and posterior.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> def posterior(y):
    ...     pyro.sample("mean", dist.Normal(y.sum() / 10, 10**-0.5))
    >>> calibrate(model, torch.zeros(9), posterior, 40, draws=19, progress=False).passes()
    True
    """
    if datasets < 1 or draws < 1:
        raise ValueError(f"calibrate: datasets ({datasets}) and draws ({draws}) must be 1 or more")
    run = runner or _fitting(model, guide, options)
    dtype = options.get("dtype", torch.float32)
    collected: dict[str, list[NDArray[np.int64]]] = {}
    for d in tqdm(range(datasets), desc="calibration", disable=not progress, leave=False):
        drawn, fitted = (int(word) for word in np.random.SeedSequence((seed, d)).generate_state(2))
        simulated = simulate_prior(model, design, drawn, options.get("device"), dtype)
        for site, ranks in _rank(model, simulated, run(simulated.data, fitted), draws, sites).items():
            collected.setdefault(site, []).append(ranks)
    return Calibration({site: np.stack(ranks) for site, ranks in collected.items()}, draws)


def _fitting(model: Any, guide: Any, options: dict[str, Any]) -> Runner:
    def run(data: Any, seed: int) -> Fit:
        fresh = guide if guide is None or isinstance(guide, str) else copy.deepcopy(guide)
        return fit(model, data, fresh, seed=seed, progress=False, **options)

    return run


def _rank(
    model: Any, simulated: Simulated, result: Fit, draws: int, sites: Iterable[str] | None
) -> dict[str, NDArray[np.int64]]:
    """Count the draws below the truth, ``(elements,)`` by site; among equals its place is random."""
    truth, posterior = simulated.beside(model, result, draws)
    chosen = list(sites) if sites is not None else [site for site in posterior if site in truth]
    rng = np.random.default_rng(result.seed)
    ranks = {}
    for site in chosen:
        if site not in truth or site not in posterior:
            raise ValueError(f"calibrate: no site {site!r} in both prior and posterior; there are {sorted(posterior)}")
        drawn, true = posterior[site].reshape(draws, -1), truth[site].reshape(-1)
        below, equal = (drawn < true).sum(0), (drawn == true).sum(0)
        ranks[site] = below + rng.integers(0, equal + 1)
    return ranks
