"""Bars on standard error, which vanish on a screen and end their line in a log."""

from __future__ import annotations

import sys
from typing import Any

from tqdm.auto import tqdm

__all__ = ["progress_bar"]


def progress_bar(title: str, shown: bool, **options: Any) -> Any:
    """Return tqdm's bar.

    Parameters
    ----------
    title
        What is being done.
    shown
        Whether to show it at all.
    options
        Others of tqdm's.

    Examples
    --------
    >>> with progress_bar("steps", shown=False, total=3) as bar:
    ...     _ = bar.update(3)
    """
    return tqdm(desc=title, disable=not shown, leave=_in_a_log(), **options)


def _in_a_log() -> bool:
    """Whether standard error is neither a terminal nor a notebook: what follows a bar would stand on its line."""
    return not sys.stderr.isatty() and "ipykernel" not in sys.modules
