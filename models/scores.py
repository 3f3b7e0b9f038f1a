r"""Progression scores: each subject's own onset and speed along one common course.

.. math::  s_n = \alpha_i (t_n - t_0) + \beta_i, \qquad
   (\log \alpha_i, \beta_i) \sim \mathrm{Normal}\left(\begin{bmatrix}\mu_\alpha\\ \mu_\beta\end{bmatrix},
   \begin{bmatrix}\tau_\alpha^2 & \rho\tau_\alpha\tau_\beta\\ & \tau_\beta^2\end{bmatrix}\right)

for visit n of subject i, with t_0 the cohort's mean time.  Covariates of subjects move both means
(:mod:`neuropyro.models.covariates`).  That is the law of the DIVE paper, by which who is older is further along, by
the years between times alpha; since people are recruited by their diagnosis as well, a share of these years counts,
which is learned: beta is Normal with t_0 nearer to a subject's own time (``time_share``,
:mod:`neuropyro.models.subject_place`).  Where some people came as controls and others did not, the groups differ in
both means and in the sd of beta (:mod:`neuropyro.models.control_group`).  Two changes of variables leave the model as
it is and make its posterior easy:

* In place of beta, an extrapolation over decades where time is age, stands the subject's *stage*, the score at the mean
  time of the subject's own visits.  Given alpha they differ by the constant alpha (mean time - t_0).
* Both are sampled as a *place*, in units of what they vary by (:mod:`neuropyro.models.subject_place`).  Otherwise the
  joint density is largest where tau is 0, or where all scores are one and the trajectories infinitely steep: no mode
  that a point guide should find.  (In these units a point guide finds scores that are hardly shrunk, and a tau that is
  too large.)

The *gauge*: s -> (s - m) / r leaves every trajectory the same when theta moves along.  `fix_gauge` sets m and r, in
every posterior draw, so that the reference visits (the controls' first) have mean 0 and sd 1.

References
----------
Marinescu et al., NeuroImage 2019 (DIVE), eq. 1 and section on identifiability; Jedynak et al., NeuroImage 2012.
Betancourt & Girolami, "Hamiltonian Monte Carlo for hierarchical models", 2015 (changes of variables).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.models.control_group import CONTROL_SITES, ControlGroup
from neuropyro.models.covariates import EFFECT_SITES, effects_of, shifts
from neuropyro.models.priors import Pair, log_normal, normal
from neuropyro.models.subject_place import Hyper, SubjectPlace
from neuropyro.models.visits import Visits

__all__ = [
    "SCORE_DIMS",
    "SCORE_GLOBALS",
    "Draws",
    "ScorePriors",
    "fix_gauge",
    "marginal_scores",
    "place_law",
    "population_hyper",
    "sample_scores",
]

SCORE_DIMS = dict.fromkeys(("log_alpha", "stage", "alpha", "beta"), ("subject",)) | {
    "place": ("subject", "coordinate"),
    "dps": ("visit",),
    **dict.fromkeys(EFFECT_SITES, ("covariate",)),
}
SCORE_GLOBALS = ("log_alpha_mean", "log_alpha_sd", "beta_mean", "beta_sd", "correlation", "time_share")
Draws = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class ScorePriors:
    """Hyperpriors, as (location, scale); times in years, scores in sds of the reference visits.

    Parameters
    ----------
    log_alpha_mean
        Normal: mean over subjects of the log speed, in scores over ``visits.course``: 5 years and the sd of the
        subjects' times.  So the scores of a cohort of all ages are not spread by decades of travel at the speed of a
        clinical trial's patients, which would leave trajectories steps.
    log_alpha_sd
        LogNormal: sd over subjects of the log speed.
    beta_mean, beta_sd
        Normal and LogNormal: mean and sd over subjects of the score at the cohort's mean time, as far as the years to
        it count.
    correlation
        Concentration of a symmetric Beta on (-1, 1).
    time_share
        Normal: share of the years between subjects that counts as years of the course.  1 is the DIVE paper's: who is
        ten years older is ten years' travel further along; 0 where people were recruited by how far along they are.
        Where all subjects' visits are at like times it says nothing.
    control_log_alpha, control_beta
        Normal: by how much controls' mean log speed and mean beta depart from the others', the latter in sds of theirs.
    control_sd
        LogNormal: how many times as wide as the others' controls' beta spreads.
    effect_log_alpha, effect_beta
        Normal: effects of one sd of a covariate, on the log speed and on the score that beta_mean is of.

    Examples
    --------
    >>> from neuropyro.models import SubjectProgression
    >>> SubjectProgression(score_priors=ScorePriors(correlation=4.0)).score_priors.correlation
    4.0
    """

    log_alpha_mean: Pair = (0.0, 0.7)
    log_alpha_sd: Pair = (-1.0, 0.5)
    beta_mean: Pair = (0.5, 1.0)
    beta_sd: Pair = (0.3, 0.5)
    correlation: float = 2.0
    time_share: Pair = (0.5, 0.5)
    control_log_alpha: Pair = (-0.3, 0.5)
    control_beta: Pair = (-1.0, 1.0)
    control_sd: Pair = (-0.5, 0.5)
    effect_log_alpha: Pair = (0.0, 0.3)
    effect_beta: Pair = (0.0, 1.0)


def sample_scores(priors: ScorePriors, visits: Visits, subjects: pyro.plate) -> Tensor:
    """Sample the sites of the progression in the plate of subjects; returns the scores ``(*, visits)``.

    Sites: log_alpha_mean, log_alpha_sd, beta_mean, beta_sd, correlation, time_share (scalars) and place (subjects, 2);
    log_alpha, stage, alpha, beta (subjects) and dps (visits) are deterministic.  Where the visits are of controls and
    others: control_log_alpha, control_beta, control_sd (scalars), by which controls differ.  Where they have
    covariates, in a plate ``covariate``: effect_log_alpha, effect_beta (C), by which the expected log speed and beta of
    a subject change with one sd of a covariate.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(Cohort(np.array([[0.0], [1.0]]), [69.0, 71.0], ["a", "b"]), None)
    >>> story = pyro.poutine.trace(sample_scores)
    >>> nodes = story.get_trace(ScorePriors(), visits, pyro.plate("subject", 2, dim=-1)).nodes
    >>> alpha, beta, dps = (nodes[site]["value"] for site in ("alpha", "beta", "dps"))
    >>> (dps - alpha * visits.years - beta).abs().max().round(decimals=3)  # each subject has a visit
    tensor(0.)
    """
    like = visits.values
    location, scale = priors.log_alpha_mean
    mean_a = pyro.sample("log_alpha_mean", dist.Normal(location - visits.course.log(), like.new_full((), scale)))
    sd_a = pyro.sample("log_alpha_sd", log_normal(priors.log_alpha_sd, like))
    mean_b = pyro.sample("beta_mean", normal(priors.beta_mean, like))
    sd_b = pyro.sample("beta_sd", log_normal(priors.beta_sd, like))
    concentration = like.new_full((), priors.correlation)
    rho = pyro.sample("correlation", dist.AffineBeta(concentration, concentration, -1.0, 2.0))
    share = pyro.sample("time_share", normal(priors.time_share, like))
    population, group = Hyper(mean_a, sd_a, mean_b, sd_b, rho, share), _sample_group(priors, visits)
    law = _place_law(population, _sample_effects(priors, visits), visits, group)
    alpha, stage = _sample_places(law, subjects)
    scores = alpha[..., visits.subject] * visits.time_within + stage[..., visits.subject]
    dps: Tensor = pyro.deterministic("dps", scores)
    return dps


def place_law(values: Mapping[str, Tensor], visits: Visits) -> SubjectPlace:
    """Return the distribution of the subjects' places, given the sites of what they have in common.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(Cohort(np.array([[0.0], [1.0]]), [69.0, 71.0], ["a", "b"]), None)
    >>> values = dict(zip(SCORE_GLOBALS, torch.tensor([0.0, 1.0, 0.5, 1.0, 0.0, 1.0])))
    >>> _, stage = place_law(values, visits).log_alpha_and_stage(visits.values.new_zeros(2, 2))
    >>> stage  # in the middle: .5 at 70 years, and a score a year
    tensor([-0.5000,  1.5000])
    """
    return _place_law(population_hyper(values), effects_of(values), visits, _group_of(values))


def population_hyper(values: Mapping[str, Tensor]) -> Hyper:
    """Return what subjects have in common: of those who are no controls, where the two are told apart.

    Examples
    --------
    >>> population_hyper(dict.fromkeys(SCORE_GLOBALS, torch.tensor(0.5))).share
    tensor(0.5000)
    """
    return Hyper(*(values[site] for site in SCORE_GLOBALS))


def marginal_scores(values: Mapping[str, Tensor], visits: Visits) -> Tensor:
    """Return what new people are expected to be, whoever they are: `SCORE_GLOBALS` over all that were fitted, ``(6,)``.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(Cohort(np.array([[0.0], [1.0]]), [69.0, 71.0], ["a", "b"]), None)
    >>> values = dict(zip(SCORE_GLOBALS, torch.tensor([0.0, 1.0, 0.5, 1.0, 0.0, 1.0])))
    >>> marginal_scores(values, visits).tolist()  # nobody came as a control
    [0.0, 1.0, 0.5, 1.0, 0.0, 1.0]
    """
    population, group = population_hyper(values), _group_of(values)
    if group is not None and visits.controls is not None:
        population = group.marginal(population, visits.controls.to(population.mean_b).mean())
    return torch.stack(list(population))


def _group_of(values: Mapping[str, Tensor]) -> ControlGroup | None:
    return ControlGroup(*(values[site] for site in CONTROL_SITES)) if CONTROL_SITES[0] in values else None


def _place_law(
    population: Hyper, effects: Sequence[Tensor] | Tensor | None, visits: Visits, group: ControlGroup | None
) -> SubjectPlace:
    on_speed, on_beta = shifts(visits.covariates, effects)
    own = population._replace(mean_a=population.mean_a + on_speed, mean_b=population.mean_b + on_beta)
    if group is not None and visits.controls is not None:
        own = group.of(own, visits.controls)
    return SubjectPlace(own, visits.subject_time)


def _sample_group(priors: ScorePriors, visits: Visits) -> ControlGroup | None:
    """Sample by what controls differ; None where all people are of one group."""
    if visits.controls is None:
        return None
    like = visits.values
    return ControlGroup(
        pyro.sample("control_log_alpha", normal(priors.control_log_alpha, like)),
        pyro.sample("control_beta", normal(priors.control_beta, like)),
        pyro.sample("control_sd", log_normal(priors.control_sd, like)),
    )


def _sample_effects(priors: ScorePriors, visits: Visits) -> list[Tensor] | None:
    """Sample the covariates' effects ``(*, C)`` on log speed and on beta; None without covariates."""
    if visits.covariates is None:
        return None
    with pyro.plate("covariate", visits.covariates.shape[-1], dim=-1):
        return [pyro.sample(site, normal(getattr(priors, site), visits.values)) for site in EFFECT_SITES]


def _sample_places(law: SubjectPlace, subjects: pyro.plate) -> tuple[Tensor, Tensor]:
    """Sample the subjects' places; returns alpha and stage ``(*, subjects)``."""
    with subjects:
        place = pyro.sample("place", law)
        log_alpha, stage = law.log_alpha_and_stage(place)
        pyro.deterministic("log_alpha", log_alpha)
        alpha: Tensor = pyro.deterministic("alpha", log_alpha.exp())
        pyro.deterministic("stage", stage)
        pyro.deterministic("beta", stage - alpha * law.time)
    return alpha, stage


def fix_gauge(draws: Draws, reference: NDArray[np.int64]) -> Draws:
    """Move draws of the scores and of what is measured in scores to the common gauge.

    Parameters
    ----------
    draws
        Arrays ``(draws, ...)`` by site.
    reference
        Row numbers of the visits whose scores get mean 0 and sd 1.

    Examples
    --------
    >>> others = ("stage", "alpha", "beta", "log_alpha", "log_alpha_mean", "beta_mean", "beta_sd")
    >>> draws = dict.fromkeys(others, np.ones(1)) | {"c": np.array([[6.0]]), "b": np.array([[0.5]])}
    >>> moved = fix_gauge(draws | {"dps": np.array([[2.0, 6.0, 10.0]])}, reference=np.array([0, 1]))
    >>> moved["dps"].tolist(), moved["c"].tolist(), moved["b"].tolist()
    ([[-1.0, 1.0, 3.0]], [[1.0]], [[1.0]])
    """
    scores = draws["dps"][:, reference]
    shift, scale = scores.mean(1), scores.std(1)
    scale = np.where(scale > 0, scale, 1.0)

    def column(vector: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
        return vector.reshape(-1, *[1] * (like.ndim - 1))

    moved = dict(draws)
    for name in ("dps", "stage", "beta", "beta_mean", "c"):
        moved[name] = (draws[name] - column(shift, draws[name])) / column(scale, draws[name])
    for name in ("alpha", "beta_sd", "scatter_c", "effect_beta"):
        if name in draws:
            moved[name] = draws[name] / column(scale, draws[name])
    for name in ("log_alpha", "log_alpha_mean"):
        moved[name] = draws[name] - column(np.log(scale), draws[name])
    moved["b"] = draws["b"] * column(scale, draws["b"])
    return moved
