r"""Scores as guides see them: in units of their population, and subjects' places centred as far as data know each.

The zero of scores and their unit are a matter of priors alone: shifted and stretched together, subjects' scores and all
that is measured in scores say the same of the data.  Were each seen by itself, a hundred numbers would have to move
along exactly whenever the population's mean or sd moves, and in proportion to each other, which no linear coupling is:
a guide would be far too sure of both.  With mu and tau those of beta, guides see

.. math::  (c - \mu) / \tau, \quad b \tau, \quad \sigma_c / \tau, \quad m_\alpha - \log \tau, \quad \zeta / \tau

in the places of c, b, scatter_c, log_alpha_mean and effect_beta; of mu and tau themselves data then say nothing.
Places have the same units already (:mod:`neuropyro.models.subject_place`), and are centred in these.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from neuropyro.models.offset_centring import OffsetCentring
from neuropyro.models.scores import place_law
from neuropyro.models.subject_place import SubjectPlace
from neuropyro.models.visits import Visits

__all__ = ["PopulationUnits"]

POWERS = {"c": 1, "b": -1, "scatter_c": 1, "effect_beta": 1}  # of the unit of scores


@dataclass(frozen=True, eq=False)
class PopulationUnits:
    """What :mod:`neuropyro.guides.centring` has to know of the sites that are measured in scores.

    Parameters
    ----------
    visits
        When subjects were seen, and their covariates.
    offsets
        Of subjects' offsets, where the model has such.

    Examples
    --------
    >>> import numpy as np
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.scores import SCORE_GLOBALS
    >>> from neuropyro.models.visits import prepare_visits
    >>> units = PopulationUnits(prepare_visits(Cohort(np.array([[0.0], [1.0]]), [70.0, 71.0], ["a", "a"]), None))
    >>> values = dict(zip(SCORE_GLOBALS, torch.tensor([0.0, 1.0, 1.0, 2.0, 0.0, 1.0]))) | {"c": torch.tensor([5.0])}
    >>> values["place"], frame = torch.ones(1, 2), {"share": torch.full((1, 2), 0.5)}
    >>> seen = units.centred(values, frame)
    >>> back, _ = units.sampled(values | seen, frame)
    >>> seen["c"], back["c"], back["place"].round(decimals=3)  # (5 - 1) / 2
    (tensor([2.]), tensor([5.]), tensor([[1., 1.]]))
    """

    visits: Visits
    offsets: OffsetCentring | None = None

    site: ClassVar[str] = "place"

    def frame(self, values: Mapping[str, Tensor], share: Tensor) -> dict[str, Tensor]:
        """Return ``share (subjects, 2)``, and where there are offsets ``curves (subjects, K)``."""
        return {"share": share} | ({} if self.offsets is None else {"curves": self.offsets.curves(values)})

    def centred(self, values: Mapping[str, Tensor], frame: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what guides see of sampled values: centred places ``(*, subjects, 2)``, and the rest in its units."""
        unit = values["beta_sd"]
        seen = {name: values[name] / unit**power for name, power in POWERS.items() if name in values}
        seen["c"] = seen["c"] - values["beta_mean"] / unit
        seen["log_alpha_mean"] = values["log_alpha_mean"] - unit.log()
        if self.offsets is not None:
            seen["u_scaled"] = values["u_scaled"] - self.offsets.moved(values, frame["curves"])
        return seen | {"place": self._law({**values, **seen}).centred(values["place"], frame["share"])}

    def sampled(
        self, values: Mapping[str, Tensor], frame: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the sampled values of those seen, and the log-volumes of that, of the sites' batch shapes."""
        unit = values["beta_sd"]
        place, volume = self._law(values).sampled(values["place"], frame["share"])
        known = {name: power for name, power in POWERS.items() if name in values}
        sampled = {name: values[name] * unit**power for name, power in known.items()}
        sampled["c"] = sampled["c"] + values["beta_mean"]
        sampled["log_alpha_mean"] = values["log_alpha_mean"] + unit.log()
        if self.offsets is not None:
            sampled["u_scaled"] = values["u_scaled"] + self.offsets.moved(values, frame["curves"])
        volumes = {name: (power * unit.log()).expand_as(sampled[name]) for name, power in known.items()}
        return sampled | {"place": place}, volumes | {"place": volume}

    def _law(self, seen: Mapping[str, Tensor]) -> SubjectPlace:
        """Return the distribution of places, betas having mean 0 and sd 1."""
        like = seen["beta_sd"]
        return place_law({**seen, "beta_mean": torch.zeros_like(like), "beta_sd": torch.ones_like(like)}, self.visits)
