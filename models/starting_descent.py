"""Several starts at once: their free numbers side by side, and steps down a loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Start", "Values", "descend", "one_of", "stacked"]

Start = dict[str, NDArray[np.float64]]
Values = dict[str, Tensor]


def descend(
    loss: Callable[[Values], Tensor], values: Values, steps: int, rate: float, last_rate: float | None = None
) -> Values:
    """Return the numbers after some steps of Adam.

    Parameters
    ----------
    loss
        Of each start, ``(starts,)``.
    values
        ``(starts, *)`` each.
    steps
        How many.
    rate, last_rate
        Learning rate, which falls to the last along a cosine; or stays.

    Examples
    --------
    >>> starts = {"x": torch.tensor([[-5.0], [20.0]])}  # two starts of one number each
    >>> descend(lambda v: (v["x"] - 3).square().sum(-1), starts, 200, rate=1.0, last_rate=0.01)["x"].round(decimals=2)
    tensor([[3.],
            [3.]])
    """
    # One tensor, since Adam costs as much for every one of them as for all numbers in it.
    flat = torch.cat([value.detach().reshape(len(value), -1) for value in values.values()], 1).requires_grad_()
    sizes = [value[0].numel() for value in values.values()]

    def found() -> Values:
        parts = zip(values, torch.split(flat, sizes, 1), strict=True)
        return {name: part.reshape(values[name].shape) for name, part in parts}

    optimiser = torch.optim.Adam([flat], rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps, rate if last_rate is None else last_rate)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(found()).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        falling.step()
    return {name: value.detach() for name, value in found().items()}


def stacked(starts: list[Values]) -> Values:
    """Return several starts as one, their numbers along the first axis.

    Examples
    --------
    >>> stacked([{"c": torch.tensor([0.0, 1.0])}, {"c": torch.tensor([2.0, 3.0])}])
    {'c': tensor([[0., 1.],
            [2., 3.]])}
    """
    return {name: torch.stack([start[name] for start in starts]) for name in starts[0]}


def one_of(values: Values, which: int) -> Values:
    """Return one of several starts.

    Examples
    --------
    >>> one_of({"c": torch.tensor([[0.0, 1.0], [2.0, 3.0]])}, 1)
    {'c': tensor([2., 3.])}
    """
    return {name: value[which].detach() for name, value in values.items()}
