"""Bars on standard error, which vanish on a screen and end their line in a log.

Work that takes long deep inside of what a runner calls (starting values, a curvature) shows none of its own: it tells
of its steps, and whoever called may watch.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from tqdm.auto import tqdm

__all__ = ["progress_bar", "tell", "told", "watching"]

Step = TypeVar("Step")
CLOCK = "{desc}: {elapsed}"
COUNT, LIMIT = "{desc}: {n_fmt} of {total_fmt} [{elapsed}]", "{desc}: {n_fmt} of at most {total_fmt} [{elapsed}]"
_WATCHER: ContextVar[tuple[Any, str] | None] = ContextVar("watcher", default=None)  # a bar, and what it shows


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


@contextmanager
def watching(title: str, shown: bool = True, at_most: bool = False) -> Iterator[None]:
    """Show how many steps are done of what tells of them; a clock until it does.

    Parameters
    ----------
    title
        What is being done.
    shown
        Whether to show it at all.
    at_most
        Whether there may be fewer steps than are told.

    Examples
    --------
    >>> from contextlib import redirect_stderr
    >>> from io import StringIO
    >>> with redirect_stderr(StringIO()) as shown, watching("curvature"):
    ...     squares = [row**2 for row in told([1, 2, 3])]
    >>> shown.getvalue().splitlines()[-1].strip()
    'curvature: 3 of 3 [00:00]'
    """
    with progress_bar(title, shown, bar_format=CLOCK) as bar:
        token = _WATCHER.set((bar, LIMIT if at_most else COUNT) if shown else None)
        try:
            yield
        finally:
            _WATCHER.reset(token)


def tell(done: int, steps: int) -> None:
    """Tell whoever watches, if anybody does, how many steps are done of how many.

    Examples
    --------
    >>> tell(2, 3)  # to nobody
    """
    watcher = _WATCHER.get()
    if watcher is not None:
        bar, shown = watcher
        bar.bar_format, bar.total, bar.n = shown, steps, done
        now = time.time()
        if done == steps or now - bar.last_print_t >= bar.mininterval:  # as tqdm's own: in a log a line each time
            bar.refresh()
            bar.last_print_t = now


def told(steps: Sequence[Step]) -> Iterator[Step]:
    """Return steps one after the other, and tell of each when it is done.

    Examples
    --------
    >>> list(told("ab"))
    ['a', 'b']
    """
    tell(0, len(steps))
    for done, step in enumerate(steps, 1):
        yield step
        tell(done, len(steps))


def _in_a_log() -> bool:
    """Whether standard error is neither a terminal nor a notebook: what follows a bar would stand on its line."""
    return not sys.stderr.isatty() and "ipykernel" not in sys.modules
