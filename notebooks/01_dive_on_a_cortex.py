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
# # DIVE on a cortex in ten minutes
#
# **The question.** Here are maps of cortical thickness of 60 people, half of them patients, seen about once a year.
# Which parts of the cortex thin together, along which course, and how far along is each person?
#
# Nobody knows when a person's disease began, so age does not order the scans. DIVE finds one *progression score* for
# each visit, and clusters of vertices with a trajectory each over that score, at once.
#
# The study is simulated, so that the answer can be held against the truth. The model never sees the truth.

# %%
# %matplotlib inline
import logging

import numpy as np

from neuropyro import plots
from neuropyro.data import cortex_mesh, simulate_cohort
from neuropyro.inference import cluster_agreement, fit, interval_coverage
from neuropyro.models import VertexClusterMixture
from neuropyro.outputs import Outcome

logging.getLogger("matplotlib").setLevel(logging.ERROR)

cohort = simulate_cohort(
    n_subjects=60, visits=4, n_clusters=3, mesh=cortex_mesh(("left",)), missing_visits=0.05, seed=0
)
cohort

# %% [markdown]
# One map is 9,829 numbers in millimetres: the left half of fsaverage5 without its medial wall.

# %%
plots.plot_map(cohort.mesh, cohort.values[0], f"thickness of {cohort.subject[0]} at {cohort.time[0]:.1f} years (mm)")

# %% [markdown]
# ## The model
#
# A visit of subject $i$ at age $t$ has the score $s = \alpha_i (t - t_0) + \beta_i$. A vertex of cluster $k$ follows
# $f_k(s) = d_k + a_k / (1 + e^{-b_k (s - c_k)})$, with scatter of vertices about it; a subject may depart from it by an
# offset that lasts, a visit by one that does not; and at every single vertex by what is the subject's own. Which cluster
# a vertex is of is summed out, never sampled.
#
# `guide="normal"` approximates the posterior by independent normal distributions, which is fast;
# [notebook 3](03_swap_the_guide.ipynb) shows what that costs.

# %%
model = VertexClusterMixture(n_clusters=3, visit_effect=True, vertex_effect=True)
result = fit(model, cohort, guide="normal", seed=0, progress=False)
print(result.verdict)
outcome = Outcome(model, cohort, result)  # the fit, and what it says in millimetres

# %% [markdown]
# The verdict comes first: a fit that has not converged should not be looked at. The distance from the best ELBO that was
# seen fell, and then no more (what is left is the noise of a single draw a step):

# %%
plots.plot_loss(outcome)

# %% [markdown]
# ## Which vertices belong together
#
# The likeliest cluster of each vertex. Clusters are numbered by when they begin to change, and need not be connected.

# %%
plots.plot_clusters(outcome)

# %%
share_open = (outcome.vertex_maps.entropy > 0.1 * np.log(3)).mean()
print(f"{share_open:.1%} of the vertices are in doubt (entropy above a tenth of that of no knowledge)")
plots.plot_entropy(outcome)

# %% [markdown]
# ## Along which course
#
# A dot is the mean of a cluster's vertices at one visit, at the median of its posterior score. The line is the cluster's
# trajectory, its band 90 % of the posterior, no wider than the line: thousands of vertices share one trajectory.
# Dots scatter about it because people and visits have offsets of their own, which show most in cluster 2, where least
# is lost.

# %%
plots.plot_trajectories(outcome)

# %% [markdown]
# ## How far along each person is
#
# A line is a person, and a score of 0 is the controls' mean at their first visits, in units of the controls' sd. Steep
# lines are fast progressors.

# %%
plots.plot_stages(outcome)

# %% [markdown]
# ## Against the truth
#
# Only a simulation can tell this.

# %%
true = np.asarray(cohort.truth["dps"])
draws = outcome.posterior["dps"]
print(f"vertices in their true cluster  {cluster_agreement(outcome.assignments, np.asarray(cohort.truth['Z'])):.1%}")
print(f"correlation of the scores       {np.corrcoef(draws.mean(0), true)[0, 1]:.3f}")
print(f"90 % intervals hold the truth   {interval_coverage(draws, true, [0.9])[0]:.0%} of the visits")
plots.plot_recovery(outcome)

# %% [markdown]
# ## What could be wrong
#
# * **The axis bends a little at its far end.** Up to a score of 2 points of the last figure lie on the line; beyond it
#   patients are drawn together, from 4 on by a tenth. There one cluster changes and the others have little left
#   to: a stretch of the score shrunk, with that cluster's trajectory made steeper to match, makes nearly the same maps.
# * **So intervals of the scores are too narrow.** The share printed above should be 90 %. What is left of a map is smooth
#   over the surface here; vertices count for less than independent ones for that, by how much is hardly known; and that all
#   scores may bend together, a guide of independent normals cannot say. Use scores to order visits and people of one fit;
#   do not read their intervals as what is known of the true score. Without `vertex_effect` all of this is far worse (14 %,
#   and a correlation of .986 in place of .999).
# * The clusters are well apart in this simulation, and hardly a vertex is in doubt. Where they overlap, labels are poor
#   and too certain ([notebook 4](04_checks_and_calibration.ipynb)).
# * The number of clusters was given. `neuropyro dive select` compares numbers: which are told apart, and what each predicts.
# * One fit from one start may be a lesser mode: `fit(..., restarts=3)` reports the best of three, and
#   `neuropyro.inference.diagnose(result)` says in words what of a fit can be trusted.
#
# The same from the shell, for a study in a file: `neuropyro dive fit cohort.npz --clusters 3 --guide normal --out fit/`.
