r"""What ``preset="brgm"`` sets: the objective of the BRGM paper's implementation, as densities.

With images on 0..255, s = A(G(w)) and y the measurements, it minimises

.. math::  10^{-3} \overline{(s - y)^2} + 10^7 \overline{(\phi(s) - \phi(y))^2} + 100 \overline{((w - \bar w) / S)^2}
           + \lambda_c \sum_{i \ne j} |1 - \cos(w_i, w_j)|,

bars being means over an image's numbers.  Each mean square is minus the logarithm of a normal density, up to a
constant; its sd is what is given here.
"""

from __future__ import annotations

import math

from torch import Tensor

from neuropyro.models.corruption_operator import Corruption

__all__ = ["reference_colinearity", "reference_feature_sd", "reference_sigma", "reference_variance"]

PIXEL_WEIGHT, FEATURE_WEIGHT, PRIOR_WEIGHT = 1e-3, 1e7, 100.0
LARGE_FACTOR, COLINEARITY = 16, 0.1  # above that factor colinearity counts tenfold
LEVELS = 255 / 2  # an image's unit in theirs


def reference_sigma(y: Tensor) -> Tensor:
    """Sd (B,) of measurements (B, ...), in the images' unit -1..1."""
    return y.new_full((len(y),), math.sqrt(y[0].numel() / (2 * PIXEL_WEIGHT)) / LEVELS)


def reference_feature_sd(count: int) -> float:
    """Sd of each of ``count`` features."""
    return math.sqrt(count / (2 * FEATURE_WEIGHT))


def reference_variance(total: Tensor, numbers: int) -> Tensor:
    """Variance of each of the ``numbers`` of W+, for S^2 = ``total``."""
    return total * numbers / (2 * PRIOR_WEIGHT)


def reference_colinearity(corruption: Corruption) -> float:
    """lambda_c: .1, or 1 where an image is made smaller by more than 16."""
    large = any(getattr(part, "factor", 1) > LARGE_FACTOR for part in corruption.modules())
    return 10 * COLINEARITY if large else COLINEARITY
