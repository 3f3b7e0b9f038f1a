"""Colours that the figures share: Okabe and Ito's, told apart by the colour-blind."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from neuropyro.data import Cohort
from neuropyro.score_diagnosis import known_diagnoses

__all__ = [
    "BLUE",
    "CONTROL",
    "GREY",
    "IN_THE_DATA",
    "OKABE_ITO",
    "RED",
    "beyond",
    "cluster_colours",
    "diagnosis_groups",
    "score_label",
]

GREY = "0.6"
BLUE, RED = "#0072B2", "#D55E00"
CONTROL = BLUE
PATIENTS = (RED, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
"""Of diagnoses from the gravest down: the colour-blind tell the first two and controls' apart; not red and orange."""
IN_THE_DATA = "values as in the data"
"""What is said once of biomarkers' panels: a cohort knows no units but those that names end with."""
OKABE_ITO = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#0072B2", "#D55E00")


def beyond(values: NDArray[Any], low: float, high: float) -> Literal["neither", "min", "max", "both"]:
    """Return at which ends a scale of colours needs an arrow, for values lie beyond; as ``extend`` of a colour bar.

    Examples
    --------
    >>> beyond(np.array([0.0, 3.0]), low=0, high=2)
    'max'
    """
    below, above = bool((values < low).any()), bool((values > high).any())
    if below:
        return "both" if above else "min"
    return "max" if above else "neither"


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


def score_label(cohort: Cohort, which: str = "progression") -> str:
    """Return what an axis of scores is called, and its unit.

    Examples
    --------
    >>> score_label(Cohort(np.ones((2, 3)), [70, 71], ["a", "b"]), "true")
    'true score (sd of first visits)'
    """
    return f"{which} score (sd of {cohort.reference_in_words})"


def diagnosis_groups(cohort: Cohort) -> list[tuple[NDArray[np.bool_], str, str]]:
    """Return the visits of each diagnosis, ``(visits,)``, with its colour and its name, controls first.

    Names are the cohort's own words; numbers are those of controls and patients.  All visits are one group where no
    diagnosis tells them apart.  The gravest is of one colour however many there are.

    Examples
    --------
    >>> cohort = Cohort(np.ones((3, 3)), [70, 71, 72], ["a", "b", "c"], ["CN", "AD", ""])
    >>> [(name, colour) for _, colour, name in diagnosis_groups(cohort)]
    [('CN', '#0072B2'), ('AD', '#D55E00'), ('no diagnosis', '0.6')]
    """
    names = known_diagnoses(cohort)
    if cohort.diagnosis is None or len(names) < 2:
        return [(np.ones(cohort.n_visits, np.bool_), GREY, "visits")]
    label, groups = cohort.diagnosis.astype(np.str_), []
    patients = itertools.cycle(PATIENTS)
    for name in reversed(names):
        members = label == name
        control = bool(cohort.is_control[members].all())
        groups.append((members, CONTROL if control else next(patients), _in_words(cohort, name, control, len(names))))
    groups.reverse()
    unknown = ~np.isin(label, names)
    return [*groups, (unknown, GREY, "no diagnosis")] if unknown.any() else groups


def _in_words(cohort: Cohort, name: str, control: bool, count: int) -> str:
    """Return what a diagnosis is called; a number says nothing to a reader."""
    assert cohort.diagnosis is not None
    if cohort.diagnosis.dtype.kind == "U":
        return name
    if control:
        return "controls"
    return "patients" if count == 2 and cohort.is_control.any() else f"diagnosis {name}"
