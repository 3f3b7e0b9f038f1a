"""What was seen of subjects, brought from a cohort's rows into a rectangle of subjects and visits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.data import Cohort, CohortError
from neuropyro.data.unknown_names import few
from neuropyro.models.anatomy_defaults import DIAGNOSES
from neuropyro.models.anatomy_mechanism import Level

__all__ = ["Measures", "Observation", "observe_cohort"]

DEMENTIA = frozenset({"ad", "dementia"})
CODES = {"sex": ", 0 female and 1 male"}  # of what has words in other studies


@dataclass(frozen=True)
class Measures:
    """How a cohort's parts are named as nodes.

    Parameters
    ----------
    levels
        Of the nodes that may be seen, by name: what covariates and columns of values are looked for.
    vertices
        Number of columns of a map; 0 where there are no maps.
    image
        Shape of a scan; None where there are none.
    sites
        Names of the scanners.

    Examples
    --------
    >>> measures = Measures({"site": "subject"}, vertices=0, image=None, sites=("A", "B"))
    >>> cohort = Cohort([[9], [8]], [70, 71], ["a", "b"], feature_names=["adas"], covariates={"site": ["B", "A"]})
    >>> {name: value.tolist() for name, value in observe_cohort(cohort, measures).values.items()}  # adas is no node
    {'entry_age': [[70.0], [71.0]], 'site': [[1.0], [0.0]]}
    """

    levels: Mapping[str, Level]
    vertices: int
    image: tuple[int, ...] | None
    sites: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Observation:
    """Subjects x visits; visits are in order of time, and a subject of few visits has padding at the end.

    Parameters
    ----------
    subject
        ``(subjects,)`` names.
    years
        ``(subjects, visits)`` since entry, the subject's first visit.
    there
        ``(subjects, visits)`` bool: False where it is padding.
    values, known
        By node, ``(subjects, 1)`` or ``(subjects, visits)``, and where the value is one.
    maps
        ``(subjects, visits, vertices)`` float32 mm, NaN where missing; None where there are none.
    scans
        ``(subjects, visits, C, h, w)`` float32, NaN where missing; None where there are none.

    Examples
    --------
    >>> years, there = torch.tensor([[0.0, 1.5]]), torch.ones(1, 2, dtype=torch.bool)
    >>> seen = Observation(np.array(["a"]), years, there, {"entry_age": torch.tensor([[70.0]])}, {})
    >>> seen.age, seen.with_values(apoe4=torch.tensor([[2.0]])).known
    (tensor([[70.0000, 71.5000]]), {'apoe4': tensor([[True]])})
    """

    subject: NDArray[Any]
    years: Tensor
    there: Tensor
    values: Mapping[str, Tensor]
    known: Mapping[str, Tensor]
    maps: Tensor | None = None
    scans: Tensor | None = None

    def __len__(self) -> int:
        return len(self.subject)

    @property
    def age(self) -> Tensor:
        """``(subjects, visits)`` years."""
        return self.values["entry_age"] + self.years

    def to(self, device: torch.device | str | None, dtype: torch.dtype | None) -> Observation:
        """Move it; booleans stay booleans, maps and scans keep their type."""
        return replace(
            self,
            years=self.years.to(device, dtype),
            there=self.there.to(device),
            values={name: x.to(device, dtype) for name, x in self.values.items()},
            known={name: x.to(device) for name, x in self.known.items()},
            maps=None if self.maps is None else self.maps.to(device),
            scans=None if self.scans is None else self.scans.to(device),
        )

    def with_values(self, **values: Tensor) -> Observation:
        """Return it with other values of nodes, known everywhere; draws or hypotheses may come first."""
        known = {name: torch.ones(x.shape, dtype=torch.bool, device=x.device) for name, x in values.items()}
        return replace(self, values={**self.values, **values}, known={**self.known, **known})


def observe_cohort(cohort: Cohort, measures: Measures) -> Observation:
    """Bring a cohort into a rectangle.

    Covariates, and columns of values, that have a node's name are that node's values; the time is the age; diagnosis,
    maps and images are what they are.  What else the cohort has is not looked at, its truth least of all.

    Raises
    ------
    CohortError
        Where maps or images have another shape than the simulator's, named columns are none of its nodes or a name is
        one but for its case, a covariate is text, or a subject's differs between visits.

    Examples
    --------
    >>> cohort = Cohort([[20.0], [10.0], [12.0]], [71.0, 70.0, 66.0], ["a", "a", "b"], feature_names=["adas"])
    >>> seen = observe_cohort(cohort, Measures({"adas": "visit"}, 0, None, ()))
    >>> seen.values["adas"].tolist(), seen.known["adas"].tolist(), seen.years.tolist()
    ([[10.0, 20.0], [12.0, 0.0]], [[True, True], [True, False]], [[0.0, 1.0], [0.0, 0.0]])
    """
    _refuse_other_biomarkers(cohort, measures)
    _refuse_other_spellings(cohort, measures)
    order = np.lexsort((cohort.time, cohort.subject_index))
    who = cohort.subject_index[order]
    counts = np.bincount(who)
    place = np.arange(len(who)) - np.repeat(np.cumsum(counts) - counts, counts)
    grid = _Grid(order, who, place, (len(counts), int(counts.max())))
    time = grid.spread(cohort.time)
    years = np.nan_to_num(time - time[:, :1], nan=0.0)
    columns = _columns(cohort, measures)
    columns["diagnosis"] = _diagnosis(cohort)
    values: dict[str, Tensor] = {"entry_age": torch.from_numpy(time[:, :1].copy())}
    for name, column in columns.items():
        spread = grid.spread(column)
        if measures.levels.get(name) == "subject":
            spread = _once(spread, name, cohort)
        values[name] = torch.from_numpy(spread)
    known = {name: ~x.isnan() for name, x in values.items()}
    seen = {name for name, k in known.items() if bool(k.any())}
    return Observation(
        subject=cohort.subjects,
        years=torch.from_numpy(years),
        there=torch.from_numpy(~np.isnan(time)),
        values={name: x.nan_to_num(0.0) for name, x in values.items() if name in seen},
        known={name: k for name, k in known.items() if name in seen},
        maps=_maps(cohort, measures, grid),
        scans=_scans(cohort, measures, grid),
    )


@dataclass(frozen=True)
class _Grid:
    """Where each row of a cohort lies among subjects x visits."""

    order: NDArray[np.int64]
    who: NDArray[np.int64]
    place: NDArray[np.int64]
    shape: tuple[int, int]

    def spread(self, rows: NDArray[Any], dtype: Any = np.float64) -> NDArray[Any]:
        """Rows ``(visits, ...)`` as ``(subjects, most visits, ...)``, NaN where there is none."""
        full = np.full((*self.shape, *rows.shape[1:]), np.nan, dtype)
        full[self.who, self.place] = rows[self.order]
        return full


def _refuse_other_spellings(cohort: Cohort, measures: Measures) -> None:
    """Refuse names that are a node's but for case and signs between letters, lest what was seen is passed over."""
    nodes = {_letters(name): name for name in measures.levels}
    names = [*cohort.covariates, *([] if cohort.feature_names is None else cohort.feature_names.tolist())]
    for name in names:
        node = nodes.get(_letters(name), name)
        if node != name:
            raise CohortError(f"{name}: written `{node}` in the simulator; rename it, or leave it out of the cohort")


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name.lower()))


def _refuse_other_biomarkers(cohort: Cohort, measures: Measures) -> None:
    """Refuse a table of biomarkers none of which is a node; maps have no names."""
    names = [] if cohort.feature_names is None else cohort.feature_names.tolist()
    of_maps = not names or cohort.n_vertices == measures.vertices
    if of_maps or not measures.vertices or set(names) & set(measures.levels):
        return
    nodes = [name for name, level in measures.levels.items() if level == "visit" and name != "diagnosis"]
    raise CohortError(
        f"values: {', '.join(few(names))} are not columns of the simulator's, which has {', '.join(nodes)}; give a "
        "cohort that `neuropyro simulate anatomy` wrote, or rename the columns that are the same"
    )


def _columns(cohort: Cohort, measures: Measures) -> dict[str, NDArray[np.float64]]:
    found = {}
    for name, column in cohort.covariates.items():
        if name in measures.levels:
            found[name] = _numbers(name, column, measures)
    if cohort.feature_names is not None:
        for k, name in enumerate(cohort.feature_names.tolist()):
            if name in measures.levels:
                found[name] = np.asarray(cohort.values[:, k], np.float64)
    return found


def _numbers(name: str, column: NDArray[Any], measures: Measures) -> NDArray[np.float64]:
    if name == "site" and column.dtype.kind == "U":
        unknown = sorted(set(column.tolist()) - set(measures.sites) - {""})
        if unknown:
            raise CohortError(
                f"covariate_site: no scanner {unknown[0]!r}; there are {', '.join(measures.sites)} (scanners={{...}})"
            )
        return np.array([measures.sites.index(s) if s else np.nan for s in column.tolist()])
    try:
        return np.asarray(column, np.float64)
    except (TypeError, ValueError):
        words = ", ".join(few(sorted({repr(word) for word in column.tolist()}), 3))
        raise CohortError(
            f"covariate_{name}: {words}, where the simulator has numbers{CODES.get(name, '')}; give a cohort that "
            "`neuropyro simulate anatomy` wrote, or such numbers, NaN where missing"
        ) from None


def _diagnosis(cohort: Cohort) -> NDArray[np.float64]:
    """0, 1, 2 for CN, MCI and AD; NaN where it is none of them.  Whole numbers count from 1."""
    if cohort.diagnosis is None:
        return np.full(cohort.n_visits, np.nan)
    if cohort.diagnosis.dtype.kind != "U":
        return np.where(np.isin(cohort.diagnosis, (1, 2, 3)), cohort.diagnosis - 1.0, np.nan)
    names = [d.strip().lower() for d in cohort.diagnosis.tolist()]
    codes = {DIAGNOSES[1].lower(): 1.0} | dict.fromkeys(DEMENTIA, 2.0)
    found: NDArray[np.float64] = np.array([codes.get(name, np.nan) for name in names])
    found[cohort.is_control] = 0.0
    return np.asarray(found)


def _once(spread: NDArray[np.float64], name: str, cohort: Cohort) -> NDArray[np.float64]:
    """Return a subject's one value ``(subjects, 1)``, from its visits'."""
    low, high = np.fmin.reduce(spread, axis=1), np.fmax.reduce(spread, axis=1)
    differs = np.flatnonzero(~(np.isnan(low) | (low == high)))
    if differs.size:
        i = int(differs[0])
        raise CohortError(
            f"covariate_{name}: {low[i]:g} and {high[i]:g} for subject {cohort.subjects[i]}; it is one value a subject"
        )
    return np.asarray(low[:, None])


def _maps(cohort: Cohort, measures: Measures, grid: _Grid) -> Tensor | None:
    if cohort.n_vertices == measures.vertices:
        return torch.from_numpy(grid.spread(cohort.values, np.float32))
    named = cohort.feature_names is not None and bool(set(cohort.feature_names.tolist()) & set(measures.levels))
    if named or not measures.vertices:
        return None
    raise CohortError(
        f"values: {cohort.n_vertices} columns are no map of the simulator's {measures.vertices} vertices; give maps of "
        "the same mesh, or name the columns as nodes (feature_names)"
    )


def _scans(cohort: Cohort, measures: Measures, grid: _Grid) -> Tensor | None:
    if cohort.images is None or measures.image is None:
        return None
    if cohort.images.shape[1:] != measures.image:
        raise CohortError(f"images: {cohort.images.shape[1:]}, but the scanners make {measures.image}; resample them")
    return torch.from_numpy(grid.spread(cohort.images, np.float32))
