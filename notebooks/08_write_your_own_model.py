# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Write your own model for the zoo
#
# **The question.** A radiologist counted white-matter lesions in 120 people, on three scanners that do not see equally
# many. How much faster do lesions gather with age, scanner aside? No model in the zoo counts anything, so we write one.
#
# The contract asks little: a model is a *callable Pyro program over one data object*. Everything else is optional and
# buys something. This notebook goes through it in the order in which one would: program, prior, fit, check, mend,
# calibrate.

# %%
# %matplotlib inline
import logging
from dataclasses import dataclass
from typing import ClassVar

import arviz
import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import torch
from scipy import stats
from torch import Tensor

from neuropyro.inference import Schedule, calibrate, check_predictive, compare, fit, simulate_prior

logging.getLogger("matplotlib").setLevel(logging.ERROR)
BLUE, RED, GREEN = "#0072B2", "#D55E00", "#009E73"

rng = np.random.default_rng(5)
age, scanner = rng.uniform(55, 90, 120), rng.integers(0, 3, 120)
log_mean = 1.6 + 0.5 * (age - 70) / 10 + np.array([0.0, 0.35, -0.3])[scanner]  # the truth: e^.5 = 1.65 times a decade
count = rng.poisson(np.exp(log_mean) * rng.gamma(2.0, 1 / 2.0, 120))  # people differ beyond age and scanner

figure, axis = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
for s, colour in enumerate((BLUE, RED, GREEN)):
    axis.plot(age[scanner == s], count[scanner == s], "o", ms=4, alpha=0.7, color=colour, label=f"scanner {s + 1}")
axis.set(xlabel="age (years)", ylabel="lesions")
_ = axis.legend(frameon=False)

# %% [markdown]
# ## 1. The program
#
# One class, a frozen dataclass, whose fields are its priors and switches. `prepare` is called once and checks what comes
# in: an error names the field and the remedy. Plates carry the structure, so that guides can be built from it. `dims`
# names the axes for ArviZ.
#
# We begin with the model that comes to mind first: counts are Poisson.


# %%
@dataclass(frozen=True)
class LesionCounts:
    """Lesions over age, on several scanners: a Pyro program over a mapping of ``age``, ``scanner`` and ``count``.

    Sites: ``level`` (log of the mean count at 70 years), ``rate`` (its change a decade), ``scanner_sd``, ``scanner``
    (scanners,), and with ``overdispersed`` ``shape``: a person's own factor is Gamma(shape, shape).
    """

    overdispersed: bool = False

    default_guide: ClassVar[str] = "structured"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {"scanner": ("scanner",), "count": ("person",)}

    def prepare(self, data, device=None, dtype=torch.float32) -> dict[str, Tensor]:
        """Place the data on a device."""
        lengths = {name: len(data[name]) for name in ("age", "scanner", "count")}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"age, scanner, count: lengths differ ({lengths}); give one of each a person")
        if np.any(np.asarray(data["count"]) < 0):
            raise ValueError("count: there are negative ones; leave out people without a count")
        floats = {
            name: torch.as_tensor(np.asarray(data[name]), device=device, dtype=dtype) for name in ("age", "count")
        }
        return floats | {"scanner": torch.as_tensor(np.asarray(data["scanner"]), device=device).long()}

    def __call__(self, data: dict[str, Tensor]) -> None:
        """Run the story, conditioned on the counts."""
        level = pyro.sample("level", dist.Normal(1.5, 1.0))
        rate = pyro.sample("rate", dist.Normal(0.0, 0.5))
        scanner_sd = pyro.sample("scanner_sd", dist.LogNormal(-1.0, 0.5))
        shape = pyro.sample("shape", dist.LogNormal(1.0, 1.0)) if self.overdispersed else None
        with pyro.plate("scanners", 3):
            scanner = pyro.sample("scanner", dist.Normal(0.0, 1.0)) * scanner_sd  # in units of its sd
        with pyro.plate("person", len(data["age"])):
            mean = (level + rate * (data["age"] - 70) / 10 + scanner[..., data["scanner"]]).exp()
            law = dist.Poisson(mean) if shape is None else dist.GammaPoisson(shape, shape / mean)
            pyro.sample("count", law, obs=data["count"])


data = {"age": age, "scanner": scanner, "count": count}
poisson = LesionCounts()

# %% [markdown]
# ## 2. What does the prior believe?
#
# The same program, run forward on the same ages and scanners. If it could not make data like ours, the prior would be
# wrong before any fit.

# %%
worlds = [simulate_prior(poisson, data, seed=s).data["count"].numpy() for s in range(200)]
largest = np.array([world.max() for world in worlds])
print(f"largest count: {count.max()} seen; in worlds of the prior {np.quantile(largest, [0.05, 0.5, 0.95]).round()}")

# %% [markdown]
# ## 3. Fit it, and ask whether it can make data like these
#
# The verdict of the fit is about the optimiser, not about the model. A *posterior predictive check* is: data sets are
# drawn from the fit, and a statistic of the real data should lie among theirs.

# %%
schedule = Schedule(max_steps=1000)
first = fit(poisson, data, seed=0, schedule=schedule, progress=False)
print(first.verdict)
for check in check_predictive(first, draws=300):
    print(check, "  <-- the model cannot make this" if check.is_extreme else "")


# %%
def rootogram(result, title, axis):
    """Draw the counts' histogram among those of simulated data."""
    edges = np.arange(0, 56, 5)
    drawn = np.stack([np.histogram(x, edges)[0] for x in result.predictive(300)["count"].reshape(300, -1)])
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
    centre = (edges[:-1] + edges[1:]) / 2
    axis.bar(centre, np.histogram(count, edges)[0], 4, color="0.8", label="data")
    axis.vlines(centre, low, high, color=BLUE, lw=2, label="90 % of simulated data")
    axis.set(xlabel="lesions", title=title)


figure, axes = plt.subplots(1, 2, figsize=(8, 3), sharey=True, layout="constrained")
rootogram(first, "Poisson", axes[0])
second = fit(LesionCounts(overdispersed=True), data, seed=0, schedule=schedule, progress=False)
rootogram(second, "with a factor of each person's own", axes[1])
axes[0].set_ylabel("people")
_ = axes[0].legend(frameon=False)

# %% [markdown]
# ## 4. Mend it
#
# People differ by more than age and scanner. A factor of each person's own, Gamma with mean 1, is summed out: a Poisson
# with such a factor is a negative binomial. That is the switch `overdispersed`, fitted for the right panel above.

# %%
for check in check_predictive(second, draws=300):
    print(check, "  <-- the model cannot make this" if check.is_extreme else "")
table = compare({"Poisson": first, "negative binomial": second}, draws=500)
print()
print(str(table).split("\n\n")[0])

# %%
arviz.plot_forest(
    [one.to_arviz(500) for one in (first, second)],
    model_names=["Poisson", "negative binomial"],
    var_names=["rate"],
    combined=True,
    hdi_prob=0.9,
    colors=[RED, BLUE],
    figsize=(6, 2.2),
)
plt.gca().axvline(0.5, color="k", lw=0.8, ls="--")
_ = plt.xlabel("log of lesions' increase a decade; dashed: the truth")

# %%
ratio = np.exp(second.posterior(500)["rate"])
low, high = np.quantile(ratio, [0.05, 0.95])
print(
    f"lesions a decade: {ratio.mean():.2f} times as many (90 % interval {low:.2f} to {high:.2f}; truth {np.exp(0.5):.2f})"
)

# %% [markdown]
# ## 5. The density, checked against someone else's
#
# Every model of the zoo has a test of its log-likelihood against an independent computation. Ours is SciPy's.

# %%
prepared = second.data
values = {"level": 1.6, "rate": 0.5, "scanner_sd": 0.4, "shape": 2.0, "scanner": [0.1, 0.8, -0.7]}
fixed = pyro.condition(second.model, {name: torch.tensor(x) for name, x in values.items()})
trace = pyro.poutine.trace(fixed).get_trace(prepared)
trace.compute_log_prob()
mean = np.exp(1.6 + 0.5 * (age - 70) / 10 + 0.4 * np.array(values["scanner"])[scanner])
by_scipy = stats.nbinom.logpmf(count, 2.0, 2.0 / (2.0 + mean)).sum()
print(f"ours {float(trace.nodes['count']['log_prob'].sum()):.4f}, SciPy's {by_scipy:.4f}")

# %% [markdown]
# ## 6. Are its intervals right?
#
# *Simulation-based calibration*: truths from the prior, data from them, fits to those data. Over many data sets the
# truth is one more draw from each posterior, so that its rank among the draws is as likely low as high, and 90 % intervals
# hold it nine times in ten. It checks program and
# guide together, against nothing but each other. Forty data sets with the quickest guide that has intervals, `laplace`:

# %%
quick = Schedule(warm_up=100)  # the normal approximation at the mode needs no more
found = calibrate(
    LesionCounts(overdispersed=True), data, "laplace", 40, draws=99, seed=1, schedule=quick, progress=False
)
for site in ("level", "rate", "scanner_sd", "shape"):
    cover = found.coverage(site, 0.9)
    print(f"{site:11} 90 % intervals hold {cover.actual:.0%} +- {cover.error:.0%} of the truths")

# %%
figure, axes = plt.subplots(1, 4, figsize=(10, 2.4), sharey=True, layout="constrained")
for axis, site in zip(axes, ("level", "rate", "scanner_sd", "shape")):
    axis.hist(found.ranks[site].ravel(), np.linspace(-0.5, 99.5, 6), color=BLUE)
    axis.axhspan(*stats.binom.ppf([0.05, 0.95], 40, 0.2), color="0.8", zorder=0)
    axis.set(title=site, xlabel="rank of the truth")
_ = axes[0].set_ylabel("data sets")

# %% [markdown]
# The grey band is where nine in ten of flat histograms' bars would be. `level` and `rate` stay in it or near. The ranks of
# `scanner_sd`, and of `shape` in part, pile up on the left: draws are too large too often. That is a fault found, and it
# is `laplace`'s: it is a normal distribution about the mode, and three scanners say so little of how scanners differ
# that the posterior of their sd is none.
#
# ## What could be wrong
#
# * `scanner_sd` and `shape` are not calibrated with `laplace`; the fits above are by `structured`, which would have to be
#   put to the same test, with more than forty data sets, before its intervals of these two are believed.
# * k-hat of the better model is above .7, so its guide is not near the posterior in every respect. NUTS (`sample`) is
#   feasible for so few numbers.
# * Leave-one-out prefers the negative binomial by far, and so do the checks. The Poisson's interval in the forest is the
#   narrower one and misses the truth: a model that cannot make the data's spread is also too certain of its slope.
# * The interval of the increase holds the truth here; one data set cannot say more than that.
#
# ## To the zoo
#
# One file in `models/`, its name in `models/__init__.py`, a test with the comparison above in
# `tests/models/test_<file>.py`: `CONTRIBUTING.md` has the contract. Where a model's data are more than tensors that it
# observes, where values are missing, where labels may be permuted, there is one optional method each.
