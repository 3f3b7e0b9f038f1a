"""Average effects of interventions: the same people in two worlds, by common random numbers.

References
----------
Glasserman & Yao, "Some guidelines and guarantees for common random numbers", Management Science 1992.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student

from neuropyro.models.anatomy_program import Design, Interventions

__all__ = ["Effect", "average_effect"]

BATCH = 1024  # subjects at once: an outcome may be a map


@dataclass(frozen=True)
class Effect:
    """A mean difference over a population.

    Attributes
    ----------
    mean
        ``()``, or ``(vertices,)`` of a map.
    sd
        Of the differences between subjects.
    subjects
        How many.

    Examples
    --------
    >>> Effect(np.array(-2.0), np.array(5.0), subjects=100)
    Effect(-2, 90 % interval -2.83 to -1.17, 100 subjects)
    """

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    subjects: int

    def interval(self, level: float = 0.9) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Confidence interval of the mean: of the number of subjects simulated, not of the mechanisms.

        Raises
        ------
        ValueError
            Where the level lies outside 0 to 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"effect: the level must lie between 0 and 1, got {level}")
        half = student.ppf((1 + level) / 2, self.subjects - 1) * self.sd / np.sqrt(self.subjects)
        return self.mean - half, self.mean + half

    def __repr__(self) -> str:
        if self.mean.ndim:
            return f"Effect(a map of {self.mean.size:,} vertices, {self.subjects:,} subjects)"
        low, high = self.interval()
        return f"Effect({self.mean:.4g}, 90 % interval {low:.4g} to {high:.4g}, {self.subjects:,} subjects)"


def average_effect(
    run: Callable[[Design, int], dict[str, Any]],
    do: Interventions,
    reference: Interventions,
    outcome: str,
    years: float,
    n: int,
    seed: int,
) -> Effect:
    """Return the mean of outcome under ``do`` less outcome under ``reference``, the noise of all being the same.

    Parameters
    ----------
    run
        The simulator's.
    years
        After entry, at which the outcome is taken.
    n
        Subjects, numbered from 0.

    Raises
    ------
    ValueError
        Where there are fewer than 2 subjects.

    Examples
    --------
    >>> from neuropyro.models import AnatomySimulator
    >>> average_effect(AnatomySimulator().run, {"beta": lambda onset: onset + 1}, {}, "dps", years=2.0, n=50, seed=0)
    Effect(1, 90 % interval 1 to 1, 50 subjects)
    """
    if n < 2:
        raise ValueError(f"effect: {n} subjects; give 2 or more")
    when = torch.full((n, 1), float(years), dtype=torch.float64)
    worlds = [Design(np.arange(n), when, world, (outcome,)) for world in (do, reference)]
    total, squares = np.float64(0), np.float64(0)
    for begin in range(0, n, BATCH):
        part = slice(begin, begin + BATCH)
        one, other = (run(world.part(part), seed)[outcome][:, 0].double().cpu().numpy() for world in worlds)
        total, squares = total + (one - other).sum(0), squares + ((one - other) ** 2).sum(0)
    mean = np.asarray(total / n)
    variance = np.maximum(squares / n - mean**2, 0) * n / (n - 1)
    return Effect(mean, np.asarray(np.sqrt(variance)), n)
