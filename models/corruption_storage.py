"""A corruption as plain settings and tensors, and back, so that a fit can be saved with what it needs.

Unlike a short text this tells arrays too, and what files held when they were read.  Only the names below are looked up,
and nothing is executed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

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

__all__ = ["corruption_from_settings", "corruption_settings"]

CORRUPTIONS = {kind.__name__: kind for kind in (Blur, Compose, Downsample, Identity, Intensity, Mask, Undersample)}
PARTS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (BiasField, Lines, Points, SmoothPhase, *SHAPES.values())
}
Settings = dict[str, Any]


def corruption_settings(corruption: Corruption) -> tuple[Settings, dict[str, Tensor]]:
    """Describe it by settings of plain numbers, words and lists, and the tensors that they name; none is complex.

    Raises
    ------
    CorruptionError
        Where it holds a function, or a deepinv ``Physics``, which cannot be written down.

    Examples
    --------
    >>> from neuropyro.models.corruption import Mask
    >>> settings, tensors = corruption_settings(Mask(torch.eye(8)))
    >>> [tuple(tensor.shape) for tensor in tensors.values()]
    [(1, 1, 8, 8)]
    """
    tensors: dict[str, Tensor] = {}
    return _plain(corruption, tensors), tensors


def corruption_from_settings(settings: Settings, tensors: Mapping[str, Tensor]) -> Corruption:
    """Make the corruption that :func:`corruption_settings` described.

    Raises
    ------
    CorruptionError
        Where the settings name something else than a corruption, or a tensor that is not there.

    Examples
    --------
    >>> from neuropyro.models.corruption import Downsample
    >>> corruption_from_settings(*corruption_settings(Downsample(4, noise=0.1))).text
    'superres:4+noise:0.1'
    """
    made = _rebuilt(settings, tensors)
    if not isinstance(made, Corruption):
        raise CorruptionError("corruption: the settings are not those of a corruption; save it again")
    return made


def _plain(value: Any, tensors: dict[str, Tensor]) -> Any:
    """``value`` without objects; its tensors go into ``tensors``."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, tensors) for item in value]
    if isinstance(value, Tensor):
        name = f"tensor{len(tensors)}"
        pairs = torch.view_as_real(value) if value.is_complex() else value
        tensors[name] = pairs.detach().cpu().contiguous().clone()
        return {"tensor": name, "complex": value.is_complex()}
    kind = type(value).__name__
    if CORRUPTIONS.get(kind) is type(value):
        return {"corruption": kind, "arguments": {k: _plain(v, tensors) for k, v in value.arguments().items()}}
    if PARTS.get(kind) is type(value):
        return {"part": kind, "arguments": {f.name: getattr(value, f.name) for f in dataclasses.fields(PARTS[kind])}}
    raise CorruptionError(f"corruption: a {kind} cannot be saved; use arrays, or one of {', '.join(PARTS)}")


def _rebuilt(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Inverse of :func:`_plain`."""
    if isinstance(value, list):
        return [_rebuilt(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        if value["tensor"] not in tensors:
            raise CorruptionError(f"corruption: {value['tensor']} is missing from the saved tensors; save it again")
        tensor = tensors[value["tensor"]]
        return torch.view_as_complex(tensor) if value["complex"] else tensor
    known = {**CORRUPTIONS, **PARTS}
    kind = value.get("corruption", value.get("part"))
    if kind not in known:
        raise CorruptionError(f"corruption: {kind!r} is not known; it was saved by another version, or damaged")
    arguments = {name: _rebuilt(item, tensors) for name, item in value["arguments"].items()}
    if arguments.get("image_size") is not None:
        arguments["image_size"] = tuple(arguments["image_size"])
    if arguments.get("window") is not None:
        arguments["window"] = tuple(arguments["window"])
    return known[kind](*arguments.pop("parts", ()), **arguments)
