"""A longitudinal cohort: visits x vertices, whose visit each row is, and when."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuropyro.data.cohort_files import read_npz, write_npz
from neuropyro.data.errors import CohortError, read_only
from neuropyro.data.mesh import Mesh
from neuropyro.data.truth import Truth

__all__ = ["Cohort"]

CONTROL_NAMES = frozenset({"cn", "ctl", "hc", "control", "controls"})


@dataclass(frozen=True, eq=False, repr=False)
class Cohort:
    """Measurements of subjects over time; immutable, and validated on construction.

    A row is a visit, a column a vertex (or any biomarker).  Rows may come in any order, and results come back in
    the same order.  NaN marks a missing value.  Two scans of one subject on one day are two rows with one time.

    Parameters
    ----------
    values
        ``(visits, vertices)``; float64 is kept, anything else becomes float32.  Any unit.
    time
        ``(visits,)``, years (age, or time since entry).
    subject
        ``(visits,)``, whole numbers or text.
    diagnosis
        ``(visits,)`` or None.  Whole numbers, 1 being a control, or text, of which CN, CTL, HC and control (any case)
        are controls; empty text and negative numbers mean unknown.
    mesh
        The vertices' `Mesh`, or None.
    feature_names
        ``(vertices,)`` text, or None.
    covariates
        ``(visits,)`` arrays by name.
    images
        ``(visits, channels, height, width)`` or None.
    truth
        What a simulation knows; empty for real data.

    Raises
    ------
    CohortError
        Naming the field and the remedy.

    Examples
    --------
    >>> import numpy as np
    >>> cohort = Cohort(np.random.randn(4, 3), time=[70, 71, 65, 66], subject=["a", "a", "b", "b"])
    >>> cohort
    Cohort(4 visits of 2 subjects x 3 vertices; 2 to 2 visits a subject, ages or times 65 to 71 years; nothing missing)
    >>> cohort.subset(subjects=["b"]).time
    array([65., 66.])
    """

    values: NDArray[np.floating[Any]]
    time: NDArray[np.float64]
    subject: NDArray[Any]
    diagnosis: NDArray[Any] | None = None
    mesh: Mesh | None = None
    feature_names: NDArray[np.str_] | None = None
    covariates: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    images: NDArray[np.float32] | None = None
    truth: Truth = field(default_factory=Truth)

    def __post_init__(self) -> None:
        values = np.asanyarray(self.values)
        if isinstance(values, np.ma.MaskedArray):
            values = np.where(np.ma.getmaskarray(values), np.nan, np.asarray(values))
        if values.ndim != 2 or values.dtype.kind not in "fiub" or 0 in values.shape:
            raise CohortError(f"values: must be numbers of shape (visits, vertices), not {values.dtype} {values.shape}")
        self._set("values", values if values.dtype in (np.float32, np.float64) else values.astype(np.float32))
        self._set("time", _finite("time", self._rows("time", self.time)))
        self._set("subject", _identifiers(self._rows("subject", self.subject)))
        if self.diagnosis is not None:
            self._set("diagnosis", _labels(self._rows("diagnosis", self.diagnosis)))
        covariates = {name: read_only(self._rows(f"covariate_{name}", c)) for name, c in self.covariates.items()}
        object.__setattr__(self, "covariates", covariates)
        if self.images is not None:
            self._set("images", self._rows("images", self.images))
        self._check_columns()
        self._check_values()
        self.truth.check({"visit": self.n_visits, "subject": self.n_subjects, "vertex": self.n_vertices})

    def _set(self, name: str, array: NDArray[Any]) -> None:
        object.__setattr__(self, name, read_only(array))

    def _rows(self, name: str, array: ArrayLike) -> NDArray[Any]:
        rows = np.asarray(array)
        if rows.ndim == 0 or len(rows) != len(self.values):
            given = "a single value" if rows.ndim == 0 else f"{len(rows)} entries"
            raise CohortError(f"{name}: {given} for {len(self.values)} visits; give one for each row of `values`")
        return rows

    def _check_columns(self) -> None:
        if self.feature_names is not None:
            names = np.asarray(self.feature_names).astype(np.str_)
            if names.shape != (self.n_vertices,):
                raise CohortError(f"feature_names: {names.size} names for {self.n_vertices} columns of `values`")
            self._set("feature_names", names)
        if self.mesh is not None and self.mesh.n_vertices != self.n_vertices:
            raise CohortError(
                f"mesh: it has {self.mesh.n_vertices} vertices, but `values` has {self.n_vertices} columns; "
                "give the mesh of the same vertices (Mesh.subset leaves vertices out)"
            )

    def _check_values(self) -> None:
        # Row by row, so that a memory-mapped array larger than memory is never copied.
        infinite = [n for n, row in enumerate(self.values) if np.isinf(row).any()]
        if infinite:
            raise CohortError(f"values: infinite in row {infinite[0]}; mark missing values by NaN")
        visits: dict[tuple[Any, float], list[int]] = {}
        for n, key in enumerate(zip(self.subject.tolist(), self.time.tolist(), strict=True)):
            for m in visits.setdefault(key, []):
                if np.array_equal(self.values[m], self.values[n], equal_nan=True) and self.observed_rows[n]:
                    raise CohortError(
                        f"values: rows {m} and {n} are one visit twice (subject {key[0]}); drop one of them"
                    )
            visits[key].append(n)

    @property
    def n_visits(self) -> int:
        """Number of rows N."""
        return int(self.values.shape[0])

    @property
    def n_vertices(self) -> int:
        """Number of columns L."""
        return int(self.values.shape[1])

    @property
    def n_subjects(self) -> int:
        """Number of subjects I."""
        return len(self.subjects)

    @cached_property
    def subjects(self) -> NDArray[Any]:
        """The subjects' names, sorted, ``(subjects,)``."""
        return np.unique(self.subject)

    @cached_property
    def subject_index(self) -> NDArray[np.int64]:
        """``(visits,)``: the place of each visit's subject in `subjects`."""
        return np.unique(self.subject, return_inverse=True)[1].astype(np.int64)

    @cached_property
    def observed_rows(self) -> NDArray[np.bool_]:
        """``(visits,)``: whether a visit has any value at all."""
        return np.array([not np.isnan(row).all() for row in self.values])

    @cached_property
    def is_control(self) -> NDArray[np.bool_]:
        """``(visits,)``: controls by diagnosis; all False where no diagnosis is given."""
        if self.diagnosis is None:
            return np.zeros(self.n_visits, np.bool_)
        if self.diagnosis.dtype.kind == "U":
            return np.array([d.strip().lower() in CONTROL_NAMES for d in self.diagnosis])
        return np.asarray(self.diagnosis == 1)

    @cached_property
    def is_first_visit(self) -> NDArray[np.bool_]:
        """``(visits,)``: each subject's earliest visit (of equal times, the upper row)."""
        order = np.lexsort((np.arange(self.n_visits), self.time, self.subject_index))
        _, first = np.unique(self.subject_index[order], return_index=True)
        flags = np.zeros(self.n_visits, np.bool_)
        flags[order[first]] = True
        return flags

    @cached_property
    def is_reference(self) -> NDArray[np.bool_]:
        """``(visits,)``: the visits whose scores define mean 0 and sd 1.

        They are the controls' first visits, or all first visits where there are fewer than two controls.
        """
        first_controls = self.is_first_visit & self.is_control
        return first_controls if first_controls.sum() >= 2 else self.is_first_visit

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all that a fit may depend on (the truth is left out)."""
        digest = hashlib.sha256()
        for name, array in self.arrays().items():
            if not name.startswith("truth_"):
                digest.update(f"{name} {array.dtype.str} {array.shape};".encode())
                digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
        return digest.hexdigest()

    def subset(
        self, visits: ArrayLike | None = None, subjects: ArrayLike | None = None, vertices: ArrayLike | None = None
    ) -> Cohort:
        """Keep some visits (mask or row numbers), subjects (names) and vertices (mask or column numbers).

        Raises
        ------
        CohortError
            Where nothing is left, or a subject, visit or vertex is not in the cohort.
        """
        rows = _chosen("visits", visits, self.n_visits)
        if subjects is not None:
            unknown = np.setdiff1d(np.asarray(subjects), self.subjects)
            if unknown.size:
                raise CohortError(f"subject: {unknown[:1].tolist()[0]!r} is not in this cohort")
            rows = rows[np.isin(self.subject[rows], np.asarray(subjects))]
        columns = _chosen("vertices", vertices, self.n_vertices)
        if not rows.size or not columns.size:
            raise CohortError("subset: it keeps no visit or no vertex")
        kept_subjects = np.searchsorted(self.subjects, np.unique(self.subject[rows]))
        values = self.values[rows] if vertices is None else self.values[np.ix_(rows, columns)]
        return replace(
            self,
            values=values,
            time=self.time[rows],
            subject=self.subject[rows],
            diagnosis=None if self.diagnosis is None else self.diagnosis[rows],
            mesh=self.mesh if self.mesh is None or vertices is None else self.mesh.subset(columns),
            feature_names=None if self.feature_names is None else self.feature_names[columns],
            covariates={name: c[rows] for name, c in self.covariates.items()},
            images=None if self.images is None else self.images[rows],
            truth=self.truth.subset(visit=rows, subject=kept_subjects, vertex=columns),
        )

    def split_subjects(self, folds: int, seed: int = 0) -> Iterator[tuple[Cohort, Cohort]]:
        """Yield ``folds`` pairs (train, test); each subject, with all visits, is in one test set exactly.

        Raises
        ------
        CohortError
            Where there are fewer subjects than folds, or fewer than two folds.
        """
        if not 2 <= folds <= self.n_subjects:
            raise CohortError(
                f"split_subjects: {folds} folds of {self.n_subjects} subjects; give 2 to {self.n_subjects}"
            )
        fold = np.random.default_rng(seed).permutation(self.n_subjects) % folds
        for k in range(folds):
            yield self.subset(subjects=self.subjects[fold != k]), self.subset(subjects=self.subjects[fold == k])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays by their names in an ``.npz`` file."""
        own = {
            name: getattr(self, name) for name in ("values", "time", "subject", "diagnosis", "feature_names", "images")
        }
        mesh = {} if self.mesh is None else {f.name: getattr(self.mesh, f.name) for f in fields(Mesh)[1:]}
        covariates = {f"covariate_{name}": c for name, c in self.covariates.items()}
        truth = {
            f"truth_{group}_{name}": a for group, arrays in self.truth.groups().items() for name, a in arrays.items()
        }
        return {k: np.asarray(a) for k, a in (own | mesh | covariates | truth).items() if a is not None}

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` file that `load` reads."""
        write_npz(Path(path), self.arrays())

    @classmethod
    def load(cls, path: str | Path) -> Cohort:
        """Read an ``.npz`` file.

        Its arrays: ``values``, ``time``, ``subject``; optionally ``diagnosis``, ``edges`` or ``faces`` with
        ``coordinates``, ``template`` with ``template_index``, ``feature_names``, ``images`` and
        ``covariate_<name>``.  Nothing in the file is executed.

        Raises
        ------
        CohortError
            Where the file cannot be read, or its content makes no cohort.
        """
        return cls.from_arrays(read_npz(Path(path)), source=str(path))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], source: str = "arrays") -> Cohort:
        """Build a cohort from arrays under the names of `load`; ``source`` is named in errors."""
        missing = [name for name in ("values", "time", "subject") if name not in arrays]
        if missing:
            raise CohortError(f"{source}: no array `{missing[0]}`; a cohort needs `values`, `time` and `subject`")
        try:
            return cls(
                **{k: arrays[k] for k in ("values", "time", "subject")},
                **{k: arrays.get(k) for k in ("diagnosis", "feature_names", "images")},  # type: ignore[arg-type]
                mesh=_mesh_of(arrays),
                covariates={k.removeprefix("covariate_"): a for k, a in arrays.items() if k.startswith("covariate_")},
                truth=_truth_of(arrays),
            )
        except CohortError as error:
            raise CohortError(f"{source}: {error}") from None

    def __repr__(self) -> str:
        counts = np.bincount(self.subject_index)
        missing = sum(int(np.isnan(row).sum()) for row in self.values) / self.values.size
        parts = [
            f"{self.n_visits:,} visits of {self.n_subjects:,} subjects x {self.n_vertices:,} vertices",
            f"{counts.min()} to {counts.max()} visits a subject, ages or times {self.time.min():.4g} to "
            f"{self.time.max():.4g} years",
            f"{missing:.1%} missing" if missing else "nothing missing",
        ]
        if self.diagnosis is not None:
            parts.append(f"{int(self.is_control[self.is_first_visit].sum())} controls at first visit")
        parts += [repr(self.mesh)] if self.mesh is not None else []
        parts += [f"covariates {', '.join(self.covariates)}"] if self.covariates else []
        return f"Cohort({'; '.join(parts)})"


def _mesh_of(arrays: Mapping[str, NDArray[Any]]) -> Mesh | None:
    values = np.asarray(arrays["values"])
    if ("edges" not in arrays and "faces" not in arrays) or values.ndim != 2:
        return None  # what is wrong with `values`, Cohort says
    return Mesh(
        n_vertices=values.shape[1],
        template=str(arrays["template"]) if "template" in arrays else None,
        **{k: arrays[k] for k in ("edges", "faces", "coordinates", "template_index") if k in arrays},
    )


def _truth_of(arrays: Mapping[str, NDArray[Any]]) -> Truth:
    groups: dict[str, dict[str, NDArray[Any]]] = {group: {} for group in Truth().groups()}
    for name, array in arrays.items():
        head, _, rest = name.partition("_")
        group, _, node = rest.partition("_")
        if head == "truth" and group in groups:
            groups[group][node] = array
    return Truth(**groups)


def _chosen(name: str, chosen: ArrayLike | None, size: int) -> NDArray[np.int64]:
    """Return the numbers of the rows or columns chosen by mask or number."""
    try:
        return np.arange(size)[slice(None) if chosen is None else np.asarray(chosen)]
    except IndexError as error:
        raise CohortError(f"subset: `{name}` must be a mask of, or numbers below, {size} ({error})") from None


def _finite(name: str, array: NDArray[Any]) -> NDArray[np.float64]:
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise CohortError(f"{name}: must be one number a visit, in years, not {array.dtype} {array.shape}")
    bad = np.flatnonzero(~np.isfinite(array))
    if bad.size:
        raise CohortError(f"{name}: missing or infinite in row {bad[0]}; drop that visit or give its time in years")
    return array.astype(np.float64)


def _identifiers(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "f" and np.isfinite(array).all() and (array == np.round(array)).all():
        return array.astype(np.int64)  # a table with one gap elsewhere turns whole numbers into floats
    labels = _labels(array, "subject")
    if labels.dtype.kind == "U" and (labels == "").any():
        raise CohortError(
            f"subject: empty in row {np.flatnonzero(labels == '')[0]}; name the subject or drop the visit"
        )
    return labels


def _labels(array: NDArray[Any], name: str = "diagnosis") -> NDArray[Any]:
    if array.dtype.kind == "O" and all(isinstance(x, str) or x is None or x != x for x in array):
        array = np.array([x if isinstance(x, str) else "" for x in array])
    if name == "diagnosis" and array.dtype.kind == "f":
        filled = np.where(np.isnan(array), -1, array)
        whole = np.isfinite(filled).all() and (filled == np.round(filled)).all()
        array = filled.astype(np.int64) if whole else array
    if array.ndim != 1 or array.dtype.kind not in "iuUS":
        raise CohortError(f"{name}: must be one whole number or text a visit, not {array.dtype} {array.shape}")
    return array.astype(np.str_) if array.dtype.kind == "S" else array
