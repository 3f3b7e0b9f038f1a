"""Options of corruptions as they stand in short texts: ``,name=value`` for each field that is not at its default."""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["number_text", "options_text"]


def number_text(value: float) -> str:
    """Write ``value`` as short as it can be read back.

    Examples
    --------
    >>> number_text(2.0), number_text(1 / 3)
    ('2', '0.3333333333333333')
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def options_text(settings: Any, leave_out: str = "") -> str:
    """``,name=value`` for each field of a dataclass that differs from its default, but for ``leave_out``.

    Examples
    --------
    >>> from neuropyro.models.corruption_mask_shapes import Rectangle
    >>> options_text(Rectangle(height=0.25))
    ',height=0.25'
    """
    fields = [(f.name, getattr(settings, f.name), f.default) for f in dataclasses.fields(settings)]
    return "".join(
        f",{name}={number_text(value) if isinstance(value, int | float) else value}"
        for name, value, default in fields
        if value != default and name != leave_out
    )
