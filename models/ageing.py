r"""Ageing: what time alone does to a cluster's vertices, apart from the progression.

.. math::  V_{nl} = \ldots + \gamma_{Z_l} (t_n - t_0)

for a visit at time t_n, t_0 being the cohort's mean time.  All subjects age alike, and progress each at its own speed:
so the two can be told apart.  Without it, what ages in people who hardly progress is taken for progression, the slowest
seem faster than they are, and speeds differ less than they do.

References
----------
Lorenzi, Pennec, Frisoni & Ayache, "Disentangling normal aging from Alzheimer's disease in structural MR images",
Neurobiology of Aging 2015.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["aged"]


def aged(ageing: Tensor, years: Tensor) -> Tensor:
    """Return what time adds ``(*, K, n)`` at ``years (n,)`` from t_0, for ``ageing (*, K)`` a year.

    Examples
    --------
    >>> aged(torch.tensor([0.01, 0.02]), torch.tensor([-1.0, 0.0, 3.0]))  # two clusters; at t_0 nothing is added
    tensor([[-0.0100,  0.0000,  0.0300],
            [-0.0200,  0.0000,  0.0600]])
    """
    return ageing.unsqueeze(-1) * years
