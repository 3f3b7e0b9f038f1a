"""Whether scores of subjects that were not fitted go with a cognitive score that no fit has seen.

Subjects are left out fold by fold and placed on the course of the others.  Beside the model stand fixed regions, no
staging (the score is time), and the first principal component of the others' maps.

References
----------
Marinescu et al., NeuroImage 2019 (DIVE), section on staging and cognitive tests; Efron & Tibshirani, *An Introduction
to the Bootstrap*, 1993 (subjects are drawn, with all their visits).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import pearsonr, spearmanr
from tqdm import tqdm

from neuropyro.data import Cohort, CohortError
from neuropyro.data.unknown_names import there_are
from neuropyro.fixed_regions import with_regions
from neuropyro.inference import fit
from neuropyro.models import VertexClusterMixture
from neuropyro.models.visits import Visits, visits_like

__all__ = ["Staging", "association", "evaluate_staging"]

Floats = NDArray[np.float64]
BOOTSTRAP = 500


@dataclass(frozen=True, eq=False)
class Staging:
    """Of one method.

    Parameters
    ----------
    method
        Its name.
    dps
        ``(visits,)`` each visit's score, its subject left out of the fit.
    pearson, spearman
        Correlation with the cognitive score, over the visits that have one.
    pearson_error, spearman_error
        Their standard errors, by bootstrap over subjects.

    Examples
    --------
    >>> score, subject = np.arange(30.0), np.repeat(np.arange(10), 3)
    >>> found = Staging("clusters", score, *association(score, 30 - score, subject))
    >>> round(found.pearson, 3), round(found.spearman, 3)
    (-1.0, -1.0)
    """

    method: str
    dps: Floats
    pearson: float
    pearson_error: float
    spearman: float
    spearman_error: float


def evaluate_staging(
    cohort: Cohort,
    score: str,
    model: VertexClusterMixture,
    folds: int = 10,
    *,
    regions: NDArray[np.int64] | None = None,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> list[Staging]:
    """Stage each fold's subjects by the fits of the others, and correlate with a covariate.

    Parameters
    ----------
    cohort
        The data.
    score
        The name of a covariate in numbers; NaN where a visit has none.
    model
        With its number of clusters and switches.
    folds
        Parts that subjects are dealt to.
    regions
        ``(vertices,)`` fixed in advance; None leaves that method out.
    seed
        Of folds and fits.
    progress
        Whether to show a bar on standard error.
    options
        Passed to ``fit``: guide, schedule, device.

    Raises
    ------
    CohortError
        Where the covariate is not there, is no number, or hardly ever known; or there are fewer subjects than folds.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> evaluate_staging(simulate_reference(n_subjects=6, n_vertices=9, seed=0), "mmse", VertexClusterMixture(1))
    Traceback (most recent call last):
    neuropyro.data.errors.CohortError: covariate 'mmse' is not in the cohort; there are none
    """
    cognition = _covariate(cohort, score)
    models = {"clusters": model} | ({} if regions is None else {"fixed regions": with_regions(model, regions)})
    scores = {name: np.full(cohort.n_visits, np.nan) for name in (*models, "first component")}
    for train, test in tqdm(cohort.split_subjects(folds, seed), "evaluate", folds, disable=not progress):
        rows = np.isin(cohort.subject, test.subjects)
        for name, method in models.items():
            result = fit(method, train, seed=seed, progress=False, **options)
            scores[name][rows] = method.personalize(result, test).dps.mean(0)
        scores["first component"][rows] = _component(result.data, test)
    scores["no staging"] = cohort.time
    return [Staging(name, dps, *association(dps, cognition, cohort.subject, seed)) for name, dps in scores.items()]


def association(
    dps: ArrayLike, cognition: ArrayLike, subject: ArrayLike, seed: int = 0
) -> tuple[float, float, float, float]:
    """Return Pearson's and Spearman's correlation, each with its bootstrap standard error, where both are known.

    Examples
    --------
    >>> score, subject = np.arange(30.0), np.repeat(np.arange(10), 3)
    >>> r, _, rank, _ = association(score, np.exp(score / 10), subject)
    >>> rank, bool(0.8 < r < 1)
    (1.0, True)
    """
    x, y, who = np.asarray(dps, np.float64), np.asarray(cognition, np.float64), np.asarray(subject)
    some = ~np.isnan(x) & ~np.isnan(y)
    x, y, who = x[some], y[some], np.unique(who[some], return_inverse=True)[1]
    rows = np.split(np.argsort(who, kind="stable"), np.cumsum(np.bincount(who))[:-1])
    rng = np.random.default_rng(seed)
    drawn = [np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))]) for _ in range(BOOTSTRAP)]
    out: list[float] = []
    for statistic in (pearsonr, spearmanr):
        out.append(float(statistic(x, y).statistic))
        out.append(float(np.std([statistic(x[d], y[d]).statistic for d in drawn], ddof=1)))
    return out[0], out[1], out[2], out[3]


def _covariate(cohort: Cohort, name: str) -> Floats:
    if name not in cohort.covariates:
        there = there_are(name, list(cohort.covariates), "--score")
        raise CohortError(f"covariate {name!r} is not in the cohort; {there}")
    values = cohort.covariates[name]
    if values.dtype.kind not in "iuf":
        raise CohortError(f"covariate {name!r} is text; name a score in numbers")
    known = np.asarray(values, np.float64)
    if np.isfinite(known).sum() < 3:
        raise CohortError(f"covariate {name!r} is known at fewer than 3 visits")
    return known


def _component(fitted: Visits, cohort: Cohort) -> Floats:
    """Return the first principal component of new maps, its direction and its sign those of the maps fitted."""
    mean = fitted.values.mean(-1, keepdim=True)
    centred = (fitted.values - mean).double()
    right = torch.linalg.eigh(centred.mT @ centred).eigenvectors[:, -1]
    rise = right[~fitted.is_control].mean() - right[fitted.is_control].mean()
    direction = centred @ right * torch.sign(rise).nan_to_num(1.0)
    new = visits_like(fitted, cohort).values - mean
    return np.asarray((direction @ new.double()).cpu())
