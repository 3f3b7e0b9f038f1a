"""Options in a TOML file, whose tables are named as the commands are."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cyclopts import App
from cyclopts.config import Toml

from neuropyro.data.unknown_names import there_are

__all__ = ["options_of"]


def options_of(path: Path, app: App) -> Toml:
    r"""Return a file's options: ``[dive.fit]`` with ``clusters = 4``; a command line goes before it.

    Raises
    ------
    ValueError
        Where there is no such file, it is no TOML, or it has a table that is no command or a name that is no option.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.cli import app
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = Path(folder) / "study.toml"
    ...     _ = study.write_text("[dive.fit]\nclusterz = 4")
    ...     options_of(study, app)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: ...study.toml: [dive.fit] has no option clusterz; there are ...; did you mean clusters?
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; --config names a TOML file of options")
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not TOML ({error}); write it as [dive.fit] and clusters = 4") from error
    for said in _wrong(given, app, ()):
        raise ValueError(f"{path}: {said}")
    return Toml(path, must_exist=True)


def _wrong(given: Mapping[str, Any], app: App, chain: tuple[str, ...]) -> Iterator[str]:
    """Say what no command can take, table by table."""
    commands = [name for name in app if not name.startswith("-")]
    options = [] if commands else _options(app)
    for name, value in given.items():
        if name in commands and isinstance(value, dict):
            yield from _wrong(value, app[name], (*chain, name))
        elif not commands and name.replace("_", "-") not in options:
            yield f"[{'.'.join(chain)}] has no option {name}; {there_are(name, options)}"
        elif commands and isinstance(value, dict):
            yield f"[{'.'.join((*chain, name))}] is no command; {there_are(name, commands)}"
        elif commands:
            yield f"{name} is in no command's table; write [dive.fit], or another command, above it"


def _options(app: App) -> list[str]:
    """Return names of a command's options and places, without dashes; what switches one off is its own false."""
    names = [name.lstrip("-") for argument in app.assemble_argument_collection() for name in argument.names]
    return [name for name in names if not name.startswith("no-")]
