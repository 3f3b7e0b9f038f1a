"""Colours that the figures share: Okabe and Ito's, told apart by the colour-blind."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import numpy as np

__all__ = ["BLUE", "CONTROL", "GREY", "OKABE_ITO", "PATIENT", "RED", "cluster_colours"]

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
