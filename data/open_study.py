"""One door to every format of a study: an ``.npz`` file, a subjects folder, a table that names maps, biomarkers."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from neuropyro.data.errors import CohortError
from neuropyro.data.study_table import FILE, StudyTable, study_table
from neuropyro.data.text_table import column_names, read_table

__all__ = ["NO_OPTIONS", "StudyOptions", "check_path", "is_of_biomarkers", "is_study", "study_fields"]

TABLES = ("participants.tsv", "visits.csv", "visits.tsv", "long.qdec.table.dat")
FOR_ALL = {"unit", "control"}
OF_A_TABLE = FOR_ALL | {"subject", "time", "diagnosis"}
OF_MAPS = OF_A_TABLE | {"table", "mask", "memory_map"}
SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
MAPS = (".dscalar.nii", ".func.gii", ".shape.gii", ".gii", ".mgh", ".mgz", ".nii", ".nii.gz")


@dataclass(frozen=True)
class StudyOptions:
    """What a path alone does not say of a study.

    Parameters
    ----------
    table
        Table of subject, session, time (or age, or dates), diagnosis and covariates: CSV, TSV, BIDS
        participants.tsv, FreeSurfer's long.qdec.table.dat. By default one in the cohort's folder.
    pattern
        Where a visit's map is, from the cohort's folder on, with {subject}, {session} and {hemisphere}; by default the
        table's column `file`.
    measure
        FreeSurfer's measure.
    unit
        Unit of the values, for axes; of FreeSurfer's own measures it is known.
    fwhm
        Smoothing in the names of FreeSurfer's maps, mm.
    space
        Template in the names of FreeSurfer's maps; or that GIFTI maps are of.
    mask
        Mask: a NIfTI volume; a CIFTI map; a label or map of a hemisphere with {hemisphere} in its name.
    surfaces
        Surface files with {hemisphere} in their name, for the mesh of GIFTI or CIFTI maps.
    hemispheres
        Names of the hemispheres (lh,rh) in the names of files.
    memory_map
        An .npy file to keep the values in, for studies larger than memory.
    biomarkers
        Columns (a,b,c) of a table that are biomarkers; by default all numbers that are not subject, visit, time or
        diagnosis. The others are covariates.
    subject
        Column of a table that names the subject; by default one of the usual names.
    time
        Column of a table that is the time in years, or the visit's date; by default one of the usual names.
    diagnosis
        Column of a table that is the diagnosis; by default one called diagnosis, dx, diag (clinical_dx,
        diagnosis_group, ...), group or pathology.
    control
        The diagnosis that means a control, where it is none of those that are known (CN, NC, NL, CTL, HC, control,
        healthy, normal, or 1); to be named where a table's diagnoses are numbers, one of them 0.
    missing
        Codes of a table of biomarkers that stand for no value, beside empty cells and NA: --missing=-4,999.

    Examples
    --------
    >>> options = StudyOptions(surfaces="{hemisphere}.white")
    >>> {name: str(path) for name, path in options.surface_files().items()}
    {'lh': 'lh.white', 'rh': 'rh.white'}
    """

    table: Path | None = None
    pattern: str | None = None
    measure: str = "thickness"
    unit: str | None = None
    fwhm: float | None = None
    space: str | None = None
    mask: Path | None = None
    surfaces: str | None = None
    hemispheres: tuple[str, ...] = ("lh", "rh")
    memory_map: Path | None = None
    biomarkers: tuple[str, ...] = ()
    subject: str | None = None
    time: str | None = None
    diagnosis: str | None = None
    control: str | None = None
    missing: tuple[str, ...] = ()

    def files(self) -> tuple[Path, ...]:
        """Return the files that it names."""
        surfaces = self.surface_files() or {}
        return tuple(path for path in (self.table, self.mask, *surfaces.values()) if path is not None)

    def refuse_beyond(self, used: set[str], path: Path, kind: str) -> None:
        """Refuse what was said of a study of a kind that has no use for it.

        Examples
        --------
        >>> StudyOptions(fwhm=5).refuse_beyond(OF_A_TABLE, Path("a.csv"), "a table of biomarkers")
        Traceback (most recent call last):
            ...
        neuropyro.data.errors.CohortError: a.csv: --fwhm says nothing of a table of biomarkers; leave it out
        """
        for field in fields(self):
            if field.name not in used and getattr(self, field.name) != field.default:
                name = field.name.replace("_", "-")
                raise CohortError(f"{path}: --{name} says nothing of {kind}; leave it out")

    def surface_files(self) -> Mapping[str, Path] | None:
        """Return the surface file of each hemisphere."""
        if self.surfaces is None:
            return None
        if len(self.hemispheres) > 1 and "{hemisphere}" not in self.surfaces:
            raise CohortError(f"{self.surfaces}: put {{hemisphere}} into the surfaces' name; each has its own")
        return {h: Path(self.surfaces.replace("{hemisphere}", h)) for h in self.hemispheres}


def check_path(path: Path, options: StudyOptions) -> None:
    """Refuse a path that is not there, and say what a cohort may be; and what was said in vain of a cohort's file.

    It raises a `CohortError`, which names the path and the remedy.

    Examples
    --------
    >>> check_path(Path("adni.csv"), NO_OPTIONS)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    neuropyro.data.errors.CohortError: adni.csv: no such file or folder; give a cohort: ...
    """
    if not path.exists():
        made = f" (`neuropyro simulate cohort --out {path}` makes one to try)" if path.suffix == ".npz" else ""
        raise CohortError(
            f"{path}: no such file or folder; give a cohort: an .npz file{made}, a FreeSurfer subjects folder, a "
            "folder of maps, or a table of visits"
        )
    if path.suffix.lower() in SPREADSHEETS:
        raise CohortError(f"{path}: a spreadsheet, which is not read; save it as CSV (UTF-8) and give that file")
    if path.is_file() and not (is_study(path) or path.suffix == ".npz" or zipfile.is_zipfile(path)):
        raise CohortError(f"{path}: {_of_another_kind(path)}")
    if not is_study(path):
        options.refuse_beyond(FOR_ALL, path, "a cohort's own file")


def _of_another_kind(path: Path) -> str:
    """Return what to give instead of a file that is read as no cohort."""
    if _suffix(path.name):
        return "a map, not a cohort; give a table (.csv or .tsv) of subject, time and, in the column `file`, such maps"
    kinds = "an .npz file (Cohort.save), a table (.csv, .tsv or .dat), a FreeSurfer subjects folder or a folder of maps"
    return f"not a cohort that can be read; give {kinds}"


def is_study(path: Path) -> bool:
    """Whether a path is a folder or a table, which `study_fields` reads.

    Examples
    --------
    >>> is_study(Path("visits.csv")), is_study(Path("cohort.npz"))
    (True, False)
    """
    return path.is_dir() or path.suffix in (".csv", ".tsv", ".dat")


NO_OPTIONS = StudyOptions()


def study_fields(path: Path, options: StudyOptions) -> dict[str, Any]:
    r"""Read a study and return what a cohort takes.

    Parameters
    ----------
    path
        A FreeSurfer subjects folder; a folder of maps (with ``options.pattern``); or a table: one with a column
        ``file`` names maps of the format that their suffix tells, one with ``fsid`` the visits of the subjects folder
        that it lies in, one with RID, VISCODE and AGE is TADPOLE's, any other is of biomarkers (numbers that are not
        subject, visit, time or diagnosis).

    Raises
    ------
    CohortError
        Naming the file and the remedy.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "visits.csv"
    >>> _ = path.write_text("ID,age,sex,MMSE,volume\na,70,F,28,2.5\na,71,F,26,2.4\n")
    >>> fields = study_fields(path, NO_OPTIONS)
    >>> fields["feature_names"].tolist(), list(fields["covariates"])
    (['MMSE', 'volume'], ['sex'])
    """
    if path.is_dir():
        table = options.table or _own_table(path)
        read = _maps if options.pattern or _names_maps(table) else _freesurfer
        return read(path, table, options)
    if not path.is_file():
        raise CohortError(f"{path}: no such file or folder")
    if options.table is not None:
        raise CohortError(f"{path}: --table goes with a folder, and this is a table; leave one out")
    if options.pattern or _names_maps(path):
        return _maps(path.parent, path, options)
    if "fsid" in column_names(path):
        return _freesurfer(path.parent, path, options)
    return _biomarkers(path, options)


def is_of_biomarkers(path: Path, options: StudyOptions) -> bool:
    r"""Whether a path is a table of biomarkers, and not TADPOLE's, which `biomarkers_table` reads.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "visits.csv"
    >>> _ = path.write_text("ID,age,MMSE\na,70,28\n")
    >>> is_of_biomarkers(path, NO_OPTIONS), is_of_biomarkers(path.parent, NO_OPTIONS)
    (True, False)
    """
    from neuropyro.data.tadpole import is_tadpole

    if not (is_study(path) and path.is_file()) or options.pattern or _names_maps(path):
        return False
    return "fsid" not in column_names(path) and not is_tadpole(path)


def _own_table(folder: Path) -> Path:
    found = [folder / name for name in TABLES if (folder / name).is_file()]
    if not found:
        raise CohortError(f"{folder}: no table of visits in it ({', '.join(TABLES)}); give one by --table")
    return found[0]


def _names_maps(table: Path) -> bool:
    return table.is_file() and any(_suffix(name) for name in _file_column(table))


def _file_column(table: Path) -> list[str]:
    column = next((name for name in column_names(table) if name.lower() in FILE), None)
    return [] if column is None else [str(name) for name in read_table(table, (column,)).text(column)]


def _suffix(name: str) -> str | None:
    return next((suffix for suffix in MAPS if name.endswith(suffix)), None)


def _freesurfer(folder: Path, table: Path, options: StudyOptions) -> dict[str, Any]:
    from neuropyro.data.freesurfer_study import freesurfer_study

    used = OF_MAPS | {"measure", "fwhm", "space", "hemispheres"}
    options.refuse_beyond(used, folder, "a FreeSurfer subjects folder")
    space = options.space or "fsaverage5"
    own = {"measure": options.measure, "fwhm": options.fwhm, "space": space, "hemispheres": options.hemispheres}
    visits = _visits(table, options)
    return freesurfer_study(folder, visits, mask=options.mask, memory_map=options.memory_map, **own)  # type: ignore[arg-type]


def _maps(folder: Path, table: Path, options: StudyOptions) -> dict[str, Any]:
    suffix = _suffix(options.pattern or next(name for name in _file_column(table) if name))
    if suffix is None:
        raise CohortError(f"{options.pattern or table}: not the name of a map; known are {', '.join(MAPS)}")
    return _reader(suffix)(folder, table, options)


def _reader(suffix: str) -> Callable[[Path, Path, StudyOptions], dict[str, Any]]:
    if suffix == ".dscalar.nii":
        return _cifti
    return _nifti if suffix in (".nii", ".nii.gz") else _surfaces


def _surfaces(folder: Path, table: Path, options: StudyOptions) -> dict[str, Any]:
    from neuropyro.data.surface_study import surface_study

    used = OF_MAPS | {"pattern", "space", "surfaces", "hemispheres"}
    options.refuse_beyond(used, table, "a table of surface maps")
    visits = _visits(table, options)
    own = (options.pattern, options.hemispheres, options.space, options.surface_files())
    return surface_study(folder, visits, *own, options.mask, options.memory_map)


def _cifti(folder: Path, table: Path, options: StudyOptions) -> dict[str, Any]:
    from neuropyro.data.cifti_maps import cifti_study

    options.refuse_beyond(OF_MAPS | {"pattern", "surfaces", "hemispheres"}, table, "a table of CIFTI maps")
    visits = _visits(table, options)
    return cifti_study(folder, visits, options.pattern, options.surface_files(), options.mask, options.memory_map)


def _nifti(folder: Path, table: Path, options: StudyOptions) -> dict[str, Any]:
    from neuropyro.data.nifti_volumes import nifti_study

    options.refuse_beyond(OF_MAPS | {"pattern"}, table, "a table of volumes")
    if options.mask is None:
        raise CohortError(f"{folder}: volumes need a mask; give one by --mask")
    return nifti_study(folder, _visits(table, options), options.mask, options.pattern, options.memory_map)


def _visits(table: Path, options: StudyOptions) -> StudyTable:
    return study_table(table, subject=options.subject, time=options.time, diagnosis=options.diagnosis)


def _biomarkers(path: Path, options: StudyOptions) -> dict[str, Any]:
    from neuropyro.data.biomarkers_table import biomarkers_table
    from neuropyro.data.tadpole import is_tadpole, tadpole_table

    chosen = [name.strip() for words in options.biomarkers for name in words.split(",")]
    if is_tadpole(path):
        options.refuse_beyond(FOR_ALL | {"biomarkers"}, path, "a table of TADPOLE's")
        return tadpole_table(path, chosen or None)
    options.refuse_beyond(OF_A_TABLE | {"biomarkers", "missing"}, path, "a table of biomarkers")
    return biomarkers_table(path, options).fields()
