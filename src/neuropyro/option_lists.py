"""Options that take several values, which may be given one an option, or several with commas, or both."""

from __future__ import annotations

from typing import Any, get_args, get_origin

from cyclopts import App, ArgumentCollection, Token

from neuropyro.console import listed

__all__ = ["element_of", "split_lists"]


def element_of(hint: Any) -> Any:
    """Return the type of one value of an option that takes several, which is a ``tuple[TYPE, ...]``; else None.

    Examples
    --------
    >>> element_of(tuple[float, ...]), element_of(float)
    (<class 'float'>, None)
    """
    several = get_origin(hint) is tuple and get_args(hint)[1:] == (...,)
    return get_args(hint)[0] if several else None


def split_lists(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Part what was given with commas, where an option takes several words or numbers; a configuration of cyclopts.

    Files are left alone, for their names may have commas, and so are places on the command line; what is a ``list`` is
    left alone as well, since its words have commas of their own.

    Examples
    --------
    >>> app = App(config=(split_lists,))
    >>> @app.default
    ... def forecast(*, years: tuple[float, ...] = (1.0,)) -> None:
    ...     print(years)
    >>> app("--years 1,2 --years 5", result_action="return_value")
    (1.0, 2.0, 5.0)
    """
    for argument in arguments:
        if element_of(argument.hint) in (str, int, float) and not argument.field_info.is_positional:
            parts = [part for token in argument.tokens for part in _parts(token)]
            argument.tokens[:] = [part.evolve(index=i) for i, part in enumerate(parts)]


def _parts(token: Token) -> list[Token]:
    """Return a value's parts; a value without any, a lone comma, stays, and is refused as what it is."""
    return [token.evolve(value=value) for value in listed([token.value])] or [token]
