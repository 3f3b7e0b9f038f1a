"""The tables of the TADPOLE challenge (D1/D2, D3) and ADNIMERGE, from which they were made.

Ages count from ``AGE``, the age at baseline, to each visit by ``EXAMDATE`` or, where that is missing, the months of
``VISCODE``.  Volumes are divided by the visit's ``ICV`` (the baseline's where that is missing).  Blank cells and -4
stand for nothing.

References
----------
Marinescu et al., "TADPOLE Challenge: prediction of longitudinal evolution in Alzheimer's disease", arXiv 1805.03909.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.errors import CohortError
from neuropyro.data.text_table import MISSING, TextTable, column_names, read_table, table_of

__all__ = ["DIAGNOSES", "is_tadpole", "tadpole_table"]

DIAGNOSES = ("CN", "MCI", "AD")
VOLUMES = ("Ventricles", "Hippocampus", "WholeBrain", "Entorhinal", "Fusiform", "MidTemp")
SCORES = ("ADAS13", "MMSE", "CDRSB", "RAVLT_immediate", "FDG")
COVARIATES = {
    "sex": "PTGENDER",
    "education": "PTEDUCAT",
    "apoe4": "APOE4",
    "site": "SITE",
    "D1": "D1",
    "D2": "D2",
}
KEYS = ("RID", "VISCODE", "EXAMDATE", "AGE", "DX", "DXCHANGE", "DX_bl", "ICV", "ICV_bl")
STATES = {"NL": "CN", "CN": "CN", "SMC": "CN", "EMCI": "MCI", "LMCI": "MCI", "MCI": "MCI", "DEMENTIA": "AD", "AD": "AD"}
CHANGES = {1: "CN", 7: "CN", 9: "CN", 2: "MCI", 4: "MCI", 8: "MCI", 3: "AD", 5: "AD", 6: "AD"}
"""What ADNI's DXCHANGE codes end in: 1 to 3 stable, 4 to 6 conversions, 7 to 9 reversions."""


def is_tadpole(path: Path) -> bool:
    """Whether a table, a CSV or TSV file, has TADPOLE's columns.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "D1_D2.csv"
    >>> for header in ("RID,VISCODE,AGE,MMSE", "ID,AGE,MMSE"):
    ...     _ = path.write_text(header)
    ...     print(is_tadpole(path))
    True
    False
    """
    return {"RID", "VISCODE", "AGE"} <= set(column_names(path))


def tadpole_table(table: Any, biomarkers: Sequence[str] | None = None) -> dict[str, Any]:
    """Read TADPOLE's columns: what a `Cohort` takes, values ``(visits, biomarkers)``; see `Cohort.from_tadpole`.

    Raises
    ------
    CohortError
        Naming the table, the column and the line: no such column, an age that is missing, a visit twice, or a cell that
        cannot be read.

    Examples
    --------
    >>> import pandas
    >>> visits = {"RID": [7, 7], "VISCODE": ["bl", "m06"], "AGE": [70, 70], "Ventricles": [3, 6], "ICV": [12, 12]}
    >>> fields = tadpole_table(pandas.DataFrame(visits))
    >>> fields["time"].tolist(), fields["values"].tolist(), fields["feature_names"].tolist()
    ([70.0, 70.5], [[0.25], [0.5]], ['Ventricles_ICV'])
    """
    wanted = (*KEYS, *VOLUMES, *SCORES, *COVARIATES.values(), *_columns(biomarkers or ()))
    cells = read_table(table, wanted) if isinstance(table, str | Path) else table_of(table)
    cells = TextTable(cells.source, cells.columns, cells.places, MISSING | {"-4", "-4.0"})
    for name in ("RID", "VISCODE", "AGE"):
        cells.column(name)
    names = _default_features(cells) if biomarkers is None else list(biomarkers)
    values = np.stack([_feature(cells, name) for name in names], 1)
    kept = np.asarray(~np.isnan(values).all(1))
    if not kept.any():
        raise CohortError(f"{cells.source}: no visit has any of {', '.join(names)}; name other `biomarkers`")
    rid = _rids(cells)
    fields: dict[str, Any] = {
        "values": values,
        "time": _ages(cells, rid),
        "subject": rid,
        "diagnosis": _diagnoses(cells),
        **{f"covariate_{own}": cells.covariate(name) for own, name in COVARIATES.items() if name in cells.columns},
    }
    if "EXAMDATE" in cells.columns:
        fields["covariate_exam_date"] = 1970 + cells.years("EXAMDATE")
    _refuse_repeats(cells, rid, kept)
    fields = {name: None if array is None else array[kept] for name, array in fields.items()}
    covariates = {name.removeprefix("covariate_"): fields.pop(name) for name in list(fields) if "covariate_" in name}
    return fields | {"feature_names": np.array(names), "covariates": covariates}


def _columns(features: Sequence[str]) -> list[str]:
    return [name.removesuffix("_ICV") for name in features] + list(features)


def _default_features(cells: TextTable) -> list[str]:
    scores = [name for name in SCORES if name in cells.columns and not cells.empty(name).all()]
    icv = cells.first_of(("icv", "icv_bl"))
    volumes = [f"{name}_ICV" for name in VOLUMES if icv and name in cells.columns and not cells.empty(name).all()]
    if not scores + volumes:
        raise CohortError(f"{cells.source}: none of {', '.join(SCORES + VOLUMES)} is there; name `biomarkers`")
    return scores + volumes


def _feature(cells: TextTable, name: str) -> NDArray[np.float64]:
    if not name.endswith("_ICV") or name in cells.columns:
        return cells.numbers(name)
    volume = cells.numbers(name.removesuffix("_ICV"))
    heads = [cells.numbers(icv) for icv in ("ICV", "ICV_bl") if icv in cells.columns]
    if not heads:
        raise CohortError(f"{cells.source}: `{name}` needs a column ICV or ICV_bl")
    head = np.where(np.isnan(heads[0]), heads[-1], heads[0])
    bad = np.flatnonzero(head <= 0)
    if bad.size:
        raise CohortError(f"{cells.place(int(bad[0]))}: `ICV` is {head[bad[0]]:g}; correct it or leave it empty")
    return volume / head


def _rids(cells: TextTable) -> NDArray[np.int64]:
    rid = cells.numbers("RID")
    bad = np.flatnonzero(~np.isfinite(rid) | (rid != np.round(rid)))
    if bad.size:
        raise CohortError(f"{cells.place(int(bad[0]))}: `RID` must be a whole number; correct it or drop the row")
    return rid.astype(np.int64)


def _ages(cells: TextTable, rid: NDArray[np.int64]) -> NDArray[np.float64]:
    """Years: the age at baseline and the time since then."""
    age = cells.numbers("AGE")
    lost = np.flatnonzero(~np.isfinite(age))
    if lost.size:
        raise CohortError(f"{cells.place(int(lost[0]))}: `AGE` is missing; give the age at baseline or drop the row")
    visit = cells.text("VISCODE")
    exam = cells.years("EXAMDATE") if "EXAMDATE" in cells.columns else np.full(len(rid), np.nan)
    start = {int(r): float(e) for r, e, v in zip(rid, exam, visit, strict=True) if v == "bl" and np.isfinite(e)}
    by_date = exam - np.array([start.get(int(r), np.nan) for r in rid])
    by_code = np.array([_months(code) for code in visit]) / 12
    since = np.where(np.isfinite(by_date), by_date, by_code)
    lost = np.flatnonzero(np.isnan(since))
    if lost.size:
        row = int(lost[0])
        raise CohortError(
            f"{cells.place(row)}: neither `EXAMDATE` nor `VISCODE` ({str(visit[row])!r}) tells the time since "
            "baseline; give one or drop the row"
        )
    return np.asarray(age + since)


def _months(code: str) -> float:
    match = re.fullmatch(r"m(\d+)", code)
    return 0.0 if code == "bl" else float(match[1]) if match else np.nan


def _diagnoses(cells: TextTable) -> NDArray[np.str_] | None:
    """Diagnosis of each visit: DX, else what DXCHANGE ends in, else, for all visits, that at baseline."""
    if "DX" in cells.columns:
        return np.array([_state(cell.split(" to ")[-1], cells, row) for row, cell in enumerate(cells.text("DX"))])
    if "DXCHANGE" in cells.columns:
        codes = cells.numbers("DXCHANGE")
        wrong = np.flatnonzero(~np.isnan(codes) & ~np.isin(codes, list(CHANGES)))
        if wrong.size:
            raise CohortError(f"{cells.place(int(wrong[0]))}: `DXCHANGE` is {codes[wrong[0]]:g}; ADNI's are 1 to 9")
        return np.array(["" if np.isnan(code) else CHANGES[int(code)] for code in codes])
    if "DX_bl" in cells.columns:
        return np.array([_state(cell, cells, row) for row, cell in enumerate(cells.text("DX_bl"))])
    return None


def _state(cell: str, cells: TextTable, row: int) -> str:
    if cell and cell.upper() not in STATES:
        raise CohortError(
            f"{cells.place(row)}: the diagnosis {str(cell)!r} is not known; known are {', '.join(STATES)}"
        )
    return STATES[cell.upper()] if cell else ""


def _refuse_repeats(cells: TextTable, rid: NDArray[np.int64], kept: NDArray[np.bool_]) -> None:
    first: dict[tuple[int, str], int] = {}
    visit = cells.text("VISCODE")
    for row in np.flatnonzero(kept):
        key = (int(rid[row]), str(visit[row]))
        if key in first:
            before = cells.place(first[key])
            raise CohortError(f"{cells.place(int(row))}: visit {key[1]} of RID {key[0]} is at {before} too; drop one")
        first[key] = int(row)
