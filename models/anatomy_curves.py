r"""Many curves of one number as one linear combination: cubic B-splines with even knots.

.. math::  f_l(s) = \sum_j x_j(s)\, C_{jl}

holds for all vertices l at once, with one vector x(s) of few numbers, which has two continuous derivatives by s.
Beyond the first and last knot, where slopes are 0, a curve stays as it is.

References
----------
de Boor, *A practical guide to splines*, 1978, chapter IX.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Curves"]


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves over evenly spaced knots.

    Parameters
    ----------
    low, step
        First knot, and the distance of knots.
    coefficients
        C, ``(knots + 2, curves)``.

    Examples
    --------
    >>> maps = np.array([[2.5, 3.0], [2.3, 2.9], [2.0, 2.0]])  # mm of two vertices, at scores 0, 1 and 2
    >>> Curves.through(0.0, 1.0, maps)(torch.tensor([1.0, 5.0], dtype=torch.float64))
    tensor([[2.3000, 2.9000],
            [2.0000, 2.0000]], dtype=torch.float64)
    """

    low: float
    step: float
    coefficients: Tensor

    @classmethod
    def through(cls, low: float, step: float, values: NDArray[np.floating]) -> Curves:
        """Interpolate ``values (knots, curves)`` at low, low + step, ...; at both ends slopes are 0."""
        knots = len(values)
        system = np.zeros((knots + 2, knots + 2))
        for offset, weight in enumerate((1 / 6, 4 / 6, 1 / 6)):
            system[np.arange(knots) + 1, np.arange(knots) + offset] = weight
        system[0, [0, 2]] = system[-1, [-1, -3]] = 1, -1
        zero = np.zeros((1, values.shape[1]))
        found = np.linalg.solve(system, np.concatenate([zero, values, zero]))
        return cls(low, step, torch.from_numpy(found))

    def weights(self, s: Tensor) -> Tensor:
        """X ``(*, knots + 2)`` at s ``(*)``."""
        knots = len(self.coefficients) - 2
        place = ((s - self.low) / self.step).clamp(0, knots - 1)
        t = (place.unsqueeze(-1) - torch.arange(-1, knots + 1, dtype=s.dtype, device=s.device)).abs()
        near = 2 / 3 - t.square() + t.pow(3) / 2
        return torch.where(t < 1, near, (2 - t).clamp_min(0).pow(3) / 6)

    def __call__(self, s: Tensor) -> Tensor:
        """Values ``(*, curves)`` at s ``(*)``."""
        return self.weights(s) @ self.coefficients.to(s)
