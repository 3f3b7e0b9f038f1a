"""Which diagnosis means a control: the words that are known, or a study's own."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuropyro.data.errors import CohortError

__all__ = ["are_controls", "name_controls", "refuse_zero", "words_of_controls"]

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

    Examples
    --------
    >>> words_of_controls(np.array(["CN", "cn ", "normaal", "AD", ""]))
    (['CN', 'cn'], ['AD', 'normaal'])
    """
    if diagnosis.dtype.kind != "U":
        codes = sorted({int(code) for code in diagnosis if code >= 0})
        return [str(code) for code in codes if code == 1], [str(code) for code in codes if code != 1]
    words = sorted({str(label).strip() for label in diagnosis} - {""})
    controls = [word for word in words if _means_control(word)]
    return controls, [word for word in words if word not in controls]


def refuse_zero(diagnosis: NDArray[Any] | None, source: str) -> None:
    """Refuse diagnoses (visits,) in numbers of which one is 0: in many studies that is what the healthy have, not 1.

    Raises
    ------
    CohortError
        Asking for the number that means a control.

    Examples
    --------
    >>> refuse_zero(np.array([0, 2, 1, -1]), "visits.csv")
    Traceback (most recent call last):
    neuropyro.data.errors.CohortError: visits.csv: diagnoses are 0, 1, 2, of which 0 or 1 may be a control's; say \
which by --control 0 or --control 1
    """
    if diagnosis is None or diagnosis.dtype.kind not in "iu" or not (diagnosis == 0).any():
        return
    codes = ", ".join(str(code) for code in np.unique(diagnosis[diagnosis >= 0])[:6])
    if (diagnosis == 1).any():
        said = f"diagnoses are {codes}, of which 0 or 1 may be a control's; say which by --control 0 or --control 1"
    else:
        said = f"diagnoses are {codes}; say which is a control's, as by --control 0"
    raise CohortError(f"{source}: {said}")


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
