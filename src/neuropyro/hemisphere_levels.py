r"""Levels of the two hemispheres, set alike at every visit before a model is fitted: a step of its own, reported.

Segmentation and scanner shift a whole hemisphere's thickness at a visit, by more than a mean over ten thousand vertices
would by their own noise.  DIVE's visit effect is of clusters, which lie in both hemispheres; what one has against the
other it can only explain by people's offsets and courses.  With :math:`\bar V_l` a vertex's mean over the visits of the
fit, the contrast of visit n is

.. math::

    D_n = \mathrm{mean}_{l \in left} (V_{nl} - \bar V_l) - \mathrm{mean}_{l \in right} (V_{nl} - \bar V_l),

over the vertices seen at it; the left hemisphere loses :math:`D_n / 2`, the right one gains it.  What both have in
common stays, and the disease with it.  A disease of one hemisphere alone would be halved and shown in both: leave the
step out there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from neuropyro.data import Cohort, CohortError, Mesh
from neuropyro.data.cohort_files import read_npz, write_npz

__all__ = [
    "HemisphereLevels",
    "Unsteadiness",
    "fit_hemisphere_levels",
    "lasting_contrast",
    "load_hemisphere_levels",
    "unsteadiness",
]

NEARLY_ALL, ALIKE = 0.95, 0.5  # two hemispheres: of a mesh's vertices, and the smaller of the larger


@dataclass(frozen=True, eq=False)
class HemisphereLevels:
    """What the levels of the hemispheres are relative to.

    Parameters
    ----------
    means
        ``(vertices,)`` means over the visits of the fit that have both hemispheres, in the values' unit.
    side
        ``(vertices,)``: 1 in one hemisphere (the left one, where the maps' files tell), -1 in the other, 0 in neither.
    sd
        Sd of the contrast over those visits, in the values' unit.
    n_visits
        How many they were.

    Examples
    --------
    >>> levels = HemisphereLevels(means=np.array([2.5, 2.5]), side=np.array([1.0, -1.0]), sd=0.1, n_visits=10)
    >>> visits = Cohort([[2.7, 2.5], [2.7, np.nan]], time=[70, 71], subject=["a", "a"])
    >>> levels(visits).values.round(2).tolist()  # mm; the second visit has nothing to be level with
    [[2.6, 2.6], [2.7, nan]]
    """

    means: NDArray[np.float64]
    side: NDArray[np.float64]
    sd: float
    n_visits: int

    def __call__(self, cohort: Cohort) -> Cohort:
        """Return the cohort with both hemispheres at one level; a visit that lacks one of them stays as it is.

        Raises
        ------
        CohortError
            Where it has another number of vertices.
        """
        if cohort.n_vertices != len(self.means):
            known = len(self.means)
            raise CohortError(f"hemispheres' levels: of {known} vertices, but the cohort has {cohort.n_vertices}")
        half = np.nan_to_num(_contrasts(cohort, self.means, self.side)) / 2
        values = cohort.values - np.outer(half, self.side).astype(cohort.values.dtype)
        return replace(cohort, values=values)

    def lines(self) -> list[str]:
        """Return what was done, in sentences, for a report."""
        return [
            f"Hemispheres set to one level at each of {self.n_visits} visits: the mean of one less the other's had "
            f"an sd of {self.sd:.4g} over visits."
        ]

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` file that `load_hemisphere_levels` reads."""
        write_npz(Path(path), {name: np.asarray(value) for name, value in vars(self).items()})


def fit_hemisphere_levels(cohort: Cohort) -> HemisphereLevels:
    """Find what the levels of a cohort's hemispheres are relative to.

    Raises
    ------
    CohortError
        Where the cohort's maps are not of two surfaces, nor falls its mesh into two, or no visit has both.

    Examples
    --------
    >>> from neuropyro.data import simulate_cohort
    >>> cohort = simulate_cohort(n_subjects=6, visits=2, seed=0)
    >>> shifted = cohort.values.copy()
    >>> shifted[0, :9000] += 0.2  # mm, most of the left hemisphere at one visit
    >>> shifted = replace(cohort, values=shifted)
    >>> levelled = fit_hemisphere_levels(shifted)(shifted)
    >>> [round(unsteadiness(each).contrast, 2) for each in (shifted, levelled)]  # mm
    [0.05, 0.0]
    """
    side = _sides(cohort)
    if side is None:
        raise CohortError(
            "--level-hemispheres: neither its maps nor a mesh tell the cohort's two hemispheres; leave it out"
        )
    both = np.isfinite(_contrasts(cohort, np.zeros(cohort.n_vertices), side))
    if not both.any():
        raise CohortError("--level-hemispheres: no visit has values in both hemispheres; leave it out")
    means = _means(cohort, both)  # of the same people on either side
    contrasts = _contrasts(cohort, means, side)[both]
    return HemisphereLevels(means, side, float(contrasts.std()), int(both.sum()))


def load_hemisphere_levels(path: str | Path) -> HemisphereLevels:
    """Read what `HemisphereLevels.save` wrote.

    Raises
    ------
    CohortError
        Where the file cannot be read or holds something else.

    Examples
    --------
    >>> import tempfile
    >>> mesh = Mesh(4, edges=np.array([[0, 1], [2, 3]]))
    >>> values = np.array([[2.5, 2.5, 2.5, 2.5], [2.7, 2.7, 2.5, 2.5]])
    >>> cohort = Cohort(values, [70, 71], ["a", "a"], mesh=mesh)
    >>> path = Path(tempfile.mkdtemp()) / "hemispheres.npz"
    >>> fit_hemisphere_levels(cohort).save(path)
    >>> load_hemisphere_levels(path)(cohort).values.round(2).tolist()
    [[2.55, 2.55, 2.45, 2.45], [2.65, 2.65, 2.55, 2.55]]
    """
    arrays = read_npz(Path(path))
    means, side = arrays.get("means", np.empty(0)), arrays.get("side", np.empty(1))
    single = all(np.shape(arrays.get(name, ())) == () for name in ("sd", "n_visits"))
    if means.ndim != 1 or side.shape != means.shape or not single or not {"sd", "n_visits"} <= set(arrays):
        raise CohortError(f"{path}: not hemispheres' levels; write it by HemisphereLevels.save")
    return HemisphereLevels(means, side, float(arrays["sd"]), int(arrays["n_visits"]))


@dataclass(frozen=True)
class Unsteadiness:
    """By how much one hemisphere moves against the other between a person's visits, and what it is measured by.

    Parameters
    ----------
    contrast
        Sd of :math:`D_n`, in the values' unit, about each person's line in time; about each person's mean, which takes
        a course of one side for error, where nobody has three visits.
    single
        The same of the values at a single vertex.
    chance
        Sd of the contrast if vertices' errors were independent.

    Examples
    --------
    >>> mesh = Mesh(4, edges=np.array([[0, 1], [2, 3]]))
    >>> found = unsteadiness(Cohort([[2.5] * 4, [2.7] * 4], [70, 71], ["a", "a"], mesh=mesh))
    >>> round(found.contrast, 2), round(found.single, 2)  # both hemispheres moved alike
    (0.0, 0.14)
    """

    contrast: float
    single: float
    chance: float


def unsteadiness(cohort: Cohort) -> Unsteadiness | None:
    """Return how unsteady the contrast of hemispheres is; None without two of them, or where nobody was seen twice.

    Examples
    --------
    >>> mesh = Mesh(4, edges=np.array([[0, 1], [2, 3]]))
    >>> values = np.array([[2.5, 2.5, 2.5, 2.5], [2.7, 2.7, 2.5, 2.5]])
    >>> found = unsteadiness(Cohort(values, [70, 71], ["a", "a"], mesh=mesh))
    >>> round(found.contrast, 2), round(found.single, 2), round(found.chance, 2)
    (0.14, 0.1, 0.1)
    """
    side = _sides(cohort)
    if side is None:
        return None
    contrasts = _contrasts(cohort, _means(cohort, np.ones(cohort.n_visits, np.bool_)), side)
    terms = min(int(np.bincount(cohort.subject_index).max()) - 1, 2)  # a line, or a mean
    if terms < 1:
        return None
    blocks = [np.flatnonzero(cohort.subject_index == one) for one in range(cohort.n_subjects)]
    designs = [np.vander(cohort.time[rows] - cohort.time[rows].mean(), terms) for rows in blocks]
    contrast = _about_lines((contrasts[rows, None] for rows in blocks), designs)
    single = _about_lines((cohort.values[rows][:, side != 0] for rows in blocks), designs)
    return Unsteadiness(contrast, single, single * _of_means(side)) if np.isfinite(contrast) else None


def lasting_contrast(cohort: Cohort) -> Unsteadiness | None:
    """Return the same of people at their first visits; None without two hemispheres, or of one person.

    Examples
    --------
    >>> mesh = Mesh(4, edges=np.array([[0, 1], [2, 3]]))
    >>> values = [[2.6, 2.6, 2.4, 2.4], [2.4, 2.4, 2.6, 2.6]]  # one is thicker on the left, one on the right
    >>> found = lasting_contrast(Cohort(values, [70, 71], ["a", "b"], mesh=mesh))
    >>> round(found.contrast, 2), round(found.single, 2)
    (0.28, 0.14)
    """
    side = _sides(cohort)
    if side is None or cohort.n_subjects < 2:
        return None
    first = cohort.subset(visits=cohort.is_first_visit)
    contrasts = _contrasts(first, _means(first, np.ones(first.n_visits, np.bool_)), side)
    seen, values = contrasts[np.isfinite(contrasts)], first.values[:, side != 0]
    whole = values[:, ~np.isnan(values).any(0)]
    if len(seen) < 2 or not whole.size:
        return None
    single = float(whole.var(0, ddof=1).mean() ** 0.5)
    return Unsteadiness(float(seen.std(ddof=1)), single, single * _of_means(side))


def _of_means(side: NDArray[np.float64]) -> float:
    """Return the sd of the contrast of independent vertices of sd 1."""
    return float(sum(1 / (side == sign).sum() for sign in (-1, 1)) ** 0.5)


def _sides(cohort: Cohort) -> NDArray[np.float64] | None:
    """Return 1 and -1 for the two hemispheres, 0 for what is in neither; None where there are no two."""
    space = cohort.map_space
    side = _pieces(cohort.mesh) if space is None else space.sides.astype(np.float64)
    return side if {-1, 1} <= set(side) else None


def _pieces(mesh: Mesh | None) -> NDArray[np.float64]:
    """Return 1 for a mesh's piece whose vertices come first, -1 for the other, where two alike are nearly all of it."""
    if mesh is None:
        return np.zeros(1)
    _, piece = connected_components(mesh.adjacency, directed=False)
    sizes = np.bincount(piece)
    largest = np.argsort(sizes)[-2:]
    two = sizes[largest].sum() >= NEARLY_ALL * mesh.n_vertices and sizes[largest].min() > ALIKE * sizes.max()
    if len(largest) < 2 or not two:
        return np.zeros(1)
    first, second = np.sort(largest)
    return np.where(piece == first, 1.0, np.where(piece == second, -1.0, 0.0))


def _means(cohort: Cohort, visits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return each vertex's mean over some visits, or over all where it was seen at none of them; 0 where it never was.

    One visit after the other, for maps may be larger than memory.
    """
    total, count = np.zeros((2, 2, cohort.n_vertices))
    for some, row in zip(visits, cohort.values, strict=True):
        seen = ~np.isnan(row)
        total[int(some), seen] += row[seen]
        count[int(some)] += seen
    total[0], count[0] = total.sum(0), count.sum(0)
    best = np.where(count[1] > 0, total[1] / np.maximum(count[1], 1), total[0] / np.maximum(count[0], 1))
    return np.asarray(best, np.float64)


def _about_lines(blocks: Iterable[NDArray[np.floating]], designs: Iterable[NDArray[np.float64]]) -> float:
    """Return the sd of each block's columns, ``(visits, any)``, about least squares on its design; of whole columns."""
    squares, spare = 0.0, 0
    for block, design in zip(blocks, designs, strict=True):
        whole = block[:, ~np.isnan(block).any(0)].astype(np.float64)
        fitted = design @ np.linalg.lstsq(design, whole)[0]
        free = len(design) - int(np.linalg.matrix_rank(design))
        squares += float(((whole - fitted) ** 2).sum()) * (free > 0)
        spare += free * whole.shape[1]
    return (squares / spare) ** 0.5 if spare else float("nan")


def _contrasts(cohort: Cohort, means: NDArray[np.float64], side: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``(visits,)``, the mean of one hemisphere less the other's; NaN where a visit lacks one."""
    one, other = side > 0, side < 0
    off = (visit - means for visit in cohort.values)
    return np.array([_mean(visit[one]) - _mean(visit[other]) for visit in off])


def _mean(values: NDArray[np.floating]) -> float:
    seen = values[~np.isnan(values)]
    return float(seen.mean()) if seen.size else float("nan")
