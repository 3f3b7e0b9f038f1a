"""A cohort of new subjects, read for a fit: its columns and its adjustment; errors name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from neuropyro.data.errors import CohortError

if TYPE_CHECKING:  # PyTorch takes seconds to import, and --help needs none of it
    from neuropyro.data import Cohort, StudyOptions
    from neuropyro.inference import Fit

__all__ = ["naming", "open_like"]


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors of data name the file that the data are of.

    Examples
    --------
    >>> try:
    ...     with naming(Path("new.csv")):
    ...         raise CohortError("time: missing in row 3")
    ... except CohortError as error:
    ...     print(error)
    new.csv: time: missing in row 3
    """
    try:
        yield
    except CohortError as error:
        said = str(error)
        raise CohortError(said if said.startswith(str(path)) else f"{path}: {said}") from None


def open_like(path: Path, study: StudyOptions, fit: Path, result: Fit) -> Cohort:
    """Read new subjects, with the columns in the order of a fit and adjusted as its cohort was.

    Parameters
    ----------
    path, study
        Where the subjects' visits are, and how to read them.
    fit, result
        The fit's folder, and the fit.
    """
    from neuropyro.adjustment import load_adjustment
    from neuropyro.data import Cohort
    from neuropyro.data.named_columns import columns_like

    with naming(path):
        new = columns_like(result.data.names.get("vertex"), Cohort.open(path, study))
        kept = fit / "adjustment.npz"
        return load_adjustment(kept)(new) if kept.is_file() else new
