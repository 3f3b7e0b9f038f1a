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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

__all__ = [
    "Constant",
    "Function",
    "Level",
    "Linear",
    "Mechanism",
    "Noise",
    "ScalarMechanism",
    "Support",
    "Values",
    "evaluated",
    "parents_of",
]

Level = Literal["subject", "visit"]
Values = Mapping[str, Tensor]


class Noise(NamedTuple):
    """One exogenous variable: drawn once a subject or once a visit, standard normal or uniform, of a shape.

    Examples
    --------
    >>> from neuropyro.models.anatomy_mechanisms import Discrete
    >>> Discrete((0.7, 0.3)).noise  # genes are drawn once
    {'': Noise(level='subject', kind='uniform', shape=())}
    """

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


ANY = Support()


class Mechanism(ABC):
    """How a node comes about.

    Attributes
    ----------
    event_dim
        Dimensions of one value: 0 of a number, 1 of a map, 3 of an image.

    Examples
    --------
    >>> class Doubled(Mechanism):
    ...     parents, noise = ("dps",), {}
    ...
    ...     def value(self, noise, parents):
    ...         return 2 * parents["dps"]
    >>> Doubled().value({}, {"dps": torch.tensor([[1.5]])})
    tensor([[3.]])
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
    """A mechanism of one number, with at most one noise.

    Examples
    --------
    >>> from neuropyro.models.anatomy_mechanisms import Gaussian
    >>> adas, parents, zero = Gaussian(Linear(10.0, dps=4.0), sd=3.0), {"dps": torch.tensor([[1.0]])}, torch.zeros(1, 1)
    >>> adas.law(parents), adas.abduct(torch.tensor([[20.0]]), parents, fresh=zero), adas.typical(parents, like=zero)
    (Normal(loc: tensor([[14.]]), scale: tensor([[3.]])), tensor([[2.]]), tensor([[14.]]))
    """

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
    """Names of a function's arguments, which are its parents'; of a number, none.

    Examples
    --------
    >>> parents_of(lambda age, dps: age + dps), parents_of(Linear(10.0, dps=4.0)), parents_of(2.5)
    (('age', 'dps'), ('dps',), ())
    """
    if not callable(function):
        return ()
    own = getattr(function, "parents", None)
    return tuple(own if own is not None else inspect.signature(function).parameters)


def evaluated(function: Any, parents: Values) -> Any:
    """Call a function with its parents by name; a number is itself.

    Examples
    --------
    >>> evaluated(lambda age: age - 70, {"age": torch.tensor(75.0), "dps": torch.tensor(1.0)}), evaluated(2.5, {})
    (tensor(5.), 2.5)
    """
    return function(**{name: parents[name] for name in parents_of(function)}) if callable(function) else function


@dataclass(frozen=True)
class Constant(ScalarMechanism):
    """The same number for everyone, unless someone intervenes.

    Parameters
    ----------
    number
        The number.
    allowed
        What an intervention may set in its place.

    Examples
    --------
    >>> Constant(1.0, Support(0.0)).value({}, {})  # as the factor of an untreated subject's speed
    tensor(1.)
    """

    number: float
    allowed: Support = ANY

    @property
    def support(self) -> Support:
        """What is allowed."""
        return self.allowed

    @property
    def parents(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def noise(self) -> Mapping[str, Noise]:
        """None."""
        return {}

    def value(self, noise: Values, parents: Values) -> Tensor:
        """Return the number."""
        return torch.as_tensor(self.number)

    def law(self, parents: Values) -> None:
        """There is none."""

    def abduct(self, value: Tensor, parents: Values, fresh: Tensor) -> Tensor:
        """There is no noise to be found."""
        return fresh


@dataclass(frozen=True)
class Function(ScalarMechanism):
    """A function of the parents, without noise; its arguments' names are the parents'.

    Examples
    --------
    >>> years_after_70 = Function(lambda age: age - 70)
    >>> years_after_70.parents, years_after_70.value({}, {"age": torch.tensor([[68.0, 75.0]])})
    (('age',), tensor([[-2.,  5.]]))
    """

    function: Callable[..., Tensor]
    allowed: Support = ANY

    @property
    def support(self) -> Support:
        """Those allowed."""
        return self.allowed

    @property
    def parents(self) -> tuple[str, ...]:
        """The function's arguments."""
        return parents_of(self.function)

    @property
    def noise(self) -> Mapping[str, Noise]:
        """None."""
        return {}

    def value(self, noise: Values, parents: Values) -> Tensor:
        """Evaluate the function."""
        return torch.as_tensor(evaluated(self.function, parents))

    def law(self, parents: Values) -> None:
        """There is none."""

    def abduct(self, value: Tensor, parents: Values, fresh: Tensor) -> Tensor:
        """There is no noise to be found."""
        return fresh


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
