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
# # Counterfactual brains and a simulated trial
#
# **Two questions.** What would *this* person's brain be like later in life without the APOE e4 alleles, or under a drug?
# And how many people would a trial of a drug that halves the speed of progression need?
#
# **The model** is a structural causal model, written as a Pyro program: genes and education set when a disease begins
# and how fast it moves; score and ageing thin the cortex and widen the ventricles; tests are taken, scanners scan. A
# counterfactual keeps what was this person's own (abduction), changes one thing (action), and runs the model again
# (prediction).
#
# No number of the model was fitted to a cohort: these are consequences of assumptions, with the uncertainty that
# remains *given* the assumptions.

# %%
# %matplotlib inline
import logging

import matplotlib.pyplot as plt
import numpy as np

from neuropyro import plots
from neuropyro.models import AnatomySimulator
from neuropyro.models.anatomy_trials import Trial, stage_between

logging.getLogger("matplotlib").setLevel(logging.ERROR)
BLUE, RED, GREEN = "#0072B2", "#D55E00", "#009E73"

simulator = AnatomySimulator()

# %% [markdown]
# ## One person
#
# A carrier of two e4 alleles, seen at 70 and at 71: tests, ventricular volume and a coronal slice at each. The score behind
# them is hidden from the model.

# %%
person = simulator.simulate(1, visits=2, seed=10, maps=False, do={"apoe4": 2.0, "entry_age": 70.0})
for row in range(person.n_visits):
    numbers = ", ".join(f"{name} {x:.1f}" for name, x in zip(person.feature_names, person.values[row]))
    print(f"{person.time[row]:.1f} years, {person.diagnosis[row]}: {numbers}")

exogenous = simulator.infer_exogenous(person, draws=40, seed=0)
score = exogenous["dps"][:, 0, -1]
print(
    f"score at the last visit: {score.mean():.2f} (90 % interval {np.quantile(score, 0.05):.2f} to "
    f"{np.quantile(score, 0.95):.2f}); truth {np.asarray(person.truth['dps'])[-1]:.2f}"
)

# %% [markdown]
# ## Three worlds
#
# As it is; without e4 (never carried); and with a drug that halves the speed from the last visit on. The same 40 draws
# of what is this person's own are behind all three, so that a difference is due to the intervention alone.

# %%
last = float(person.time[-1])
ages = np.arange(np.floor(person.time[0]), np.floor(person.time[0]) + 17, 4)
start = last - float(person.time[0])
worlds = {
    "as it is": simulator.counterfactual(exogenous, times=ages),
    "without e4": simulator.counterfactual(exogenous, {"apoe4": 0.0}, times=ages),
    "drug": simulator.counterfactual(exogenous, {"treatment": 0.5, "treatment_start": start}, times=ages),
}

titles = {
    "dps": "progression score (sd of controls)",
    "adas": "ADAS (points)",
    "ventricle_volume": "ventricular volume (mL)",
}
figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
for axis, (node, title) in zip(axes, titles.items()):
    for (name, world), colour in zip(worlds.items(), (RED, BLUE, GREEN)):
        low, high = world.interval(node)[:, 0]
        axis.fill_between(ages, low, high, color=colour, alpha=0.2, lw=0)
        axis.plot(ages, world.mean(node)[0], color=colour, label=name)
    axis.set(xlabel="age (years)", ylabel=title)
_ = axes[0].legend(frameon=False, fontsize=8)

# %% [markdown]
# Bands are 90 % intervals of one world; those of ADAS and ventricles are widened by what is new at each visit, and overlap
# at the end. What a person would have gained is a *difference*, draw by draw, in which most of that is the same on both
# sides:

# %%
for name in ("without e4", "drug"):
    change = worlds[name].minus(worlds["as it is"])
    low, high = change.interval("adas")[:, 0, -1]
    print(
        f"{name:11} ADAS at {ages[-1]:.0f}: {change.mean('adas')[0, -1]:+.1f} points (90 % interval {low:+.1f} to {high:+.1f})"
    )

# %% [markdown]
# ## The brain itself
#
# On a scale from -1 (black) to 1. Columns are ages; the rows of a world are its mean slice, its difference from the world
# as it is (blue: brighter, red: darker), and the sd of that difference over draws. The drug changes nothing at 70, before it began, to the last bit.

# %%
figure = plots.plot_worlds(worlds)
figure.savefig("../docs/counterfactual.png", dpi=110)
figure

# %% [markdown]
# ## A trial
#
# Patients between scores 1 and 4, as predicted from a screening visit; placebo against the drug; 18 months, four visits,
# a tenth leaving each year; outcome the change of ADAS. The whole trial is simulated, 60 times for each size.

# %%
arms = {"placebo": {}, "drug": {"treatment": 0.5}}
design = {"arms": arms, "outcome": "adas", "years": 1.5, "visits": 4, "dropout": 0.1}
enriched = Trial(**design, per_arm=100, eligible=stage_between(1.0, 4.0))
one = enriched.simulate(simulator, seed=3)
result = enriched.compare(one, "drug")
low, high = result.difference - 1.645 * result.standard_error, result.difference + 1.645 * result.standard_error
print(f"one trial: {result.difference:+.2f} ADAS points (90 % interval {low:+.2f} to {high:+.2f}), p = {result.p:.3f}")
print(f"{one.screened} people screened for {len(one.units)}; {sum(result.counted)} had a last visit")

# %%
sizes = (25, 50, 100, 200)
figure, axis = plt.subplots(figsize=(4.8, 3.4), layout="constrained")
for colour, name, eligible in ((BLUE, "scores 1 to 4", stage_between(1.0, 4.0)), (RED, "anyone", None)):
    powers = [Trial(**design, per_arm=n, eligible=eligible).power(simulator, trials=60, seed=5) for n in sizes]
    axis.plot(sizes, [p.power for p in powers], "o-", ms=4, color=colour, label=name)
    axis.vlines(sizes, [p.low for p in powers], [p.high for p in powers], color=colour, lw=1)
    print(
        f"{name:14}",
        ", ".join(f"{n} an arm: {p.power:.0%} ({p.low:.0%} to {p.high:.0%})" for n, p in zip(sizes, powers)),
    )
axis.axhline(0.8, color="k", lw=0.8, ls="--")
axis.set(xscale="log", xticks=sizes, xticklabels=sizes, xlabel="people an arm", ylabel="power", ylim=(0, 1.02))
axis.minorticks_off()
_ = axis.legend(frameon=False)

# %% [markdown]
# ## What could be wrong
#
# * **Slices show atrophy as phantoms have it.** Without e4 less of the cortex is lost at 70 already: it is brighter, and the
#   brain's outline a little wider, by as much as phantoms differ. How thickness becomes brightness in a slice is a choice
#   of the phantoms' recipe. Read the numbers, and the ventricles in the pictures; not single sulci.
# * At high ages the worlds' slices differ less, though their scores differ more. Ventricles and atrophy level off there,
#   and so does what the generator can show.
# * The scan's latent was taken at its mode, which leaves its uncertainty out of the pictures; a runner with a guide,
#   `infer_exogenous(..., fit=...)`, puts it in.
# * **A counterfactual of one person cannot be checked by any data.** It is as good as the graph and the functions, none of
#   which was fitted to a cohort here.
# * Power: people chosen by their score need fewer an arm than people who are not, at 100 an arm most clearly; but not even
#   200 an arm reach 80 % in 18 months with this effect. Lines on the points are 90 % intervals from sixty trials, and wide.
#   The true benefit, the noise of ADAS and dropout are assumptions, on which power depends directly.
