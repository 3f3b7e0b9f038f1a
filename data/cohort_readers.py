"""The formats that a cohort is read from; each method only names a reader and what it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from numpy.typing import ArrayLike, NDArray

from neuropyro.data.cohort_checks import refuse_days
from neuropyro.data.errors import CohortError
from neuropyro.data.surface_files import Mask

__all__ = ["CohortReaders"]

Surfaces = Mapping[str, str | Path]


class CohortReaders:
    """Constructors of a `Cohort` from the files of a study.

    Wherever a ``table`` is asked for it may be a CSV or TSV file, a pandas DataFrame, a BIDS ``participants.tsv`` (with
    the ``sub-*/sub-*_sessions.tsv`` beside it), FreeSurfer's ``long.qdec.table.dat``, or what
    :func:`~neuropyro.data.study_table.study_table` made of one, which takes the names of the columns.  Every row is a
    visit, and every visit needs its maps.  Columns that are not subject, session, time, diagnosis or file become
    covariates.  ``memory_map`` names an ``.npy`` file to keep the values in, for studies larger than memory.

    All raise a `CohortError` that names the file (or the table and its line), what is wrong with it and the remedy: a
    missing, damaged or empty map, one of another space, a visit twice, a time that is no number.
    """

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read an ``.npz`` file.

        Its arrays: ``values``, ``time``, ``subject``; optionally ``diagnosis``, ``edges`` or ``faces`` with
        ``coordinates``, ``template`` with ``template_index``, ``feature_names``, ``images``, ``unit`` and
        ``covariate_<name>``.  Nothing in the file is executed.

        Raises
        ------
        CohortError
            Where the file cannot be read, or its content makes no cohort.
        """
        from neuropyro.data.cohort_files import read_npz

        return cls.from_arrays(read_npz(Path(path)), source=str(path))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], source: str = "arrays") -> Self:
        """Build a cohort from arrays under the names of `load`; ``source`` is named in errors."""
        from neuropyro.data.cohort_arrays import cohort_fields

        try:
            return cls(**cohort_fields(arrays))
        except CohortError as error:
            raise CohortError(f"{source}: {error}") from None

    @classmethod
    def from_freesurfer(
        cls,
        folder: str | Path,
        table: Any,
        measure: str = "thickness",
        fwhm: float | None = None,
        space: str = "fsaverage5",
        hemispheres: Sequence[str] = ("lh", "rh"),
        mask: Mask | None = None,
        memory_map: str | Path | None = None,
    ) -> Self:
        """Read ``<visit>/surf/{lh,rh}.<measure>[.fwhm<N>].<space>.mgh`` from a FreeSurfer subjects folder.

        A visit's folder is ``SUBJ_SESS.long.SUBJ`` (or another base) where any visit has one, else ``SUBJ_SESS``, or
        ``SUBJ`` without sessions; a column ``folder`` names others.  Mesh and cortex are those of ``folder/<space>``
        where FreeSurfer's template is linked there, else the bundled fsaverage5's; another space has no mesh.

        Parameters
        ----------
        fwhm
            Smoothing in the files' names, mm.
        mask
            ``(vertices,)`` bool over all hemispheres, or files (a mapping by hemisphere, or a path with
            ``{hemisphere}``): ``.label``, MGH, GIFTI.  By default the cortex; where that is not known, the vertices
            where any map is neither 0 nor missing.
        """
        from neuropyro.data.freesurfer_study import freesurfer_study

        return cls._of(folder, freesurfer_study(folder, table, measure, fwhm, space, hemispheres, mask, memory_map))

    @classmethod
    def from_gifti(
        cls,
        folder: str | Path,
        table: Any,
        pattern: str | None = None,
        hemispheres: Sequence[str] = ("lh", "rh"),
        template: str | None = None,
        surfaces: Surfaces | None = None,
        mask: Mask | None = None,
        memory_map: str | Path | None = None,
    ) -> Self:
        """Read GIFTI maps (``.func.gii``, ``.shape.gii``), or stacked MGH, a file for each hemisphere.

        Parameters
        ----------
        pattern
            A visit's file from ``folder`` on, with ``{subject}``, ``{session}`` and ``{hemisphere}``; wildcards must
            match one file.  By default the table's column ``file``, where the same names may stand.  Where all visits
            have one file, its data arrays (frames) are the visits in the table's order.
        template
            ``"fsaverage5"`` where the maps are of it: mesh and cortex are then known.
        surfaces
            Surface of each hemisphere, GIFTI or FreeSurfer's, for the mesh.
        mask
            As in `from_freesurfer`.
        """
        from neuropyro.data.surface_study import surface_study

        fields = surface_study(folder, table, pattern, hemispheres, template, surfaces, mask, memory_map)
        return cls._of(folder, fields)

    @classmethod
    def from_mgh(
        cls,
        files: Mapping[str, str | Path],
        table: Any,
        template: str | None = None,
        surfaces: Surfaces | None = None,
        mask: Mask | None = None,
        memory_map: str | Path | None = None,
    ) -> Self:
        """Read stacked MGH or MGZ maps, as ``mris_preproc`` writes them: a file for each hemisphere, a frame a visit.

        Parameters
        ----------
        files
            File of each hemisphere, ``{"lh": ..., "rh": ...}``; frames in the order of the table's rows.
        template, surfaces, mask
            As in `from_gifti`.
        """
        from neuropyro.data.study_table import study_table
        from neuropyro.data.surface_study import surface_cohort

        visits = study_table(table)
        parts = [len(visits) * [Path(path)] for path in files.values()]
        return cls._of(
            next(iter(files.values())), surface_cohort(visits, parts, list(files), template, surfaces, mask, memory_map)
        )

    @classmethod
    def from_cifti(
        cls,
        folder: str | Path,
        table: Any,
        pattern: str | None = None,
        surfaces: Surfaces | None = None,
        mask: ArrayLike | str | Path | None = None,
        memory_map: str | Path | None = None,
    ) -> Self:
        """Read CIFTI dense scalars (``.dscalar.nii``), a file a visit or one file with a map a visit.

        Parameters
        ----------
        pattern
            As in `from_gifti`, without hemispheres.
        surfaces
            Surface of each hemisphere (``lh`` and ``rh``, or ``L`` and ``R``), for the mesh; voxels that share a face
            are neighbours too.
        mask
            ``(points,)`` bool, or a file of the same points, kept where its first map is above 0; by default the points
            where any map is neither 0 nor missing.
        """
        from neuropyro.data.cifti_maps import cifti_study

        return cls._of(folder, cifti_study(folder, table, pattern, surfaces, mask, memory_map))

    @classmethod
    def from_nifti(
        cls,
        folder: str | Path,
        table: Any,
        mask: str | Path,
        pattern: str | None = None,
        memory_map: str | Path | None = None,
    ) -> Self:
        """Read NIfTI volumes on one grid, a file a visit or one file with a volume a visit.

        Parameters
        ----------
        mask
            NIfTI volume on the same grid; its voxels above 0 are the cohort's columns, neighbours where they share a
            face.
        pattern
            As in `from_gifti`, without hemispheres.
        """
        from neuropyro.data.nifti_volumes import nifti_study

        return cls._of(folder, nifti_study(folder, table, mask, pattern, memory_map))

    @classmethod
    def from_dataframe(
        cls,
        frame: Any,
        biomarkers: Sequence[str] | None = None,
        subject: str = "ID",
        time: str = "TIME",
        diagnosis: str | None = None,
        covariates: Sequence[str] = (),
    ) -> Self:
        """Take a long table of biomarkers, a row a visit.

        Parameters
        ----------
        frame
            A pandas DataFrame, whose index levels count as columns, or the path of a CSV or TSV file.
        biomarkers
            Columns of biomarkers, on any scale, rising or falling; by default all others.
        subject, time
            Columns of a subject's name, and of years or dates.
        diagnosis, covariates
            Columns of the diagnosis, for controls, and of what else the model may use.

        Examples
        --------
        >>> import pandas
        >>> from neuropyro.data import Cohort
        >>> visits = {"ID": ["a", "a", "b"], "TIME": [70, 71, 65.5], "MMSE": [28, 26, None], "volume": [2.5, 2.4, 3.1]}
        >>> Cohort.from_dataframe(pandas.DataFrame(visits)).feature_names.tolist()
        ['MMSE', 'volume']
        """
        from neuropyro.data.long_table import long_table

        source = frame if isinstance(frame, str | Path) else "DataFrame"
        return cls._of(source, long_table(frame, biomarkers, subject, time, diagnosis, covariates))

    @classmethod
    def from_tadpole(cls, table: Any, biomarkers: Sequence[str] | None = None) -> Self:
        """Read the TADPOLE challenge's D1/D2 or D3 table, or ADNIMERGE.

        Time is age.  Visits with none of the biomarkers are left out.  Diagnoses are CN, MCI and AD.  Covariates, where
        the table has them: sex, education, apoe4, site, D1 and D2 (1 for visits of that set) and exam_date (a decimal
        year).

        Parameters
        ----------
        biomarkers
            Columns; ``<volume>_ICV`` divides a volume by ICV.  By default ADAS13, MMSE, CDRSB, RAVLT_immediate and FDG,
            and Ventricles, Hippocampus, WholeBrain, Entorhinal, Fusiform and MidTemp over ICV, as far as they are
            there.
        """
        from neuropyro.data.tadpole import tadpole_table

        source = table if isinstance(table, str | Path) else "DataFrame"
        return cls._of(source, tadpole_table(table, biomarkers))

    @classmethod
    def _of(cls, source: str | Path, fields: Mapping[str, Any]) -> Self:
        try:
            made: Any = cls(**fields)  # a Cohort
        except CohortError as error:
            raise CohortError(f"{source}: {error}") from None
        refuse_days(made.time, made.subject_index, str(source))
        return made  # type: ignore[no-any-return]
