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

from neuropyro.models.visits import Visits

__all__ = ["aged", "without_ageing"]


def aged(ageing: Tensor, visits: Visits) -> Tensor:
    """Return what time adds at each visit, ``(*, K, visits)``, for ``ageing (*, K)`` a year."""
    return ageing.unsqueeze(-1) * visits.years


def without_ageing(ageing: Tensor | None, label: Tensor, visits: Visits) -> Visits:
    """Return the visits as they were had nobody aged since t_0; ``label (vertices,)`` says each vertex's cluster."""
    if ageing is None:
        return visits
    return visits.with_values(visits.values - aged(ageing, visits).to(visits.values)[label])
