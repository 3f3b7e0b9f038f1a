"""Subjects' places, centred as far as data know each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from neuropyro.models.scores import place_law
from neuropyro.models.visits import Visits

__all__ = ["PlaceCentring"]


@dataclass(frozen=True, eq=False)
class PlaceCentring:
    """What :mod:`neuropyro.guides.centring` has to know of the site ``place``.

    Parameters
    ----------
    visits
        When subjects were seen, and their covariates.
    """

    visits: Visits

    site: ClassVar[str] = "place"

    def centred(self, values: Mapping[str, Tensor], share: Tensor) -> Tensor:
        """Return centred places of sampled ones, ``(*, subjects, 2)``."""
        return place_law(values, self.visits).centred(values[self.site], share)

    def sampled(self, values: Mapping[str, Tensor], share: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sampled places of centred ones, and the log-volume of that ``(*, subjects)``."""
        return place_law(values, self.visits).sampled(values[self.site], share)
