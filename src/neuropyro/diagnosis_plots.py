"""Figures of a diagnosis and of a comparison of fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from neuropyro.inference import Comparison, Diagnosis, Fit
from neuropyro.inference.predictive_checks import LeaveOneOut, PredictiveCheck
from neuropyro.inference.run_agreement import RHAT_LIMIT, Agreement
from neuropyro.inference.weights import KHAT_LIMIT, Weights
from neuropyro.plain_words import diagnosis_in_words
from neuropyro.plot_style import BLUE, GREY, RED

__all__ = ["plot_comparison", "plot_diagnosis"]

COLUMNS = 6  # of the page, which one, two or three panels share
MOST_SITES = 30
PANEL_HEIGHT, LINE_HEIGHT = 3.3, 0.13  # inches; of a line of the words below
MOST_TICKS = 5  # of a panel a third of the page wide, whose labels are as long as -150,000
MOST_NAMES = 12  # that an axis has room for
COLOURS = (BLUE, RED, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINE_LENGTH = 150


def plot_diagnosis(diagnosis: Diagnosis) -> Figure:
    """Draw one page: losses, runs, importance weights, predictive checks, leave-one-out, and the verdict in words.

    Parameters
    ----------
    diagnosis
        As :func:`~neuropyro.inference.diagnose` returns it.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.inference import Schedule, diagnose, fit
    >>> y = torch.linspace(-1.5, 1.5, 20)
    >>> result = fit(model, y, "laplace", schedule=Schedule(warm_up=50), progress=False)
    >>> figure = plot_diagnosis(diagnose(result, draws=100, predictive_draws=20))
    >>> len(figure.axes)  # one run is compared with none
    5
    """
    said = _wrapped(diagnosis_in_words(diagnosis))
    height = LINE_HEIGHT * (said.count("\n") + 2)
    figure = Figure(figsize=(11, 2 * PANEL_HEIGHT + height), layout="constrained")
    grid = figure.add_gridspec(3, COLUMNS, height_ratios=[PANEL_HEIGHT, PANEL_HEIGHT, height])
    for row, panels in enumerate(_panels(diagnosis)):
        for i, draw in enumerate(panels):
            width = COLUMNS // len(panels)
            draw(figure.add_subplot(grid[row, i * width : (i + 1) * width]))
    words = figure.add_subplot(grid[2, :])
    words.axis("off")
    words.text(0, 1, said, va="top", fontsize=7.5, family="monospace", transform=words.transAxes)
    return figure


def _panels(diagnosis: Diagnosis) -> list[list[Callable[[Axes], None]]]:
    """Return what is drawn in each row; what there is nothing of is left out."""
    weights, agreement, loo = diagnosis.weights, diagnosis.agreement, diagnosis.loo
    first: list[Callable[[Axes], None]] = [partial(_losses, fit=diagnosis.fit)]
    second: list[Callable[[Axes], None]] = []
    if weights is not None:
        first.append(partial(_weights, weights=weights))
    if agreement is not None:
        second.append(partial(_runs, agreement=agreement))
    if diagnosis.checks:
        second.append(partial(_checks, checks=diagnosis.checks))
    if loo is not None:
        second.append(partial(_shapes, loo=loo))
    return [first, second]


def plot_comparison(comparison: Comparison) -> Figure:
    """Draw ELBO, k-hat and leave-one-out of each fit, and means and sds of what they differ most in.

    Parameters
    ----------
    comparison
        As :func:`~neuropyro.inference.compare` returns it.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.inference import Schedule, compare, fit
    >>> y = torch.linspace(-1.5, 1.5, 20)
    >>> result = fit(model, y, "laplace", schedule=Schedule(warm_up=50), progress=False)
    >>> plot_comparison(compare([result, result], draws=100)).axes[1].get_title()
    'Pareto k-hat (dashed: 0.7, the limit)'
    """
    shown = comparison.most_disagreed(MOST_SITES)
    figure = Figure(figsize=(11, 3 + 0.22 * len(shown) + 0.5), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=[2.2, max(0.22 * len(shown), 1)])
    names = [row.name for row in comparison.rows]
    elbo = [row.elbo if math.isfinite(row.elbo) else math.nan for row in comparison.rows]
    elbo_errors = [math.nan if row.strays else row.elbo_error for row in comparison.rows]
    astray = ", ".join(row.name for row in comparison.rows if row.strays)
    at_most = f"; of {astray} at most" if astray else ""
    below = [comparison.loo_difference(row) for row in comparison.rows]
    top = np.nanmax(elbo) if not np.isnan(elbo).all() else math.nan
    khats = [row.khat if math.isfinite(row.khat) else math.nan for row in comparison.rows]
    columns = [
        (f"ELBO below the best (nats{at_most})", [x - top for x in elbo], elbo_errors),
        (f"Pareto k-hat (dashed: {KHAT_LIMIT:g}, the limit)", khats, None),
        ("LOO elpd below the best (nats)", [x for x, _ in below], [error for _, error in below]),
    ]
    for i, (title, values, errors) in enumerate(columns):
        axis = figure.add_subplot(grid[0, i])
        axis.errorbar(values, range(len(names)), xerr=errors, fmt="o", color=BLUE)
        axis.locator_params(axis="x", nbins=MOST_TICKS)
        axis.set_yticks(range(len(names)), names if i == 0 else [""] * len(names))
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.set_title(title, fontsize=10)
        if np.isnan(values).all():
            axis.text(0.5, 0.5, "not known", transform=axis.transAxes, ha="center", va="center")
            axis.set_xticks([])
        if title.startswith("Pareto"):
            axis.axvline(KHAT_LIMIT, color=RED, lw=0.8, ls="--")
    _elements(figure.add_subplot(grid[1, :]), comparison, shown)
    return figure


def _elements(axis: Axes, comparison: Comparison, shown: tuple[str, ...]) -> None:
    """Draw means and 90 % of a Normal, in sds about the first fit that has an sd."""
    reference = next((r for r in comparison.rows if not all(map(math.isnan, r.sd.values()))), comparison.rows[0])
    step = 0.7 / len(comparison.rows)
    for i, row in enumerate(comparison.rows):
        unit = [reference.sd.get(name) or 1.0 for name in shown]
        unit = [u if math.isfinite(u) else 1.0 for u in unit]
        centre = [reference.mean.get(name, math.nan) for name in shown]
        x = [(row.mean.get(n, math.nan) - c) / u for n, c, u in zip(shown, centre, unit, strict=True)]
        error = [1.645 * row.sd.get(n, math.nan) / u for n, u in zip(shown, unit, strict=True)]
        y = np.arange(len(shown)) + (i - (len(comparison.rows) - 1) / 2) * step
        axis.errorbar(x, y, xerr=np.nan_to_num(error), fmt="o", ms=3, lw=1, color=COLOURS[i % 6], label=row.name)
    axis.set_yticks(range(len(shown)), shown, fontsize=8)
    axis.set_ylim(len(shown) - 0.5, -0.5)
    axis.set_xlabel(f"mean and 90 % interval, in posterior sds of {reference.name!r} about its mean")
    axis.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def _losses(axis: Axes, fit: Fit) -> None:
    runs, sampled = fit.runs, fit.is_sampled
    best = min(np.nanmin(run.losses) for run in runs)
    for r, run in enumerate(runs):
        axis.plot(run.losses - (0 if sampled else best - 1), lw=0.8, color=COLOURS[r % 6], label=f"run {r + 1}")
    if not sampled:
        axis.set_yscale("log")
    axis.set_xlabel("draw" if sampled else "step")
    axis.set_title("negative log density" if sampled else "distance from the best fit, plus 1 (nats)", fontsize=10)
    if len(runs) > 1:
        axis.legend(frameon=False, fontsize=8)


def _weights(axis: Axes, weights: Weights) -> None:
    """Draw those of all but strays: one of these alone would leave the others no more than a bar."""
    middle, strays = float(np.median(weights.log_weights)), int(weights.is_stray.sum())
    axis.hist(weights.without_strays.log_weights - middle, 40, color=BLUE)
    axis.set_title(
        f"log importance weights: k-hat {weights.khat:.2f}, {weights.effective_draws:.0f} effective of "
        f"{len(weights.log_weights)}",
        fontsize=10,
    )
    lowest = f"{weights.log_weights.min() - middle:,.0f}".replace("-", "−")
    beyond = f"\n{strays} of the draws beyond, down to {lowest}" if strays else ""
    axis.set_xlabel(f"log weight of a draw, from their median (nats){beyond}")


def _runs(axis: Axes, agreement: Agreement) -> None:
    rhat = sorted(agreement.rhat.items(), key=lambda item: item[1])[-12:]
    axis.plot([value for _, value in rhat], range(len(rhat)), "o", color=BLUE, ms=4)
    axis.set_yticks(range(len(rhat)), [name for name, _ in rhat], fontsize=8)
    axis.axvline(RHAT_LIMIT, color=RED, lw=0.8, ls="--")
    axis.set_title(f"R-hat over runs, largest (dashed: {RHAT_LIMIT:g}, the limit)", fontsize=10)


def _checks(axis: Axes, checks: Sequence[PredictiveCheck]) -> None:
    for i, check in enumerate(checks):
        spread = check.simulated.std() or 1.0
        z = (check.simulated - check.simulated.mean()) / spread
        jitter = i + np.random.default_rng(0).uniform(-0.15, 0.15, len(z))
        axis.plot(z, jitter, ".", color=GREY, ms=2)
        observed = np.clip((check.observed - check.simulated.mean()) / spread, -8, 8)
        axis.plot(observed, i, "D", color=RED if check.is_extreme else BLUE, ms=6)
    labels = [f"{check.statistic.replace(' within', chr(10) + 'within')}\np = {check.p_value:.3f}" for check in checks]
    axis.set_yticks(range(len(checks)), labels, fontsize=8)
    axis.set_xlabel("sds of simulated data (at most 8)")
    axis.set_title("data (diamonds) among simulated data", fontsize=10)


def _shapes(axis: Axes, loo: LeaveOneOut) -> None:
    names = [] if loo.names is None or len(loo.shapes) > MOST_NAMES else [str(name) for name in loo.names]
    few = bool(names)
    axis.plot(loo.shapes, "o" if few else ".", color=BLUE, ms=4 if few else 3)
    axis.axhline(KHAT_LIMIT, color=RED, lw=0.8, ls="--")
    if few:
        axis.set_xticks(range(len(loo.shapes)), names, rotation=45, ha="right", fontsize=8)
    else:
        axis.set_xlabel(loo.unit)
    axis.set_title(f"Pareto k of leaving each {loo.unit} out (dashed: {KHAT_LIMIT:g}, the limit)", fontsize=10)


def _wrapped(text: str) -> str:
    """Break lines that the page is too narrow for."""
    lines = []
    for line in text.splitlines():
        while len(line) > LINE_LENGTH:
            cut = line.rfind(" ", 0, LINE_LENGTH)
            lines.append(line[:cut])
            line = " " * 9 + line[cut:]
        lines.append(line)
    return "\n".join(lines)
