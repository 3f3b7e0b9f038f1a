"""How commands speak: results on standard output, as text or as one JSON object; all else on standard error.

A command says its result by :func:`say`, text for people and facts for programs.  Progress and remarks go to standard
error and are left out by ``--quiet``; what went wrong goes there by :func:`complain`, and stays.  What is to be taken
seriously, though nothing went wrong, is said by :func:`warn`, and is never lost.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from neuropyro.data.missing_maps import MissingMapsWarning

__all__ = ["Manners", "complain", "listed", "plain", "say", "speaking", "take_manners", "warn"]

SWITCHES = {"--json": "json", "--quiet": "quiet", "-q": "quiet"}


@dataclass(frozen=True)
class Manners:
    """What a user asked of every command alike.

    Parameters
    ----------
    json
        Whether the result is one JSON object.
    quiet
        Whether standard error has errors alone.
    config
        A TOML file of options.

    Examples
    --------
    >>> asked, rest = take_manners(["--json", "compare", "fit-map", "fit-normal", "-q"])
    >>> asked == Manners(json=True, quiet=True), rest
    (True, ['compare', 'fit-map', 'fit-normal'])
    """

    json: bool = False
    quiet: bool = False
    config: Path | None = None


def take_manners(words: Sequence[str]) -> tuple[Manners, list[str]]:
    """Return what is asked of every command alike, and the rest of a command line; what follows ``--`` is left alone.

    Raises
    ------
    ValueError
        Where ``--config`` names no file.

    Examples
    --------
    >>> take_manners(["dive", "fit", "cohort.npz", "--quiet"])
    (Manners(json=False, quiet=True, config=None), ['dive', 'fit', 'cohort.npz'])
    """
    asked: dict[str, Any] = {}
    rest: list[str] = []
    left = iter(words)
    for word in left:
        if word == "--":
            rest += [word, *left]
        elif word in SWITCHES:
            asked[SWITCHES[word]] = True
        elif word == "--config" or word.startswith("--config="):
            name = word.partition("=")[2] or next(left, "")
            if not name:
                raise ValueError("--config: no file; name a TOML file, as --config study.toml")
            asked["config"] = Path(name)
        else:
            rest.append(word)
    return Manners(**asked), rest


@dataclass
class _Speech:
    manners: Manners
    out: TextIO
    errors: TextIO
    facts: dict[str, Any] = field(default_factory=dict)


_speech: ContextVar[_Speech | None] = ContextVar("speech", default=None)


@contextlib.contextmanager
def speaking(manners: Manners) -> Iterator[None]:
    """Let a command speak so; its JSON object is written at the end, whatever the end is.

    What is warned of while files are read is said as all else is, by :func:`warn`.

    Examples
    --------
    >>> with speaking(Manners(json=True)):
    ...     say("3 clusters", clusters=3)
    ...     say("report: fit/report.html", report=Path("fit/report.html"))
    {
      "clusters": 3,
      "report": "fit/report.html"
    }
    """
    speech = _Speech(manners, sys.stdout, sys.stderr)
    token = _speech.set(speech)
    with contextlib.ExitStack() as stack:
        if manners.quiet:
            stack.enter_context(contextlib.redirect_stderr(stack.enter_context(Path(os.devnull).open("w"))))
        if manners.json:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        stack.enter_context(_warnings_said())
        stack.enter_context(_fonts_unsaid())
        try:
            yield
        finally:
            _speech.reset(token)
            if manners.json and speech.facts:
                print(json.dumps(plain(speech.facts), indent=2, allow_nan=False), file=speech.out)


@contextlib.contextmanager
def _warnings_said() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("always", MissingMapsWarning)
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, MissingMapsWarning):
                warn(f"warning: {message}")
            else:
                shown(message, category, *where, **more)

        warnings.showwarning = show
        yield


@contextlib.contextmanager
def _fonts_unsaid() -> Iterator[None]:
    """Leave out which fonts of formulas were not found.

    Matplotlib looks all of them up for the ticks of a logarithmic axis, and logs each that its list of fonts lacks (as
    a list does that was made while it was being installed), though figures need none of them.
    """
    log = logging.getLogger("matplotlib.font_manager")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def say(text: str, **facts: Any) -> None:
    """Say a part of the result: text, and the same as facts by name, for JSON.

    Examples
    --------
    >>> say("3 clusters", clusters=3)
    3 clusters
    >>> with speaking(Manners(json=True)):
    ...     say("3 clusters", clusters=3)
    {
      "clusters": 3
    }
    """
    speech = _speech.get()
    if speech is not None:
        speech.facts.update(facts)
    if text and (speech is None or not speech.manners.json):
        print(text)


def complain(text: str) -> None:
    """Say what went wrong, on standard error even where quiet was asked for.

    Examples
    --------
    >>> with contextlib.redirect_stderr(sys.stdout), speaking(Manners(quiet=True)):
    ...     print("fold 1 of 5", file=sys.stderr)  # left out
    ...     complain("visits.csv: no such file")
    neuropyro: visits.csv: no such file
    """
    speech = _speech.get()
    print(f"neuropyro: {text}", file=sys.stderr if speech is None else speech.errors)


def warn(text: str) -> None:
    """Say what is to be taken seriously: on standard error; where that is to have errors alone, with the result.

    Examples
    --------
    >>> with speaking(Manners(quiet=True)):  # with the result, for standard error is to have errors alone
    ...     warn("the fit has not converged")
    the fit has not converged
    """
    speech = _speech.get()
    if speech is not None:
        speech.facts.setdefault("warnings", []).append(text)
    if speech is None or not speech.manners.quiet:
        complain(text)
    else:
        say(text)


def listed(words: Sequence[str]) -> tuple[str, ...]:
    """Return names that were given one an option, or several with commas.

    Examples
    --------
    >>> listed(["age,sex", "icv"])
    ('age', 'sex', 'icv')
    """
    return tuple(name.strip() for word in words for name in word.split(",") if name.strip())


def plain(value: Any) -> Any:
    """Return a value as JSON has it: arrays as lists, paths as text, what is not finite as null.

    Examples
    --------
    >>> plain({"a": np.array([1.0, np.nan]), "b": Path("x")})
    {'a': [1.0, None], 'b': 'x'}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
