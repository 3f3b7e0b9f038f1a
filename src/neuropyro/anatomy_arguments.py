"""Interventions and ages, as they are written on the command line."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from neuropyro.anatomy_dictionary import CODED

if TYPE_CHECKING:  # PyTorch takes seconds to import, and --help needs none of it
    from neuropyro.models.anatomy_program import Interventions

__all__ = ["parse_do", "parse_times"]

OLDEST = 120  # years


def parse_do(text: str) -> Interventions:
    """Read interventions, such as ``apoe4=2,treatment=.5``; what tables have words of may be given as a word.

    Raises
    ------
    ValueError
        Where a part is no node and number.

    Examples
    --------
    >>> parse_do("apoe4=2,site=B")
    {'apoe4': 2.0, 'site': 1.0}
    """
    found: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, _, number = part.partition("=")
        words = CODED.get(name.strip(), ())
        try:
            found[name.strip()] = float(words.index(number.strip()) if number.strip() in words else number)
        except ValueError:
            wanted = f"one of {', '.join(words)}" if words else "a number"
            raise ValueError(f"do: {part!r} is not a node and {wanted}, such as apoe4=2") from None
    return found


def parse_times(text: str) -> list[float]:
    """Read ages, such as ``55:90:5`` (the last one included) or ``70,72.5``.

    Raises
    ------
    ValueError
        Where it is neither, or nobody is of that age.

    Examples
    --------
    >>> parse_times("55:70:5"), parse_times("70,72.5")
    ([55.0, 60.0, 65.0, 70.0], [70.0, 72.5])
    """
    try:
        numbers = [float(part) for part in text.replace(",", ":").split(":")]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"times: {text!r} is not ages, such as 55:90:5 or 70,72.5")
    if ":" in text:
        if len(numbers) != 3 or numbers[2] <= 0 or numbers[1] < numbers[0]:
            raise ValueError(f"times: {text!r} is not first:last:step, such as 55:90:5")
        first, last, step = numbers
        numbers = [first + step * k for k in range(int((last - first) / step + 1e-9) + 1)]
    if not all(0 <= age <= OLDEST for age in numbers):
        raise ValueError(f"times: {text!r} has an age that nobody is of; give years from 0 to {OLDEST}")
    return numbers
