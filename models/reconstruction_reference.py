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
    """Sd (B,) of measurements (B, ...), in the images' unit -1..1.

    Examples
    --------
    >>> reference_sigma(torch.zeros(2, 1, 4, 4))  # 16 / (2 sigma^2) is .001 at grey levels of 0..255
    tensor([0.7015, 0.7015])
    """
    return y.new_full((len(y),), math.sqrt(y[0].numel() / (2 * PIXEL_WEIGHT)) / LEVELS)


def reference_feature_sd(count: int) -> float:
    """Sd of each of ``count`` features.

    Examples
    --------
    >>> round(reference_feature_sd(20), 6)  # 20 / (2 sd^2) is 10^7
    0.001
    """
    return math.sqrt(count / (2 * FEATURE_WEIGHT))


def reference_variance(total: Tensor, numbers: int) -> Tensor:
    """Variance of each of the ``numbers`` of W+, for S^2 = ``total``.

    Examples
    --------
    >>> reference_variance(torch.tensor(4.0), numbers=100)  # 100 / 100 times S^2 over 2 variances is 1
    tensor(2.)
    """
    return total * numbers / (2 * PRIOR_WEIGHT)


def reference_colinearity(corruption: Corruption) -> float:
    """lambda_c: .1, or 1 where an image is made smaller by more than 16.

    Examples
    --------
    >>> from neuropyro.models.corruption import Downsample
    >>> reference_colinearity(Downsample(16)), reference_colinearity(Downsample(32))
    (0.1, 1.0)
    """
    large = any(getattr(part, "factor", 1) > LARGE_FACTOR for part in corruption.modules())
    return 10 * COLINEARITY if large else COLINEARITY
