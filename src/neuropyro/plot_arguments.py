"""What figures of a fit are asked for with."""

from __future__ import annotations

from neuropyro.outputs import Outcome

__all__ = ["require_outcome"]


def require_outcome(given: object) -> None:
    """Raise unless it is an :class:`~neuropyro.outputs.Outcome`: a fit alone does not know its cohort's unit.

    Raises
    ------
    TypeError
        Naming what was given and how to make one of it.

    Examples
    --------
    >>> require_outcome("fit/")
    Traceback (most recent call last):
        ...
    TypeError: a figure is drawn of neuropyro.outputs.Outcome(model, cohort, result), not of a str
    """
    if not isinstance(given, Outcome):
        raise TypeError(
            f"a figure is drawn of neuropyro.outputs.Outcome(model, cohort, result), not of a {type(given).__name__}"
        )
