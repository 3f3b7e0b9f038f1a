"""What can be asked of a fit of vertex clusters: labels, maps, subjects' places, forecasts, likelihoods, replicates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from neuropyro.data import Cohort
from neuropyro.models.fitted_clusters import FittedClusters
from neuropyro.models.forecasting import Forecasted, forecast_visits, requested
from neuropyro.models.new_subjects import Personalized, courses_for, personalized
from neuropyro.models.posterior import Posterior
from neuropyro.models.subject_likelihood import integrated_log_likelihood, new_subject_terms, subject_terms
from neuropyro.models.vertex_maps import VertexMaps, maps_of_vertices
from neuropyro.models.vertex_priors import VertexPriors
from neuropyro.models.vertex_replicates import replicate_vertices
from neuropyro.models.visits import visits_like

__all__ = ["VertexAnswers"]

NEAR = 200  # draws of new subjects' latents, about which these are integrated out


class VertexAnswers:
    """Answers of :class:`~neuropyro.models.vertex_clusters.VertexClusterMixture`; each takes a fit of it.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> from neuropyro.models import VertexClusterMixture
    >>> cohort = simulate_reference(n_subjects=8, n_vertices=12, n_clusters=2, seed=0)
    >>> result = fit(VertexClusterMixture(2), cohort, "map", schedule=Schedule(max_steps=2, warm_up=0), progress=False)
    >>> share = result.model.assignments(result)
    >>> np.allclose(share.sum(1), 1), bool((share.argmax(1) == cohort.truth["Z"]).all())  # in the order of their onsets
    (True, True)
    """

    n_clusters: int
    scatter: bool
    subject_effect: bool
    visit_effect: bool
    vertex_effect: bool
    ageing: bool
    spatial: str | None
    covariates: tuple[str, ...]
    labels: tuple[int, ...] | None
    vertex_priors: VertexPriors

    def assignments(self, result: Posterior, draws: int = 50) -> NDArray[np.float64]:
        """Return the posterior of Z, ``(vertices, K)``, clusters in the order of their onsets c.

        A vertex that is constant, or was never seen, gets the clusters' shares pi; with the spatial prior, what its
        neighbours say.
        """
        shares = [joint.softmax(-1) for joint in FittedClusters(self, result).log_joints(draws)]
        return np.asarray(torch.stack(shares).double().mean(0).cpu())

    def vertex_maps(self, result: Posterior, draws: int = 50, level: float = 0.9) -> VertexMaps:
        """Return maps of each vertex's own trajectory: baseline, change, onset, speed, years to its onset, entropy.

        Parameters
        ----------
        result
            A fit of this model.
        draws
            Of the clusters, and of the vertices' own trajectories given their data.
        level
            Of the intervals; a point guide has those of vertices' own trajectories given their cluster's, or else none.
        """
        courses = list(FittedClusters(self, result).courses(draws))
        maps = maps_of_vertices(courses, result.data, self.assignments(result, draws), level)
        return maps.of_a_point() if result.is_point else maps

    def personalize(self, result: Posterior, cohort: Cohort, draws: int = 100) -> Personalized:
        """Place subjects, new ones or those that were fitted, on the course that was learned.

        Parameters
        ----------
        result
            A fit of this model.
        cohort
            Maps of the same vertices, in the unit of the cohort that was fitted, with the fit's covariates.
        draws
            Of each subject's latents, spread evenly over draws of the course.

        Raises
        ------
        CohortError
            Where the cohort has other vertices, or a covariate is missing.
        """
        count = self._n_courses(result, cohort.n_subjects, draws)
        return personalized(FittedClusters(self, result).courses(count), count, result, cohort, draws)

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
        """Forecast maps of subjects, new ones or those that were fitted, with predictive intervals.

        Parameters
        ----------
        result
            A fit of this model.
        cohort
            The subjects' visits so far: the same vertices in the same unit, with the fit's covariates.
        times
            Years after each subject's last visit with a value, every subject at each; with ``subjects``, times on the
            cohort's own axis.
        subjects
            Names, one for each time.
        draws
            Predictive draws, spread evenly over draws of the course.
        level
            Of the intervals, which are of each vertex by itself.
        keep_draws
            Whether to return the draws too, ``(draws, rows, vertices)``.
        progress
            Whether to show a bar on standard error.

        Raises
        ------
        CohortError
            Where the cohort has other vertices, a subject is not in it or has no value, or a covariate is missing.
        """
        fitted = FittedClusters(self, result)
        request = requested(cohort, times, subjects)
        count = self._n_courses(result, cohort.n_subjects, draws)
        asked = (draws, level, keep_draws, progress)
        return forecast_visits(fitted.courses(count), count, fitted.components, result, cohort, request, *asked)

    def _n_courses(self, result: Posterior, n_subjects: int, draws: int) -> int:
        """Return on how many draws of the course subjects are placed: one, where all would be the same."""
        alike = result.is_point and self.labels is not None and not self.scatter
        return 1 if alike else courses_for(n_subjects, draws, result.is_point)

    def log_likelihood(self, result: Posterior, draws: int = 100) -> NDArray[np.float64]:
        """Return log p(V_l | draw), Z summed out, ``(draws, vertices)``, of the standardised data.

        With the spatial prior, given what the neighbours' q say of Z_l: the terms of leaving one vertex out, which do
        not add up to the bound.
        """
        terms = [joint.logsumexp(-1) for joint in FittedClusters(self, result).log_joints(draws)]
        return np.asarray(torch.stack(terms).double().cpu())

    def subject_log_likelihood(self, result: Posterior, draws: int = 100) -> NDArray[np.float64]:
        """Return log p(V_i | V_-i, draw) of each subject, ``(draws, subjects)``, of the standardised data.

        The subject's own speed, stage and offsets are integrated out: see :mod:`neuropyro.models.subject_likelihood`.
        Cost: some hundred times that of the pointwise log-likelihood.
        """
        visits = result.data.to(None, torch.float64)
        drawn = enumerate(FittedClusters(self, result).populations(draws))
        terms = [subject_terms(population, own, visits, seed=s) for s, (population, own) in drawn]
        return np.asarray(torch.stack(terms).double().cpu())

    def new_subject_log_likelihood(self, result: Posterior, cohort: Cohort, draws: int = 20) -> NDArray[np.float64]:
        """Return log p(V_i | draw) of subjects that were not fitted, ``(draws, subjects)``, of standardised data.

        Their speed, stage and offsets are integrated out; so are each vertex's label and own trajectory, given what the
        fit knows of them.

        Parameters
        ----------
        result
            A fit of this model.
        cohort
            The new subjects' maps, as for `personalize`.
        draws
            Of what was learned.

        Raises
        ------
        CohortError
            Where the cohort has other vertices, or a covariate is missing.
        """
        fitted = FittedClusters(self, result)
        seen, new = (v.to(None, torch.float64) for v in (result.data, visits_like(result.data, cohort)))
        placed = self.personalize(result, cohort, NEAR)
        terms = []
        for s, (population, own) in enumerate(fitted.populations(draws)):
            near = fitted.near(population, placed, new)
            terms.append(new_subject_terms(population, own, seen, new, near, seed=s))
        return np.asarray(torch.stack(terms).double().cpu())

    def integrated_log_likelihood(self, result: Posterior) -> float:
        """Return log p(V | globals) at one draw, or the point, Z and all subjects' latents integrated out, nats.

        By Laplace's method, subject by subject: for criteria that count parameters.
        """
        population, own = next(FittedClusters(self, result).populations(1))
        return integrated_log_likelihood(population, own, result.data.to(None, torch.float64))

    @property
    def n_parameters(self) -> int:
        """How many numbers the clusters and the population have: subjects' and vertices' own are not counted."""
        effects = self.subject_effect + self.visit_effect + self.vertex_effect + self.ageing
        of_cluster = 5 + 4 * self.scatter + effects
        labels = 1 if self.spatial is not None else 0 if self.labels is not None else self.n_clusters - 1
        return of_cluster * self.n_clusters + labels + 5 + 2 * len(self.covariates)

    def replicates(self, result: Posterior, draws: int = 100) -> Iterator[dict[str, Tensor]]:
        """Yield data like the data, one posterior draw after the other: the same vertices with new noise."""
        fitted = FittedClusters(self, result)
        for draw in fitted.draws(draws):
            mixture = fitted.mixture(draw)
            drawn = replicate_vertices(fitted.log_joint(mixture), fitted.expansion(draw, mixture), result.data)
            yield {"V": drawn}
