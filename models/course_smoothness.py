r"""Whether vertices' courses differ each by itself, or over the surface as smoothly as residuals do.

Both are seen in the maps of principal components, the loadings of vertices.  Those of what people and visits differ by
are as smooth as residuals are; those of the course come first, and are no rougher unless vertices differ each by
itself.  A map's roughness is half the mean square of differences between neighbours, as a share of its variance: 1
where each vertex differs by itself, near 0 where all of a region are alike.  With r of a component and r_0 of those
behind the leading ones,

.. math::  q = (r - r_0) / (1 - r_0)

of the component's variance is of vertices by themselves.  (Components of noise that come first are those that are
smooth by chance, by up to a fifth: q is up to .06 of courses that are as smooth as residuals.)

References
----------
Geary, "The contiguity ratio and statistical mapping", The Incorporated Statistician 1954 (the roughness).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.data import Mesh
from neuropyro.models.visits import Visits

__all__ = ["share_by_themselves"]

LEADING, BEHIND = 4, 8  # components that are the course's, and those behind them that residuals are judged by
FEWEST_EDGES = 0.5  # a vertex: of fewer the mesh is a selection, in which hardly anyone has a neighbour


def share_by_themselves(visits: Visits, mesh: Mesh | None) -> float | None:
    """Return q, the largest of the leading components' shares; None where there is no mesh, or too little to tell.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> rng, year, mesh = np.random.default_rng(0), np.arange(60.0), Mesh.grid(20, 20)
    >>> change = np.repeat(rng.standard_normal((20, 10)), 2, 1).ravel()  # mm a year, of pairs of neighbours
    >>> maps = 0.1 * year[:, None] * change + np.repeat(rng.standard_normal((60, 200)), 2, 1)
    >>> alike = share_by_themselves(prepare_visits(Cohort(maps, year, year // 3), None), mesh)
    >>> own = maps + 0.1 * year[:, None] * rng.standard_normal(400)
    >>> alone = share_by_themselves(prepare_visits(Cohort(own, year, year // 3), None), mesh)
    >>> round(alike, 1), round(alone, 1)  # half of the change is of a vertex by itself
    (0.0, 0.5)
    """
    if mesh is None or (maps := _component_maps(visits)) is None:
        return None
    known = ~np.isnan(maps[:, 0])
    one, other = mesh.edges[known[mesh.edges].all(1)].T  # type: ignore[index]
    if len(one) < FEWEST_EDGES * known.sum():
        return None
    roughness = 0.5 * np.square(maps[one] - maps[other]).mean(0) / maps[known].var(0)
    behind = min(roughness[LEADING:].mean(), 0.99)
    return float(max(0.0, (roughness[:LEADING].max() - behind) / (1 - behind)))


def _component_maps(visits: Visits) -> NDArray[np.float64] | None:
    """Return vertices' loadings ``(vertices, components)``, NaN where one says nothing; None of too few visits."""
    count = LEADING + BEHIND
    known = visits.is_informative
    if visits.n_visits <= 2 * count or int(known.sum()) <= 2 * count:
        return None
    values = visits.values[known]
    centred = values - values.mean(-1, keepdim=True)
    centred = centred if visits.observed is None else centred * visits.observed[known]
    vectors: Tensor = torch.linalg.eigh((centred.mT @ centred).double())[1]
    maps = np.full((visits.n_vertices, count), np.nan)
    maps[known.cpu().numpy()] = (centred @ vectors[:, -count:].flip(-1).to(centred)).cpu().numpy()
    return maps
