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
   V_l \mid Z_l = k &\sim \textstyle\sum_m w_m\,
      \mathrm{Normal}(F_k + \delta_{km},\; \sigma_k^2 I + J_{km} J_{km}^\top).

A vertex's own theta_l ~ Normal(theta_k, T_k), of b a power that is learned (:mod:`neuropyro.models.speed_law`), is
integrated out about seven nodes, of which the m-th has courses that depart by delta_km from their mean F_k, and
averaged derivatives J_km by (d, c, log b, a) (:mod:`neuropyro.models.scatter_nodes`; ``scatter``).  The baseline d_l is
left free: its sd is fixed and wide.
Without scatter and subject effects it is the model of the paper.  u_ik is sampled in units of its own sd given all else
(:mod:`neuropyro.models.offsets`).  A visit may have an effect on a cluster as well, and then the cluster's level m_nk
takes F_nk's place (:mod:`neuropyro.models.visit_effects`); and a subject may differ lastingly at every single vertex,
which adds omega_k^2 to the covariance of its visits (:mod:`neuropyro.models.vertex_effects`).  What all subjects age by
may be told apart from what they progress by (:mod:`neuropyro.models.ageing`): F_nk then has gamma_k (t_n - t_0).
Z is enumerated: p(V) = prod_l sum_k pi_k p(V_l | k), and no guide ever sees it.  Where labels are known, it is observed
(:mod:`neuropyro.models.labelled`).  Where residuals are smooth over the surface, the factors of vertices have a power
w (``vertex_weight``), for fewer independent ones would say as much (:mod:`neuropyro.models.effective_vertices`).

Sites: those of :func:`~neuropyro.models.scores.sample_scores`; ``pi (K,)``; in a plate ``cluster``, ``a, b, c, d,
sigma (K,)``, and with their switches ``scatter_c, scatter_log_b, scatter_a, power_b, rho, tau, omega, ageing (K,)``;
in a plate ``subject``, ``u_scaled (subjects, K)`` with ``u`` deterministic; in a plate ``visit``, ``level (visits,
K)``; in a plate ``vertex``, ``Z`` and the data ``V (vertices, visits)``.  With the spatial prior
(:mod:`neuropyro.models.spatial`) there is no Z, the site ``coupling`` (a scalar) is added, and pi is fixed at equal
shares.
Units: a, d, sigma, rho, tau, omega and scatter_a in sds of a vertex, ageing (gamma) in these a year, c and scatter_c in
scores, b per score.

References
----------
Marinescu et al., "DIVE: A spatiotemporal progression model of brain pathology in neurodegenerative disorders",
NeuroImage 2019.  Scatter and the effects of subjects, visits and vertices are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from numpy.typing import NDArray
from pyro import poutine
from torch import Tensor

from neuropyro.data import Cohort, CohortError, Mesh
from neuropyro.models.ageing import aged
from neuropyro.models.covariates import EFFECT_SITES, named_covariates
from neuropyro.models.deterministic import with_deterministic
from neuropyro.models.effective_vertices import estimated_weight
from neuropyro.models.labelled import LabelledMixture, LabelledVisits, checked_labels, with_labels
from neuropyro.models.labelling import align_labels
from neuropyro.models.mixture import Mixture, curves
from neuropyro.models.offset_centring import OffsetCentring
from neuropyro.models.offsets import OFFSET_SITES, sample_offset, with_offsets, without_offsets
from neuropyro.models.priors import log_normal, normal
from neuropyro.models.scores import SCORE_DIMS, Draws, ScorePriors, fix_gauge, sample_scores
from neuropyro.models.site_units import CLUSTER_UNITS, SCORE_UNITS
from neuropyro.models.spatial import MeshVisits, PottsMixture, on_mesh
from neuropyro.models.spatial_start import start_on_mesh
from neuropyro.models.starting_choice import likeliest
from neuropyro.models.starting_controls import with_controls
from neuropyro.models.starting_values import start_clusters, start_labelled
from neuropyro.models.trajectory import TrajectoryPriors, sample_trajectories
from neuropyro.models.vertex_answers import VertexAnswers
from neuropyro.models.vertex_priors import CLUSTER_SITES, POWER, SCATTER, VertexPriors
from neuropyro.models.visit_contract import OfVisits
from neuropyro.models.visit_effects import level_sd, offset_information, sample_levels
from neuropyro.models.visit_parts import curvature_part, rough_part
from neuropyro.models.visits import Standardise, Visits, prepare_visits

__all__ = ["VertexClusterMixture"]

STARTING_SCATTER = 0.2


@dataclass(frozen=True)
class VertexClusterMixture(VertexAnswers, OfVisits):
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
    vertex_effect
        Whether a subject lastingly differs at each single vertex, too: for maps of the cortex, which people keep
        (:mod:`neuropyro.models.vertex_effects`).
    ageing
        Whether all subjects' vertices change with time alone, besides with the progression, a cluster's by so much a
        year: for cohorts of ages at which healthy people's maps change (:mod:`neuropyro.models.ageing`).
    spatial
        ``"potts"``: neighbours on the cohort's mesh tend to be of one cluster (:mod:`neuropyro.models.spatial`).
    covariates
        Names of the cohort's covariates that speed and stage depend on (:mod:`neuropyro.models.covariates`).
    labels
        ``(vertices,)`` the cluster of each vertex, 0 to K - 1, where it is known: an atlas' regions, or
        ``range(n_biomarkers)``.  They keep their numbers.
    vertex_weight
        What a vertex counts for beside independent ones, above 0 and up to 1: the power of its likelihood.  None
        estimates it from how smooth residuals and courses are (:mod:`neuropyro.models.effective_vertices`).
    standardise
        See :func:`~neuropyro.models.standardise.location_and_scale`; vertices are taken to be alike.
    trajectory_priors, score_priors, vertex_priors
        Priors, on standardised data.

    Notes
    -----
    Without ``visit_effect`` and ``vertex_effect`` residuals are taken to be new at every visit and vertex.  Where they
    are smooth over the surface, or people differ in what they keep, vertices are no independent witnesses: scores are
    wrong as well as their intervals too narrow, whichever the guide.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule, fit
    >>> cohort = simulate_reference(n_subjects=15, n_vertices=30, seed=1)
    >>> model = VertexClusterMixture(n_clusters=2)
    >>> result = fit(model, cohort, guide="map", schedule=Schedule(max_steps=50), progress=False)
    >>> model.assignments(result).shape
    (30, 2)
    """

    n_clusters: int
    scatter: bool = True
    subject_effect: bool = True
    visit_effect: bool = False
    vertex_effect: bool = False
    ageing: bool = False
    spatial: Literal["potts"] | None = None
    covariates: tuple[str, ...] = ()
    labels: tuple[int, ...] | None = None
    vertex_weight: float | None = None
    standardise: Standardise = "controls"
    trajectory_priors: TrajectoryPriors = TrajectoryPriors()  # noqa: RUF009 (frozen)
    score_priors: ScorePriors = ScorePriors()  # noqa: RUF009 (frozen)
    vertex_priors: VertexPriors = VertexPriors()  # noqa: RUF009 (frozen)

    default_guide: ClassVar[str] = "structured"
    population_sites: ClassVar[tuple[str, ...]] = ("log_alpha_sd", "beta_sd", "correlation", "control_sd")
    # Scatter too: free to grow before scores are right, it takes what they leave, and the fit stays where it is wrong.
    scale_sites: ClassVar[tuple[str, ...]] = ("log_alpha_sd", "beta_sd", "control_sd", "rho", "tau", "omega", *SCATTER)
    dims: ClassVar[dict[str, tuple[str, ...]]] = {
        **SCORE_DIMS,
        **dict.fromkeys(CLUSTER_SITES, ("cluster",)),
        **dict.fromkeys(OFFSET_SITES, ("subject", "cluster")),
        "level": ("visit", "cluster"),
        "V": ("vertex", "visit"),
    }
    units: ClassVar[dict[str, str]] = SCORE_UNITS | CLUSTER_UNITS

    def __post_init__(self) -> None:
        object.__setattr__(self, "covariates", named_covariates(self.covariates))
        if not isinstance(self.n_clusters, int | np.integer) or self.n_clusters < 1:
            raise ValueError(f"n_clusters is {self.n_clusters!r}; give 1 or more, a whole number")
        if self.spatial not in (None, "potts"):
            raise ValueError(f'spatial is {self.spatial!r}; give "potts" or None')
        if self.vertex_weight is not None and not 0 < self.vertex_weight <= 1:
            raise ValueError(f"vertex_weight is {self.vertex_weight:g}; give more than 0, and at most 1")
        if self.labels is not None:
            if self.spatial is not None:
                raise ValueError("labels and spatial: known labels need no spatial prior; give one of the two")
            object.__setattr__(self, "labels", checked_labels(self.labels, self.n_clusters))

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
        alike = self.labels is None or len(self.labels) > self.n_clusters  # else they are biomarkers of all kinds
        visits = prepare_visits(cohort, self.standardise, device, dtype, alike, self.covariates)
        visits = replace(visits, weight=self._weight(visits, cohort.mesh)) if alike else visits
        visits = visits.with_subject_sums() if self.vertex_effect else visits
        varying = int(visits.is_informative.sum())
        if varying < self.n_clusters:
            raise CohortError(
                f"values: {varying} of {cohort.n_vertices} vertices vary over visits, too few for "
                f"{self.n_clusters} clusters; ask for fewer clusters"
            )
        if self.labels is not None:
            return with_labels(visits, self.labels)
        return visits if self.spatial is None else on_mesh(visits, cohort.mesh, self.n_clusters)

    def _weight(self, visits: Visits, mesh: Mesh | None) -> float:
        return estimated_weight(visits, mesh) if self.vertex_weight is None else self.vertex_weight

    def __call__(self, visits: Visits | Cohort) -> None:
        """Run the generative story, conditioned on the visits' values."""
        visits = self.prepare(visits) if isinstance(visits, Cohort) else visits
        mixture = self._sample_mixture(visits)
        if self.spatial is not None:
            with poutine.scale(scale=visits.weight):
                pyro.sample("V", PottsMixture(mixture, visits), obs=visits.values)
            return
        shares = dist.Categorical(mixture.share.unsqueeze(-2))
        with poutine.scale(scale=visits.weight), pyro.plate("vertex", visits.n_vertices, dim=-1):
            if isinstance(visits, LabelledVisits):
                pyro.sample("Z", shares, obs=visits.label)
                pyro.sample("V", LabelledMixture(mixture, visits), obs=visits.values)
            else:
                z = pyro.sample("Z", shares, infer={"enumerate": "parallel"})
                pyro.sample("V", mixture.of_vertices(z, visits), obs=visits.values)

    def _sample_mixture(self, visits: Visits) -> Mixture:
        """Run the story up to the vertices."""
        like, priors = visits.values, self.vertex_priors
        pi, coupling = self._sample_labels_prior(like)
        clusters = pyro.plate("cluster", self.n_clusters, dim=-1)
        with clusters:
            theta, sigma = sample_trajectories(self.trajectory_priors, like)
            sds = [pyro.sample(site, log_normal(priors.scatter, like)) for site in SCATTER] if self.scatter else []
            rho = pyro.sample("rho", log_normal(priors.rho, like)) if self.subject_effect else None
            tau = pyro.sample("tau", log_normal(priors.tau, like)) if self.visit_effect else None
            omega = pyro.sample("omega", log_normal(priors.omega, like)) if self.vertex_effect else None
            ageing = pyro.sample("ageing", normal(priors.ageing, like)) if self.ageing else None
        share = pi.reshape(sigma.shape) if self.spatial is None else pi.expand(sigma.shape)
        subjects = pyro.plate("subject", visits.n_subjects, dim=-1)
        scores = sample_scores(self.score_priors, visits, subjects)
        with clusters:
            power = [pyro.sample(POWER, normal(priors.power, like))] if self.scatter else []
        scatter = priors.scatter_law([*sds, *power]) if self.scatter else None
        spread = level_sd(tau, sigma, visits)
        loc, nodes = curves(scores, theta, scatter)
        loc = loc if ageing is None else loc + aged(ageing, visits.years)
        if rho is not None:
            rise = loc if scatter is None else loc - loc.mean(-1, keepdim=True)
            loc = loc + sample_offset(rho, offset_information(spread, visits), rise, visits, subjects)
        level = loc if tau is None else sample_levels(loc, spread, visits)
        return Mixture(share, level, nodes, sigma, coupling, omega)

    def rough(self, visits: Visits) -> Visits | None:
        """Return part of the data, by which the mode is looked for, or None: :mod:`neuropyro.models.visit_parts`."""
        return rough_part(visits)

    def curvature_part(self, visits: Visits) -> Visits | None:
        """Return part of the data for the posterior's curvature, or None: :mod:`neuropyro.models.visit_parts`."""
        return curvature_part(visits)

    def coords(self, visits: Visits) -> dict[str, NDArray[Any]]:
        """Return names along axes: clusters count from 1, as in tables and maps, or are biomarkers alone in them."""
        own = super().coords(visits)
        alone = self.labels == tuple(range(visits.n_vertices)) and self.column in own
        return own | {"cluster": own[self.column] if alone else np.arange(1, self.n_clusters + 1)}

    def offset_centring(self, visits: Visits) -> OffsetCentring | None:
        """Return how guides see subjects' offsets; None without them."""

        def information(values: Mapping[str, Tensor]) -> Tensor:
            return offset_information(level_sd(values.get("tau"), values["sigma"], visits), visits)

        return OffsetCentring(visits, self._sample_mixture, information) if self.subject_effect else None

    def _sample_labels_prior(self, like: Tensor) -> tuple[Tensor, Tensor | None]:
        """Sample the clusters' shares ``(*, 1 or none, K)``, or the coupling where all labels are alike."""
        equal = like.new_full((self.n_clusters,), 1 / self.n_clusters)
        if self.spatial is None:
            return pyro.sample("pi", dist.Dirichlet(self.vertex_priors.pi * self.n_clusters * equal)), None
        coupling = pyro.sample("coupling", log_normal(self.vertex_priors.coupling, like))
        return pyro.deterministic("pi", equal, event_dim=1), coupling

    def init_values(self, visits: Visits, seed: int = 0) -> dict[str, Tensor]:
        """Return starting values of every site but Z, by principal components."""
        rng, spread = np.random.default_rng(seed), STARTING_SCATTER if self.scatter else 0.0
        if isinstance(visits, MeshVisits):
            starts = start_on_mesh(visits, self.n_clusters, rng, spread)
        elif isinstance(visits, LabelledVisits):
            starts = start_labelled(visits, visits.label, spread)
        else:
            starts = start_clusters(visits, self.n_clusters, rng, spread)
        return likeliest(self, visits, [self._complete(visits, start) for start in starts])

    def _complete(self, visits: Visits, start: dict[str, NDArray[np.float64]]) -> dict[str, Tensor]:
        """Add the sites that starts lack, and leave out those that the model lacks."""
        start = with_controls(start, visits)
        if self.scatter:
            scatter = {site: np.full(self.n_clusters, STARTING_SCATTER) for site in SCATTER}
            start = scatter | {POWER: np.full(self.n_clusters, self.vertex_priors.power[0])} | start
        if not self.visit_effect:
            del start["tau"], start["level"]
        if self.spatial is not None:
            del start["pi"]
        if visits.covariates is not None:
            start |= dict.fromkeys(EFFECT_SITES, np.zeros(visits.covariates.shape[1]))
        if self.ageing:
            start |= {"ageing": np.zeros(self.n_clusters)}
        sites = {site: torch.as_tensor(number).to(visits.values) for site, number in start.items()}
        return with_offsets(self._sample_mixture, visits, sites) if self.subject_effect else without_offsets(sites)

    def identify(self, draws: Draws, visits: Visits) -> Draws:
        """Bring posterior draws to one gauge and one labelling, clusters in the order of c; known labels stay.

        The deterministic sites log_alpha, stage, alpha, beta, dps and u are added.
        """
        full = with_deterministic(self._sample_mixture, draws, visits, like=visits.values)
        fixed = fix_gauge(full, visits.reference.cpu().numpy())
        if self.labels is not None:
            return fixed
        return align_labels(fixed, dict.fromkeys(CLUSTER_SITES, 1) | dict.fromkeys((*OFFSET_SITES, "level"), 2))
