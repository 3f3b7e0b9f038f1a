r"""What a mechanism is: a node's value as a function of its parents and of noise of its own.

.. math::  x = f(\mathrm{parents}, u), \qquad u \sim \mathrm{Normal}(0, 1) \text{ or } \mathrm{Uniform}(0, 1)

A mechanism of a number can be run three ways: forwards (``value``), as a distribution given the parents (``law``), and
backwards (``abduct``): the noise that must have been where value and parents are known.  A continuous one is inverted;
of a discrete one the noise is known up to an interval, from which it is drawn.

Tensors are ``(*, subjects, 1)`` for what a subject has once and ``(*, subjects, visits)`` for what a visit has anew;
draws come first.  Discrete nodes have the values 0, 1, 2, ... as floating numbers.

References
----------
Pearl, *Causality*, 2nd ed. 2009, section 7.1; Pawlowski, Castro & Glocker, "Deep structural causal models for
tractable counterfactual inference", NeurIPS 2020 (invertible mechanisms).
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

__all__ = ["Level", "Linear", "Mechanism", "Noise", "ScalarMechanism", "Support", "Values", "evaluated", "parents_of"]

Level = Literal["subject", "visit"]
Values = Mapping[str, Tensor]


class Noise(NamedTuple):
    """One exogenous variable: drawn once a subject or once a visit, standard normal or uniform, of a shape."""

    level: Level
    kind: Literal["normal", "uniform"] = "normal"
    shape: tuple[int, ...] = ()


class Support(NamedTuple):
    """Numbers that a node can be: from ``low`` to ``high``, both included, and whole ones alone or any.

    Examples
    --------
    >>> alleles = Support(0, 2, whole=True)
    >>> str(alleles), alleles.holds(torch.tensor([1.0, 1.5, 3.0])).tolist()
    ('a whole number from 0 to 2', [True, False, False])
    """

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False

    def holds(self, values: Tensor) -> Tensor:
        """Whether each value is one of them; NaN is none."""
        inside = (values >= self.low) & (values <= self.high)
        return inside & (values == values.round()) if self.whole else inside

    def __str__(self) -> str:
        """Return which they are."""
        number = f"a {'whole ' * self.whole}number"
        if math.isinf(self.low):
            return number
        return (
            f"{number} from {self.low:g} on"
            if math.isinf(self.high)
            else f"{number} from {self.low:g} to {self.high:g}"
        )


class Mechanism(ABC):
    """How a node comes about.

    Attributes
    ----------
    event_dim
        Dimensions of one value: 0 of a number, 1 of a map, 3 of an image.
    """

    event_dim: ClassVar[int] = 0

    @property
    @abstractmethod
    def parents(self) -> tuple[str, ...]:
        """Names of the nodes that it is a function of."""

    @property
    @abstractmethod
    def noise(self) -> Mapping[str, Noise]:
        """Its exogenous variables by name, ``""`` where there is one; empty where the parents say all."""

    @abstractmethod
    def value(self, noise: Values, parents: Values) -> Tensor:
        """Return the node's value."""


class ScalarMechanism(Mechanism):
    """A mechanism of one number, with at most one noise."""

    @abstractmethod
    def law(self, parents: Values) -> Any:
        """Distribution of the value given the parents; None where there is no noise."""

    @abstractmethod
    def abduct(self, value: Tensor, parents: Values, fresh: Tensor) -> Tensor:
        """Return the noise behind ``value``, or a draw of it by ``fresh`` noise where the value leaves it open."""

    @property
    def support(self) -> Support:
        """Values that it can take, whatever the parents."""
        return Support()

    def typical(self, parents: Values, like: Tensor) -> Tensor:
        """Return the value at the middle of the noise."""
        middle = {name: torch.full_like(like, 0.5 * (n.kind == "uniform")) for name, n in self.noise.items()}
        return self.value(middle, parents)


def parents_of(function: Any) -> tuple[str, ...]:
    """Names of a function's arguments, which are its parents'; of a number, none."""
    if not callable(function):
        return ()
    own = getattr(function, "parents", None)
    return tuple(own if own is not None else inspect.signature(function).parameters)


def evaluated(function: Any, parents: Values) -> Any:
    """Call a function with its parents by name; a number is itself."""
    return function(**{name: parents[name] for name in parents_of(function)}) if callable(function) else function


@dataclass(frozen=True)
class Linear:
    """A linear function of parents.

    Examples
    --------
    >>> Linear(1.0, education=0.5)(education=torch.tensor([2.0]))
    tensor([2.])
    """

    intercept: float
    slopes: Mapping[str, float]

    def __init__(self, intercept: float = 0.0, **slopes: float) -> None:
        object.__setattr__(self, "intercept", intercept)
        object.__setattr__(self, "slopes", slopes)

    @property
    def parents(self) -> tuple[str, ...]:
        """The parents' names."""
        return tuple(self.slopes)

    def __call__(self, **parents: Tensor) -> Tensor | float:
        """Evaluate it."""
        total: Tensor | float = self.intercept
        for name, slope in self.slopes.items():
            total = total + slope * parents[name]
        return total
