"""How much of what vertices depart by lasts of a subject, to begin with: by moments.

What a subject's values at a vertex depart by from their own mean, and from what the cluster's mean departs by, is what
passes; the rest of the variance is what lasts.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from neuropyro.models.visits import Visits

__all__ = ["lasting_and_passing"]

Floats = NDArray[np.float64]
LEAST = 0.05  # of the variance, at least, is either


def lasting_and_passing(visits: Visits, label: NDArray[np.int64], total: Floats) -> tuple[Floats, Floats]:
    """Return the sds ``(K,)`` of what lasts of a subject at a vertex, and of what passes.

    Parameters
    ----------
    label
        ``(vertices,)`` clusters, -1 for none.
    total
        ``(K,)`` sd of the residuals.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> values = np.array([[1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, 1.0]])  # all of it lasts of two subjects
    >>> visits = prepare_visits(Cohort(values, time=[60, 61, 70, 71], subject=["a", "a", "b", "b"]), None)
    >>> lasting, passing = lasting_and_passing(visits, np.zeros(2, int), np.ones(1))
    >>> (lasting**2).round(2).tolist(), (passing**2).round(2).tolist()  # of the variance, as far as that is let
    ([0.95], [0.05])
    """
    labels = torch.as_tensor(label, device=visits.values.device)
    passing = np.array([_passing(visits, (labels == k).nonzero().squeeze(-1)) for k in range(len(total))])
    share = np.clip(np.nan_to_num(passing / total**2, nan=0.5), LEAST, 1 - LEAST)
    return total * np.sqrt(1 - share), total * np.sqrt(share)


def _passing(visits: Visits, members: torch.Tensor) -> float:
    """Return the variance of vertices' values about a subject's mean, the cluster's own taken off; NaN for none."""
    values = visits.values[members].double()
    seen = torch.ones_like(values) if visits.observed is None else visits.observed[members].double()
    centred = (values - (values * seen).sum(0) / seen.sum(0).clamp(min=1)) * seen
    sums, count = visits.sum_of_subject(centred), visits.sum_of_subject(seen)
    left = centred.square().sum() - (sums.square() / count.clamp(min=1)).sum()
    freedom = (count - 1).clamp(min=0).sum()
    return float(left / freedom) if freedom > 0 else float("nan")
