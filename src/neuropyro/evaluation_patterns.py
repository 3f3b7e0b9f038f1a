"""Whether two cohorts of the same vertices show different patterns: two diseases, or two modalities.

Each cohort is halved by subjects and its halves are fitted apart, so that there is something to compare with: halves of
one cohort differ by chance alone.  Two patterns are told apart by a measure where no pair of halves across cohorts
agrees as well as the halves of a cohort do.

References
----------
Marinescu et al., NeuroImage 2019 (DIVE), sections on typical Alzheimer's disease against posterior cortical atrophy,
and on MRI against PET; Hubert & Arabie, "Comparing partitions", Journal of Classification 1985.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from neuropyro.data import Cohort, CohortError
from neuropyro.inference import fit
from neuropyro.inference.reproducibility import adjusted_rand
from neuropyro.models import VertexClusterMixture

__all__ = ["MEASURES", "Patterns", "evaluate_patterns"]

MEASURES = {
    "clusters": "adjusted Rand index of the clusters",
    "onset": "correlation of the maps of onsets",
    "change": "correlation of the maps of changes, in sds of the vertices",
}


@dataclass(frozen=True, eq=False)
class Patterns:
    """Agreement of fits, by measure.

    Parameters
    ----------
    within
        ``(2 splits,)`` between the halves of one cohort.
    between
        ``(4 splits,)`` between a half of one and a half of the other.

    Examples
    --------
    >>> within = {"clusters": np.array([0.8, 0.9]), "onset": np.array([0.5, 0.9]), "change": np.array([0.2, 0.3])}
    >>> between = {"clusters": np.array([0.1, 0.7]), "onset": np.array([0.1, 0.6]), "change": np.array([0.1, 0.4])}
    >>> Patterns(within, between).sentence
    'The patterns are told apart by adjusted Rand index of the clusters.'
    """

    within: Mapping[str, NDArray[np.float64]]
    between: Mapping[str, NDArray[np.float64]]

    @property
    def told_apart_by(self) -> tuple[str, ...]:
        """The measures by which they are."""
        return tuple(name for name in MEASURES if self.between[name].max() < self.within[name].min())

    @property
    def sentence(self) -> str:
        """What was found."""
        if not self.told_apart_by:
            return "The patterns are not told apart: halves of different cohorts agree as well as those of one."
        return f"The patterns are told apart by {' and '.join(MEASURES[name] for name in self.told_apart_by)}."


def evaluate_patterns(
    first: Cohort,
    second: Cohort,
    model: VertexClusterMixture,
    splits: int = 3,
    *,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> Patterns:
    """Fit halves of two cohorts and compare them.

    Parameters
    ----------
    first, second
        Of the same vertices; of any modality and unit.
    model
        With its number of clusters and switches.
    splits
        Times that each cohort is halved.
    seed
        Of halves and fits.
    progress
        Whether to show a bar on standard error.
    options
        Passed to ``fit``: guide, schedule, device.

    Raises
    ------
    CohortError
        Where the cohorts have different numbers of vertices.
    ValueError
        Where there is no split.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> atrophy, amyloid = (simulate_reference(n_subjects=6, n_vertices=n, seed=0) for n in (9, 10))
    >>> evaluate_patterns(atrophy, amyloid, VertexClusterMixture(1))
    Traceback (most recent call last):
    neuropyro.data.errors.CohortError: evaluate: 9 vertices in one cohort, 10 in the other; bring both to one template
    """
    if splits < 1:
        raise ValueError(f"evaluate: {splits} splits; halve the cohorts once or more")
    if first.n_vertices != second.n_vertices:
        raise CohortError(
            f"evaluate: {first.n_vertices:,} vertices in one cohort, {second.n_vertices:,} in the other; bring both to "
            "one template"
        )
    within: dict[str, list[float]] = {name: [] for name in MEASURES}
    between: dict[str, list[float]] = {name: [] for name in MEASURES}
    with tqdm(total=4 * splits, desc="evaluate", disable=not progress) as bar:
        for split in range(splits):
            maps = []
            for half in _halves(first, second, seed + split):
                maps.append(_maps(half, model, seed + split, options))
                bar.update()
            for i, j in ((0, 1), (2, 3), (0, 2), (0, 3), (1, 2), (1, 3)):
                found = within if i // 2 == j // 2 else between
                for name, agreement in _agreement(maps[i], maps[j]):
                    found[name].append(agreement)
    return Patterns(*({name: np.array(values) for name, values in found.items()} for found in (within, between)))


def _halves(first: Cohort, second: Cohort, seed: int) -> Iterator[Cohort]:
    for cohort in (first, second):
        yield from next(cohort.split_subjects(2, seed))


def _maps(cohort: Cohort, model: VertexClusterMixture, seed: int, options: dict[str, Any]) -> dict[str, NDArray[Any]]:
    result = fit(model, cohort, seed=seed, progress=False, **options)
    maps = model.vertex_maps(result)
    scale = np.asarray(result.data.scale.double().cpu())
    change = np.divide(maps.median["change"], scale, out=np.full(len(scale), np.nan), where=scale > 0)
    return {"clusters": model.assignments(result).argmax(1), "onset": maps.median["onset"], "change": change}


def _agreement(first: Mapping[str, NDArray[Any]], second: Mapping[str, NDArray[Any]]) -> Iterator[tuple[str, float]]:
    known = np.isfinite(first["change"]) & np.isfinite(second["change"])
    one, other = (maps["clusters"][known] for maps in (first, second))
    yield "clusters", adjusted_rand(one, other, int(max(one.max(), other.max())) + 1)
    for name in ("onset", "change"):
        known = np.isfinite(first[name]) & np.isfinite(second[name])
        yield name, float(np.corrcoef(first[name][known], second[name][known])[0, 1])
