r"""DIVE: clusters of vertices, each with its own trajectory of disease progression.

**The story.**  Subjects travel along one disease course at their own speed, from their own onset
(:mod:`neuropyro.models.scores`).  Each vertex belongs to one of K clusters and follows a trajectory near its
cluster's (:mod:`neuropyro.models.trajectory`).  A subject's map departs from the cluster's curve by an offset of its
own.  Clusters need not be connected: atrophy follows networks.

**The maths.**  With scores s_n of visits n = 1..N, vertices l = 1..L, all on standardised data:

.. math::

   \pi &\sim \mathrm{Dirichlet}(5, \dots, 5), \qquad Z_l \sim \mathrm{Categorical}(\pi) \\
   a_k, c_k, d_k &\sim \mathrm{Normal}, \qquad b_k, \sigma_k, \rho_k, T_k \sim \mathrm{LogNormal} \\
   u_{ik} &\sim \mathrm{Normal}(0, \rho_k) \\
   F_{nk} &= f(s_n; \theta_k) + u_{i(n)k} \\
   V_l \mid Z_l = k &\sim \mathrm{Normal}(F_k,\; \sigma_k^2 I + J_k T_k^2 J_k^\top).

J_k holds the trajectory's derivatives by (d, c, log b, a): a vertex's own theta_l ~ Normal(theta_k, T_k), linearised
around theta_k and integrated out; with it F_k gains half of each variance times f's second derivative, the mean of the
scattered trajectories to second order (``scatter``).  The baseline d_l is left free: its sd is fixed and wide.  Without
scatter and subject effects it is the model of the paper.  u_ik is sampled in units of its own sd given all else
(:mod:`neuropyro.models.offsets`).  A visit may have an effect on a cluster as well, and then the cluster's level m_nk
takes F_nk's place (:mod:`neuropyro.models.visit_effects`).  Z is enumerated: p(V) = prod_l sum_k pi_k p(V_l | k), and
no guide ever sees it.

Sites: those of :func:`~neuropyro.models.scores.sample_scores`; ``pi (K,)``; in a plate ``cluster``, ``a, b, c, d,
sigma (K,)``, and with their switches ``scatter_c, scatter_log_b, scatter_a, rho, tau (K,)``; in the plate ``subject``,
``u_scaled (subjects, K)`` with ``u`` deterministic; in a plate ``visit``, ``level (visits, K)``; in a plate ``vertex``,
``Z`` and the data ``V (vertices, visits)``.  With the spatial prior (:mod:`neuropyro.models.spatial`) there is no Z,
the site ``coupling`` (a scalar) is added, and pi is fixed at equal shares.
Units: a, d, sigma, rho and scatter_a in sds of a vertex, c and scatter_c in scores, b per score.

References
----------
Marinescu et al., "DIVE: A spatiotemporal progression model of brain pathology in neurodegenerative disorders",
NeuroImage 2019.  Scatter and subject effects are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.data import Cohort, CohortError
from neuropyro.models.covariates import EFFECT_SITES, effects_of, named_covariates
from neuropyro.models.deterministic import with_deterministic
from neuropyro.models.labelling import align_labels
from neuropyro.models.mixture import Mixture, curves
from neuropyro.models.new_subjects import Course, Personalized, draw_subjects, gathered
from neuropyro.models.offsets import OFFSET_SITES, sample_offset
from neuropyro.models.posterior import Posterior
from neuropyro.models.priors import Pair, log_normal
from neuropyro.models.scores import SCORE_DIMS, Draws, ScorePriors, fix_gauge, sample_scores
from neuropyro.models.spatial import MeshVisits, PottsMixture, on_mesh
from neuropyro.models.spatial_start import start_on_mesh
from neuropyro.models.starting_values import start_clusters
from neuropyro.models.subject_likelihood import SCORE_GLOBALS, population_of, subject_terms
from neuropyro.models.trajectory import Trajectories, TrajectoryPriors, sample_trajectories
from neuropyro.models.vertex_replicates import draw_vertices, replicate_vertices
from neuropyro.models.visit_contract import OfVisits
from neuropyro.models.visit_effects import level_sd, sample_levels
from neuropyro.models.visits import Standardise, Visits, prepare_visits, visits_like

__all__ = ["VertexClusterMixture", "VertexPriors"]

SCATTER = ("scatter_c", "scatter_log_b", "scatter_a")
COURSES = 50  # draws of what was learned, at most, that subjects are placed on
CLUSTER_SITES = ("pi", *Trajectories._fields, "sigma", "rho", "tau", *SCATTER)


@dataclass(frozen=True)
class VertexPriors:
    """Priors of what `VertexClusterMixture` adds to trajectories and scores, on standardised data.

    Parameters
    ----------
    pi
        Concentration of the Dirichlet.
    rho
        LogNormal (location, scale): sd of the subjects' offsets.
    tau
        LogNormal (location, scale): sd of the visits' effects.
    scatter
        LogNormal (location, scale): sds over a cluster's vertices of c, log b, a.
    baseline
        Sd over a cluster's vertices of d; fixed and wide, so that each vertex has a baseline of its own.
    coupling
        LogNormal (location, scale): lambda of the spatial prior.
    """

    pi: float = 5.0
    rho: Pair = (-1.5, 0.8)
    tau: Pair = (-2.0, 1.0)
    scatter: Pair = (-1.5, 0.5)
    baseline: float = 5.0
    coupling: Pair = (-0.3, 0.7)


@dataclass(frozen=True)
class VertexClusterMixture(OfVisits):
    """Vertexwise disease progression: a Pyro program over one `Cohort`.

    Parameters
    ----------
    n_clusters
        Number of clusters K.
    scatter
        Whether a vertex has its own trajectory near its cluster's (integrated out).
    subject_effect
        Whether a subject has its own offset in each cluster.
    visit_effect
        Whether a visit has one too: for maps that are smooth over the surface, as cortical ones are.
    spatial
        ``"potts"``: neighbours on the cohort's mesh tend to be of one cluster (:mod:`neuropyro.models.spatial`).
    covariates
        Names of the cohort's covariates that speed and stage depend on (:mod:`neuropyro.models.covariates`).
    standardise
        See :func:`~neuropyro.models.standardise.location_and_scale`; vertices are taken to be alike.
    trajectory_priors, score_priors, vertex_priors
        Priors, on standardised data.

    Notes
    -----
    Without ``visit_effect`` residuals are taken to be white.  Where they are smooth over the surface, vertices are no
    independent witnesses, and intervals of scores are then too narrow, whichever the guide.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import fit
    >>> cohort = simulate_reference(n_subjects=15, n_vertices=30, seed=1)
    >>> model = VertexClusterMixture(n_clusters=2)
    >>> result = fit(model, cohort, guide="map", seed=0, progress=False)
    >>> model.assignments(result).shape
    (30, 2)
    """

    n_clusters: int
    scatter: bool = True
    subject_effect: bool = True
    visit_effect: bool = False
    spatial: Literal["potts"] | None = None
    covariates: tuple[str, ...] = ()
    standardise: Standardise = "controls"
    trajectory_priors: TrajectoryPriors = TrajectoryPriors()  # noqa: RUF009 (frozen)
    score_priors: ScorePriors = ScorePriors()  # noqa: RUF009 (frozen)
    vertex_priors: VertexPriors = VertexPriors()

    default_guide: ClassVar[str] = "structured"
    scale_sites: ClassVar[tuple[str, ...]] = ("log_alpha_sd", "beta_sd", "rho", "tau")
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **SCORE_DIMS,
        **dict.fromkeys(CLUSTER_SITES, ("cluster",)),
        **dict.fromkeys(OFFSET_SITES, ("subject", "cluster")),
        "level": ("visit", "cluster"),
        "V": ("vertex", "visit"),
    }

    def __post_init__(self) -> None:
        object.__setattr__(self, "covariates", named_covariates(self.covariates))
        if self.n_clusters < 1:
            raise ValueError(f"n_clusters is {self.n_clusters}; give 1 or more")
        if self.spatial not in (None, "potts"):
            raise ValueError(f'spatial is {self.spatial!r}; give "potts" or None')

    def prepare(
        self, cohort: Cohort | Visits, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Visits:
        """Standardise a cohort and place it on a device; prepared visits are moved as they are.

        Raises
        ------
        CohortError
            Where there are fewer varying vertices than clusters, or a covariate is missing.
        """
        if isinstance(cohort, Visits):
            return cohort.to(device, dtype)
        visits = prepare_visits(cohort, self.standardise, device, dtype, alike=True, covariates=self.covariates)
        varying = int(visits.is_informative.sum())
        if varying < self.n_clusters:
            raise CohortError(
                f"values: {varying} of {cohort.n_vertices} vertices vary over visits, too few for "
                f"{self.n_clusters} clusters; ask for fewer clusters"
            )
        return visits if self.spatial is None else on_mesh(visits, cohort.mesh, self.n_clusters)

    def __call__(self, visits: Visits | Cohort) -> None:
        """Run the generative story, conditioned on the visits' values."""
        visits = self.prepare(visits) if isinstance(visits, Cohort) else visits
        mixture = self._sample_mixture(visits)
        if self.spatial is not None:
            pyro.sample("V", PottsMixture(mixture, visits), obs=visits.values)
            return
        with pyro.plate("vertex", visits.n_vertices, dim=-1):
            z = pyro.sample("Z", dist.Categorical(mixture.share.unsqueeze(-2)), infer={"enumerate": "parallel"})
            pyro.sample("V", mixture.of_vertices(z, visits), obs=visits.values)

    def _sample_mixture(self, visits: Visits) -> Mixture:
        """Run the story up to the vertices."""
        like, priors = visits.values, self.vertex_priors
        pi, coupling = self._sample_labels_prior(like)
        with pyro.plate("cluster", self.n_clusters, dim=-1):
            theta, sigma = sample_trajectories(self.trajectory_priors, like)
            scatter = self._sample_scatter(like) if self.scatter else None
            rho = pyro.sample("rho", log_normal(priors.rho, like)) if self.subject_effect else None
            tau = pyro.sample("tau", log_normal(priors.tau, like)) if self.visit_effect else None
        share = pi.reshape(sigma.shape) if self.spatial is None else pi.expand(sigma.shape)
        subjects = pyro.plate("subject", visits.n_subjects, dim=-1)
        scores = sample_scores(self.score_priors, visits, subjects)
        spread = level_sd(tau, sigma, visits)
        offset = None if rho is None else sample_offset(rho, spread.pow(-2), visits, subjects)
        loc, factor = curves(visits, scores, theta, scatter, offset)
        return Mixture(share, loc if tau is None else sample_levels(loc, spread, visits), factor, sigma, coupling)

    def _sample_labels_prior(self, like: Tensor) -> tuple[Tensor, Tensor | None]:
        """Sample the clusters' shares ``(*, 1 or none, K)``, or the coupling where all labels are alike."""
        equal = like.new_full((self.n_clusters,), 1 / self.n_clusters)
        if self.spatial is None:
            return pyro.sample("pi", dist.Dirichlet(self.vertex_priors.pi * self.n_clusters * equal)), None
        coupling = pyro.sample("coupling", log_normal(self.vertex_priors.coupling, like))
        return pyro.deterministic("pi", equal, event_dim=1), coupling

    def _sample_scatter(self, like: Tensor) -> Tensor:
        prior = log_normal(self.vertex_priors.scatter, like)
        return self._scatter([pyro.sample(site, prior) for site in SCATTER])

    def _scatter(self, learned: list[Tensor]) -> Tensor:
        """Return the sds of d, c, log b, a, ``(*, K, 4)``."""
        baseline = torch.full_like(learned[0], self.vertex_priors.baseline)
        return torch.stack([baseline, *learned], -1)

    def init_values(self, visits: Visits, seed: int = 0) -> dict[str, Tensor]:
        """Return starting values of every site but Z, by principal component and k-means."""
        rng = np.random.default_rng(seed)
        if isinstance(visits, MeshVisits):
            start = start_on_mesh(visits, self.n_clusters, rng)
            del start["pi"]
        else:
            start = start_clusters(visits, self.n_clusters, rng)
        if self.scatter:
            start |= {site: np.full(self.n_clusters, 0.2) for site in SCATTER}
        if self.subject_effect:
            zero = np.zeros((visits.n_subjects, self.n_clusters))
            start |= {"rho": np.full(self.n_clusters, 0.2), "u_scaled": zero}
        if self.visit_effect:
            start["tau"] = np.full(self.n_clusters, 0.1)
        else:
            del start["level"]
        if visits.covariates is not None:
            start |= dict.fromkeys(EFFECT_SITES, np.zeros(visits.covariates.shape[1]))
        return {site: torch.as_tensor(number).to(visits.values) for site, number in start.items()}

    def identify(self, draws: Draws, visits: Visits) -> Draws:
        """Bring posterior draws to one gauge and one labelling, clusters in the order of c.

        The deterministic sites log_alpha, stage, alpha, beta, dps and u are added.
        """
        full = with_deterministic(self._sample_mixture, draws, visits, like=visits.values)
        fixed = fix_gauge(full, visits.reference.cpu().numpy())
        return align_labels(fixed, dict.fromkeys(CLUSTER_SITES, 1) | dict.fromkeys((*OFFSET_SITES, "level"), 2))

    def assignments(self, result: Posterior, draws: int = 50) -> NDArray[np.float64]:
        """Return the posterior of Z, ``(vertices, K)``, clusters in the order of their onsets c.

        A vertex that is constant, or was never seen, gets the clusters' shares pi; with the spatial prior, what its
        neighbours say.
        """
        joint = self._log_joint(result, draws)
        return np.asarray(torch.stack([j.softmax(-1) for j in joint]).double().mean(0).cpu())

    def log_likelihood(self, result: Posterior, draws: int = 100) -> NDArray[np.float64]:
        """Return log p(V_l | draw), Z summed out, ``(draws, vertices)``, of the standardised data.

        With the spatial prior, given what the neighbours' q say of Z_l: the terms of leaving one vertex out, which do
        not add up to the bound.
        """
        joint = self._log_joint(result, draws)
        return np.asarray(torch.stack([j.logsumexp(-1) for j in joint]).double().cpu())

    def subject_log_likelihood(self, result: Posterior, draws: int = 100) -> NDArray[np.float64]:
        """Return log p(V_i | V_-i, draw) of each subject, ``(draws, subjects)``, of the standardised data.

        The subject's own speed, stage and offsets are integrated out: see :mod:`neuropyro.models.subject_likelihood`.
        Cost: some hundred times that of the pointwise log-likelihood.
        """
        visits = result.data.to(None, torch.float64)
        posterior = result.posterior(1 if result.is_point else draws)
        terms = []
        for s, mixture in enumerate(self._mixtures(result, draws)):
            draw = {site: torch.tensor(x[s]).to(visits.values) for site, x in posterior.items()}
            scatter = self._scatter([draw[site] for site in SCATTER]) if self.scatter else None
            population, own = population_of(draw, scatter)
            if self.spatial is not None:
                each = mixture.log_likelihood(result.data.values, result.data)
                population = replace(population, share=self._log_shares(mixture, each, result.data).exp().to(own))
            terms.append(subject_terms(population, own, visits, seed=s))
        return np.asarray(torch.stack(terms).double().cpu())

    def personalize(self, result: Posterior, cohort: Cohort, draws: int = 100) -> Personalized:
        """Place subjects, new ones or those that were fitted, on the course that was learned.

        Parameters
        ----------
        result
            A fit of this model.
        cohort
            Maps of the same vertices, in the unit of the cohort that was fitted.
        draws
            Of each subject's latents, spread evenly over draws of the course.

        Raises
        ------
        CohortError
            Where the cohort has other vertices.
        """
        visits = visits_like(result.data, cohort).to(None, torch.float64)
        courses = 1 if result.is_point else min(draws, COURSES)
        each = -(-draws // courses)
        with torch.random.fork_rng():
            torch.manual_seed(result.seed)
            parts = [draw_subjects(course, visits, each) for course in self._courses(result, courses)]
        return gathered(parts)

    def _courses(self, result: Posterior, draws: int) -> Iterator[Course]:
        """Yield what new subjects share with the fitted ones, in double precision, under one draw after the other."""
        posterior = result.posterior(draws)
        for s, mixture in enumerate(self._mixtures(result, draws)):
            draw = {site: torch.tensor(x[s]).to(mixture.loc).double() for site, x in posterior.items()}
            joint = self._log_joint_of(mixture, result.data)
            z, own = draw_vertices(joint, mixture.loc, mixture.factor, mixture.sigma, result.data)
            yield Course(
                theta=Trajectories(*(draw[name] for name in Trajectories._fields)),
                scatter=self._scatter([draw[site] for site in SCATTER]) if self.scatter else None,
                sigma=draw["sigma"],
                rho=draw["rho"] if self.subject_effect else None,
                spread=level_sd(draw["tau"], draw["sigma"], result.data) if self.visit_effect else None,
                scores=torch.stack([draw[site] for site in SCORE_GLOBALS]),
                effects=effects_of(draw),
                label=z,
                own=None if own is None else own.double(),
            )

    def replicates(self, result: Posterior, draws: int = 100) -> Iterator[dict[str, Tensor]]:
        """Yield data like the data, one posterior draw after the other: the same vertices with new noise."""
        for mixture in self._mixtures(result, draws):
            joint = self._log_joint_of(mixture, result.data)
            drawn = replicate_vertices(joint, mixture.loc, mixture.factor, mixture.sigma, result.data)
            yield {"V": drawn}

    def _log_joint(self, result: Posterior, draws: int) -> Iterator[Tensor]:
        """Yield log p(V_l, Z_l = k) of one draw after the other, ``(vertices, K)``."""
        for mixture in self._mixtures(result, draws):
            yield self._log_joint_of(mixture, result.data)

    def _log_joint_of(self, mixture: Mixture, visits: Visits) -> Tensor:
        each = mixture.log_likelihood(visits.values, visits)
        return each + self._log_shares(mixture, each, visits)

    def _log_shares(self, mixture: Mixture, each: Tensor, visits: Visits) -> Tensor:
        """Return the log of the clusters' shares ``(K,)``, or of what a vertex's neighbours leave them, ``(L, K)``."""
        if mixture.coupling is None or not isinstance(visits, MeshVisits):
            return mixture.share.log()
        return visits.prior.log_shares(each, mixture.coupling)

    def _mixtures(self, result: Posterior, draws: int) -> Iterator[Mixture]:
        """Yield the clusters under one draw after the other; a point is one draw."""
        visits: Visits = result.data
        posterior = result.posterior(1 if result.is_point else draws)
        for s in range(len(posterior["pi"])):
            draw = {site: torch.tensor(x[s]).to(visits.values) for site, x in posterior.items()}
            theta = Trajectories(*(draw[name] for name in Trajectories._fields))
            scatter = self._scatter([draw[site] for site in SCATTER]) if self.scatter else None
            offset = draw["u"].mT if self.subject_effect else None
            loc, factor = curves(visits, draw["dps"], theta, scatter, offset)
            loc = draw["level"].mT if self.visit_effect else loc
            yield Mixture(draw["pi"], loc, factor, draw["sigma"], draw.get("coupling"))
