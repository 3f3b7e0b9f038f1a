"""Corruptions from short texts, such as a command line's.

===========================================  =========================================================================
text                                         corruption
===========================================  =========================================================================
``identity``                                 none
``superres:8``                               ``Downsample(8)``, bicubic; ``kernel=area`` (means of blocks),
                                             ``antialias=no``, ``size=64x64``, ``window=8x0x48x64`` (top, left,
                                             height and width, px, of the part of that size that was seen)
``inpaint:mask.png``                         ``Mask("mask.png")``: black (.png, .npy, ...) is the hole
``inpaint:rectangle,height=.25,width=.5``    ``Mask(Rectangle(.25, .5))``; likewise ``ellipse``, ``half,side=top``,
                                             ``stripes,count=4``, ``pixels,fraction=.5``, ``freeform,seed=1``
``blur:2``                                   ``Blur(2.0)``, a Gaussian's sd, px; ``blur:kernel.npy`` is any kernel
``motion:9,angle=30``                        ``Blur.motion(9, 30)``
``kspace:4,centre=.08``                      ``Undersample(4, .08)``; ``density=variable`` or ``equispaced``,
                                             ``pattern=points``, ``seed=1``, ``coils=8``, ``phase=0`` (radians),
                                             ``phase_seed=1``
``intensity:gamma=1.5,bias=.3,seed=1``       ``Intensity(BiasField(.3, 1), 1.5)``
``noise:.05``                                sd of the measurement noise where brightness is -1 to 1, so 2 at most;
                                             last; without it a model learns it
``blur:2+superres:4+noise:.05``              one after another
===========================================  =========================================================================
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from neuropyro.models.corruption_arguments import Arguments
from neuropyro.models.corruption_blur import Blur
from neuropyro.models.corruption_coils import SmoothPhase
from neuropyro.models.corruption_composition import Compose, Identity
from neuropyro.models.corruption_intensity import BiasField, Intensity
from neuropyro.models.corruption_kspace import Undersample
from neuropyro.models.corruption_kspace_patterns import Lines, Points
from neuropyro.models.corruption_mask_shapes import SHAPES
from neuropyro.models.corruption_masks import Mask
from neuropyro.models.corruption_operator import Corruption, CorruptionError
from neuropyro.models.corruption_resampling import Downsample

__all__ = ["parse_corruption"]


def _identity(given: Arguments, noise: float | None) -> Corruption:
    """``identity``."""
    return Identity(noise)


def _superres(given: Arguments, noise: float | None) -> Corruption:
    """``superres:FACTOR``."""
    kernel: Any = given.word("kernel", "bicubic")
    size, window = given.size("size"), given.window("window")
    return Downsample(given.number(None), kernel, given.flag("antialias", True), size, noise, window)


def _inpaint(given: Arguments, noise: float | None) -> Corruption:
    """``inpaint:FILE`` or ``inpaint:SHAPE``."""
    name = given.word(None)
    if name not in SHAPES:
        if not Path(name).suffix:
            shapes = ", ".join(SHAPES)
            raise CorruptionError(
                f"there is no shape {name!r}; give a file, or one of {shapes} (black is a file's hole)"
            )
        return Mask(name, noise)
    fields = {field.name: field.default for field in dataclasses.fields(SHAPES[name])}
    return Mask(SHAPES[name](**{field: given.like(field, default) for field, default in fields.items()}), noise)


def _blur(given: Arguments, noise: float | None) -> Corruption:
    """``blur:SD`` or ``blur:FILE.npy``."""
    if given.word(None).endswith(".npy"):
        return Blur.from_file(given.word(None), noise)
    return Blur(given.number(None), noise)


def _motion(given: Arguments, noise: float | None) -> Corruption:
    """``motion:LENGTH``."""
    return Blur.motion(given.number(None), given.number("angle", 0.0), noise)


def _kspace(given: Arguments, noise: float | None) -> Corruption:
    """``kspace:ACCELERATION``."""
    acceleration, centre, seed = (
        given.number(None),
        given.number("centre", Lines.centre),
        given.whole("seed", Lines.seed),
    )
    pattern = given.word("pattern", "lines")
    if pattern not in ("lines", "points"):
        raise CorruptionError(f"pattern must be lines or points, got {pattern!r}")
    density: Any = given.word("density", Lines.density) if pattern == "lines" else None
    made = Lines(acceleration, centre, density, seed) if density else Points(acceleration, centre, seed)
    phase = SmoothPhase(given.number("phase", SmoothPhase.strength), given.whole("phase_seed", SmoothPhase.seed))
    coils = given.whole("coils", 0)
    return Undersample(made, phase=phase if phase.strength else None, coils=coils or None, noise=noise)


def _intensity(given: Arguments, noise: float | None) -> Corruption:
    """``intensity:gamma=POWER,bias=STRENGTH``."""
    strength, seed = given.number("bias", 0.0), given.whole("seed", 0)
    return Intensity(BiasField(strength, seed) if strength else None, given.number("gamma", 1.0), noise)


FORMS: dict[str, Callable[[Arguments, float | None], Corruption]] = {
    "identity": _identity,
    "superres": _superres,
    "inpaint": _inpaint,
    "blur": _blur,
    "motion": _motion,
    "kspace": _kspace,
    "intensity": _intensity,
}
NOISE, WHOLE_RANGE, GREY_LEVELS = "noise", 2.0, 255
PLUS = re.compile(rf"\+(?=\s*(?:{'|'.join((*FORMS, NOISE))})\s*(?:[:+]|$))")  # a file's name may hold a plus of its own


def parse_corruption(text: str) -> Corruption:
    """Make the corruption that ``text`` describes (see the table above); no image is read but a mask's.

    Raises
    ------
    CorruptionError
        Where a name, an option or a number is not understood; the message names it and lists what would be.

    Examples
    --------
    >>> parse_corruption("blur:2+superres:4+noise:.05").text
    'blur:2+superres:4+noise:0.05'
    """
    parts = PLUS.split(text.strip())
    try:
        noise = _noise_of(parts.pop()) if _name_of(parts[-1]) == NOISE else None
        if NOISE in map(_name_of, parts):
            raise CorruptionError("noise must come last, since later corruptions would colour it")
        if len(parts) <= 1:
            return _made_from(parts[0] if parts else "identity", noise)
        return Compose(*(_made_from(part, None) for part in parts), noise=noise)
    except CorruptionError as error:
        raise CorruptionError(f"corruption {text!r}: {error}") from error


def _name_of(part: str) -> str:
    """Return what stands before the colon."""
    return part.partition(":")[0].strip()


def _noise_of(part: str) -> float:
    """Return the sd; one of more than the whole range of brightness is an sd of grey levels."""
    noise = Arguments(part).number(None)
    if noise > WHOLE_RANGE:
        levels = f"{noise * WHOLE_RANGE / GREY_LEVELS:.3f}".lstrip("0")
        raise CorruptionError(
            f"noise is an sd where brightness is -1 to 1, so {WHOLE_RANGE:g} at most, got {noise:g}; "
            f"if grey levels of {GREY_LEVELS} are meant, give noise:{levels}"
        )
    return noise


def _made_from(part: str, noise: float | None) -> Corruption:
    """Make the one corruption that ``part`` describes."""
    given = Arguments(part)
    if given.name not in FORMS:
        raise CorruptionError(f"there is no {given.name!r}; known are {', '.join((*FORMS, NOISE))}")
    corruption = FORMS[given.name](given, noise)
    given.require_all_used()
    return corruption
