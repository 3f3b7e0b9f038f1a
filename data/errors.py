"""The one error that data raise, and the small checks that raise it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["CohortError", "read_only"]


class CohortError(ValueError):
    """Data that cannot be used; the message names the file, the field and the remedy.

    Examples
    --------
    >>> try:
    ...     raise CohortError("cohort.npz: `time` has 3 rows, but `values` has 4; give one time a visit")
    ... except ValueError as error:
    ...     print(error)
    cohort.npz: `time` has 3 rows, but `values` has 4; give one time a visit
    """


def read_only(array: NDArray[np.generic]) -> NDArray[Any]:
    """Return an array, of the same shape, that cannot be written to.

    It is a copy where its owner still could write, unless it is memory-mapped.

    Examples
    --------
    >>> thickness = np.array([2.5, 3.0])
    >>> kept = read_only(thickness)
    >>> thickness[0] = 0.0
    >>> kept.tolist(), kept.flags.writeable
    ([2.5, 3.0], False)
    """
    if array.flags.writeable and not isinstance(array, np.memmap):
        array = array.copy()
    view = array.view()
    view.flags.writeable = False
    return view
