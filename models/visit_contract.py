"""What every model of visits tells a runner about its data: names, design, measured values, and how to replace them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from neuropyro.models.covariates import CovariateEffects, reported_effects
from neuropyro.models.offset_centring import OffsetCentring
from neuropyro.models.population_units import PopulationUnits
from neuropyro.models.posterior import Posterior
from neuropyro.models.site_units import MEANINGS
from neuropyro.models.visits import Visits

__all__ = ["OfVisits"]

PARTICLES = 8
FEW_VALUES = 500_000  # with fewer, eight draws at once cost about twice what one does

Arrays = dict[str, NDArray[Any]]


class OfVisits:
    """A model whose one observed site is ``V (columns, visits)``, a vertex or biomarker a row of it.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> cohort = Cohort(np.array([[1.0], [np.nan], [3.0]]), time=[60, 61, 70], subject=["a", "a", "b"])
    >>> model, visits = OfVisits(), prepare_visits(cohort, None)
    >>> model.observed_values(model.observe(visits, {"V": [[7, 8, 9]]}))["V"].tolist()  # what is missing stays so
    [[7.0, nan, 9.0]]
    >>> model.coords(visits)["subject"].tolist()
    ['a', 'b']
    """

    column: ClassVar[str] = "vertex"
    """Name of the dimension of vertices or biomarkers."""

    meanings: ClassVar[dict[str, str]] = MEANINGS
    """What each site is, in words."""

    def coords(self, visits: Visits) -> Arrays:
        """Return the cohort's names of subjects and vertices (or biomarkers), where it has them, and of covariates."""
        named = {"subject": visits.names.get("subject"), self.column: visits.names.get("vertex")}
        named["covariate"] = None if visits.coding is None else np.array(visits.coding.terms)
        return {dim: np.asarray(names) for dim, names in named.items() if names is not None}

    def axes_in_words(self, visits: Visits) -> dict[str, str]:
        """Return what axes are called in words, where not by their names: vertices that have names are biomarkers."""
        return {"vertex": "biomarker"} if "vertex" in visits.names else {}

    def centring(self, visits: Visits) -> PopulationUnits:
        """Return how guides see the sites that are measured in scores."""
        return PopulationUnits(visits, self.offset_centring(visits))

    def offset_centring(self, visits: Visits) -> OffsetCentring | None:
        """Return how guides see subjects' offsets; None where the model has none."""
        return None

    def default_particles(self, visits: Visits) -> int:
        """Return how many draws a step of a fit takes: several where a step costs hardly more for it."""
        return PARTICLES if visits.values.numel() <= FEW_VALUES else 1

    def observed_values(self, visits: Visits) -> Arrays:
        """Return the standardised values ``V (columns, visits)``, NaN where missing."""
        values = visits.values.detach().cpu().numpy()
        if visits.observed is not None:
            values = np.where(visits.observed.cpu().numpy() > 0, values, np.nan)
        return {"V": values}

    def constant_data(self, visits: Visits) -> dict[str, tuple[tuple[str, ...], NDArray[Any]]]:
        """Return the design as (dimensions, array): visits' subjects and years, columns' units, standard covariates."""
        design = visits.covariates
        own = {} if design is None else {"covariates": (("subject", "covariate"), design.cpu().numpy())}
        return {
            "subject_index": (("visit",), visits.subject.cpu().numpy()),
            "years": (("visit",), visits.years.cpu().numpy()),
            "is_control": (("visit",), visits.is_control.cpu().numpy()),
            "location": ((self.column,), visits.location.cpu().numpy()),
            "scale": ((self.column,), visits.scale.cpu().numpy()),
            **own,
        }

    def observe(self, visits: Visits, values: Mapping[str, ArrayLike]) -> Visits:
        """Return the visits with other standardised values ``V (columns, visits)``; what is missing stays so.

        Raises
        ------
        ValueError
            Where the values have another shape.
        """
        return visits.with_values(torch.as_tensor(np.asarray(values["V"])))

    def covariate_effects(self, result: Posterior, draws: int = 500) -> CovariateEffects:
        """Return posterior draws of what covariates do to speed and stage, per unit of each covariate.

        Raises
        ------
        ValueError
            Where the fit has no covariates.
        """
        coding = result.data.coding
        if coding is None:
            raise ValueError("covariate_effects: the fit has no covariates; name some: covariates=(...)")
        return reported_effects(coding, result.posterior(draws))
