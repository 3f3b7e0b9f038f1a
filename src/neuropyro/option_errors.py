"""What is wrong with a command line, in one line: the option, what was given, and what is expected."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from cyclopts import (
    App,
    ArgumentCollection,
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    Token,
    UnusedCliTokensError,
)

from neuropyro.option_lists import element_of

__all__ = ["refuse_fractions", "refuse_too_small", "told"]

EXPECTED: dict[Any, tuple[str, str]] = {
    int: ("a whole number", "3"),
    int | None: ("a whole number", "3"),
    float: ("a number", "0.5"),
    Path: ("a file or folder", "PATH"),
}
"""What a type is called, and an example of it."""

SEVERAL = {int: "3,4", float: "0.5,1"}
"""An example of several."""

COUNTS = ("max-steps", "restarts", "subjects", "visits", "shard", "latent", "channel-base", "channel-max")
LEAST = {"--seed": 0} | {f"--{name}": 1 for name in COUNTS}
"""The least that a number may be which every command that has it hands on to others, whose errors know no option."""


def told(error: CycloptsError) -> str:
    """Return an error of a command line as one line that says what to do.

    Examples
    --------
    >>> told(CycloptsError(msg="Unknown option: --foo."))
    'Unknown option: --foo.'
    """
    if isinstance(error, CoercionError):
        said = _of_another_type(error)
    elif isinstance(error, MissingArgumentError):
        said = _missing(error)
    elif isinstance(error, UnusedCliTokensError):
        said = _left_over(error)
    else:
        said = None
    return said or " ".join(str(error).split())


def refuse_fractions(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse 2.5 where a whole number is asked for, which would be rounded; a configuration of cyclopts.

    Raises
    ------
    CoercionError
        For the first such option.

    Examples
    --------
    >>> app = App(config=(refuse_fractions,))
    >>> @app.default
    ... def simulate(*, visits: int = 4) -> None: ...
    >>> try:
    ...     app("--visits 2.5", exit_on_error=False, print_error=False)
    ... except CoercionError as error:
    ...     print(told(error))
    --visits: '2.5' is not a whole number; give one, as --visits 4
    """
    for argument in arguments:
        kinds = (argument.hint, element_of(argument.hint))
        for token in argument.tokens if int in kinds or int | None in kinds else ():
            if _is_fraction(token.value):
                raise CoercionError(token=token, argument=argument, target_type=int)


def refuse_too_small(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Refuse a seed below 0, and counts that are no count; a configuration of cyclopts.

    Raises
    ------
    CycloptsError
        For the first such option.

    Examples
    --------
    >>> app = App(config=(refuse_too_small,))
    >>> @app.default
    ... def simulate(*, seed: int = 0) -> None: ...
    >>> try:
    ...     app("--seed -1", exit_on_error=False, print_error=False)
    ... except CycloptsError as error:
    ...     print(told(error))
    --seed: -1 is too small; give 0 or more
    """
    for argument in arguments:
        name, least = str(argument.name), LEAST.get(str(argument.name), -math.inf)
        for token in argument.tokens:
            if _is_below(token.value, least):
                named = f"{token.source}: {name.lstrip('-')}" if _is_of_a_file(token) else name
                raise CycloptsError(msg=f"{named}: {token.value} is too small; give {least} or more")


def _is_below(given: str, least: float) -> bool:
    try:
        return float(given) < least
    except ValueError:
        return False  # no number at all, of which cyclopts says so


def _is_of_a_file(token: Token) -> bool:
    return token.source not in ("", "cli")


def _is_fraction(given: str) -> bool:
    try:
        return not float(given).is_integer()
    except ValueError:
        return False  # no number at all, of which cyclopts says so


def _of_another_type(error: CoercionError) -> str | None:
    """Say what was given and what is expected; None where the type is none of ours."""
    if error.token is None or error.argument is None:
        return None
    if _is_of_a_file(error.token) and error.target_type in (bool, *EXPECTED):
        return _of_a_file(error.token, error)
    given, name = error.token.value, error.token.keyword or _place(error)
    if error.target_type is bool:
        return f"{name}: {given!r} is not true or false; {name} alone is true, --no-{name.lstrip('-')} false"
    if error.target_type not in EXPECTED:
        return None
    several = SEVERAL.get(element_of(error.argument.hint))
    some = f"one, as {name} {_example(error)}" if several is None else f"one or several, as {name} {several}"
    return f"{name}: {given!r} is not {EXPECTED[error.target_type][0]}; give {some}"


def _of_a_file(token: Token, error: CoercionError) -> str:
    """Say so of an option that a file gives."""
    assert error.argument is not None
    name = str(error.argument.name).lstrip("-")
    kind = "true or false" if error.target_type is bool else EXPECTED[error.target_type][0]
    example = "true" if error.target_type is bool else _example(error)
    return f"{token.source}: {name}: {token.value!r} is not {kind}; write it as {name} = {example}"


def _missing(error: MissingArgumentError) -> str | None:
    """Say that an option has no value, or that it or a place on the command line is not there."""
    if error.argument is None:
        return None
    if error.keyword is None and not error.argument.tokens:
        return f"{_command(error)}: {_place(error)} is needed; {_help(error)}"
    name, words = str(error.keyword or error.argument.name), list(error.root_input_tokens or ())
    given = words[words.index(name) + 1] if name in words[:-1] else ""
    if _is_dashed_value(given):
        return f"{name}: {given!r} begins with a dash, as options do; write {name}={given}"
    several = element_of(error.argument.hint)
    if several in SEVERAL:
        return f"{name}: no value; give one or several, as {name} {SEVERAL[several]}"
    if error.argument.hint not in EXPECTED:
        return None
    return f"{name}: no value; give {EXPECTED[error.argument.hint][0]}, as {name} {_example(error)}"


def _is_dashed_value(given: str) -> bool:
    """Whether a word is no option, but a number below zero, or several."""
    return given[:1] == "-" and (given[1:2].isdigit() or given[1:2] == ".")


def _left_over(error: UnusedCliTokensError) -> str | None:
    left, words = (error.unused_tokens or [""])[0], error.root_input_tokens or []
    before = words[words.index(left) - 1] if left in words[1:] else ""
    if before.startswith("--"):
        return f"{before} takes no value; leave out {left!r}"
    return f"{_command(error)}: {left!r} is one word too many; {_help(error)}"


def _example(error: CoercionError | MissingArgumentError) -> str:
    """Return the option's own default where that is a number, else any value of its type."""
    assert error.argument is not None
    default = error.argument.field_info.default
    kind = error.target_type if isinstance(error, CoercionError) else error.argument.hint
    return f"{default:g}" if isinstance(default, int | float) else EXPECTED[kind][1]


def _place(error: CycloptsError) -> str:
    """Return the name of an option, or that of a place on the command line in capitals, as the help has it."""
    assert error.argument is not None
    name = str(error.argument.name)
    return name.lstrip("-").upper() if error.argument.field_info.is_positional else name


def _command(error: CycloptsError) -> str:
    return " ".join(error.command_chain or ("neuropyro",))


def _help(error: CycloptsError) -> str:
    return f"see {' '.join(('neuropyro', *(error.command_chain or ()), '--help'))}"
