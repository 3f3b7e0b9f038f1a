"""From simulated nodes to a cohort: what a study would see, and the truth beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.data import Cohort, Mesh, Truth
from neuropyro.models.anatomy_defaults import DIAGNOSES
from neuropyro.models.anatomy_mechanism import Level

__all__ = ["COVARIATES", "SCALARS", "cohort_of"]

SCALARS = ("adas", "mmse", "ventricle_volume", "cortical_thickness")
"""Nodes that a visit measures in numbers."""
COVARIATES = ("sex", "education", "apoe4", "prs")
TREATMENT = ("treatment", "treatment_start")


def _subject_names(units: NDArray[np.int64]) -> NDArray[np.str_]:
    """Names of subjects by their numbers, such as sub-000001 for 0."""
    return np.char.add("sub-", np.char.zfill((units + 1).astype(np.str_), 6))


def cohort_of(
    units: NDArray[np.int64],
    values: Mapping[str, Tensor],
    levels: Mapping[str, Level],
    sites: tuple[str, ...],
    mesh: Mesh | None,
    extra: tuple[str, ...],
) -> Cohort:
    """Return the visits that took place.

    Parameters
    ----------
    units
        ``(subjects,)`` their numbers.
    values
        Every node by its name, ``(subjects, 1 or visits, *shape)``; maps as ``thickness``, scans as ``scan``.
    levels
        Of the nodes.
    sites
        Names of the scanners.
    mesh
        Of the maps.
    extra
        Further nodes that are seen.

    Examples
    --------
    >>> once, years = torch.zeros(2, 1), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    >>> values = dict.fromkeys([*COVARIATES, "site"], once) | {"adas": 8 + years, "age": 70 + years, "diagnosis": years}
    >>> levels = {name: "subject" if x is once else "visit" for name, x in values.items()}
    >>> values |= {"treatment": once + 1, "attended": torch.tensor([[1, 1], [1, 0]])}  # the second misses a visit
    >>> cohort = cohort_of(np.arange(2), values, levels, ("A",), None, ())
    >>> cohort.subject.tolist(), cohort.values[:, 0].tolist(), cohort.diagnosis.tolist()
    (['sub-000001', 'sub-000001', 'sub-000002'], [8.0, 9.0, 8.0], ['CN', 'MCI', 'CN'])
    """
    arrays = {name: x.cpu().numpy() for name, x in values.items()}
    there = np.broadcast_to(arrays["attended"] > 0, (len(units), _visits(arrays, levels)))
    who, visit = np.nonzero(there)

    def rows(name: str) -> NDArray[Any]:
        array: NDArray[Any] = arrays[name]
        return array[who, 0] if levels.get(name) == "subject" else array[who, visit]

    scalars = [name for name in SCALARS if name in arrays]
    maps = "thickness" in arrays
    seen = [*COVARIATES, *extra, *(scalars if maps else ()), *(TREATMENT if _is_treated(arrays) else ())]
    covariates = {name: rows(name) for name in seen} | {"site": np.array(sites)[rows("site").astype(int)]}
    nodes = [name for name in levels if name in arrays and name != "attended"]
    pictures = {"image": rows("image")} if "image" in arrays else {}
    return Cohort(
        values=rows("thickness") if maps else np.stack([rows(name) for name in scalars], 1),
        time=rows("age"),
        subject=_subject_names(units)[who],
        diagnosis=np.array(DIAGNOSES)[rows("diagnosis").astype(int)],
        mesh=mesh if maps else None,
        unit="mm" if maps else None,
        feature_names=None if maps else np.array(scalars),
        covariates=covariates,
        images=rows("scan") if "scan" in arrays else None,
        truth=Truth(
            visit={name: rows(name) for name in nodes if levels[name] == "visit"} | pictures,
            subject={name: arrays[name][:, 0] for name in nodes if levels[name] == "subject"},
        ),
    )


def _visits(arrays: Mapping[str, NDArray[Any]], levels: Mapping[str, Level]) -> int:
    return max(int(arrays[name].shape[1]) for name in levels if name in arrays)


def _is_treated(arrays: Mapping[str, NDArray[Any]]) -> bool:
    return bool((arrays["treatment"] != 1).any())
