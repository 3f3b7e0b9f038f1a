"""Mechanisms of numbers: constants, functions, normal noise through a link, uniform and discrete ones.

See :mod:`neuropyro.models.anatomy_mechanism` for what each of them can do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import transforms

from neuropyro.models.anatomy_mechanism import (
    ANY,
    Constant,
    Function,
    Level,
    Linear,
    Noise,
    ScalarMechanism,
    Support,
    Values,
    evaluated,
    parents_of,
)

__all__ = [
    "Constant",
    "Discrete",
    "Function",
    "Gaussian",
    "Linear",
    "Uniform",
    "bounded",
    "ordered_probabilities",
    "positive",
]


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

    @property
    def support(self) -> Support:
        """What the link leads to, between its values at both infinities."""
        if self.link is None:
            return Support()
        ends = self.link(torch.tensor([-torch.inf, torch.inf])).tolist()
        return Support(min(ends), max(ends))

    def value(self, noise: Values, parents: Values) -> Tensor:
        """Return the mean plus noise, through the link."""
        inner = evaluated(self.mean, parents) + self.sd * noise[""]
        return inner if self.link is None else self.link(inner)  # type: ignore[no-any-return]

    def law(self, parents: Values) -> Any:
        """Return Normal, or Normal through the link."""
        mean = torch.as_tensor(evaluated(self.mean, parents), dtype=self._like(parents).dtype)
        inner = dist.Normal(mean, torch.full_like(mean, self.sd))
        return inner if self.link is None else dist.TransformedDistribution(inner, [self.link])

    def abduct(self, value: Tensor, parents: Values, fresh: Tensor) -> Tensor:
        """Invert it."""
        inner = value if self.link is None else self.link.inv(value)
        noise: Tensor = (inner - evaluated(self.mean, parents)) / self.sd + torch.zeros_like(fresh)
        return noise

    def _like(self, parents: Values) -> Tensor:
        return next(iter(parents.values()), torch.zeros(()))


@dataclass(frozen=True)
class Uniform(ScalarMechanism):
    """A root that is uniform between two numbers.

    Examples
    --------
    >>> age = Uniform(55.0, 85.0)
    >>> value = age.value({"": torch.tensor([[0.5]])}, {})
    >>> value, age.abduct(value, {}, torch.zeros(1, 1))
    (tensor([[70.]]), tensor([[0.5000]]))
    """

    low: float
    high: float
    level: Level = "subject"
    allowed: Support = ANY

    @property
    def support(self) -> Support:
        """Those allowed, among which may be some that nobody has by himself."""
        return self.allowed

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

    Examples
    --------
    >>> alleles, noise = Discrete((0.5, 0.25, 0.25)), torch.tensor([[0.4], [0.6], [0.9]])
    >>> value = alleles.value({"": noise}, {})
    >>> value.flatten(), alleles.abduct(value, {}, torch.full((3, 1), 0.5)).flatten()  # the middles of the intervals
    (tensor([0., 1., 2.]), tensor([0.2500, 0.6250, 0.8750]))
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

    @property
    def support(self) -> Support:
        """0..K-1; where K hangs on a function of the parents, whole numbers from 0."""
        if callable(self.probabilities):
            return Support(0, whole=True)
        return Support(0, len(self.probabilities) - 1, whole=True)

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
        return torch.tensor(
            found, dtype=None if like is None else like.dtype, device=None if like is None else like.device
        )

    def _cumulated(self, parents: Values, like: Tensor) -> Tensor:
        """Edges ``(*, K + 1)`` of the intervals, from 0 to 1."""
        p = self._probabilities(parents, like).to(like)
        inner = p.cumsum(-1)[..., :-1]
        return torch.cat([torch.zeros_like(p[..., :1]), inner, torch.ones_like(p[..., :1])], -1)


def ordered_probabilities(score: Tensor, cuts: tuple[float, ...], sd: float) -> Tensor:
    """Probabilities ``(*, len(cuts) + 1)`` that a score plus normal noise lies below, between and above cuts.

    Examples
    --------
    >>> ordered_probabilities(torch.tensor([1.0, 2.4]), (1.0, 2.4), sd=0.1)  # scores on the cuts
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.5000, 0.5000]])
    """
    edges = torch.as_tensor(cuts, dtype=score.dtype, device=score.device)
    below = torch.special.ndtr((edges - score.unsqueeze(-1)) / sd)
    ends = torch.zeros_like(below[..., :1])
    return torch.cat([ends, below, ends + 1], -1).diff(dim=-1)


def positive() -> transforms.Transform:
    """Link to positive numbers: the exponential.

    Examples
    --------
    >>> positive()(torch.tensor([-torch.inf, 0.0])), positive().inv(torch.tensor([1.0]))
    (tensor([0., 1.]), tensor([0.]))
    """
    return transforms.ExpTransform()


def bounded(low: float, high: float) -> transforms.Transform:
    """Link to numbers between two bounds: a stretched logistic function.

    Examples
    --------
    >>> bounded(0.0, 30.0)(torch.tensor([-99.0, 0.0, 99.0])).round(decimals=2)
    tensor([ 0., 15., 30.])
    """
    return transforms.ComposeTransform([transforms.SigmoidTransform(), transforms.AffineTransform(low, high - low)])
