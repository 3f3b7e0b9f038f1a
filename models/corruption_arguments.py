"""Arguments of one corruption in a short text: ``name:value,option=value,...``."""

from __future__ import annotations

import re
from typing import Any

from neuropyro.models.corruption_operator import CorruptionError

__all__ = ["Arguments"]

EXAMPLES = {"superres": "4", "inpaint": "mask.png", "blur": "2", "motion": "9", "kspace": "4", "noise": ".02"}
FLAGS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


class Arguments:
    """The name, the value and the options of ``name:value,option=value,...``.

    Each method reads the option of the given name (None: the value) and takes a default; without one it is needed.

    Raises
    ------
    CorruptionError
        Where something is missing, given twice, or not of the kind that is read.

    Examples
    --------
    >>> given = Arguments("kspace:4,centre=.08")
    >>> given.name, given.number(None), given.number("centre", 0.1), given.whole("seed", 0)
    ('kspace', 4.0, 0.08, 0)
    """

    def __init__(self, part: str) -> None:
        name, _, rest = part.partition(":")
        self.name = name.strip()
        self.given: dict[str | None, str] = {}
        self.asked: set[str | None] = set()
        for item in re.split(r",(?=\s*\w+\s*=)", rest) if rest.strip() else []:
            option, equals, value = item.partition("=")
            named = bool(equals) and option.strip().isidentifier()
            key = option.strip() if named else None
            if key in self.given:
                raise CorruptionError(f"{self.named(key)} is given twice")
            self.given[key] = (value if named else item).strip()

    def named(self, option: str | None) -> str:
        """How errors call it."""
        return f"{self.name}'s value" if option is None else f"{self.name}'s {option}"

    def word(self, option: str | None, default: str | None = None) -> str:
        """Read it as it stands."""
        self.asked.add(option)
        if not self.given.get(option) and default is None:
            raise CorruptionError(
                f"{self.named(option)} is missing, as in '{self.name}:{EXAMPLES.get(self.name, '...')}'"
            )
        return self.given.get(option) or str(default)

    def number(self, option: str | None, default: float | None = None) -> float:
        """Read a number."""
        word = self.word(option, None if default is None else repr(default))
        try:
            return float(word)
        except ValueError:
            raise CorruptionError(
                f"{self.named(option)} must be a number, got {word!r}{_named_options(word)}"
            ) from None

    def whole(self, option: str | None, default: int | None = None) -> int:
        """Read a whole number."""
        word = self.word(option, None if default is None else repr(default))
        if not re.fullmatch(r"[+-]?\d+", word):
            raise CorruptionError(f"{self.named(option)} must be a whole number, got {word!r}{_named_options(word)}")
        return int(word)

    def flag(self, option: str, default: bool) -> bool:
        """Read yes or no."""
        word = self.word(option, "yes" if default else "no").lower()
        if word not in FLAGS:
            raise CorruptionError(f"{self.named(option)} must be yes or no, got {word!r}")
        return FLAGS[word]

    def size(self, option: str) -> tuple[int, int] | None:
        """Read height x width; None where it is not given."""
        self.asked.add(option)
        if option not in self.given:
            return None
        match = re.fullmatch(r"(\d+)x(\d+)", self.word(option))
        if match is None:
            raise CorruptionError(
                f"{self.named(option)} must be a height and a width like 64x64, got {self.word(option)!r}"
            )
        return int(match[1]), int(match[2])

    def window(self, option: str) -> tuple[float, float, float, float] | None:
        """Read top x left x height x width; None where it is not given."""
        self.asked.add(option)
        if option not in self.given:
            return None
        try:
            top, left, height, width = (float(part) for part in self.word(option).split("x"))
        except ValueError:
            raise CorruptionError(
                f"{self.named(option)} must be top, left, height and width like 8x0x48x64, got {self.word(option)!r}"
            ) from None
        return top, left, height, width

    def like(self, option: str, default: Any) -> Any:
        """Read what is of the kind that ``default`` is: a whole number, a number or a word."""
        read = {int: self.whole, float: self.number}.get(type(default), self.word)
        return read(option, default)

    def require_all_used(self) -> None:
        """Raise where something was given that nobody asked for."""
        unknown = [self.named(option) for option in self.given if option not in self.asked]
        if unknown:
            known = ", ".join(sorted(option for option in self.asked if option)) or "none"
            raise CorruptionError(f"{' and '.join(unknown)} has no meaning; options are: {known}")


def _named_options(word: str) -> str:
    """Say what to do where a value has an option without a name behind it."""
    return "; write an option with its name, as superres:4,kernel=area" if "," in word else ""
