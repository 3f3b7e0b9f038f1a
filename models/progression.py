r"""Scalar biomarkers, each with its own trajectory over one progression score.

**The story.**  As in :mod:`neuropyro.models.vertex_clusters`, but every biomarker is a cluster by itself: there are few
of them, of different kinds and units, and nothing is to be grouped.

**The maths.**  With scores s_n of visits n and biomarkers l = 1..L, on standardised data:

.. math::

   a_l, c_l, d_l &\sim \mathrm{Normal}, \qquad b_l, \sigma_l, \rho_l \sim \mathrm{LogNormal} \\
   u_{il} &\sim \mathrm{Normal}(0, \rho_l) \\
   V_{ln} &\sim \mathrm{Normal}(f(s_n; \theta_l) + u_{i(n)l},\; \sigma_l).

Sites: those of :func:`~neuropyro.models.scores.sample_scores`; in a plate ``biomarker``, ``a, b, c, d, sigma, rho
(L,)`` and the data ``V (biomarkers, visits)``; in the plate ``subject``, ``u_scaled (subjects, L)`` with ``u``
deterministic.  Units are sds of a biomarker (a, d, sigma, rho), scores (c) and per score (b).  Missing values are left
out.

References
----------
Jedynak et al., "A computational neurodegenerative disease progression score", NeuroImage 2012; Marinescu et al.,
NeuroImage 2019 (DIVE).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyro
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from neuropyro.data import Cohort, CohortError
from neuropyro.models.course import Course
from neuropyro.models.covariates import EFFECT_SITES, effects_of, named_covariates
from neuropyro.models.deterministic import with_deterministic
from neuropyro.models.forecasting import Forecasted, forecast_visits, requested
from neuropyro.models.lasting import Components
from neuropyro.models.new_subjects import Personalized, courses_for, personalized
from neuropyro.models.offset_centring import OffsetCentring
from neuropyro.models.offsets import OFFSET_SITES, sample_offset, with_offsets, without_offsets
from neuropyro.models.posterior import Posterior
from neuropyro.models.priors import Pair, log_normal
from neuropyro.models.scores import SCORE_DIMS, Draws, ScorePriors, fix_gauge, marginal_scores, sample_scores
from neuropyro.models.site_units import CLUSTER_UNITS, SCORE_UNITS
from neuropyro.models.starting_choice import likeliest
from neuropyro.models.starting_controls import with_controls
from neuropyro.models.starting_values import start_biomarkers
from neuropyro.models.trajectory import OF_BIOMARKERS, Trajectories, TrajectoryPriors, sample_trajectories, sigmoid
from neuropyro.models.visit_contract import OfVisits
from neuropyro.models.visit_normal import VisitNormal
from neuropyro.models.visits import Standardise, Visits, prepare_visits

__all__ = ["SubjectProgression"]


@dataclass(frozen=True)
class SubjectProgression(OfVisits):
    """Progression of scalar biomarkers: a Pyro program over one `Cohort`, a column a biomarker.

    Parameters
    ----------
    subject_effect
        Whether a subject has its own lasting offset in each biomarker.
    standardise
        See :func:`~neuropyro.models.standardise.location_and_scale`.
    covariates
        Names of the cohort's covariates that speed and stage depend on (:mod:`neuropyro.models.covariates`).
    trajectory_priors, score_priors, rho
        Priors, on standardised data; ``rho`` is LogNormal (location, scale).

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> cohort = simulate_reference(n_subjects=30, n_vertices=4, seed=1)
    >>> result = fit(SubjectProgression(), cohort, guide="map", schedule=Schedule(max_steps=50), progress=False)
    >>> result.posterior(draws=1)["dps"].shape
    (1, 120)
    """

    subject_effect: bool = True
    standardise: Standardise = "controls"
    covariates: tuple[str, ...] = ()
    trajectory_priors: TrajectoryPriors = OF_BIOMARKERS
    score_priors: ScorePriors = ScorePriors()  # noqa: RUF009 (frozen)
    rho: Pair = (-0.5, 0.5)

    default_guide: ClassVar[str] = "structured"
    population_sites: ClassVar[tuple[str, ...]] = ("log_alpha_sd", "beta_sd", "correlation", "control_sd")
    scale_sites: ClassVar[tuple[str, ...]] = ("log_alpha_sd", "beta_sd", "control_sd", "rho")
    column: ClassVar[str] = "biomarker"
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **SCORE_DIMS,
        **dict.fromkeys((*Trajectories._fields, "sigma", "rho"), ("biomarker",)),
        **dict.fromkeys(OFFSET_SITES, ("subject", "biomarker")),
        "V": ("biomarker", "visit"),
    }
    units: ClassVar[dict[str, str]] = SCORE_UNITS | CLUSTER_UNITS

    def __post_init__(self) -> None:
        object.__setattr__(self, "covariates", named_covariates(self.covariates))

    def prepare(
        self, cohort: Cohort | Visits, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Visits:
        """Standardise a cohort and place it on a device; prepared visits are moved as they are.

        Raises
        ------
        CohortError
            Where no biomarker varies, or a covariate is missing.
        """
        if isinstance(cohort, Visits):
            return cohort.to(device, dtype)
        visits = prepare_visits(cohort, self.standardise, device, dtype, covariates=self.covariates)
        if not bool(visits.is_informative.any()):
            raise CohortError("values: no biomarker varies over visits; there is nothing to fit")
        return visits

    def __call__(self, visits: Visits | Cohort) -> None:
        """Run the generative story, conditioned on the visits' values."""
        visits = self.prepare(visits) if isinstance(visits, Cohort) else visits
        biomarkers = pyro.plate("biomarker", visits.n_vertices, dim=-1)
        loc, sigma = self._sample_means(visits, biomarkers)
        with biomarkers:
            pyro.sample("V", VisitNormal(loc, sigma, None, visits.observed, visits.sum_squares), obs=visits.values)

    def _sample_means(self, visits: Visits, biomarkers: pyro.plate) -> tuple[Tensor, Tensor]:
        """Run the story up to the values; returns ``(*, biomarkers, visits)`` and ``(*, biomarkers)``."""
        with biomarkers:
            theta, sigma = sample_trajectories(self.trajectory_priors, visits.values)
            rho = pyro.sample("rho", log_normal(self.rho, visits.values)) if self.subject_effect else None
        subjects = pyro.plate("subject", visits.n_subjects, dim=-1)
        loc = sigmoid(sample_scores(self.score_priors, visits, subjects), theta)
        if rho is not None:
            loc = loc + sample_offset(rho, _information(sigma, visits), loc, visits, subjects)
        return loc, sigma

    def offset_centring(self, visits: Visits) -> OffsetCentring | None:
        """Return how guides see subjects' offsets; None without them."""

        def information(values: Mapping[str, Tensor]) -> Tensor:
            return _information(values["sigma"], visits)

        return OffsetCentring(visits, self._story, information) if self.subject_effect else None

    def _story(self, visits: Visits) -> None:
        self._sample_means(visits, pyro.plate("biomarker", visits.n_vertices, dim=-1))

    def init_values(self, visits: Visits, seed: int = 0) -> dict[str, Tensor]:
        """Return starting values of every site, by principal component and least squares."""
        return likeliest(self, visits, [self._complete(visits, start) for start in start_biomarkers(visits)])

    def _complete(self, visits: Visits, start: dict[str, NDArray[np.float64]]) -> dict[str, Tensor]:
        """Add the sites that starts lack, and leave out those that the model lacks."""
        start = with_controls(start, visits)
        del start["pi"], start["tau"], start["level"]
        if visits.covariates is not None:
            start |= dict.fromkeys(EFFECT_SITES, np.zeros(visits.covariates.shape[1]))
        sites = {site: torch.as_tensor(number).to(visits.values) for site, number in start.items()}
        return with_offsets(self._story, visits, sites) if self.subject_effect else without_offsets(sites)

    def identify(self, draws: Draws, visits: Visits) -> Draws:
        """Bring posterior draws to one gauge; adds the deterministic sites."""
        full = with_deterministic(self._story, draws, visits, like=visits.values)
        return fix_gauge(full, visits.reference.cpu().numpy())

    def log_likelihood(self, result: Posterior, draws: int = 100) -> NDArray[np.float64]:
        """Return log p(V_l | draw) of each biomarker's standardised values, ``(draws, biomarkers)``."""
        visits: Visits = result.data
        posterior = result.posterior(1 if result.is_point else draws)
        pointwise = []
        for s in range(len(posterior["a"])):
            draw = {site: torch.tensor(x[s]).to(visits.values) for site, x in posterior.items()}
            loc = sigmoid(draw["dps"], Trajectories(*(draw[name] for name in Trajectories._fields)))
            if self.subject_effect:
                loc = loc + draw["u"].mT[:, visits.subject]
            each = VisitNormal(loc, draw["sigma"], None, visits.observed, visits.sum_squares)
            pointwise.append(each.log_prob(visits.values))
        return np.asarray(torch.stack(pointwise).double().cpu())

    def personalize(self, result: Posterior, cohort: Cohort, draws: int = 100) -> Personalized:
        """Place subjects, new ones or those that were fitted, on the course that was learned.

        Parameters
        ----------
        result
            A fit of this model.
        cohort
            The same biomarkers in the same units, with the fit's covariates.
        draws
            Of each subject's latents, spread evenly over draws of the course.

        Raises
        ------
        CohortError
            Where the cohort has another number of biomarkers, or a covariate is missing.
        """
        count = self._count(result, cohort, draws)
        return personalized(self._courses(result, count), count, result, cohort, draws)

    def _courses(self, result: Posterior, draws: int) -> Iterator[Course]:
        """Yield what new subjects share with the fitted ones: every biomarker is a cluster by itself."""
        label = torch.arange(result.data.n_vertices, device=result.data.values.device)
        posterior = result.posterior(draws)
        for s in range(draws):
            draw = {site: torch.tensor(x[s]).to(label.device, torch.float64) for site, x in posterior.items()}
            yield Course(
                theta=Trajectories(*(draw[name] for name in Trajectories._fields)),
                scatter=None,
                sigma=draw["sigma"],
                rho=draw["rho"] if self.subject_effect else None,
                spread=None,
                scores=marginal_scores(draw, result.data),
                label=label,
                own=None,
                effects=effects_of(draw),
            )

    def forecast(
        self,
        result: Posterior,
        cohort: Cohort,
        times: ArrayLike,
        subjects: ArrayLike | None = None,
        *,
        draws: int = 200,
        level: float = 0.9,
        keep_draws: bool = False,
        progress: bool = False,
    ) -> Forecasted:
        """Forecast biomarkers of subjects, new ones or those that were fitted; arguments and errors as of clusters.

        See :meth:`neuropyro.models.VertexClusterMixture.forecast`.
        """
        request = requested(cohort, times, subjects)
        count = self._count(result, cohort, draws)
        asked = (draws, level, keep_draws, progress)
        return forecast_visits(self._courses(result, count), count, _all_passes, result, cohort, request, *asked)

    def _count(self, result: Posterior, cohort: Cohort, draws: int) -> int:
        return 1 if result.is_point else courses_for(cohort.n_subjects, draws, is_point=False)


def _information(sigma: Tensor, visits: Visits) -> Tensor:
    """Return the precision ``(*, biomarkers, visits)`` at which visits determine offsets."""
    precision = sigma.pow(-2).unsqueeze(-1)
    return precision.expand(*sigma.shape, visits.n_visits) if visits.observed is None else precision * visits.observed


def _all_passes(course: Course) -> Components:
    """Return the variances of a biomarker: what lasts of a subject is its offset."""
    variance = course.sigma.square()
    return Components(torch.zeros_like(variance), variance)
