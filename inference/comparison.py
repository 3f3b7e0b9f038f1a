"""Fits of the same data side by side: which guide, or which model, to trust.

The ELBO bounds the log evidence from below, so that of two guides of one model the higher one is nearer to the
posterior.  Where some draws of a guide lie where the posterior is all but nil, a few of them make all of the mean: the
ELBO is then that of the others, which bounds it from above, and ranks nothing.  Between models neither ELBOs nor point
estimates' densities compare; leave-one-out does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.default_dtype import default_dtype
from neuropyro.inference.comparison_remarks import legend, on_leave_one_out, on_other_elbos, on_strays
from neuropyro.inference.dimensions import Naming, naming_of
from neuropyro.inference.fit import fit
from neuropyro.inference.predictive_checks import LeaveOneOut, leave_one_out
from neuropyro.inference.result import Fit
from neuropyro.inference.run_agreement import small_sites
from neuropyro.inference.weights import Weights, log_weights

__all__ = ["Comparison", "Row", "compare", "compare_guides"]

SITES_SHOWN = 24
MOST_BAD = 0.5  # share of units that cannot be left out, above which their sum ranks nothing


@dataclass(frozen=True, eq=False)
class Row:
    """One fit.

    Parameters
    ----------
    name
        What it is called here.
    elbo, elbo_error
        ELBO over fresh draws, strays left out, and its standard error, nats; for a point minus infinity, for NUTS not
        known (NaN).
    khat
        Pareto k-hat of the guide; NaN where it has no density.
    seconds
        Wall time of the fit.
    converged
        Whether its stopping rule was met.
    loo
        Leave-one-out, or None.
    mean, sd
        Of each small site's elements, by ``site``, or ``site[i]``, or ``site[label]`` where the model names its axes.
    weights
        Importance weights of the guide, which tell of strays; None for a point or NUTS.

    Examples
    --------
    >>> elbos = {"normal": -20.5, "mvn": -19.8}
    >>> rows = [Row(name, elbo, 0.1, 0.2, 1.0, True, None, {}, {}) for name, elbo in elbos.items()]
    >>> Comparison(tuple(rows), {}).best.name  # nearer to the log evidence
    'mvn'
    """

    name: str
    elbo: float
    elbo_error: float
    khat: float
    seconds: float
    converged: bool
    loo: LeaveOneOut | None
    mean: Mapping[str, float]
    sd: Mapping[str, float]
    weights: Weights | None = None

    @property
    def strays(self) -> int:
        """How many draws lie where the posterior is all but nil; with any, the ELBO is an upper bound alone."""
        return 0 if self.weights is None else int(self.weights.is_stray.sum())


@dataclass(frozen=True, eq=False)
class Comparison:
    """A table of fits.

    Parameters
    ----------
    rows
        One a fit, in the order given.
    fits
        The fits by name.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.inference import Schedule, fit
    >>> result = fit(model, torch.ones(9), "laplace", schedule=Schedule(warm_up=50), progress=False)
    >>> table: Comparison = compare([result, result], draws=100)
    >>> [row.name for row in table.rows], table.elements
    (['laplace', 'laplace (2)'], ('mean',))
    """

    rows: tuple[Row, ...]
    fits: Mapping[str, Fit]

    @property
    def elements(self) -> tuple[str, ...]:
        """Names of the small sites' elements, of all fits."""
        return tuple(dict.fromkeys(name for row in self.rows for name in row.mean))

    def most_disagreed(self, most: int) -> tuple[str, ...]:
        """Return the names of so many elements in which the fits differ most, in the order of all."""
        told = sorted(self.elements, key=self.disagreement, reverse=True)[:most]
        return tuple(element for element in self.elements if element in told)

    @property
    def best(self) -> Row:
        """The fit of the highest leave-one-out density, or where that is not known of all, of the highest ELBO.

        Where draws stray an ELBO is lower than any without strays.
        """
        if all(_ranks(row.loo) for row in self.rows):
            return max(self.rows, key=lambda row: row.loo.elpd if row.loo is not None else -math.inf)
        return max(self.rows, key=lambda row: (not row.strays, row.elbo if math.isfinite(row.elbo) else -math.inf))

    def loo_difference(self, row: Row) -> tuple[float, float]:
        """Return how far a row's elpd is below the highest, and the standard error of that; NaN where not known."""
        loo = row.loo
        known = [other.loo for other in self.rows if other.loo is not None and _ranks(other.loo)]
        best = max(known, key=lambda one: one.elpd, default=None)
        if loo is None or best is None or not _ranks(loo) or loo.pointwise.shape != best.pointwise.shape:
            return math.nan, math.nan
        difference = loo.pointwise - best.pointwise
        return float(difference.sum()), float(difference.std() * math.sqrt(len(difference)))

    def __str__(self) -> str:
        """Return two tables: of the fits, and of posterior means and sds, the 24 that differ most between fits."""
        return self.in_words(SITES_SHOWN)

    def disagreement(self, element: str) -> float:
        """Return how far apart the fits' means of an element are, in the largest of their sds; of points, in means."""
        means = [row.mean[element] for row in self.rows if element in row.mean]
        sds = [row.sd[element] for row in self.rows if element in row.sd]
        scale = max([sd for sd in sds if sd > 0], default=max(map(abs, means)))
        return (max(means) - min(means)) / scale if scale > 0 else 0.0

    def in_words(self, most: int | None = None) -> str:
        """Return two tables: of the fits, and of posterior means and sds, all or so many that differ most."""
        head = ["fit", "ELBO", "k-hat", "seconds", "converged", "elpd (LOO)", "below best", "bad k"]
        fits = [head, *(self._cells(row) for row in self.rows)]
        shown = self.elements if most is None else self.most_disagreed(most)
        sites = [["mean ± sd", *(row.name for row in self.rows)]]
        sites += [[name, *(_pair(row.mean.get(name), row.sd.get(name)) for row in self.rows)] for name in shown]
        rest = len(self.elements) - len(shown)
        more = [f"({rest} more, of which these fits agree better)"] if rest else []
        return "\n".join([*_aligned(fits), *self._remarks(), "", *_aligned(sites), *more, *self._legend(shown)])

    def _remarks(self) -> list[str]:
        """Say what of the first table ranks nothing, and why."""
        astray = [on_strays(row.name, row.weights) for row in self.rows if row.strays and row.weights is not None]
        unknown = [row.name for row in self.rows if row.loo is not None and not _ranks(row.loo)]
        return [*astray, *on_leave_one_out(unknown, by_elbo=not astray), *on_other_elbos(self.fits)]

    def _legend(self, shown: Sequence[str]) -> list[str]:
        """Say what the second table's sites are, where a model tells."""
        models = [fit.model for fit in self.fits.values()]
        return legend(shown, *(_together(models, name) for name in ("meanings", "units")))

    def _cells(self, row: Row) -> list[str]:
        known = f"≤ {row.elbo:.1f}" if row.strays else _pair(row.elbo, row.elbo_error, ".1f")
        elbo = "point" if row.elbo == -math.inf else known
        cells = [row.name, elbo, _number(row.khat, ".2f"), f"{row.seconds:.1f}", "yes" if row.converged else "no"]
        if row.loo is None:
            return [*cells, "-", "-", "-"]
        below = _pair(*self.loo_difference(row), ".1f")
        return [*cells, _pair(row.loo.elpd, row.loo.error, ".1f"), below, f"{row.loo.bad:.1%}"]


def compare_guides(
    model: Callable[[Any], Any],
    data: Any,
    guides: Sequence[str | Callable[..., Any]] = ("map", "normal", "structured"),
    **options: Any,
) -> Comparison:
    """Fit one model with several guides, and set the results side by side.

    Parameters
    ----------
    model, data
        As in :func:`~neuropyro.inference.fit`.
    guides
        Names, or Pyro guides.
    options
        Passed to ``fit``: seed, schedule, restarts, device, dtype, progress.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> table = compare_guides(model, torch.ones(9), ["map", "laplace"], progress=False)
    >>> [row.name for row in table.rows], round(table.rows[1].sd["mean"], 1)
    (['map', 'laplace'], 0.3)
    """
    return compare([fit(model, data, guide, **options) for guide in guides])


def compare(fits: Mapping[str, Fit] | Sequence[Fit], draws: int = 500) -> Comparison:
    """Set fits of the same data side by side.

    Parameters
    ----------
    fits
        By name, or in a row: then named by their guides.
    draws
        For ELBO, k-hat, leave-one-out, means and sds.

    Raises
    ------
    ValueError
        Where fits are of different data, or there are none.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.inference import Schedule, fit
    >>> result = fit(model, torch.ones(9), "laplace", schedule=Schedule(warm_up=50), progress=False)
    >>> table = compare({"curvature": result}, draws=100)
    >>> table.best.name
    'curvature'
    """
    named = dict(fits) if isinstance(fits, Mapping) else _named(fits)
    if not named:
        raise ValueError("compare: no fit; give one or more")
    if len({fit.fingerprint for fit in named.values()}) > 1:
        raise ValueError("compare: the fits are of different data (their hashes differ); compare fits of one data set")
    return Comparison(tuple(_row(name, fit, draws) for name, fit in named.items()), named)


def _ranks(loo: LeaveOneOut | None) -> bool:
    return loo is not None and loo.bad <= MOST_BAD


def _named(fits: Sequence[Fit]) -> dict[str, Fit]:
    named: dict[str, Fit] = {}
    for one in fits:
        base = one.guide_name or "own guide"
        taken = sum(name == base or name.startswith(f"{base} (") for name in named)
        named[f"{base} ({taken + 1})" if taken else base] = one
    return named


def _row(name: str, fit: Fit, draws: int) -> Row:
    with default_dtype(fit.dtype):
        weights = None if fit.is_point or fit.is_sampled else log_weights(fit, draws)
        loo = leave_one_out(fit, draws)
    inner = weights.without_strays if weights else None
    elements = _elements(small_sites(fit.posterior(draws)), naming_of(fit.model, fit.data))
    return Row(
        name=name,
        elbo=inner.elbo if inner else -math.inf if fit.is_point else math.nan,
        elbo_error=inner.elbo_error if inner else math.nan,
        khat=weights.khat if weights else math.nan,
        seconds=fit.seconds,
        converged=fit.converged,
        loo=loo,
        mean={key: float(x.mean()) for key, x in elements.items()},
        sd={key: math.nan if fit.is_point else float(x.std()) for key, x in elements.items()},
        weights=weights,
    )


def _elements(draws: Mapping[str, NDArray[Any]], naming: Naming) -> dict[str, NDArray[Any]]:
    """Return each number of each site by itself, ``(draws,)``, by its name."""
    return {
        name: column.astype(np.float64)
        for site, values in draws.items()
        for name, column in zip(naming.elements(site, values.shape[1:]), values.reshape(len(values), -1).T, strict=True)
    }


def _together(models: Sequence[Any], name: str) -> dict[str, str]:
    return {site: said for model in models for site, said in getattr(model, name, {}).items()}


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _pair(value: float | None, error: float | None, form: str = ".3g") -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:{form}}" if error is None or math.isnan(error) else f"{value:{form}} ± {error:{form}}"


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else f"{value:{form}}"
