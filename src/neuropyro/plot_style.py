"""Colours that the figures share: Okabe and Ito's, told apart by the colour-blind."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from neuropyro.data import Cohort

__all__ = ["BLUE", "CONTROL", "GREY", "OKABE_ITO", "PATIENT", "RED", "cluster_colours", "diagnosis_groups"]

GREY = "0.6"
BLUE, RED = "#0072B2", "#D55E00"
CONTROL, PATIENT = BLUE, RED
OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#0072B2", "#D55E00")


def cluster_colours(n_clusters: int) -> list[Any]:
    """Return a colour for each cluster, which are in the order of their onsets.

    Examples
    --------
    >>> cluster_colours(2)
    ['#E69F00', '#56B4E9']
    """
    if n_clusters <= len(OKABE_ITO):
        return list(OKABE_ITO[:n_clusters])
    return [mpl.colormaps["viridis"](x) for x in np.linspace(0, 1, n_clusters)]


def diagnosis_groups(cohort: Cohort) -> list[tuple[NDArray[np.bool_], str, str]]:
    """Return the visits of controls and patients, ``(visits,)`` each, with their colours and names.

    All visits are one group where no diagnosis tells them apart.

    Examples
    --------
    >>> [name for _, _, name in diagnosis_groups(Cohort(np.ones((2, 3)), [70, 71], ["a", "b"], ["CN", "AD"]))]
    ['controls', 'patients']
    """
    control = cohort.is_control
    if not control.any() or control.all():
        return [(np.ones_like(control), GREY, "visits")]
    return [(control, CONTROL, "controls"), (~control, PATIENT, "patients")]
