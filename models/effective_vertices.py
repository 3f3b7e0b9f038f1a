r"""What a vertex counts for beside independent ones: how many of these smooth maps are worth.

Neighbours' residuals are alike: maps are smoothed, and people differ in whole gyri.  Products of L such vertices'
residuals over visits scatter like those of fewer independent ones,

.. math::  n = (\mathrm{tr}\, C)^2 / \mathrm{tr}\, C^2,

with C the residuals' covariance over vertices.  C is not looked at: of n independent vertices the matrix of products
over p contrasts of visits has eigenvalues that spread by the law of Marchenko and Pastur with ratio p / n, and n is
what the spread says.  Trajectories, and whatever else people differ by in few directions, are in the largest
eigenvalues, so that the smaller half alone is looked at.

Contrasts within subjects tell of what passes from visit to visit, means of subjects of what lasts of them, too.  The
fewer of the two count.

What vertices say of scores is in how their courses differ from their cluster's mean.  Where they differ as smoothly as
residuals do, that is worth n vertices; where each differs by itself, smooth residuals average out, and it is worth all
L.  A mesh tells which it is (:mod:`neuropyro.models.course_smoothness`): the likelihood of a vertex has the power n / L
in the one case, as of maps that were smoothed, and in the other, or where there is no mesh, the geometric mean of it
and 1, (n / L)^{1/2}.  In six studies of 24 people whose maps were smoothed by 10 mm and thin in three places (guide
``laplace``) scores correlate .93 to .99 with the truth, and 90 % intervals hold 68 to 100 % of them, by n / L; .73 to
.94 and 30 to 59 % by the geometric mean; with the power 1 another takes smooth noise for its course (.71 to .79).
Of 60 people with smooth maps whose vertices differ each by itself, scores are off by .10 sds of controls with the power
1 (guide ``normal``), by .18 with the geometric mean, and by .36 with n / L.

References
----------
Bretherton et al., "The effective number of spatial degrees of freedom of a time-varying field", Journal of Climate
1999, eq. 5; Marchenko & Pastur, "Distribution of eigenvalues for some sets of random matrices", 1967.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from neuropyro.data import Mesh
from neuropyro.models.course_smoothness import share_by_themselves
from neuropyro.models.visits import Visits

__all__ = ["effective_share", "estimated_weight"]

Floats = NDArray[np.float64]
FEWEST = 12  # contrasts: of fewer the spread is not known
MOST = 120  # contrasts that are looked at
LOWER = 0.5  # share of the eigenvalues, the smaller ones
CROWDED = 0.25  # contrasts an effective vertex: fewer are looked at then
NEARLY_ALL, UNSURE = 0.75, 6.0  # shares above the one, or nearer to 1 than the other over contrasts, count as 1
ALONE = (0.06, 0.12)  # share of a component that is of vertices by themselves: of none, and of all that differ so
RATIOS = np.geomspace(1e-5, 0.95, 240)  # contrasts an effective vertex
POINTS = 4000  # of the law's quadrature


def effective_share(visits: Visits) -> float:
    """Return the number of independent vertices that maps are worth, as a share of the vertices, up to 1.

    1 where there are too few vertices or visits to tell.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> rng, year = np.random.default_rng(0), np.arange(60.0)
    >>> white, twins = rng.standard_normal((60, 400)), rng.standard_normal((60, 200)).repeat(2, 1)
    >>> alone, pairs = (effective_share(prepare_visits(Cohort(v, year, year // 3), "all")) for v in (white, twins))
    >>> alone, 0.35 < pairs < 0.65
    (1.0, True)
    """
    values = _seen(visits)
    subject = visits.subject.cpu().numpy()
    return min(_share(contrasts) for contrasts in (_within(values, subject), _between(values, subject)))


def estimated_weight(visits: Visits, mesh: Mesh | None = None) -> float:
    """Return the power of a vertex's likelihood, from how smooth residuals are, and the course beside them.

    Parameters
    ----------
    mesh
        The vertices' own; without one the course is taken to differ from vertex to vertex.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.visits import prepare_visits
    >>> fourfold = np.random.default_rng(0).standard_normal((60, 200)).repeat(4, 1)  # every vertex four times
    >>> 0.4 < estimated_weight(prepare_visits(Cohort(fourfold, np.arange(60.0), np.arange(60) // 3), "all")) < 0.6
    True
    """
    share = effective_share(visits)
    alone = share_by_themselves(visits, mesh) if share < 1 else None
    power = 0.5 if alone is None else float(np.interp(alone, ALONE, (1.0, 0.5)))
    return float(share**power)


def _seen(visits: Visits) -> Floats:
    """Return the vertices' values ``(visits, vertices)``: of those that were always seen, if half of them were."""
    values = visits.values[visits.is_informative]
    if visits.observed is not None:
        always = visits.observed[visits.is_informative].all(-1)
        values = values[always] if 2 * int(always.sum()) >= len(values) else values
    return np.asarray(values.T.double().cpu())


def _within(values: Floats, subject: NDArray[np.int64]) -> Floats:
    """Return orthonormal contrasts of each subject's visits, ``(contrasts, vertices)``."""
    rows = [_helmert(int(count)) @ values[subject == i] for i, count in enumerate(np.bincount(subject))]
    return np.concatenate(rows)


def _between(values: Floats, subject: NDArray[np.int64]) -> Floats:
    """Return orthonormal contrasts of subjects' means."""
    means = np.zeros((int(subject.max()) + 1, values.shape[1]))
    np.add.at(means, subject, values)
    means /= np.bincount(subject)[:, None]
    return np.asarray(_helmert(len(means)) @ means)


def _helmert(size: int) -> Floats:
    """Return orthonormal rows ``(size - 1, size)``, orthogonal to the constant."""
    rows = np.tril(np.ones((size, size)), -1)[1:]
    rows[np.arange(size - 1), np.arange(1, size)] = -np.arange(1, size)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _share(contrasts: Floats) -> float:
    """Return the effective number of vertices, as a share of them; 1 where it is not clearly less."""
    n_vertices = contrasts.shape[1]
    most = min(len(contrasts), MOST, n_vertices // 2)
    while most >= FEWEST:
        some = contrasts[np.linspace(0, len(contrasts) - 1, most).astype(int)]
        ratio = _ratio(np.linalg.eigvalsh(some @ some.T))
        if ratio < CROWDED or most < 2 * FEWEST:
            share = most / ratio / n_vertices
            return 1.0 if share > min(NEARLY_ALL, 1 - UNSURE / most) else share
        most //= 2
    return 1.0


def _ratio(eigenvalues: Floats) -> float:
    """Return contrasts an effective vertex, from the spread of the smaller eigenvalues, in ascending order."""
    low = eigenvalues[: int(LOWER * len(eigenvalues))]
    spread = low.var() / max(low.mean() ** 2, np.finfo(np.float64).tiny)
    return float(np.exp(np.interp(np.log(max(spread, 1e-12)), np.log(_spreads()), np.log(RATIOS))))


@cache
def _spreads() -> Floats:
    """Return the relative variance of the smaller part of the law of Marchenko and Pastur, at each of `RATIOS`."""
    angle = (np.arange(POINTS) + 0.5) / POINTS * np.pi
    root = np.sqrt(RATIOS)[:, None]
    value = 1 + root**2 - 2 * root * np.cos(angle)
    density = np.sin(angle) ** 2 / value
    density /= density.sum(1, keepdims=True)
    density = density * (density.cumsum(1) <= LOWER)
    density /= density.sum(1, keepdims=True)
    mean = (density * value).sum(1)
    return np.asarray((density * value**2).sum(1) / mean**2 - 1)
