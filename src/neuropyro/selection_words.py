"""What to make of criteria that name different numbers of clusters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuropyro.selection import Candidate, Selection

__all__ = ["overlaps", "reasons"]

OVERLAP = 1.0  # nats that labels are uncertain by in all, up to which clusters are told apart
ONE_OF = {"vertices": "vertex", "biomarkers": "biomarker"}


def overlaps(candidate: Candidate) -> bool:
    """Whether labels are uncertain by more than a trifle, which ICL has twice on top of BIC.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> overlaps(SimpleNamespace(bic=40.0, icl=40.0)), overlaps(SimpleNamespace(bic=40.0, icl=60.0))
    (False, True)
    """
    return candidate.icl - candidate.bic > 2 * OVERLAP


def reasons(found: Selection, said: Mapping[str, int]) -> list[str]:
    """Return a sentence on each criterion that names another number than ICL, by what the numbers are.

    Parameters
    ----------
    found
        Numbers of clusters side by side.
    said
        The number that each criterion names.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> few, more = (SimpleNamespace(clusters=k, bic=b, icl=b) for k, b in ((2, 40.0), (3, 50.0)))
    >>> found = SimpleNamespace(
    ...     clusters=2, kind="biomarkers", candidate={2: few, 3: more}.get, deficit=lambda own, name: (64.0, 41.0)
    ... )
    >>> print(*reasons(found, {"held_out": 3, "loo": 3, "bic": 2, "icl": 2}))  # doctest: +ELLIPSIS
    More clusters predict new subjects better by 64 ± 41 nats, and are told apart as well, but for ICL they explain ...
    """
    own, other = found.candidate(found.clusters), found.candidate(said["held_out"])
    by, error = found.deficit(own, "held_out")
    better = f"More clusters predict new subjects better by {by:.0f} ± {error:.0f} nats"
    known = [
        (
            other.clusters > own.clusters and overlaps(other),
            f"{better}, but overlap: {found.kind} of one kind differ otherwise than the model has it, or between kinds "
            "there is no gap.",
        ),
        (
            other.clusters > own.clusters and not overlaps(other),
            f"{better}, and are told apart as well, but for ICL they explain the data too little better for the "
            "numbers that they add.",
        ),
        (
            other.clusters < own.clusters,
            f"Fewer predict new subjects as well, for each {ONE_OF[found.kind]}'s own course is known from the others.",
        ),
        (said["bic"] > own.clusters, "BIC counts clusters that overlap, too."),
        (said["bic"] < own.clusters, "BIC does not mind that fewer clusters overlap more."),
        (said["loo"] != other.clusters, "Leave-one-out keeps globals that were fitted with the subject left out."),
    ]
    return [reason for holds, reason in known if holds]
