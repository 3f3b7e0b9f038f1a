"""The residual's covariance that a generator's card keeps, of whichever kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from neuropyro.generators.residual_conditionals import ConditionalSpread
from neuropyro.generators.residuals import ResidualCovariance, ResidualSpread

__all__ = ["chosen_residual", "residual_in", "residual_of_card"]


def residual_in(arrays: Mapping[str, Tensor]) -> ResidualCovariance | None:
    """Read the more detailed of those among ``arrays``; None where there is none.

    Examples
    --------
    >>> spread = ResidualSpread(sd=torch.full((1, 4, 4), 0.1), power=torch.tensor([1.5, 0.5]))
    >>> residual_in(spread.to_arrays()).power, residual_in({}) is None
    (tensor([1.5000, 0.5000]), True)
    """
    return ConditionalSpread.from_arrays(arrays) or ResidualSpread.from_arrays(arrays)


def residual_of_card(card: Any) -> ResidualCovariance | None:
    """Read it from a generator's card; None where the card has none, or there is no card.

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> residual_of_card(load_generator("brains64").card).sd.shape
    torch.Size([1, 64, 64])
    """
    return residual_in(getattr(card, "arrays", {}))


def chosen_residual(given: ResidualCovariance | Literal["card"] | None, generator: Any) -> ResidualCovariance | None:
    """Return the covariance that is ``given``, or the one of the generator's card.

    Raises
    ------
    ValueError
        Where it is another word.

    Examples
    --------
    >>> chosen_residual("none", generator=None)
    Traceback (most recent call last):
        ...
    ValueError: reconstruction: the residual is a ResidualSpread, 'card' or None, got 'none'
    """
    if not isinstance(given, str):
        return given
    if given != "card":
        raise ValueError(f"reconstruction: the residual is a ResidualSpread, 'card' or None, got {given!r}")
    return residual_of_card(getattr(generator, "card", None))
