"""Curves over the score, beside visits at their own: the common scale of scores is left out of a curve's interval.

The scores of all visits may be wider or narrower together, and every curve with them: that is uncertain, and in the
intervals of scores and of trajectories' parameters.  A curve drawn over fixed scores would be flattened by it, against
the visits that it goes through.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["scores_of_draws"]

Floats = NDArray[np.float64]


def scores_of_draws(grid: Floats, dps: Floats) -> Floats:
    """Return the scores ``(draws, points)`` that visits at the median scores ``grid (points,)`` have in each draw.

    Parameters
    ----------
    dps
        ``(draws, visits)``; a draw's shift and scale against the medians are found by least squares.

    Examples
    --------
    >>> median = np.array([-1.0, 0.0, 2.0])
    >>> scores_of_draws(np.array([0.5]), np.stack([median, 3 * median + 1, median])).ravel()
    array([0.5, 2.5, 0.5])
    """
    middle = np.median(dps, 0)
    centred = middle - middle.mean()
    slope = dps @ centred / max(float(centred @ centred), np.finfo(np.float64).tiny)
    return np.asarray(dps.mean(1)[:, None] + slope[:, None] * (grid - middle.mean()))
