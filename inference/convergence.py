"""When to lower the step and when to stop: a plateau of the loss, judged against its own noise.

The loss is averaged over windows of steps.  A window makes progress if it is better than the best one so far by more
than a tolerance and by more than twice the standard error of the difference (the noise is that of successive losses, so
that a trend does not count as noise).  After ``patience`` windows without progress the learning rate is multiplied by
``decay``, and when it has fallen below ``floor`` times its start, the fit has converged.  Or else the learning rate
follows half a cosine down to 0, and the last quarter of the steps tells whether the loss was still falling.  A fit
without noise may also stop where its gradient vanishes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

NAT = 1.0  # what a fit may still gain over the last quarter of a cosine and count as converged
QUARTERS = 0.75  # where the last quarter of a cosine begins

__all__ = ["CosineSchedule", "Plateau", "Rule", "Schedule"]


@dataclass(frozen=True)
class Schedule:
    """How long and how fast to optimise.

    Parameters
    ----------
    learning_rate
        Of Adam, at the start.
    max_steps
        The fit ends there, not converged.
    warm_up
        Steps, at most, towards the mode, before a guide that draws is started there; 0 for none.
    window
        Steps a window.
    tolerance
        Improvement of a window that counts, as a fraction of the loss.
    patience
        Windows without progress that make a plateau.
    decay
        Factor on the learning rate at a plateau.
    floor
        The fit has converged when the learning rate is below ``floor`` times its start.
    gradient
        The fit has also converged when no derivative of the loss is larger than this; only for guides without noise.

    Raises
    ------
    ValueError
        Where a number of steps or the learning rate is too small.

    Examples
    --------
    >>> Schedule(max_steps=500, learning_rate=0.05).warm_up
    300
    """

    learning_rate: float = 0.02
    max_steps: int = 6000
    warm_up: int = 300
    window: int = 50
    tolerance: float = 1e-6
    patience: int = 2
    decay: float = 0.3
    floor: float = 0.02
    gradient: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("max_steps", 1), ("window", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"schedule: {name} is {getattr(self, name)}; give {least} or more")
        if self.learning_rate <= 0:
            raise ValueError(f"schedule: learning_rate is {self.learning_rate:g}; give more than 0")

    def rule(self) -> Rule:
        """Return the rule that lowers the step and ends the fit."""
        return Plateau(self)


@dataclass(frozen=True)
class CosineSchedule(Schedule):
    """A learning rate that falls as half a cosine over all ``max_steps``; ``decay``, ``floor``, ``patience`` idle.

    Examples
    --------
    >>> rule = CosineSchedule(max_steps=100).rule()
    >>> for _ in range(2):
    ...     rule.update(np.zeros(50))  # the losses of half the steps
    ...     print(round(rule.factor, 3))
    0.5
    0.0
    """

    def rule(self) -> Rule:
        """Return the rule that lowers the step and ends the fit."""
        return _Cosine(self)


class Rule(Protocol):
    """Lowers the learning rate, and says when to stop; fed one window of losses after the other.

    Examples
    --------
    >>> rule, again = Schedule().rule(), Schedule().rule()
    >>> for _ in range(3):  # a plateau
    ...     rule.update(np.full(50, 10.0))
    >>> again.restore(rule.facts())  # as from a checkpoint
    >>> again.factor, again == rule
    (0.3, True)
    """

    verdict: str

    @property
    def factor(self) -> float:
        """Share of the first learning rate."""

    @property
    def how_far(self) -> str:
        """What a bar adds on how near the end is; nothing where the number of steps says it."""

    @property
    def converged(self) -> bool:
        """Whether to stop."""

    def update(self, losses: NDArray[np.float64], gradient: float = math.inf) -> None:
        """Take the next window of losses, and the largest absolute gradient at its end."""

    def facts(self) -> dict[str, Any]:
        """Return its state, as JSON can hold it."""

    def restore(self, facts: dict[str, Any]) -> None:
        """Take up a state."""


@dataclass
class Plateau:
    """The state of the rule of plateaus: losses in nats.

    Examples
    --------
    >>> rule = Plateau(Schedule(patience=1, decay=0.1, floor=0.05))
    >>> for _ in range(3):  # windows of a loss that does not fall
    ...     rule.update(np.full(50, 10.0))
    ...     print(round(rule.factor, 3), rule.how_far, rule.converged)
    1.0 , plateau 0 of 2 False
    0.1 , plateau 1 of 2 False
    0.01 , plateau 2 of 2 True
    """

    schedule: Schedule
    factor: float = 1.0
    best: float = math.inf
    best_error: float = 0.0
    idle: int = 0
    flat: bool = False
    verdict: str = "the fit was still improving"

    @property
    def how_far(self) -> str:
        """How many plateaus there were, of how many that end it."""
        floor, decay = self.schedule.floor, self.schedule.decay
        if not (0 < floor < 1 and 0 < decay < 1):
            return ", until it is stopped"
        last = math.floor(math.log(floor) / math.log(decay)) + 1
        return f", plateau {round(math.log(self.factor) / math.log(decay))} of {last}"

    @property
    def converged(self) -> bool:
        """Whether the learning rate has fallen below the floor, or the gradient has vanished."""
        return self.flat or self.factor < self.schedule.floor

    def update(self, losses: NDArray[np.float64], gradient: float = math.inf) -> None:
        """Take the next window of losses; lowers `factor` at a plateau."""
        mean, error = float(losses.mean()), _standard_error(losses)
        tolerance = self.schedule.tolerance * max(abs(mean), 1.0)
        gain = self.best - mean
        progress = gain > max(tolerance, 2 * math.hypot(error, self.best_error)) or not math.isfinite(self.best)
        self.idle = 0 if progress else self.idle + 1
        if self.idle >= self.schedule.patience:
            size = "" if self.factor == 1 else f", at 1/{1 / self.factor:.2g} of the first step size,"
            self.verdict = (
                f"over the last {self.schedule.window} steps{size} the fit gained {max(gain, 0):.3g} nats (units of "
                "log likelihood), no more than noise or the tolerance explain"
            )
            self.factor *= self.schedule.decay
            self.idle = 0
        if gradient < self.schedule.gradient:
            self.flat, self.verdict = True, f"the loss is flat there, its largest derivative {gradient:.2g}"
        if mean < self.best:
            self.best, self.best_error = mean, error

    def facts(self) -> dict[str, Any]:
        """Return its state, as JSON can hold it."""
        return {name: getattr(self, name) for name in _PLATEAU_STATE}

    def restore(self, facts: dict[str, Any]) -> None:
        """Take up a state."""
        for name in _PLATEAU_STATE:
            setattr(self, name, facts[name])


_PLATEAU_STATE = ("factor", "best", "best_error", "idle", "flat", "verdict")


@dataclass
class _Cosine:
    """The state of the rule of the cosine.

    It runs through, and has converged where its last quarter gained no more than a nat, or than tolerance and noise
    explain.
    """

    schedule: Schedule
    steps: int = 0
    before: float = math.inf
    before_error: float = 0.0
    converged: bool = False
    verdict: str = "it has not begun"

    @property
    def factor(self) -> float:
        """Share of the first learning rate."""
        return 0.5 * (1 + math.cos(math.pi * min(self.steps / self.schedule.max_steps, 1.0)))

    @property
    def how_far(self) -> str:
        """Nothing: all its steps are taken."""
        return ""

    def update(self, losses: NDArray[np.float64], gradient: float = math.inf) -> None:
        """Take the next window of losses."""
        self.steps += len(losses)
        mean, error = float(losses.mean()), _standard_error(losses)
        if self.steps <= QUARTERS * self.schedule.max_steps or not math.isfinite(self.before):
            self.before, self.before_error = mean, error
        gain = self.before - mean
        enough = max(NAT, self.schedule.tolerance * abs(mean), 2 * math.hypot(error, self.before_error))
        self.verdict = (
            f"the last quarter of the steps improved the fit by {max(gain, 0):.3g} nats (units of log likelihood)"
        )
        self.converged = self.steps >= self.schedule.max_steps and gain <= enough

    def facts(self) -> dict[str, Any]:
        """Return its state, as JSON can hold it."""
        return {name: getattr(self, name) for name in _COSINE_STATE}

    def restore(self, facts: dict[str, Any]) -> None:
        """Take up a state."""
        for name in _COSINE_STATE:
            setattr(self, name, facts[name])


_COSINE_STATE = ("steps", "before", "before_error", "converged", "verdict")


def _standard_error(losses: NDArray[np.float64]) -> float:
    """Return that of the mean, by the differences of successive losses, so that a trend is no noise."""
    return float(np.diff(losses).std() / math.sqrt(2 * len(losses))) if len(losses) > 2 else 0.0
