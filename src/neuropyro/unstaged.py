r"""A baseline of staging: everybody at one speed from one onset, so that the progression score is time itself.

.. math::  \alpha_i = \alpha, \qquad \beta_i = \beta

It is the same model with populations of subjects that hardly differ, started where scores are standardised times.  By
how much the full model beats it says what staging is worth.

References
----------
Marinescu et al., NeuroImage 2019 (DIVE), section on other models: the one without staging.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from neuropyro.data import Cohort
from neuropyro.models import VertexClusterMixture
from neuropyro.models.starting_curves import BinnedCurves, bin_curves, fit_bins, fit_trajectories, k_means, narrow_bins
from neuropyro.models.visits import Visits
from neuropyro.started import Started

__all__ = ["unstaged"]

NO_SPREAD = 1e-3  # sd over subjects of log speed and of stage
FIRM = 0.01  # sd of its logarithm


def unstaged(model: VertexClusterMixture, cohort: Cohort, seed: int = 0) -> Started:
    """Return a model that does not stage a cohort's subjects; to be fitted to that cohort.

    Parameters
    ----------
    model
        The model that does.
    cohort
        What it will be fitted to.
    seed
        Of k-means.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> cohort = simulate_reference(n_subjects=6, n_vertices=12, n_clusters=1, seed=0)
    >>> start = unstaged(VertexClusterMixture(1), cohort).values
    >>> time = cohort.time[cohort.is_reference]
    >>> np.allclose(np.exp(-start["log_alpha_mean"]), time.std())  # scores are times in sds of the controls'
    True
    """
    sd = (float(np.log(NO_SPREAD)), FIRM)
    whole = (1.0, NO_SPREAD)  # all years between subjects count
    none = (0.0, NO_SPREAD)  # and controls are as fast as others
    priors = replace(model.score_priors, log_alpha_sd=sd, beta_sd=sd, time_share=whole, control_log_alpha=none)
    like = replace(model, score_priors=priors)
    visits = like.prepare(cohort)
    start = {site: np.asarray(value.double().cpu()) for site, value in like.init_values(visits, seed).items()}
    return Started(like, start | _timed(like, visits, start, seed))


def _timed(
    model: VertexClusterMixture, visits: Visits, start: dict[str, NDArray[np.float64]], seed: int
) -> dict[str, NDArray[np.float64]]:
    """Return starting values of scores that are times, and of the trajectories over them."""
    time = np.asarray(visits.years.double().cpu())
    reference = time[visits.reference.cpu().numpy()]
    shift, scale = reference.mean(), reference.std() or 1.0
    scores = (time - shift) / scale
    curves = _curves(model, visits, scores, seed)
    _, theta = fit_bins(narrow_bins(curves, scores))
    a, b, c, d = fit_trajectories(curves, theta, scores).T
    nobody = np.zeros((visits.n_subjects, 2))
    spread = {"log_alpha_sd": np.array(NO_SPREAD), "beta_sd": np.array(NO_SPREAD), "correlation": np.array(0.0)}
    spread |= {"time_share": np.array(1.0), "control_log_alpha": np.array(0.0)}
    place = {"log_alpha_mean": np.array(-np.log(scale)), "beta_mean": np.array(-shift / scale)}
    values = spread | place | {"place": nobody, "a": a, "b": b, "c": c, "d": d}
    values |= {"pi": curves.share, "sigma": curves.residual_sd, "level": curves.course.T}
    return {site: value for site, value in values.items() if site in start}


def _curves(model: VertexClusterMixture, visits: Visits, scores: NDArray[np.float64], seed: int) -> BinnedCurves:
    if model.labels is not None:
        known = np.array(model.labels)[visits.is_informative.cpu().numpy()]
        return bin_curves(visits, scores, lambda curves: known)
    rng = np.random.default_rng(seed)
    return bin_curves(visits, scores, partial(k_means, n_clusters=model.n_clusters, rng=rng))
