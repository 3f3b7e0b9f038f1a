"""The residual's covariance that a generator's card keeps, of whichever kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from neuropyro.generators.residual_conditionals import ConditionalSpread
from neuropyro.generators.residuals import ResidualCovariance, ResidualSpread

__all__ = ["residual_in", "residual_of_card"]


def residual_in(arrays: Mapping[str, Tensor]) -> ResidualCovariance | None:
    """Read the more detailed of those among ``arrays``; None where there is none."""
    return ConditionalSpread.from_arrays(arrays) or ResidualSpread.from_arrays(arrays)


def residual_of_card(card: Any) -> ResidualCovariance | None:
    """Read it from a generator's card; None where the card has none, or there is no card."""
    return residual_in(getattr(card, "arrays", {}))
