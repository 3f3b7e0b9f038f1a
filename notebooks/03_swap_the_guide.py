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
# # Swap the guide
#
# **The question.** Thirty people had their hippocampus measured at four yearly visits; half of them are patients. How
# much faster does it shrink in patients? And does the answer depend on *how the posterior is approximated*?
#
# A guide is Pyro's word for that approximation. No model here knows its guide: it is one word in the call of `fit`.
# The No-U-Turn sampler, `sample`, needs no guide and serves as the reference, since this model is small.

# %%
# %matplotlib inline
import logging
import warnings

import arviz
import matplotlib.pyplot as plt
import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from neuropyro import plots
from neuropyro.inference import Schedule, compare, fit, leave_one_out, sample

logging.getLogger("matplotlib").setLevel(logging.ERROR)
warnings.simplefilter("ignore")  # of ArviZ and of Pareto smoothing: what they warn of is discussed below

# %% [markdown]
# ## The model
#
# Volumes in millilitres; a straight line a person, lines of a group about the group's:
#
# $$V_{in} = \mu + u_i + (\gamma + \delta\, p_i + v_i)\, t_n + \epsilon_{in},\quad
# u_i \sim \mathrm{Normal}(0, \tau_u),\quad v_i \sim \mathrm{Normal}(0, \tau_v),\quad
# \epsilon_{in} \sim \mathrm{Normal}(0, \sigma)$$
#
# with $p_i = 1$ for patients and $t$ in years since entry. $\delta$ is the answer. $u$, $v$ and $\epsilon$ are summed out:
# a person's four volumes are jointly normal. Nothing more is needed than a function: any Pyro program is a model.

# %%
PEOPLE, VISITS = 30, 4
years = torch.arange(VISITS, dtype=torch.float32)
patient = (torch.arange(PEOPLE) % 2).float()


def hippocampus(data: tuple[Tensor, Tensor, Tensor]) -> None:
    """Volumes (people, visits) of one hippocampus, mL, over years (visits,) since entry."""
    volume, t, p = data
    mean = pyro.sample("mean", dist.Normal(3.5, 1.0))  # mL
    slope = pyro.sample("slope", dist.Normal(0.0, 0.1))  # mL a year, of controls
    extra = pyro.sample("extra", dist.Normal(0.0, 0.1))  # mL a year, of patients beside controls
    spread = pyro.sample("spread", dist.LogNormal(-1.0, 0.5))  # mL, of people
    slope_spread = pyro.sample("slope_spread", dist.LogNormal(-3.5, 1.0))  # mL a year
    noise = pyro.sample("noise", dist.LogNormal(-3.0, 0.5))  # mL, of one measurement
    person = spread.square() + slope_spread.square() * torch.outer(t, t)
    covariance = person + noise.square() * torch.eye(len(t))
    with pyro.plate("person", len(p)):
        line = mean + (slope + extra * p)[:, None] * t
        pyro.sample("volume", dist.MultivariateNormal(line, covariance), obs=volume)


rng = torch.Generator().manual_seed(3)
truth = {"mean": 3.4, "slope": -0.03, "extra": -0.08, "spread": 0.35, "slope_spread": 0.04, "noise": 0.06}
own = truth["slope_spread"] * torch.randn(PEOPLE, 1, generator=rng)
lines = truth["mean"] + truth["spread"] * torch.randn(PEOPLE, 1, generator=rng)
lines = lines + (truth["slope"] + truth["extra"] * patient[:, None] + own) * years
volumes = lines + truth["noise"] * torch.randn(PEOPLE, VISITS, generator=rng)
data = (volumes, years, patient)

figure, axis = plt.subplots(figsize=(5, 3.2), layout="constrained")
for group, colour, name in ((0, "#0072B2", "controls"), (1, "#D55E00", "patients")):
    axis.plot(years, volumes[patient == group].T, color=colour, lw=1, alpha=0.7)
    axis.plot([], [], color=colour, label=name)
axis.set(xlabel="years since entry", ylabel="hippocampal volume (mL)", xticks=range(VISITS))
_ = axis.legend(frameon=False)

# %% [markdown]
# ## Five ways to the posterior
#
# | word | what it can represent |
# |---|---|
# | `"map"` | a point: no uncertainty |
# | `"normal"` | independent normal distributions (mean field) |
# | `"structured"` | what all share jointly, what is one person's given that; here all is shared: a full covariance |
# | `"flow"` | a normal distribution bent by a normalising flow |
# | NUTS | anything, given time |

# %%
schedule = Schedule(max_steps=2000)
words = ("map", "normal", "structured", "flow")
fits = {word: fit(hippocampus, data, guide=word, seed=0, schedule=schedule, progress=False) for word in words}
fits["nuts"] = sample(hippocampus, data, draws=250, warm_up=100, chains=2, seed=0, progress=False)
for name, one in fits.items():
    print(f"{name:11} {one.verdict}")

# %% [markdown]
# ## Do they agree?
#
# First the reference. Two chains that lie on each other and look like noise have forgotten where they began.

# %%
shown = ["extra", "slope", "slope_spread"]
axes = arviz.plot_trace(fits["nuts"].to_arviz(250), var_names=shown, figsize=(9, 5))
for density, chain in axes:
    density.set_xlabel("mL a year")
    chain.set(xlabel="draw", ylabel="mL a year")
plt.tight_layout()

# %% [markdown]
# Then all of them: thick lines are 50 %, thin ones 90 % of each posterior, dots the medians; `map` has no width.

# %%
trees = [one.to_arviz(250) for one in fits.values()]
arviz.plot_forest(
    trees,
    model_names=list(fits),
    var_names=["extra", "slope", "slope_spread", "noise"],
    combined=True,
    hdi_prob=0.9,
    colors=["#999999", "#E69F00", "#56B4E9", "#009E73", "#0072B2"],
    figsize=(7, 5.5),
)
plt.gca().set_xticks([-0.1, -0.05, 0, 0.05])
plt.gca().axvline(0, color="0.7", lw=0.8, zorder=0)
_ = plt.xlabel("mL, or mL a year")

# %%
print(f"{'':11} {'mL a year more in patients':>32}   sd against NUTS")
reference = fits["nuts"].posterior(500)["extra"].std()
for name, one in fits.items():
    x = one.posterior(500)["extra"].ravel()
    low, high = np.quantile(x, [0.05, 0.95])
    print(f"{name:11} {x.mean():10.3f} ({low:.3f} to {high:.3f}) {x.std() / reference:15.2f}")
print(f"{'truth':11} {truth['extra']:10.3f}")

# %% [markdown]
# ## Could one have known without NUTS?
#
# Yes, in part. The *Pareto k-hat* of the importance weights between guide and posterior is below .7 where the guide
# is near enough for importance sampling to mend it; and of two guides of one model the one with the higher ELBO is
# nearer to the posterior. NUTS has no ELBO, and a point no weights.

# %%
table = compare(fits, draws=500)
print(str(table).split("\n\n")[0])
plots.plot_comparison(table)

# %% [markdown]
# The higher ELBOs are those of `structured` and `flow`, whose sds are NUTS's; `normal` is some .4 nats below. k-hat is less
# telling here: `normal` stays under .7, for six numbers that depend on each other moderately, though its interval is a
# third too narrow. A k-hat under .7 says that reweighting can mend the guide, not that it needs no mending.
#
# Leave-one-out asks another question: how well is each person predicted from all others? Its own Pareto k, a number a
# person, says where that answer can be trusted.

# %%
loo = {name: leave_one_out(one, 500) for name, one in fits.items()}
for name, found in loo.items():
    print(f"{name:11} {found}")
figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
axis.plot(loo["nuts"].shapes, ".", color="#0072B2", label="NUTS")
axis.plot(loo["normal"].shapes, ".", color="#D55E00", label="normal")
axis.axhline(0.7, color="k", lw=0.8, ls="--")
axis.set(xlabel="person left out", ylabel="Pareto k", ylim=(None, 1.1))
_ = axis.legend(frameon=False, loc="upper left", ncols=2)

# %% [markdown]
# ## The answer, and what could be wrong
#
# Patients lose about .08 mL a year more than controls, and every guide but `map` has an interval that excludes 0 and
# holds the truth. Its *width* depends on the guide:
#
# * `map` is a point. It is quick, and says nothing of what else is possible.
# * `normal` cannot say that two numbers are known only together. The controls' slope and the difference from it are:
#   one is large where the other is small. So both of its intervals are narrower than NUTS's.
# * `structured` and `flow` agree with NUTS within the noise of a few hundred draws.
# * NUTS took several times as long for six numbers. With a latent for each of thousands of visits it is out of reach.
#
# What none of this can tell: whether the model is right. Straight lines, equal noise and normal spreads were true here
# because the data were made so; [notebook 4](04_checks_and_calibration.ipynb) asks that question. And one data set says
# little about how often 90 % intervals hold the truth; `calibrate` repeats it over many.
