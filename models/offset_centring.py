r"""Offsets as guides see them: beside the curves that they were offsets from where the guide starts.

What is sampled (:mod:`neuropyro.models.offsets`) has the mean p w times that of the subject's data: where data know
less of an offset than its prior does, that moves with rho, and in proportion to how far the subject's values are from
0.  With f^0 the curves at the start, guides see

.. math::  u^\mathrm{scaled}_{ik} - p_{ik} w_{ik} f^0_{ik},

whose mean is p w times what the data differ by from f^0: hardly more than its sd, and about 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neuropyro.models.offsets import law_of_offsets
from neuropyro.models.visits import Visits

__all__ = ["OffsetCentring"]


@dataclass(frozen=True, eq=False)
class OffsetCentring:
    """What a guide has to know of the site ``u_scaled``.

    Parameters
    ----------
    visits
        When subjects were seen.
    story
        The program up to the offsets.
    information
        The precision ``(*, K, visits)`` at which a visit determines an offset, given the values of all sites.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import simulate_prior
    >>> from neuropyro.models import SubjectProgression
    >>> model = SubjectProgression()
    >>> simulated = simulate_prior(model, simulate_reference(n_subjects=6, n_vertices=2), seed=0)
    >>> values = {site: torch.tensor(simulated.truth[site]) for site in simulated.sampled}
    >>> values |= {"a": torch.zeros(2), "d": torch.tensor([1.0, -2.0])}  # flat curves
    >>> model.offset_centring(simulated.data).curves(values)[:2].round(decimals=3)  # those of two subjects
    tensor([[ 1., -2.],
            [ 1., -2.]])
    """

    visits: Visits
    story: Callable[[Visits], Any]
    information: Callable[[Mapping[str, Tensor]], Tensor]

    def curves(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return f ``(subjects, K)`` where sites have these values; 0 where a subject says nothing."""
        mean = law_of_offsets(self.story, self.visits, values).loc
        return torch.nan_to_num(mean / self._weight(values), nan=0.0, posinf=0.0, neginf=0.0)

    def moved(self, values: Mapping[str, Tensor], curves: Tensor) -> Tensor:
        """Return how far what is seen lies from what is sampled, ``(*, subjects, K)``."""
        return self._weight(values) * curves

    def _weight(self, values: Mapping[str, Tensor]) -> Tensor:
        """Return p w."""
        known = self.visits.sum_of_subject(self.information(values)).mT
        return known / (values["rho"].unsqueeze(-2).pow(-2) + known).sqrt()
