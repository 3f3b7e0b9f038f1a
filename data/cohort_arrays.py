"""What a cohort takes, from arrays under the names that they have in an ``.npz`` file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.errors import CohortError
from neuropyro.data.mesh import Mesh
from neuropyro.data.space_storage import space_of_arrays
from neuropyro.data.truth import Truth

__all__ = ["cohort_fields"]

NEEDED = ("values", "time", "subject")


def cohort_fields(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return the arguments of a `Cohort`.

    Raises
    ------
    CohortError
        Where an array is missing that every cohort needs, or those of the mesh make none.

    Examples
    --------
    >>> arrays = {"values": np.array([[2.5], [2.4]]), "time": np.array([70, 71]), "subject": np.array(["a", "a"])}
    >>> fields = cohort_fields(arrays | {"covariate_sex": np.array(["F", "F"]), "unit": np.array("mm")})
    >>> list(fields["covariates"]), fields["unit"], fields["mesh"]
    (['sex'], 'mm', None)
    """
    missing = [name for name in NEEDED if name not in arrays]
    if missing:
        raise CohortError(f"no array `{missing[0]}`; a cohort needs `values`, `time` and `subject`")
    return {
        **{name: arrays.get(name) for name in (*NEEDED, "diagnosis", "feature_names", "images")},
        "mesh": _mesh(arrays),
        "covariates": {k.removeprefix("covariate_"): a for k, a in arrays.items() if k.startswith("covariate_")},
        "truth": _truth(arrays),
        "space": space_of_arrays(arrays),
        "unit": str(arrays["unit"]) if "unit" in arrays else None,
    }


def _mesh(arrays: Mapping[str, NDArray[Any]]) -> Mesh | None:
    """Return the mesh that a file's arrays describe; None where they describe none."""
    values = np.asarray(arrays["values"])
    if ("edges" not in arrays and "faces" not in arrays) or values.ndim != 2:
        return None  # what is wrong with `values`, Cohort says
    return Mesh(
        n_vertices=values.shape[1],
        template=str(arrays["template"]) if "template" in arrays else None,
        **{k: arrays[k] for k in ("edges", "faces", "coordinates", "template_index") if k in arrays},
    )


def _truth(arrays: Mapping[str, NDArray[Any]]) -> Truth:
    """Return what a simulation wrote of its truth, as ``truth_<group>_<name>``."""
    groups: dict[str, dict[str, NDArray[Any]]] = {group: {} for group in Truth().groups()}
    for name, array in arrays.items():
        head, _, rest = name.partition("_")
        group, _, node = rest.partition("_")
        if head == "truth" and group in groups:
            groups[group][node] = array
    return Truth(**groups)
