"""A fit of vertex clusters, taken apart one posterior draw after the other: what every answer is made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from neuropyro.models.ageing import aged
from neuropyro.models.course import Course
from neuropyro.models.covariates import effects_of, shifts
from neuropyro.models.labelled import LabelledVisits
from neuropyro.models.lasting import Components, components_of
from neuropyro.models.mixture import Mixture, curves
from neuropyro.models.new_subjects import Personalized
from neuropyro.models.population import Population, population_of
from neuropyro.models.posterior import Posterior
from neuropyro.models.scatter_nodes import ScatterNodes
from neuropyro.models.scores import marginal_scores
from neuropyro.models.spatial import MeshVisits
from neuropyro.models.trajectory import Trajectories
from neuropyro.models.vertex_priors import POWER, SCATTER, VertexPriors
from neuropyro.models.vertex_replicates import draw_vertices
from neuropyro.models.vertex_scatter import scattered
from neuropyro.models.visit_effects import level_sd
from neuropyro.models.visits import Visits

__all__ = ["FittedClusters", "Switches"]

Draw = dict[str, Tensor]


class Switches(Protocol):
    """What a model of vertex clusters has on.

    Examples
    --------
    >>> from neuropyro.models import VertexClusterMixture
    >>> model: Switches = VertexClusterMixture(2, visit_effect=True)
    >>> [name for name in ("scatter", "subject_effect", "visit_effect", "ageing") if getattr(model, name)]
    ['scatter', 'subject_effect', 'visit_effect']
    """

    @property
    def scatter(self) -> bool:
        """Whether a vertex has its own trajectory."""

    @property
    def subject_effect(self) -> bool:
        """Whether a subject has offsets."""

    @property
    def visit_effect(self) -> bool:
        """Whether a visit has levels of its own."""

    @property
    def ageing(self) -> bool:
        """Whether vertices change with time alone."""

    @property
    def vertex_priors(self) -> VertexPriors:
        """Priors, for the width of the baselines."""


@dataclass(frozen=True)
class FittedClusters:
    """A model and its posterior.

    Parameters
    ----------
    model
        The switches that it was fitted with.
    result
        The fit.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import simulate_prior
    >>> from neuropyro.models import VertexClusterMixture
    >>> model, cohort = VertexClusterMixture(2, labels=[1, 0, 0, 1]), simulate_reference(n_subjects=6, n_vertices=4)
    >>> simulated = simulate_prior(model, cohort, seed=0)  # whose truth is taken for a fit
    >>> truth = {site: x[None] for site, x in simulated.identified(model).items()}
    >>> result = SimpleNamespace(data=simulated.data, posterior=lambda draws: truth, is_point=True)
    >>> [course.label.tolist() for course in FittedClusters(model, result).courses(2)]
    [[1, 0, 0, 1], [1, 0, 0, 1]]
    """

    model: Switches
    result: Posterior

    @property
    def visits(self) -> Visits:
        """The prepared data of the fit."""
        data: Visits = self.result.data
        return data

    def draws(self, draws: int, dtype: torch.dtype | None = None) -> Iterator[Draw]:
        """Yield one draw after the other by site; a point is one draw."""
        posterior = self.result.posterior(1 if self.result.is_point else draws)
        like = self.visits.values.new_zeros((), dtype=dtype)
        for s in range(len(posterior["pi"])):
            yield {site: torch.tensor(x[s]).to(like) for site, x in posterior.items()}

    def mixture(self, draw: Draw) -> Mixture:
        """Return the clusters under a draw."""
        loc, nodes = self._means(draw)
        loc = draw["level"].mT if self.model.visit_effect else loc
        return Mixture(draw["pi"], loc, nodes, draw["sigma"], draw.get("coupling"), draw.get("omega"))

    def _means(self, draw: Draw) -> tuple[Tensor, ScatterNodes | None]:
        """Return clusters' means at the visits, ``(K, visits)``, as levels are expected to be, and the nodes."""
        theta = Trajectories(*(draw[name] for name in Trajectories._fields))
        loc, nodes = curves(draw["dps"], theta, self._scatter(draw))
        loc = loc + aged(draw["ageing"], self.visits.years) if self.model.ageing else loc
        return (loc + draw["u"].mT[:, self.visits.subject] if self.model.subject_effect else loc), nodes

    def expansion(self, draw: Draw, mixture: Mixture) -> Mixture:
        """Return them with one Normal each, in whose columns single vertices' courses are drawn."""
        scatter = self._scatter(draw)
        if scatter is None:
            return mixture
        theta = Trajectories(*(draw[name] for name in Trajectories._fields))
        return mixture._replace(nodes=ScatterNodes.single(scattered(draw["dps"], theta, scatter)[1]))

    def log_joint(self, mixture: Mixture) -> Tensor:
        """Return log p(V_l, Z_l = k), ``(vertices, K)``."""
        each = mixture.log_likelihood(self.visits.values, self.visits)
        return each + self._log_shares(mixture, each)

    def log_joints(self, draws: int) -> Iterator[Tensor]:
        """Yield it under one draw after the other."""
        for draw in self.draws(draws):
            yield self.log_joint(self.mixture(draw))

    def courses(self, draws: int) -> Iterator[Course]:
        """Yield what new subjects share with the fitted ones, in double precision, under one draw after the other.

        Of a point there are as many draws of the vertices' labels and own trajectories.
        """
        each = draws if self.result.is_point else 1
        for draw in self.draws(draws):
            mixture = self.mixture(draw)
            joint, law = self.log_joint(mixture), self.expansion(draw, mixture)
            for _ in range(each):
                yield self._course(draw, law, joint)

    def _course(self, draw: Draw, law: Mixture, joint: Tensor) -> Course:
        z, own = draw_vertices(joint, law, self.visits)
        exact = {site: values.double() for site, values in draw.items()}
        return Course(
            theta=Trajectories(*(exact[name] for name in Trajectories._fields)),
            scatter=self._scatter(exact),
            sigma=exact["sigma"],
            rho=exact["rho"] if self.model.subject_effect else None,
            spread=level_sd(exact["tau"], exact["sigma"], self.visits) if self.model.visit_effect else None,
            scores=marginal_scores(exact, self.visits),
            label=z,
            own=None if own is None else own.double(),
            effects=effects_of(exact),
            dps=draw["dps"],
            omega=exact.get("omega"),
            ageing=exact.get("ageing"),
        )

    def components(self, course: Course) -> Components:
        """Return the variances, at each vertex, of what lasts of a subject and of what passes."""
        assert course.dps is not None
        return components_of(course, self.visits, course.dps)

    def populations(self, draws: int) -> Iterator[tuple[Population, Tensor]]:
        """Yield the globals, in double precision, and the subjects' latents in units of their population."""
        known = isinstance(self.visits, MeshVisits | LabelledVisits)
        for rough, draw in zip(self.draws(draws), self.draws(draws, torch.float64), strict=True):
            population, own = population_of(draw, self._scatter(draw), self.visits)
            if self.model.visit_effect:
                spread = level_sd(draw["tau"], draw["sigma"], self.visits)
                population = replace(population, spread=spread)
                own = torch.cat([own, self._own_levels(draw, spread)], -1)
            if known:
                mixture = self.mixture(rough)
                each = mixture.log_likelihood(self.visits.values, self.visits)
                population = replace(population, share=self._log_shares(mixture, each).exp().to(own))
            yield population, own

    def _own_levels(self, draw: Draw, spread: Tensor) -> Tensor:
        """Return how far levels are from their means, in sds, ``(subjects, visits of the longest x K)``."""
        departure = (draw["level"] - self._means(draw)[0].mT) / spread
        at = self.visits.rows_of(torch.arange(self.visits.n_subjects))
        return (departure[at] * (at >= 0).unsqueeze(-1)).transpose(0, 1).flatten(1)

    def near(self, population: Population, placed: Personalized, new: Visits) -> Tensor:
        """Return draws of placed subjects' latents in units of a population, ``(draws, subjects, 2 + K)``.

        Parameters
        ----------
        population
            Globals.
        placed
            The subjects on the course of this fit.
        new
            Their visits.
        """
        mean_a, sd_a, mean_b, sd_b, correlation, share = population.scores
        on_speed, on_beta = shifts(new.covariates, population.effects)
        alpha, beta, u = (torch.as_tensor(x).to(mean_a) for x in (placed.alpha, placed.beta, placed.u))
        beta = beta + (1 - share) * alpha * new.subject_time
        speed = (alpha.log() - mean_a - on_speed) / sd_a
        stage = ((beta - mean_b - on_beta) / sd_b - correlation * speed) / (1 - correlation.square()).sqrt()
        own = u / population.rho if self.model.subject_effect else torch.randn_like(u)
        return torch.cat([speed.unsqueeze(-1), stage.unsqueeze(-1), own], -1)

    def _log_shares(self, mixture: Mixture, each: Tensor) -> Tensor:
        """Return the log of the clusters' shares ``(K,)``, or of what else is known of each vertex's label, ``(L, K)``.

        That is what a vertex's neighbours leave it, or the label itself.
        """
        visits: Any = self.visits
        if isinstance(visits, LabelledVisits):
            own = torch.nn.functional.one_hot(visits.label, each.shape[-1]) > 0
            return torch.zeros_like(each).masked_fill(~own, -torch.inf)
        if mixture.coupling is None or not isinstance(visits, MeshVisits):
            return mixture.share.log()
        return visits.prior.log_shares(each, mixture.coupling)

    def _scatter(self, draw: Draw) -> Tensor | None:
        if not self.model.scatter:
            return None
        return self.model.vertex_priors.scatter_law([draw[site] for site in (*SCATTER, POWER)])
