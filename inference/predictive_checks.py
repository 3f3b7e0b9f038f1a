"""Whether data from the fitted model look like the data, and how well unseen units are predicted.

A posterior predictive p-value is the share of simulated data sets whose statistic is at least that of the data: near 0
or 1, the model cannot make data like these in that respect.

References
----------
Gelman, Meng & Stern, "Posterior predictive assessment of model fitness via realized discrepancies", Statistica Sinica
1996; Vehtari, Gelman & Gabry, "Practical Bayesian model evaluation using leave-one-out cross-validation and WAIC",
Statistics and Computing 2017.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.inference.arviz_versions import arviz, elpd_of, pareto_shapes
from neuropyro.inference.dimensions import naming_of
from neuropyro.inference.program import observed_values
from neuropyro.inference.simulation import replicates

if TYPE_CHECKING:
    from neuropyro.inference.result import Fit

__all__ = ["STATISTICS", "WITHIN", "LeaveOneOut", "PredictiveCheck", "check_predictive", "leave_one_out"]

Values = NDArray[np.floating[Any]]
Statistic = Callable[[Values], float]
EXTREME = 0.01
TRIFLE = 0.01  # of the statistic's scale, up to which a model may miss it
BAD_SHAPE = 0.7
MOST_NAMED = 5  # units that are told by name

STATISTICS: Mapping[str, Statistic] = {
    "mean": lambda values: float(np.nanmean(values)),
    "sd": lambda values: float(np.nanstd(values)),
    "min": lambda values: float(np.nanmin(values)),
    "max": lambda values: float(np.nanmax(values)),
}
WITHIN = "autocorrelation within subjects"


@dataclass(frozen=True, eq=False)
class PredictiveCheck:
    """One statistic of the data beside that of simulated data.

    Parameters
    ----------
    site
        The observed site.
    statistic
        Its name.
    observed
        Of the data.
    simulated
        ``(draws,)`` of data sets from the posterior predictive.
    scale
        What the statistic is to be measured by: the data's sd where it has their unit, 1 for a correlation, 0 where
        that is not known.

    Examples
    --------
    >>> PredictiveCheck("y", "mean", 2.0, np.array([1.0, 2.0, 3.0, 4.0])).p_value
    0.625
    >>> sds = np.array([2.649, 2.650, 2.651])  # large data: hardly any spread
    >>> [PredictiveCheck("y", "sd", sd, sds, scale=sd).is_extreme for sd in (2.64, 2.60)]
    [False, True]
    """

    site: str
    statistic: str
    observed: float
    simulated: NDArray[np.float64]
    scale: float = 0.0

    @property
    def p_value(self) -> float:
        """Share of simulated values above the observed one, equal ones counted by half."""
        return float((self.simulated > self.observed).mean() + 0.5 * (self.simulated == self.observed).mean())

    @property
    def is_extreme(self) -> bool:
        """Whether hardly any simulated data set is as low, or as high, as the data, and by more than a trifle.

        A trifle is a hundredth of ``scale``: of large data any model is found out, however little it is wrong.
        """
        apart = abs(self.observed - float(self.simulated.mean()))
        return min(self.p_value, 1 - self.p_value) < EXTREME and not apart <= TRIFLE * self.scale

    def __str__(self) -> str:
        """Return it as a line."""
        middle, spread = self.simulated.mean(), self.simulated.std()
        return (
            f"{self.statistic} of the data ({self.site}) {self.observed:.3g}, of simulated data {middle:.3g} ± "
            f"{spread:.2g}, larger in {100 * self.p_value:.3g} % of them"
        )


def check_predictive(
    fit: Fit, statistics: Sequence[str | Statistic] | None = None, draws: int = 200
) -> list[PredictiveCheck]:
    """Compare statistics of the data with those of data from the posterior predictive.

    Parameters
    ----------
    fit
        A fit.
    statistics
        Names from `STATISTICS`, ``"autocorrelation within subjects"`` (of consecutive visits, where the model's
        ``constant_data`` has ``subject_index``), or functions of an array, NaN where missing, that return a number.  By
        default all that are named and apply.
    draws
        Simulated data sets.

    Raises
    ------
    ValueError
        Where there is no statistic of that name, or it does not apply.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.inference import Schedule, fit
    >>> result = fit(model, torch.ones(9), "laplace", schedule=Schedule(warm_up=50), progress=False)
    >>> [check] = check_predictive(result, ["sd"], draws=50)  # data without spread, from a model that has some
    >>> check.is_extreme
    True
    """
    observed = observed_values(fit.model, fit.data)
    chosen = _chosen(fit, statistics)
    found: dict[tuple[str, str], list[float]] = {}
    for simulated in replicates(fit, draws):
        for site in observed.keys() & simulated.keys():
            values = _masked(simulated[site], observed[site])
            for name, statistic in chosen.items():
                found.setdefault((site, name), []).append(float(statistic(values)))
    return [
        PredictiveCheck(site, name, float(chosen[name](observed[site])), np.array(values), _scale(name, observed[site]))
        for (site, name), values in found.items()
    ]


def _scale(statistic: str, observed: Values) -> float:
    """Return what a statistic is to be measured by, see `PredictiveCheck`."""
    if statistic == WITHIN:
        return 1.0
    return STATISTICS["sd"](observed) if statistic in STATISTICS else 0.0


def _masked(simulated: Values, observed: Values) -> Values:
    """Return simulated values, NaN where the observed ones are missing."""
    if observed.dtype.kind != "f" or not np.isnan(observed).any():
        return simulated
    return np.where(np.isnan(observed), np.nan, simulated)


def _chosen(fit: Fit, statistics: Sequence[str | Statistic] | None) -> dict[str, Statistic]:
    known = dict(STATISTICS)
    constants = fit.model.constant_data(fit.data) if hasattr(fit.model, "constant_data") else {}
    if "subject_index" in constants:
        known[WITHIN] = _within_subjects(constants)
    if statistics is None:
        return known
    chosen = {}
    for statistic in statistics:
        if callable(statistic):
            chosen[getattr(statistic, "__name__", "statistic")] = statistic
        elif statistic in known:
            chosen[statistic] = known[statistic]
        else:
            raise ValueError(f"check_predictive: no statistic {statistic!r} here; there are {', '.join(known)}")
    return chosen


def _within_subjects(constants: Mapping[str, Any]) -> Statistic:
    """Return the correlation of values ``(..., visits)`` of consecutive visits of a subject, means of rows removed."""
    subject = constants["subject_index"][1]
    years = constants["years"][1] if "years" in constants else np.arange(len(subject))
    order = np.lexsort((years, subject))
    same = subject[order][1:] == subject[order][:-1]
    before, after = order[:-1][same], order[1:][same]

    def statistic(values: Values) -> float:
        centred = values - np.nanmean(values, -1, keepdims=True)
        return float(np.nanmean(centred[..., before] * centred[..., after]) / np.nanmean(centred**2))

    return statistic


@dataclass(frozen=True, eq=False)
class LeaveOneOut:
    """How well each unit is predicted from all others.

    Parameters
    ----------
    elpd, error
        Expected log predictive density of new units, summed, nats, and its standard error.
    shapes
        ``(units,)`` Pareto k of the importance weights that leave a unit out; above 0.7 it cannot be done so.
    pointwise
        ``(units,)`` terms of ``elpd``.
    unit
        What a unit is: the name of its axis, or what the model calls it.
    names
        ``(units,)`` the units' names, where the model knows them.

    Examples
    --------
    >>> LeaveOneOut(-12.0, 2.0, np.array([0.1, 0.9]), np.array([-5.0, -7.0])).bad
    0.5
    """

    elpd: float
    error: float
    shapes: NDArray[np.float64]
    pointwise: NDArray[np.float64]
    unit: str = "unit"
    names: NDArray[Any] | None = None

    @property
    def bad(self) -> float:
        """Share of the units with a shape above 0.7."""
        return float((self.shapes > BAD_SHAPE).mean())

    def __str__(self) -> str:
        """Return it as a line."""
        bad = [i for i in np.argsort(-self.shapes) if self.shapes[i] > BAD_SHAPE]
        worst = [] if self.names is None else [f"{self.names[i]} {self.shapes[i]:.2g}" for i in bad[:MOST_NAMED]]
        more = [f"and {len(bad) - MOST_NAMED:,} more"] if worst and len(bad) > MOST_NAMED else []
        named = ", ".join([*worst, *more])
        return (
            f"log predictive density (elpd) {self.elpd:.1f} ± {self.error:.1f} nats, a {self.unit} left out at a time; "
            f"not known for {100 * self.bad:.3g} % of them, whose Pareto k is above {BAD_SHAPE}"
            + (f" ({named})" if named else "")
        )


def leave_one_out(fit: Fit, draws: int = 500, unit: str | None = None) -> LeaveOneOut | None:
    """Predict each unit from all others, by Pareto-smoothed importance sampling.

    Of a fit's restarts the best alone counts, as in all that is reported of it; of NUTS all chains.

    Parameters
    ----------
    fit
        A fit with more than a point.
    draws
        Posterior draws, a chain's.
    unit
        A variable of group log_likelihood; by default the first, pointwise.  ``"subject_terms"`` leaves subjects out.

    Returns
    -------
    None where the fit is a point, or its model has no pointwise log-likelihood.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.inference import Schedule, fit
    >>> y = torch.linspace(-1, 1, 12)
    >>> found = leave_one_out(fit(model, y, "laplace", schedule=Schedule(warm_up=50), progress=False), draws=200)
    >>> found.shapes.shape, found.bad
    ((12,), 0.0)
    """
    if fit.is_point:
        return None
    reported = fit if fit.is_sampled else replace(fit, runs=fit.runs[:1])
    tree = reported.to_arviz(draws, predictive_draws=0, subjects=unit == "subject_terms")
    try:
        terms = tree["log_likelihood"]
    except KeyError:
        return None
    variable = unit or str(next(iter(terms.data_vars)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what ArviZ warns of is in `shapes`
        found = arviz.loo(
            tree,
            pointwise=True,
            var_name=variable,
            reff=None if fit.is_sampled else 1.0,  # draws from a guide are independent
        )
    elpd, error, pointwise = elpd_of(found)
    axes = [str(dim) for dim in list(terms.data_vars[variable].dims)[2:]]  # after chain and draw
    names = naming_of(fit.model, fit.data).coords.get(axes[0]) if len(axes) == 1 else None
    words = getattr(fit.model, "axes_in_words", None)
    called = axes[0] if len(axes) == 1 and "_dim_" not in axes[0] else "unit"
    called = called if words is None else words(fit.data).get(called, called)
    return LeaveOneOut(elpd, error, pareto_shapes(found).ravel(), pointwise.ravel(), called, names)
