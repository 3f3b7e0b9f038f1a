r"""How many clusters: those that are told apart, beside what each number predicts of subjects it has not seen.

- **Held out**: subjects are left out fold by fold; the sum over them of log p(V_i | fit of the others), with their
  latents, the vertices' labels and own trajectories integrated out.
- **Leave-one-out**: the same with one subject left out at a time, given the globals that were fitted with it.
- **BIC**: -2 log p(V | globals) + p log L, subjects' latents and labels integrated out, p the numbers that clusters and
  population have, L the effective number of vertices, which likelihoods count by, too.
- **ICL**: BIC + 2 times the entropy of the labels: it asks for clusters that are told apart.

ICL's is the number chosen.  The others ask how many clusters describe the vertices best, which are more than there are
wherever vertices of one kind do not differ quite as the model has it: a second cluster then mends the law of the first.
And where others' visits have shown each vertex's own course, held-out subjects hardly depend on clusters.  Of the first
two the smallest number counts whose deficit to the best is within its standard error over subjects.

References
----------
Biernacki, Celeux & Govaert, "Assessing a mixture model for clustering with the integrated completed likelihood", IEEE
TPAMI 2000; Hastie, Tibshirani & Friedman, *The Elements of Statistical Learning*, 2009, section 7.10 (the rule of one
standard error); Vehtari, Gelman & Gabry, Statistics and Computing 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from neuropyro.data import Cohort
from neuropyro.inference import Fit, Schedule, fit
from neuropyro.inference.reproducibility import Reproducibility, reproducibility
from neuropyro.models import VertexClusterMixture
from neuropyro.selection_words import overlaps, reasons
from neuropyro.started import Started, start_of

__all__ = ["CRITERIA", "Candidate", "Selection", "select"]

Floats = NDArray[np.float64]
CRITERIA = {"held_out": "held-out likelihood", "loo": "leave-one-out", "bic": "BIC", "icl": "ICL"}
FOLD_SCHEDULE = Schedule(learning_rate=0.01, max_steps=300, warm_up=100)
DRAWS = 20


@dataclass(frozen=True, eq=False)
class Candidate:
    """What is known of one number of clusters.

    Parameters
    ----------
    clusters
        K.
    held_out, loo
        ``(subjects,)`` log-densities of each subject, given fits without it, and given all others; nats.
    bic, icl
        The lower, the better.
    entropy
        Mean over vertices of the entropy of the label, nats.
    agreement
        Of the folds' clusters.
    converged
        Whether the fit of all data had converged, from which those of parts go on for a fixed number of steps.
    result
        The fit of all data.

    Examples
    --------
    >>> one = Candidate(3, np.array([-9.0, -7.0]), np.zeros(2), 40.0, 42.0, 0.1, Reproducibility(0.9, 0.8), True, None)
    >>> row = Selection((one,), folds=5).columns()
    >>> row["held_out"].tolist(), row["dice"].tolist()  # of two subjects together, in nats; of the folds' clusters
    ([-16.0], [0.9])
    """

    clusters: int
    held_out: Floats
    loo: Floats
    bic: float
    icl: float
    entropy: float
    agreement: Reproducibility
    converged: bool
    result: Fit


@dataclass(frozen=True, eq=False)
class Selection:
    """Numbers of clusters side by side.

    Parameters
    ----------
    candidates
        One for each number, in the order given.
    folds
        Parts that the subjects were dealt to.
    kind
        What is clustered: "vertices" or "biomarkers".

    Examples
    --------
    >>> rest = {"entropy": 0.1, "agreement": Reproducibility(0.9, 0.8), "converged": True, "result": None}
    >>> few = Candidate(2, np.array([-9.0, -9.0]), np.array([-9.0, -9.0]), bic=50.0, icl=50.0, **rest)
    >>> more = Candidate(3, np.array([-7.0, -8.0]), np.array([-7.0, -8.0]), bic=40.0, icl=42.0, **rest)
    >>> found = Selection((few, more), folds=5)
    >>> found.clusters, found.deficit(few, "held_out")[0]  # nats
    (3, 3.0)
    >>> found.sentence
    'Held-out likelihood, leave-one-out, BIC and ICL all choose 3 clusters.'
    """

    candidates: tuple[Candidate, ...]
    folds: int
    kind: str = "vertices"

    @property
    def clusters(self) -> int:
        """The number chosen: ICL's."""
        return self.chosen("icl")

    def chosen(self, criterion: str) -> int:
        """Return the number that one of `CRITERIA` names."""
        if criterion in ("bic", "icl"):
            return min(self.candidates, key=lambda c: float(getattr(c, criterion))).clusters
        for candidate in sorted(self.candidates, key=lambda c: c.clusters):
            difference, error = self.deficit(candidate, criterion)
            if difference <= error:
                return candidate.clusters
        raise AssertionError("the best candidate has no deficit")

    def deficit(self, candidate: Candidate, criterion: str) -> tuple[float, float]:
        """Return by how much a candidate is below the best, nats, and the standard error of that over subjects."""
        best = max((getattr(c, criterion) for c in self.candidates), key=lambda terms: float(terms.sum()))
        left = best - getattr(candidate, criterion)
        return float(left.sum()), float(left.std() * np.sqrt(len(left)))

    @property
    def sentence(self) -> str:
        """Which number each criterion chooses, and what to make of it where they disagree."""
        said = {name: self.chosen(name) for name in CRITERIA}
        if len(set(said.values())) == 1:
            return f"Held-out likelihood, leave-one-out, BIC and ICL all choose {self.clusters} clusters."
        parts = ", ".join(f"{CRITERIA[name]} {number}" for name, number in said.items())
        apart = ", whose clusters are told apart" if any(map(overlaps, self.candidates)) else ""
        why = " ".join(reasons(self, said))
        return f"The criteria disagree: {parts}. {why} Chosen: {self.clusters}, by ICL{apart}."

    def candidate(self, clusters: int) -> Candidate:
        """Return what is known of a number of clusters."""
        return next(one for one in self.candidates if one.clusters == clusters)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return a table, a row a number of clusters."""
        rows = [self._row(candidate) for candidate in self.candidates]
        return {name: np.array([row[name] for row in rows]) for name in rows[0]}

    def _row(self, candidate: Candidate) -> dict[str, Any]:
        row: dict[str, Any] = {"clusters": candidate.clusters}
        for name in ("held_out", "loo"):
            row[name] = float(getattr(candidate, name).sum())
            row[f"{name}_below_best"], row[f"{name}_error"] = self.deficit(candidate, name)
        agreement = candidate.agreement
        rest = {"bic": candidate.bic, "icl": candidate.icl, "entropy": candidate.entropy}
        return row | rest | {"dice": agreement.dice, "rand": agreement.rand, "converged": int(candidate.converged)}


def select(
    cohort: Cohort,
    clusters: Iterable[int] = range(2, 9),
    model: VertexClusterMixture | None = None,
    *,
    folds: int = 5,
    guide: str = "map",
    seed: int = 0,
    schedule: Schedule | None = None,
    fold_schedule: Schedule = FOLD_SCHEDULE,
    device: str | None = None,
    progress: bool = True,
    keep: Callable[[Selection], object] = lambda _: None,
) -> Selection:
    """Compare numbers of clusters by cross-validation over subjects, and by criteria.

    Every fold's fit starts from the fit of all, so that folds differ by their subjects and not by their optima.

    Parameters
    ----------
    cohort
        The data.
    clusters
        Numbers to compare.
    model
        Its switches and priors; its number of clusters does not matter.
    folds
        Parts that subjects are dealt to.
    guide
        Of all fits; what is held out is averaged over its draws.
    seed
        Of fits and folds.
    schedule, fold_schedule
        Of the fits of all, and of the folds.
    device
        As in `fit`.
    progress
        Whether to show bars on standard error.
    keep
        Called with all that has been compared, after each number but the last: what is stopped is not lost.

    Raises
    ------
    ValueError
        Where no number is given, or labels are known.
    CohortError
        Where there are fewer subjects than folds, or vertices than clusters.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> cohort, short = simulate_reference(6, 12, 1, seed=0), Schedule(max_steps=2, warm_up=0, window=2)
    >>> found = select(cohort, [1], folds=2, schedule=short, fold_schedule=short, progress=False).candidates[0]
    >>> found.held_out.shape, found.icl == found.bic  # a number a subject; one cluster's labels are certain
    ((6,), True)
    """
    numbers = sorted(set(clusters))
    if not numbers:
        raise ValueError("select: no number of clusters; give some, such as range(2, 9)")
    model = model or VertexClusterMixture(numbers[0])
    if model.labels is not None:
        raise ValueError("select: labels are known; there is nothing to select")
    options = {"guide": guide, "seed": seed, "device": device, "progress": False}
    candidates: list[Candidate] = []
    kind = "vertices" if cohort.feature_names is None else "biomarkers"
    with tqdm(total=len(numbers) * (folds + 1), desc="select", unit="fit", disable=not progress) as bar:
        for number in numbers:
            if candidates:
                keep(Selection(tuple(candidates), folds, kind))
            task = _Task(replace(model, n_clusters=number), cohort, folds, seed, options, fold_schedule, bar.update)
            candidates.append(task.run(schedule))
    return Selection(tuple(candidates), folds, kind)


@dataclass(frozen=True, eq=False)
class _Task:
    """One number of clusters."""

    model: VertexClusterMixture
    cohort: Cohort
    folds: int
    seed: int
    options: dict[str, Any]
    fold_schedule: Schedule
    done: Callable[[], Any]

    def run(self, schedule: Schedule | None) -> Candidate:
        result = fit(self.model, self.cohort, schedule=schedule, **self.options)
        self.done()
        held_out, labels = np.empty(self.cohort.n_subjects), []
        for train, test in self.cohort.split_subjects(self.folds, self.seed):
            started = Started(self.model, start_of(result, self.cohort, train))
            part = fit(started, train, schedule=self.fold_schedule, **self.options)
            terms = self.model.new_subject_log_likelihood(part, test, DRAWS)
            held_out[np.isin(self.cohort.subjects, test.subjects)] = _mean_density(terms)
            labels.append(self.model.assignments(part).argmax(1))
            self.done()
        share = np.clip(self.model.assignments(result), np.finfo(np.float64).tiny, 1)
        entropy = -(share * np.log(share)).sum(1)
        used = result.data.is_informative.cpu().numpy()
        weight = result.data.weight
        penalty = self.model.n_parameters * np.log(weight * used.sum())
        bic = -2 * self.model.integrated_log_likelihood(result) + penalty
        return Candidate(
            clusters=self.model.n_clusters,
            held_out=held_out,
            loo=_mean_density(self.model.subject_log_likelihood(result, DRAWS)),
            bic=float(bic),
            icl=float(bic + 2 * weight * entropy[used].sum()),
            entropy=float(entropy[used].mean()),
            agreement=reproducibility(labels, self.model.n_clusters),
            converged=bool(result.converged),
            result=result,
        )


def _mean_density(terms: Floats) -> Floats:
    """Return the log of the mean over draws ``(draws, subjects)`` of densities given by their logarithms."""
    most = terms.max(0)
    return np.asarray(most + np.log(np.exp(terms - most).mean(0)))
