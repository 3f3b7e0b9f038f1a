"""What is random in a phantom: a stream of standard normals for each slice, whose first ones mean its covariates."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from neuropyro.data.phantom_recipe import (
    COVARIATES,
    FIELD_CONTROLS,
    LOGARITHMIC,
    POSITIVE,
    RELIEF_CONTROLS,
    SPLITS,
    Split,
)

FACTORS: dict[str, tuple[int, ...]] = {
    "covariates": (len(COVARIATES),),
    "pose": (5,),
    "bias": (5, 5),
    "patches": (8, 8),
    **{f"warp{n}": (2, n + 2, n + 2) for n in FIELD_CONTROLS},
    **{f"relief{n}": (1, n + 2, n + 2) for n in RELIEF_CONTROLS},
}
"""Name and shape of the random numbers of a slice, those of its noise left out."""


def draw_factors(seed: int, split: Split, indices: Sequence[int], resolution: int) -> dict[str, Tensor]:
    """Draw each slice's normals from a stream of its own: (B, *shape) by name, and noise of a slice's resolution."""
    shapes = FACTORS | {"noise": (resolution, resolution)}
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    streams = [np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split), index)) for index in indices]
    rows = [np.random.default_rng(stream).standard_normal(count, np.float32) for stream in streams]
    return name_factors(torch.from_numpy(np.stack(rows)), shapes)


def name_factors(normals: Tensor, shapes: Mapping[str, tuple[int, ...]] = FACTORS) -> dict[str, Tensor]:
    """Cut normals (B, factors) into those of each name, (B, *shape)."""
    parts = torch.split(normals, [int(np.prod(shape)) for shape in shapes.values()], dim=1)
    return {name: part.reshape(-1, *shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def covariates_of(
    normals: Tensor, ranges: Mapping[str, tuple[float, float]], given: Mapping[str, float | Tensor] | None = None
) -> dict[str, Tensor]:
    """Map normals to covariates, uniform over their ranges, dilation in its logarithm.

    Parameters
    ----------
    normals
        (B, covariates), in the order of :data:`~neuropyro.data.phantom_recipe.COVARIATES`.
    ranges
        Of each.
    given
        Values that take the place of a slice's own, one or (B,).

    Returns
    -------
    dict
        Name to values (B,).

    Raises
    ------
    ValueError
        A name in ``given`` is no covariate, or a value none that it can have.
    """
    given = given or {}
    if unknown := set(given) - set(COVARIATES):
        raise ValueError(f"no covariate {', '.join(sorted(unknown))}: phantoms have {', '.join(COVARIATES)}")
    quantiles = dict(zip(COVARIATES, torch.special.ndtr(normals).T, strict=True))
    own = {name: at_quantile(name, quantile, *ranges[name]) for name, quantile in quantiles.items()}
    return own | {name: _checked(name, value, own[name]) for name, value in given.items()}


def at_quantile(name: str, quantile: Tensor, low: float, high: float) -> Tensor:
    """Return the values of a covariate below which such shares of all phantoms lie."""
    if name in LOGARITHMIC:
        return low * (high / low) ** quantile
    return low + (high - low) * quantile


def quantile_of(name: str, value: float, low: float, high: float) -> float:
    """Return the share of all phantoms that have less of a covariate: the inverse of :func:`at_quantile`."""
    if name in LOGARITHMIC:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _checked(name: str, given: float | Tensor, own: Tensor) -> Tensor:
    value = torch.as_tensor(given, dtype=own.dtype, device=own.device)
    if not bool(value.isfinite().all()) or (name in POSITIVE and bool((value <= 0).any())):
        raise ValueError(f"{name} must be finite{' and positive' if name in POSITIVE else ''}, not {value}")
    return value.expand_as(own)
