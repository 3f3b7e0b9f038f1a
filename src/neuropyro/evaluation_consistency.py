"""Whether parts of a cohort's subjects give the same clusters and the same stages, beside k-means.

Every fold's fit starts by itself, so that what differs between folds is all that would differ between studies.

References
----------
Marinescu et al., NeuroImage 2019 (DIVE), section on cross-validation; its average of Dice's coefficient counts each
clustering with itself, ours does not.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from neuropyro.data import Cohort
from neuropyro.inference import fit
from neuropyro.inference.reproducibility import Reproducibility, reproducibility
from neuropyro.models import VertexClusterMixture

__all__ = ["Consistency", "evaluate_consistency"]


@dataclass(frozen=True)
class Consistency:
    """Of one method over folds.

    Parameters
    ----------
    method
        Its name.
    clusters
        Agreement of the folds' clusters, over pairs of folds.
    scores
        Mean over pairs of folds of the correlation of the scores of visits that both have; NaN of a method
        without scores, and of two folds alone, which share no subject.

    Examples
    --------
    >>> folds = np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])  # the same clusters, numbered otherwise
    >>> Consistency("k-means", reproducibility(folds, 2), np.nan).clusters
    Reproducibility(dice=1.0, rand=1.0)
    """

    method: str
    clusters: Reproducibility
    scores: float


def evaluate_consistency(
    cohort: Cohort,
    model: VertexClusterMixture,
    folds: int = 10,
    *,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> list[Consistency]:
    """Fit a cohort with a fold of subjects left out, fold by fold, and compare.

    Parameters
    ----------
    cohort
        The data.
    model
        With its number of clusters and switches.
    folds
        Parts that subjects are dealt to.
    seed
        Of folds; fold f is fitted from seed + f.
    progress
        Whether to show a bar on standard error.
    options
        Passed to ``fit``: guide, schedule, device.

    Raises
    ------
    CohortError
        Where there are fewer subjects than folds, or vertices than clusters.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.inference import Schedule
    >>> cohort, short = simulate_reference(6, 12, 1, seed=0), Schedule(max_steps=2, warm_up=0, window=2)
    >>> found = evaluate_consistency(cohort, VertexClusterMixture(1), 2, guide="map", schedule=short, progress=False)
    >>> [(one.method, one.clusters.dice) for one in found]  # a single cluster is the same in every fold
    [('clusters', 1.0), ('k-means', 1.0)]
    """
    ours, k_means, scores = [], [], []
    parts = enumerate(cohort.split_subjects(folds, seed))
    for fold, (train, _) in tqdm(parts, "evaluate", folds, disable=not progress):
        result = fit(model, train, seed=seed + fold, progress=False, **options)
        ours.append(model.assignments(result).argmax(1))
        k_means.append(_k_means(result.data.values.cpu().numpy(), model.n_clusters, seed + fold))
        dps = np.full(cohort.n_visits, np.nan)
        dps[np.isin(cohort.subject, train.subjects)] = result.posterior(100)["dps"].mean(0)
        scores.append(dps)
    correlations = [_correlation(a, b) for a, b in itertools.combinations(scores, 2)]
    k = model.n_clusters
    return [
        Consistency("clusters", reproducibility(ours, k), float(np.mean(correlations))),
        Consistency("k-means", reproducibility(k_means, k), np.nan),
    ]


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    both = ~np.isnan(first) & ~np.isnan(second)
    if both.sum() < 2:  # two folds share no subject
        return np.nan
    return float(np.corrcoef(first[both], second[both])[0, 1])


def _k_means(values: NDArray[np.floating[Any]], n_clusters: int, seed: int) -> NDArray[np.int64]:
    from sklearn.cluster import KMeans

    return np.asarray(KMeans(n_clusters, n_init=4, random_state=seed).fit(values).labels_, np.int64)
