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

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from neuropyro.data import Cohort, CohortError, Mesh
from neuropyro.data.cohort_files import read_npz, write_npz

__all__ = ["HemisphereLevels", "contrast_error", "fit_hemisphere_levels", "load_hemisphere_levels"]

NEARLY_ALL = 0.95  # of the vertices, that two pieces of a mesh hold where they are its hemispheres


@dataclass(frozen=True, eq=False)
class HemisphereLevels:
    """What the levels of the hemispheres are relative to.

    Parameters
    ----------
    means
        ``(vertices,)`` means over the visits of the fit, in the values' unit.
    side
        ``(vertices,)``: 1 in one hemisphere (the left one, where the maps' files tell), -1 in the other, 0 in neither.
    sd
        Sd of the contrast over those visits, in the values' unit.
    n_visits
        How many they were.
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
        Where the cohort's maps are not of two surfaces, nor falls its mesh into two.

    Examples
    --------
    >>> from neuropyro.data import simulate_cohort
    >>> cohort = simulate_cohort(n_subjects=6, visits=2, seed=0)
    >>> shifted = cohort.values.copy()
    >>> shifted[0, :9000] += 0.2  # mm, most of the left hemisphere at one visit
    >>> shifted = replace(cohort, values=shifted)
    >>> levelled = fit_hemisphere_levels(shifted)(shifted)
    >>> [round(contrast_error(each)[0], 2) for each in (shifted, levelled)]  # mm
    [0.05, 0.0]
    """
    side = _sides(cohort)
    if side is None:
        raise CohortError(
            "--level-hemispheres: neither its maps nor a mesh tell the cohort's two hemispheres; leave it out"
        )
    means = _means(cohort)
    contrasts = _contrasts(cohort, means, side)
    seen = np.isfinite(contrasts)
    return HemisphereLevels(means, side, float(contrasts[seen].std()), int(seen.sum()))


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
    try:
        means, side, sd, count = (arrays[name] for name in ("means", "side", "sd", "n_visits"))
    except KeyError:
        raise CohortError(f"{path}: not hemispheres' levels; write it by HemisphereLevels.save") from None
    return HemisphereLevels(means, side, float(sd), int(count))


def contrast_error(cohort: Cohort) -> tuple[float, float]:
    """Return by how much one hemisphere moves against the other between a person's visits, and a single vertex moves.

    Returns
    -------
    tuple of float
        Sd of :math:`D_n` about each person's mean, and that of a vertex's values about each person's mean, in the
        values' unit; NaN where there are no two hemispheres, or nobody was seen twice.

    Examples
    --------
    >>> mesh = Mesh(4, edges=np.array([[0, 1], [2, 3]]))
    >>> values = np.array([[2.5, 2.5, 2.5, 2.5], [2.7, 2.7, 2.5, 2.5]])
    >>> cohort = Cohort(values, [70, 71], ["a", "a"], mesh=mesh)
    >>> [round(sd, 2) for sd in contrast_error(cohort)]
    [0.14, 0.1]
    """
    side = _sides(cohort)
    if side is None:
        return float("nan"), float("nan")
    contrasts = _contrasts(cohort, _means(cohort), side)
    return _within(contrasts[:, None], cohort.subject_index), _within(cohort.values, cohort.subject_index)


def _sides(cohort: Cohort) -> NDArray[np.float64] | None:
    """Return 1 and -1 for the two hemispheres, 0 for what is in neither; None where there are no two."""
    side = _pieces(cohort.mesh) if cohort.space is None else cohort.space.sides.astype(np.float64)
    return side if {-1, 1} <= set(side) else None


def _pieces(mesh: Mesh | None) -> NDArray[np.float64]:
    """Return 1 for a mesh's piece whose vertices come first, -1 for the other, where two are nearly all of it."""
    if mesh is None:
        return np.zeros(1)
    _, piece = connected_components(mesh.adjacency, directed=False)
    sizes = np.bincount(piece)
    first, *second = np.sort(np.argsort(sizes)[-2:])
    whole = sizes[[first, *second]].sum() >= NEARLY_ALL * mesh.n_vertices
    return np.where(piece == first, 1.0, np.where(np.isin(piece, second), -1.0, 0.0)) if whole else np.zeros(1)


def _means(cohort: Cohort) -> NDArray[np.float64]:
    """Return each vertex's mean over the visits at which it was seen, 0 where it never was."""
    seen = ~np.isnan(cohort.values)
    total = np.where(seen, cohort.values, 0).sum(0, dtype=np.float64)
    means: NDArray[np.float64] = total / np.maximum(seen.sum(0), 1)
    return means


def _within(values: NDArray[np.floating], person: NDArray[np.int64]) -> float:
    """Return the sd of values, ``(visits, any)``, about each person's means; NaN where there is nothing to tell by."""
    squares, spare = 0.0, 0
    for one in range(person.max() + 1):
        block = values[person == one]
        seen = ~np.isnan(block)
        count = seen.sum(0)
        mean = np.where(seen, block, 0).sum(0) / np.maximum(count, 1)
        squares += float((np.where(seen, block - mean, 0) ** 2).sum())
        spare += int(np.maximum(count - 1, 0).sum())
    return (squares / spare) ** 0.5 if spare else float("nan")


def _contrasts(cohort: Cohort, means: NDArray[np.float64], side: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``(visits,)``, the mean of one hemisphere less the other's; NaN where a visit lacks one."""
    one, other = side > 0, side < 0
    off = (visit - means for visit in cohort.values)  # one by one: maps may be larger than memory
    return np.array([_mean(visit[one]) - _mean(visit[other]) for visit in off])


def _mean(values: NDArray[np.floating]) -> float:
    seen = values[~np.isnan(values)]
    return float(seen.mean()) if seen.size else float("nan")
