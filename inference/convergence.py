"""When to lower the step and when to stop: a plateau of the loss, judged against its own noise.

The loss is averaged over windows of steps.  A window that is better than the best one so far by less than a
tolerance, or by less than twice the standard error of the difference, is a plateau; on a plateau the learning rate is
multiplied by ``decay``, and when it has fallen below ``floor`` times its start, the fit has converged.
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
    window
        Steps a window.
    tolerance
        Improvement of a window that counts, as a fraction of the loss.
    decay
        Factor on the learning rate at a plateau.
    floor
        The fit has converged when the learning rate is below ``floor`` times its start.
    """

    learning_rate: float = 0.02
    max_steps: int = 6000
    window: int = 50
    tolerance: float = 1e-6
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
    verdict: str = field(default="not started")

    @property
    def converged(self) -> bool:
        """Whether the learning rate has fallen below the floor."""
        return self.factor < self.schedule.floor

    def update(self, losses: NDArray[np.float64]) -> None:
        """Take the next window of losses; lowers `factor` at a plateau."""
        mean, error = float(losses.mean()), float(losses.std() / math.sqrt(len(losses)))
        tolerance = self.schedule.tolerance * max(abs(mean), 1.0)
        gain = self.best - mean
        if gain < max(tolerance, 2 * math.hypot(error, self.best_error)) and math.isfinite(self.best):
            self.factor *= self.schedule.decay
            self.verdict = (
                f"the loss improved by {max(gain, 0):.3g} in the last {self.schedule.window} steps, "
                f"at {self.factor:.2g} of the first learning rate"
            )
        if mean < self.best:
            self.best, self.best_error = mean, error
