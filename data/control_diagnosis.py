"""Which diagnosis means a control: the words that are known, or a study's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.errors import CohortError

__all__ = ["are_controls", "name_controls", "words_of_controls"]

KNOWN = frozenset(
    {"cn", "nc", "nl", "ctl", "hc", "control", "controls", "healthy", "healthy control", "healthy controls", "normal"}
    | {"normal control", "normal controls", "cognitively normal"}
)
SAID = " (control)"  # follows the user's own word


def are_controls(diagnosis: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which diagnoses (visits,) are a control's: text that means it, in any case, or the number 1.

    Text is known to (CN, NC, NL, CTL, HC, control, healthy, normal), or says so itself, as "SCD (control)".

    Examples
    --------
    >>> are_controls(np.array(["CN", "AD", "", "Normal "])).tolist()
    [True, False, False, True]
    """
    if diagnosis.dtype.kind == "U":
        return np.array([_means_control(label) for label in diagnosis])
    return np.asarray(diagnosis == 1)


def words_of_controls(diagnosis: NDArray[Any]) -> tuple[list[str], list[str]]:
    """Return which words of diagnoses (visits,) were taken for controls, and which were not, each once.

    Numbers have none.

    Examples
    --------
    >>> words_of_controls(np.array(["CN", "cn ", "normaal", "AD", ""]))
    (['CN', 'cn'], ['AD', 'normaal'])
    """
    if diagnosis.dtype.kind != "U":
        return [], []
    words = sorted({str(label).strip() for label in diagnosis} - {""})
    controls = [word for word in words if _means_control(word)]
    return controls, [word for word in words if word not in controls]


def name_controls(diagnosis: NDArray[Any] | None, word: str, source: str = "cohort") -> NDArray[np.str_]:
    """Return diagnoses as text, in which a study's own word for a control, in any case, says that it is one.

    Parameters
    ----------
    diagnosis
        ``(visits,)`` text, or whole numbers of which the negative ones are unknown.
    word
        The study's own word, or number.
    source
        What errors call the study.

    Raises
    ------
    CohortError
        Where there are no diagnoses, or none is that word.

    Examples
    --------
    >>> name_controls(np.array([0, 2, -1]), "0").tolist()
    ['0 (control)', '2', '']
    """
    if diagnosis is None:
        raise CohortError(f"{source}: no diagnosis, of which --control could name one; add a column `diagnosis`")
    unknown = np.zeros(len(diagnosis), np.bool_) if diagnosis.dtype.kind == "U" else diagnosis < 0
    text = ["" if lost else str(label).strip() for label, lost in zip(diagnosis, unknown, strict=True)]
    if word.strip().lower() not in {label.lower() for label in text}:
        there = ", ".join(sorted({label for label in text if label})[:6])
        raise CohortError(f"{source}: no diagnosis is {word!r}; name one of {there} by --control")
    own = word.strip() if _means_control(word) else f"{word.strip()}{SAID}"
    return np.array([own if label.lower() == word.strip().lower() else label for label in text])


def _means_control(label: str) -> bool:
    word = label.strip().lower()
    return word in KNOWN or word.endswith(SAID)
