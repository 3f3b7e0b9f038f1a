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

from neuropyro.data import cohort_checks as checks
from neuropyro.data.cohort_files import write_npz
from neuropyro.data.cohort_in_words import in_words
from neuropyro.data.cohort_readers import CohortReaders
from neuropyro.data.control_diagnosis import are_controls, name_controls, refuse_zero
from neuropyro.data.errors import CohortError, read_only
from neuropyro.data.map_space import MapSpace, space_arrays
from neuropyro.data.mesh import Mesh
from neuropyro.data.open_study import StudyOptions, check_path, is_study, study_fields
from neuropyro.data.surface_space import template_space
from neuropyro.data.truth import Truth
from neuropyro.data.unknown_names import there_are

__all__ = ["Cohort"]


@dataclass(frozen=True, eq=False, repr=False)
class Cohort(CohortReaders):
    """Measurements of subjects over time; immutable, and validated on construction.

    A row is a visit, a column a vertex (or any biomarker).  Rows may come in any order, and results come back in
    the same order.  NaN marks a missing value.  Two scans of one subject on one day are two rows with one time.

    Parameters
    ----------
    values
        ``(visits, vertices)``; float64 is kept, anything else becomes float32.  Any unit; see ``unit``.
    time
        ``(visits,)``, years (age, or time since entry).
    subject
        ``(visits,)``, whole numbers or text.
    diagnosis
        ``(visits,)`` or None.  Whole numbers, 1 being a control, or text, of which CN, NC, NL, CTL, HC, control,
        healthy and normal (any case) are controls; empty text and negative numbers mean unknown.
    mesh
        The vertices' `Mesh`, or None.
    feature_names
        ``(vertices,)`` text, or None.
    covariates
        ``(visits,)`` arrays by name.
    images
        ``(visits, channels, height, width)``, kept as float32, or None; a visit without one is NaN throughout.
    truth
        What a simulation knows; empty for real data.
    space
        Where the columns lie in the maps that came in, so that results are written back in their format, or None.
    unit
        Of the values, such as ``"mm"``, where all columns have one and it is known.

    Raises
    ------
    CohortError
        Naming the field and the remedy.

    Examples
    --------
    >>> import numpy as np
    >>> cohort = Cohort(np.random.randn(4, 3), time=[70, 71, 65, 66], subject=["a", "a", "b", "b"])
    >>> cohort
    Cohort(4 visits of 2 subjects x 3 vertices; 2 visits a subject, ages or times 65 to 71 years; nothing missing)
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
    space: MapSpace | None = None
    unit: str | None = None

    def __post_init__(self) -> None:
        self._set("values", checks.numbers(self.values))
        self._set("time", checks.finite_times(self._rows("time", self.time)))
        self._set("subject", checks.identifiers(self._rows("subject", self.subject)))
        if self.diagnosis is not None:
            self._set("diagnosis", checks.labels(self._rows("diagnosis", self.diagnosis)))
        covariates = {name: read_only(self._rows(f"covariate_{name}", c)) for name, c in self.covariates.items()}
        object.__setattr__(self, "covariates", covariates)
        if self.images is not None:
            self._set("images", checks.pictures(self._rows("images", self.images)))
        self._check_columns()
        checks.refuse_repeats(self.values, self.subject, self.time)
        self.truth.check({"visit": self.n_visits, "subject": self.n_subjects, "vertex": self.n_vertices})

    def _set(self, name: str, array: NDArray[Any]) -> None:
        object.__setattr__(self, name, read_only(array))

    def _rows(self, name: str, array: ArrayLike) -> NDArray[Any]:
        return checks.one_row_a_visit(name, array, len(self.values))

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
        if self.space is not None and len(self.space.index) != self.n_vertices:
            raise CohortError(f"space: {len(self.space.index)} places for {self.n_vertices} columns of `values`")

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
        return np.zeros(self.n_visits, np.bool_) if self.diagnosis is None else are_controls(self.diagnosis)

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
        """SHA-256 of all that a fit may depend on (not on the truth, the unit's name, nor the format that came in)."""
        digest = hashlib.sha256()
        for name, array in self.arrays().items():
            if not name.startswith(("truth_", "space_", "unit")):
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
        rows = checks.chosen("visits", visits, self.n_visits)
        if subjects is not None:
            unknown = np.setdiff1d(np.asarray(subjects), self.subjects)
            if unknown.size:
                asked, own = unknown[:1].tolist()[0], [str(name) for name in self.subjects]
                raise CohortError(f"subject: {asked!r} is not in this cohort; {there_are(str(asked), own)}")
            rows = rows[np.isin(self.subject[rows], np.asarray(subjects))]
        columns = checks.chosen("vertices", vertices, self.n_vertices)
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
            space=None if self.space is None else self.space.subset(columns),
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
            name: getattr(self, name)
            for name in ("values", "time", "subject", "diagnosis", "feature_names", "images", "unit")
        }
        mesh = {} if self.mesh is None else {f.name: getattr(self.mesh, f.name) for f in fields(Mesh)[1:]}
        covariates = {f"covariate_{name}": c for name, c in self.covariates.items()}
        truth = {
            f"truth_{group}_{name}": a for group, arrays in self.truth.groups().items() for name, a in arrays.items()
        }
        space = {} if self.space is None else space_arrays(self.space)
        return {k: np.asarray(a) for k, a in (own | mesh | covariates | truth | space).items() if a is not None}

    @property
    def unit_in_words(self) -> str:
        """The values' unit, for axes and tables."""
        return self.unit or "the data's unit"

    @property
    def reference_in_words(self) -> str:
        """Whose first visits' scores have mean 0 and sd 1, see `is_reference`: a score is an sd of them."""
        return "controls" if self.is_control[self.is_reference].all() else "first visits"

    @property
    def map_space(self) -> MapSpace | None:
        """Where the columns lie in maps: in those that came in, or else in GIFTI maps of the mesh's template."""
        return self.space or template_space(self.mesh)

    @property
    def can_write_maps(self) -> bool:
        """Whether it is known where the columns lie in a map."""
        return self.map_space is not None

    def write_maps(self, maps: Mapping[str, ArrayLike], stem: str | Path, outside: float = 0.0) -> list[Path]:
        """Write maps ``(vertices,)`` by name in the format that the cohort came in; see `MapSpace.write`.

        A cohort on a template's mesh alone has GIFTI maps.  Returns the files written: none where neither is known.
        """
        space = self.map_space
        return [] if space is None else space.write(maps, Path(stem), outside)

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` file that `load` reads."""
        write_npz(Path(path), self.arrays())

    @classmethod
    def open(cls, path: str | Path, options: StudyOptions | None = None) -> Cohort:
        """Read a study in any format, as its path tells: a folder or a table by `study_fields`, else by `load`."""
        path, options = Path(path), options or StudyOptions()
        check_path(path, options)
        if is_study(path):
            made = cls._of(path, study_fields(path, options))
        else:
            made = cls.load(path)
            checks.refuse_days(made.time, made.subject_index, str(path))
        unit, diagnosis = options.unit or made.unit, made.diagnosis
        if options.control is not None:
            diagnosis = name_controls(diagnosis, options.control, str(path))
        elif is_study(path):  # in a file of arrays 1 is a control
            refuse_zero(diagnosis, str(path))
        return replace(made, unit=unit, diagnosis=diagnosis)

    def __repr__(self) -> str:
        return in_words(self)
