r"""Fitted mechanisms: what DIVE has learned of a real cohort, in the place of the simulator's choices.

From a fit of :class:`~neuropyro.models.vertex_clusters.VertexClusterMixture`, posterior means being taken for the
truth: a vertex of cluster k follows the cluster's trajectory on its own scale,

.. math::  m_l = \mathrm{location}_l + \mathrm{scale}_l d_k, \quad a_l = \mathrm{scale}_l a_k, \quad b_l = b_k, \quad
   c_l = c_k,

and log speed and onset are the fitted population's, onset given speed being normal.  Of the years from the fitted
cohort's mean time to a subject's entry that share counts which the fit has learned (there of the subject's mean time).
Vertices age as the fit says, if it was made with ageing, or else not unless that is given; genes and education act only
as far as the fit had them as covariates, by the names of the simulator's nodes.

Examples
--------
>>> from neuropyro.data import simulate_cohort
>>> from neuropyro.inference import Schedule, fit
>>> from neuropyro.models import AnatomySimulator, VertexClusterMixture
>>> from neuropyro.models.anatomy_fitted import fitted_progression, fitted_thickness
>>> from neuropyro.data import cortex_mesh
>>> whole = cortex_mesh()
>>> near = ((whole.coordinates - whole.coordinates[0]) ** 2).sum(1) < 12.0**2  # a patch of 12 mm about a vertex
>>> mesh = whole.subset(near.nonzero()[0])
>>> cohort = simulate_cohort(12, 3, 1, mesh=mesh, seed=1)
>>> model = VertexClusterMixture(n_clusters=1)
>>> result = fit(model, cohort, guide="map", schedule=Schedule(max_steps=2), progress=False)
>>> sim = AnatomySimulator(thickness=fitted_thickness(model, result, mesh), **fitted_progression(result))
>>> sim.simulate(3, 2, images=False).n_vertices == mesh.n_vertices
True
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuropyro.data import Mesh
from neuropyro.models.anatomy_defaults import ScoreLine
from neuropyro.models.anatomy_fields import SmoothField
from neuropyro.models.anatomy_mechanism import Linear, ScalarMechanism
from neuropyro.models.anatomy_mechanisms import Function, Gaussian, positive
from neuropyro.models.anatomy_thickness import ORIGIN, Thickness
from neuropyro.models.covariates import CovariateEffects, reported_effects
from neuropyro.models.posterior import Posterior
from neuropyro.models.scores import marginal_scores
from neuropyro.models.vertex_clusters import VertexClusterMixture

__all__ = ["fitted_progression", "fitted_thickness"]

LEAST_SD = 1e-3  # of an effect that the fitted model does not have


def fitted_thickness(
    model: VertexClusterMixture, result: Posterior, mesh: Mesh, ageing: float = 0.0, draws: int = 200
) -> Thickness:
    """Return the mechanism from scores to maps that a fit has found.

    Parameters
    ----------
    model, result
        DIVE, and its fit.
    mesh
        Of the cohort that was fitted, with coordinates.
    ageing
        mm a year by which vertices thin, everywhere, beyond what the fit itself knows of ageing: what the maps were
        adjusted for.
    draws
        Of the posterior, which means are taken of.

    Raises
    ------
    ValueError
        Where the mesh is of other vertices.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> sites = {"a": -2.0, "b": 1.0, "c": 0.0, "d": 0.5, "sigma": 0.5}  # of one cluster
    >>> data = SimpleNamespace(location=torch.tensor([2.5, 3.0]), scale=torch.tensor([0.1, 0.2]), origin=70.0)
    >>> result = SimpleNamespace(data=data, posterior=lambda _: {s: np.full((3, 1), x) for s, x in sites.items()})
    >>> model = SimpleNamespace(assignments=lambda result: np.ones((2, 1)))
    >>> mesh = Mesh(2, edges=[[0, 1]], coordinates=[[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
    >>> thickness = fitted_thickness(model, result, mesh)
    >>> thickness.baseline, thickness.a  # mm: location + scale d, scale a
    (tensor([2.5500, 3.1000]), tensor([-0.2000, -0.4000]))
    """
    location, scale = (np.asarray(x.double().cpu()) for x in (result.data.location, result.data.scale))
    if mesh.n_vertices != len(location):
        raise ValueError(f"mesh: {mesh.n_vertices} vertices, but the fit has {len(location)}")
    label = model.assignments(result).argmax(1)
    mean = {site: x.mean(0) for site, x in result.posterior(draws).items()}

    def spread(*sites: str) -> float:
        """Root mean square over vertices of the clusters' sds, in the data's unit."""
        variance = sum(float(((scale * mean[site][label]) ** 2).mean()) for site in sites if site in mean)
        return max(math.sqrt(variance), LEAST_SD)

    a, b, c, d = (mean[site][label] for site in "abcd")
    grows = scale * mean["ageing"][label] if "ageing" in mean else np.zeros(len(location))  # a year
    baseline = location + scale * d + grows * (ORIGIN - float(result.data.origin))
    arrays = {"baseline": baseline, "a": scale * a, "b": b, "c": c, "ageing": ageing - grows}
    known: dict[str, Any] = {name: torch.as_tensor(x, dtype=torch.float32) for name, x in arrays.items()}
    known |= {"subject_sd": spread("rho", "omega"), "visit_sd": spread("tau"), "white_sd": spread("sigma")}
    return Thickness(field=SmoothField.on_mesh(mesh), mesh=mesh, labels=label, **known)


def fitted_progression(result: Posterior, draws: int = 200) -> dict[str, ScalarMechanism]:
    """Return the mechanisms ``alpha``, ``beta`` and ``dps`` of the population that a fit of DIVE has found.

    Parameters
    ----------
    result
        A fit of DIVE; covariates that it had are causes here, and have to be nodes of the simulator.
    draws
        Of the posterior, which means are taken of.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> sites = {"log_alpha_mean": -1.5, "log_alpha_sd": 0.4, "beta_mean": 0.7, "beta_sd": 1.0, "correlation": 0.6}
    >>> sites |= {"time_share": 0.3}
    >>> data = SimpleNamespace(origin=torch.tensor(72.0), coding=None, controls=None)
    >>> result = SimpleNamespace(data=data, posterior=lambda _: {s: np.full(3, x) for s, x in sites.items()})
    >>> mechanisms = fitted_progression(result)
    >>> round(mechanisms["beta"].sd, 6), mechanisms["dps"].function  # of onset given speed: sqrt(1 - .6^2)
    (0.8, ScoreLine(origin=72.0, share=0.3))
    """
    posterior = result.posterior(draws)
    mean = {site: float(x.mean()) for site, x in posterior.items() if x.ndim == 1}
    known = {site: torch.tensor(x, dtype=torch.float64) for site, x in mean.items()}
    mean_a, sd_a, mean_b, sd_b, rho, share = marginal_scores(known, result.data).tolist()
    speed, onset = Linear(mean_a), Linear(mean_b)
    if result.data.coding is not None:
        effects = reported_effects(result.data.coding, posterior)
        speed = _effects(speed.intercept, effects, effects.log_alpha)
        onset = _effects(onset.intercept, effects, effects.beta)
    given_speed = _OnsetGivenSpeed(onset, speed, rho * sd_b / sd_a)
    return {
        "alpha": Gaussian(speed, sd_a, "subject", positive()),
        "beta": Gaussian(given_speed, sd_b * max(1 - rho**2, 1e-6) ** 0.5, "subject"),
        "dps": Function(ScoreLine(float(result.data.origin), share)),
    }


@dataclass(frozen=True)
class _OnsetGivenSpeed:
    """Expected beta: linear in covariates, and in what log alpha departs by from its own expectation."""

    onset: Linear
    speed: Linear
    slope: float

    @property
    def parents(self) -> tuple[str, ...]:
        """Speed and covariates."""
        return ("alpha", *self.speed.parents)

    def __call__(self, alpha: torch.Tensor, **covariates: torch.Tensor) -> torch.Tensor:
        """Evaluate it."""
        return self.onset(**covariates) + self.slope * (alpha.log() - self.speed(**covariates))


def _effects(middle: float, effects: CovariateEffects, draws: NDArray[np.float64]) -> Linear:
    """Return a mean of ``middle`` at the covariates' centre, moved by their effects ``draws (draws, C)``."""
    slopes = draws.mean(0)
    named = {term: float(slope) for term, slope in zip(effects.terms, slopes, strict=True)}
    return Linear(middle - float(effects.centre @ slopes), **named)
