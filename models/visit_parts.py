"""Part of a cohort's vertices in place of all, where all would say the same and cost far more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from neuropyro.models.visits import Visits

__all__ = ["ENOUGH", "curvature_part", "of_vertices", "rough_part"]

ENOUGH = 2048  # vertices by which a mode is looked for: gradients on them cost little, and it takes thousands


def of_vertices(visits: Visits, members: Tensor) -> Visits:
    """Return some of the vertices alone, rows ``members``, which then are worth as many independent ones as all were.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> visits = prepare_visits(Cohort(np.array([[1.0, 5.0, 2.0], [3.0, 7.0, 9.0]]), [60, 61], ["a", "a"]), None)
    >>> part = of_vertices(visits, torch.tensor([0, 2]))
    >>> part.values.tolist(), part.weight, part.effective_vertices
    ([[1.0, 3.0], [2.0, 9.0]], 1.5, 3.0)
    """
    seen = None if visits.observed is None else visits.observed.mT[:, members].mT
    chosen = members.cpu().numpy()
    return replace(
        visits,
        values=visits.values.mT[:, members].mT,  # stored visit by visit
        **{name: getattr(visits, name)[members] for name in ("sum_squares", "location", "scale")},
        observed=seen,
        share_seen=visits.share_seen if seen is None else seen.mean(0),
        names={name: array[chosen] if name == "vertex" else array for name, array in visits.names.items()},
        subject_sums=None if visits.subject_sums is None else visits.subject_sums.of_vertices(members),
        weight=visits.weight * visits.n_vertices / len(members),
    )


def rough_part(visits: Visits) -> Visits | None:
    """Return data with fewer vertices, in double precision, by which the mode is looked for.

    None where labels are known or depend on each other.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.visits import prepare_visits
    >>> cohort = simulate_reference(n_subjects=3, n_vertices=5000, n_clusters=2, seed=0)
    >>> part = rough_part(prepare_visits(cohort, "all", dtype=torch.float32))
    >>> part.values.shape, part.values.dtype, part.effective_vertices
    (torch.Size([2048, 12]), torch.float64, 5000.0)
    """
    if type(visits) is not Visits:
        return None
    part = visits
    if visits.n_vertices > ENOUGH:
        chosen = np.sort(np.random.default_rng(0).choice(visits.n_vertices, ENOUGH, replace=False))
        part = of_vertices(visits, torch.as_tensor(chosen, device=visits.values.device))
    return part.to(None, torch.float64)


def curvature_part(visits: Visits) -> Visits | None:
    """Return the same part for the posterior's curvature, in which no vertex counts for more than itself.

    What is left out is not known then, so that intervals are rather too wide: those of a whole cortex of vertices that
    differ each by itself by up to the root of how many times as many they are.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models.visits import prepare_visits
    >>> cohort = simulate_reference(n_subjects=3, n_vertices=5000, n_clusters=2, seed=0)
    >>> curvature_part(prepare_visits(cohort, "all")).effective_vertices
    2048.0
    """
    part = rough_part(visits)
    return None if part is None else replace(part, weight=min(part.weight, 1.0))
