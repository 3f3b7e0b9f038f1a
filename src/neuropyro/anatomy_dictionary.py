"""What the columns of a simulated study's tables mean, as the .json files that BIDS puts beside tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

__all__ = ["described", "write_dictionary"]

SCORE = "sds of controls' first visits"
CODED = {"site": ("A", "B", "C"), "diagnosis": ("CN", "MCI", "AD")}
"""Columns that have words in tables of what was seen and whole numbers, from 0, in the truth."""
COLUMNS: dict[str, dict[str, Any]] = {
    "participant_id": {"Description": "subject"},
    "session_id": {"Description": "visit, numbered in order of time"},
    "file": {"Description": "map of cortical thickness, from this folder on; {hemisphere} is L or R", "Units": "mm"},
    "age": {"Description": "age at the visit", "Units": "years"},
    "entry_age": {"Description": "age at the first visit", "Units": "years"},
    "sex": {"Description": "sex", "Levels": {"0": "female", "1": "male"}},
    "education": {"Description": "education", "Units": "years"},
    "apoe4": {"Description": "number of APOE e4 alleles, 0 to 2"},
    "prs": {"Description": "polygenic score without APOE", "Units": "sds of the population"},
    "site": {"Description": "scanner"},
    "treatment": {"Description": "factor of the speed of progression from treatment_start on; 1 is no treatment"},
    "treatment_start": {
        "Description": "start of the treatment, after the first visit; inf or n/a: never",
        "Units": "years",
    },
    "diagnosis": {"Description": "diagnosis at the visit"},
    "adas": {"Description": "ADAS-Cog, 11 items: 0 (best) to 70"},
    "mmse": {"Description": "Mini-Mental State Examination: 0 to 30 (best)"},
    "ventricle_volume": {"Description": "volume of the ventricles, with its error of measurement", "Units": "mL"},
    "cortical_thickness": {"Description": "mean thickness of the cortex, with its error of measurement", "Units": "mm"},
    "dps": {"Description": "progression score", "Units": SCORE},
    "beta": {"Description": "progression score at 70 years", "Units": SCORE},
    "alpha": {"Description": "speed of progression without treatment", "Units": f"{SCORE}, a year"},
    "ventricles": {"Description": "area of the ventricles in the slice, relative to a typical one's"},
    "atrophy": {"Description": "share of the cortex lost since a healthy 70 years"},
    "vulnerability": {"Description": "common cause of onset and speed", "Units": "sds of the population"},
    "reserve": {"Description": "common cause of both tests", "Units": "sds of the population"},
    "ventricle_offset": {"Description": "log of the subject's own ventricle size, relative to a typical one's"},
    "thickness_offset": {"Description": "the subject's own thickness beside a typical one's", "Units": "mm"},
}


def described(
    columns: Iterable[str], truth: bool = False, endings: Mapping[str, str] = MappingProxyType({})
) -> dict[str, dict[str, Any]]:
    """Return what columns are, and their units or levels; nothing of those that nobody described.

    Parameters
    ----------
    columns
        Names, of nodes of the simulator and of what tables add.
    truth
        Whether scanner and diagnosis are coded by whole numbers.
    endings
        What columns are whose names end so, besides.

    Examples
    --------
    >>> described(["dps", "height"])
    {'dps': {'Description': 'progression score', 'Units': "sds of controls' first visits"}}
    >>> described(["apoe4_sd"], endings={"_sd": "sd over draws"})
    {'apoe4_sd': {'Description': 'number of APOE e4 alleles, 0 to 2: sd over draws'}}
    """
    found = {}
    for column in columns:
        ending = next((end for end in endings if column.endswith(end)), "")
        name = column.removesuffix(ending)
        if name not in COLUMNS:
            continue
        found[column] = dict(COLUMNS[name])
        if ending:
            found[column]["Description"] += f": {endings[ending]}"
            found[column].pop("Levels", None)
        elif truth and name in CODED:
            found[column]["Levels"] = {str(code): word for code, word in enumerate(CODED[name])}
    return found


def write_dictionary(
    path: Path, columns: Iterable[str], truth: bool = False, endings: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Write ``described`` beside a table, as ``participants.json`` for ``participants.tsv``.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "truth.json"
    >>> write_dictionary(path, ["diagnosis"], truth=True)
    >>> json.loads(path.read_text())["diagnosis"]["Levels"]
    {'0': 'CN', '1': 'MCI', '2': 'AD'}
    """
    path.write_text(json.dumps(described(columns, truth, endings), indent=2) + "\n", encoding="utf-8")
