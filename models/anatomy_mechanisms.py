r"""Mechanisms of a structural causal model: a node's value as a function of its parents and one named noise.

.. math::  x = f(\mathrm{parents}, u), \qquad u \sim \mathrm{Normal}(0, 1) \text{ or } \mathrm{Uniform}(0, 1)

Each can be run three ways: forwards (``value``), as a distribution given the parents (``law``), and backwards
(``abduct``): the noise that must have been where value and parents are known.  A continuous mechanism is inverted; of
a discrete one the noise is known up to an interval, from which it is drawn.

Tensors are ``(*, subjects, 1)`` for what a subject has once and ``(*, subjects, visits)`` for what every visit has anew;
draws come first.  Discrete nodes have the values 0, 1, 2, ... as floating numbers.

References
----------
Pearl, *Causality*, 2nd ed. 2009, section 7.1; Pawlowski, Castro & Glocker, "Deep structural causal models for
tractable counterfactual inference", NeurIPS 2020 (invertible mechanisms).
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import transforms

__all__ = [
    "Constant",
    "Discrete",
    "Function",
    "Gaussian",
    "Level",
    "Linear",
    "Mechanism",
    "Noise",
    "ScalarMechanism",
    "Uniform",
    "bounded",
    "ordered_probabilities",
    "positive",
]

Level = Literal["subject", "visit"]
Values = Mapping[str, Tensor]


class Noise(NamedTuple):
    """One exogenous variable: drawn once a subject or once a visit, standard normal or uniform, of a shape."""

    level: Level
    kind: Literal["normal", "uniform"] = "normal"
    shape: tuple[int, ...] = ()


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


@dataclass(frozen=True)
class Constant(ScalarMechanism):
    """The same number for everyone, unless someone intervenes."""

    number: float

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
    """A function of the parents, without noise; its arguments' names are the parents'."""

    function: Callable[..., Tensor]

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
class Gaussian(ScalarMechanism):
    """A mean that depends on the parents, plus normal noise, seen through a link.

    Parameters
    ----------
    mean
        Function of the parents, or a number.
    sd
        Of the noise, before the link.
    level
        Whether the noise is a subject's, drawn once, or a visit's.
    link
        Strictly monotone transform, such as `positive` or `bounded`; none if None.

    Examples
    --------
    >>> length = Gaussian(Linear(1.0, age=0.1), sd=2.0)
    >>> parents = {"age": torch.tensor([[30.0]])}
    >>> value = length.value({"": torch.tensor([[0.5]])}, parents)
    >>> value, length.abduct(value, parents, torch.zeros(1, 1))
    (tensor([[5.]]), tensor([[0.5000]]))
    """

    mean: Callable[..., Tensor | float] | float
    sd: float
    level: Level = "visit"
    link: transforms.Transform | None = None

    def __post_init__(self) -> None:
        if not self.sd > 0:
            raise ValueError(f"mechanism: sd must be above 0, got {self.sd}; without noise give a Function")

    @property
    def parents(self) -> tuple[str, ...]:
        """Arguments of the mean."""
        return parents_of(self.mean)

    @property
    def noise(self) -> Mapping[str, Noise]:
        """Standard normal."""
        return {"": Noise(self.level)}

    def value(self, noise: Values, parents: Values) -> Tensor:
        """Return the mean plus noise, through the link."""
        inner = evaluated(self.mean, parents) + self.sd * noise[""]
        return inner if self.link is None else self.link(inner)  # type: ignore[no-any-return]

    def law(self, parents: Values) -> Any:
        """Normal, or Normal through the link."""
        inner = dist.Normal(*torch.broadcast_tensors(torch.as_tensor(evaluated(self.mean, parents)), self._sd(parents)))
        return inner if self.link is None else dist.TransformedDistribution(inner, [self.link])

    def abduct(self, value: Tensor, parents: Values, fresh: Tensor) -> Tensor:
        """Invert it."""
        inner = value if self.link is None else self.link.inv(value)
        return (inner - evaluated(self.mean, parents)) / self.sd + torch.zeros_like(fresh)

    def _sd(self, parents: Values) -> Tensor:
        like = next(iter(parents.values()), torch.zeros((), dtype=torch.get_default_dtype()))
        return torch.as_tensor(self.sd, dtype=like.dtype, device=like.device)


@dataclass(frozen=True)
class Uniform(ScalarMechanism):
    """A root that is uniform between two numbers."""

    low: float
    high: float
    level: Level = "subject"

    @property
    def parents(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def noise(self) -> Mapping[str, Noise]:
        """Uniform."""
        return {"": Noise(self.level, "uniform")}

    def value(self, noise: Values, parents: Values) -> Tensor:
        """Return the point between the two numbers."""
        return self.low + (self.high - self.low) * noise[""]

    def law(self, parents: Values) -> Any:
        """Uniform; of values beyond the two numbers nothing is said."""
        return dist.Uniform(self.low, self.high, validate_args=False)

    def abduct(self, value: Tensor, parents: Values, fresh: Tensor) -> Tensor:
        """Invert it."""
        return (value - self.low) / (self.high - self.low) + torch.zeros_like(fresh)


@dataclass(frozen=True)
class Discrete(ScalarMechanism):
    """One of the values 0..K-1, by where a uniform noise falls among their cumulated probabilities.

    Parameters
    ----------
    probabilities
        Function of the parents to ``(*, subjects, 1 or visits, K)``, or K numbers.
    level
        Of the noise.
    """

    probabilities: Callable[..., Tensor] | tuple[float, ...]
    level: Level = "subject"

    @property
    def parents(self) -> tuple[str, ...]:
        """Arguments of the probabilities."""
        return parents_of(self.probabilities)

    @property
    def noise(self) -> Mapping[str, Noise]:
        """Uniform."""
        return {"": Noise(self.level, "uniform")}

    def value(self, noise: Values, parents: Values) -> Tensor:
        """Return the value whose interval holds the noise."""
        inner = self._cumulated(parents, noise[""])[..., 1:-1]
        return (noise[""].unsqueeze(-1) >= inner).sum(-1).to(noise[""])

    def law(self, parents: Values) -> Any:
        """Categorical."""
        return dist.Categorical(probs=self._probabilities(parents, None))

    def abduct(self, value: Tensor, parents: Values, fresh: Tensor) -> Tensor:
        """Draw the noise from the value's interval, by a fresh uniform number."""
        edges = self._cumulated(parents, fresh)
        place = value.long().unsqueeze(-1)
        edges = edges.expand(*torch.broadcast_shapes(edges.shape[:-1], place.shape[:-1]), -1)  # type: ignore[no-untyped-call]
        place = place.expand(*edges.shape[:-1], 1)
        low, high = (edges.gather(-1, place + i).squeeze(-1) for i in (0, 1))
        return low + (high - low) * fresh

    def kinds(self, values: Values) -> int:
        """K; of a function of parents, by trying it on ``values``."""
        if not callable(self.probabilities):
            return len(self.probabilities)
        some = next(iter(values.values()))
        parents = {name: values.get(name, torch.zeros_like(some)) for name in self.parents}
        return int(self._probabilities(parents, None).shape[-1])

    def _probabilities(self, parents: Values, like: Tensor | None) -> Tensor:
        found = self.probabilities
        if callable(found):
            return torch.as_tensor(evaluated(found, parents))
        return torch.tensor(found, dtype=None if like is None else like.dtype, device=None if like is None else like.device)

    def _cumulated(self, parents: Values, like: Tensor) -> Tensor:
        """Edges ``(*, K + 1)`` of the intervals, from 0 to 1."""
        p = self._probabilities(parents, like).to(like)
        inner = p.cumsum(-1)[..., :-1]
        return torch.cat([torch.zeros_like(p[..., :1]), inner, torch.ones_like(p[..., :1])], -1)


def ordered_probabilities(score: Tensor, cuts: tuple[float, ...], sd: float) -> Tensor:
    """Probabilities ``(*, len(cuts) + 1)`` that a score plus normal noise lies below, between and above cuts."""
    edges = torch.as_tensor(cuts, dtype=score.dtype, device=score.device)
    below = torch.special.ndtr((edges - score.unsqueeze(-1)) / sd)
    ends = torch.zeros_like(below[..., :1])
    return torch.cat([ends, below, ends + 1], -1).diff(dim=-1)


def positive() -> transforms.Transform:
    """Link to positive numbers: the exponential."""
    return transforms.ExpTransform()


def bounded(low: float, high: float) -> transforms.Transform:
    """Link to numbers between two bounds: a stretched logistic function."""
    return transforms.ComposeTransform([transforms.SigmoidTransform(), transforms.AffineTransform(low, high - low)])
