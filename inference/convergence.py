"""When to lower the step and when to stop: a plateau of the loss, judged against its own noise.

The loss is averaged over windows of steps.  A window makes progress if it is better than the best one so far by more
than a tolerance and by more than twice the standard error of the difference (the noise is that of successive losses, so
that a trend does not count as noise).  After ``patience`` windows without progress the learning rate is multiplied by
``decay``, and when it has fallen below ``floor`` times its start, the fit has converged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["Plateau", "Schedule"]


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
    """

    learning_rate: float = 0.02
    max_steps: int = 6000
    warm_up: int = 1000
    window: int = 50
    tolerance: float = 1e-6
    patience: int = 2
    decay: float = 0.3
    floor: float = 0.02

    def __post_init__(self) -> None:
        if self.max_steps < 1 or self.window < 2 or self.learning_rate <= 0:
            raise ValueError("schedule: max_steps must be 1 or more, window 2 or more, learning_rate above 0")


@dataclass
class Plateau:
    """The state of the rule; feed it one window of losses after the other."""

    schedule: Schedule
    factor: float = 1.0
    best: float = math.inf
    best_error: float = 0.0
    idle: int = 0
    verdict: str = field(default="not started")

    @property
    def converged(self) -> bool:
        """Whether the learning rate has fallen below the floor."""
        return self.factor < self.schedule.floor

    def update(self, losses: NDArray[np.float64]) -> None:
        """Take the next window of losses; lowers `factor` at a plateau."""
        noise = float(np.diff(losses).std() / math.sqrt(2)) if len(losses) > 2 else 0.0
        mean, error = float(losses.mean()), noise / math.sqrt(len(losses))
        tolerance = self.schedule.tolerance * max(abs(mean), 1.0)
        gain = self.best - mean
        progress = gain > max(tolerance, 2 * math.hypot(error, self.best_error)) or not math.isfinite(self.best)
        self.idle = 0 if progress else self.idle + 1
        if self.idle >= self.schedule.patience:
            self.verdict = (
                f"the loss improved by {max(gain, 0):.3g} nats in the last {self.schedule.window} steps, "
                f"at {self.factor:.2g} of the first learning rate"
            )
            self.factor *= self.schedule.decay
            self.idle = 0
        if mean < self.best:
            self.best, self.best_error = mean, error
