"""What is random in a phantom: a stream of standard normals for each slice, whose first ones mean its covariates."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from neuropyro.data.phantom_recipe import (
    COVARIATES,
    FIELD_CONTROLS,
    LARGEST,
    LOGARITHMIC,
    POSITIVE,
    RELIEF_CONTROLS,
    SPLITS,
    Split,
)

__all__ = ["FACTORS", "at_quantile", "covariates_of", "draw_factors", "name_factors", "quantile_of"]

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
    """Draw each slice's normals from a stream of its own.

    Parameters
    ----------
    seed, split
        Name the streams; the seed is 0 or more.
    indices
        Which of them, ``(B,)``, each 0 or more.
    resolution
        Side of the slices, pixels.

    Returns
    -------
    dict
        Name to standard normals ``(B, *shape)`` float32: those of :data:`FACTORS`, and noise of a slice's resolution.

    Raises
    ------
    ValueError
        There are no indices, or a seed or index is negative, or the split none of
        :data:`~neuropyro.data.phantom_recipe.SPLITS`.

    Examples
    --------
    >>> both, one = (draw_factors(0, "train", indices, resolution=16) for indices in ([4, 7], [7]))
    >>> bool((both["pose"][1] == one["pose"][0]).all())  # whatever else is in the batch
    True
    >>> tuple(both["noise"].shape), tuple(both["warp4"].shape)
    ((2, 16, 16), (2, 2, 6, 6))
    """
    shapes = FACTORS | {"noise": (resolution, resolution)}
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    streams = [np.random.SeedSequence(seed, spawn_key=(SPLITS.index(split), index)) for index in indices]
    rows = [np.random.default_rng(stream).standard_normal(count, np.float32) for stream in streams]
    return name_factors(torch.from_numpy(np.stack(rows)), shapes)


def name_factors(normals: Tensor, shapes: Mapping[str, tuple[int, ...]] = FACTORS) -> dict[str, Tensor]:
    """Cut normals ``(B, factors)`` into those of each name, ``(B, *shape)``.

    Raises
    ------
    RuntimeError
        There are more or fewer factors than ``shapes`` have elements.

    Examples
    --------
    >>> name_factors(torch.arange(5.0)[None], {"tilts": (2,), "shift": (3, 1)})
    {'tilts': tensor([[0., 1.]]), 'shift': tensor([[[2.],
             [3.],
             [4.]]])}
    """
    parts = torch.split(normals, [int(np.prod(shape)) for shape in shapes.values()], dim=1)
    return {name: part.reshape(-1, *shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def covariates_of(
    normals: Tensor, ranges: Mapping[str, tuple[float, float]], given: Mapping[str, float | Tensor] | None = None
) -> dict[str, Tensor]:
    """Map normals to covariates, uniform over their ranges, dilation in its logarithm.

    Parameters
    ----------
    normals
        Standard normals ``(B, covariates)``, in the order of :data:`~neuropyro.data.phantom_recipe.COVARIATES`.
    ranges
        Lowest and highest value of each, in the units of :mod:`neuropyro.data.phantom_recipe`.
    given
        Values that take the place of a slice's own, one or ``(B,)``.

    Returns
    -------
    dict
        Name to values ``(B,)``.

    Raises
    ------
    ValueError
        A name in ``given`` is no covariate, or a value none that it can have.
    RuntimeError
        The values given are neither one nor ``B``.

    Examples
    --------
    >>> ranges = dict.fromkeys(COVARIATES, (1.0, 4.0))
    >>> medians = covariates_of(torch.zeros(2, 9), ranges, given={"size": 1.5})
    >>> medians["atrophy"], medians["dilation"], medians["size"]  # dilation: the geometric mean of 1 and 4
    (tensor([2.5000, 2.5000]), tensor([2., 2.]), tensor([1.5000, 1.5000]))
    >>> covariates_of(torch.zeros(2, 9), ranges, given={"size": 0.0})
    Traceback (most recent call last):
    ValueError: size must be finite and positive, not 0.0
    """
    given = given or {}
    if unknown := set(given) - set(COVARIATES):
        raise ValueError(f"no covariate {', '.join(sorted(unknown))}: phantoms have {', '.join(COVARIATES)}")
    quantiles = dict(zip(COVARIATES, torch.special.ndtr(normals).T, strict=True))
    own = {name: at_quantile(name, quantile, *ranges[name]) for name, quantile in quantiles.items()}
    return own | {name: _checked(name, value, own[name]) for name, value in given.items()}


def at_quantile(name: str, quantile: Tensor, low: float, high: float) -> Tensor:
    """Return the values of a covariate below which such shares of all phantoms lie.

    Parameters
    ----------
    name
        Of the covariate: dilation is uniform in its logarithm, others are in themselves.
    quantile
        Shares ``(*)``, 0 to 1.
    low, high
        The covariate's range, in its unit; above 0 for dilation.

    Returns
    -------
    Tensor
        Values ``(*)``, in that unit.

    Examples
    --------
    >>> share = torch.tensor([0.0, 0.5, 1.0])
    >>> at_quantile("rotation", share, -7.0, 7.0), at_quantile("dilation", share, 0.5, 2.0)
    (tensor([-7.,  0.,  7.]), tensor([0.5000, 1.0000, 2.0000]))
    """
    if name in LOGARITHMIC:
        return low * (high / low) ** quantile
    return low + (high - low) * quantile


def quantile_of(name: str, value: float, low: float, high: float) -> float:
    """Return the share of all phantoms that have less of a covariate: the inverse of :func:`at_quantile`.

    Parameters
    ----------
    name
        Of the covariate.
    value
        In its unit; below ``low`` or above ``high``, the share is below 0 or above 1.
    low, high
        The covariate's range.

    Raises
    ------
    ValueError
        A dilation is not positive.
    ZeroDivisionError
        The range is a single value.

    Examples
    --------
    >>> quantile_of("rotation", -3.5, -7.0, 7.0), quantile_of("dilation", 1.0, 0.5, 2.0)
    (0.25, 0.5)
    """
    if name in LOGARITHMIC:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def _checked(name: str, given: float | Tensor, own: Tensor) -> Tensor:
    value = torch.as_tensor(given, dtype=own.dtype, device=own.device)
    if not bool(value.isfinite().all()) or (name in POSITIVE and bool((value <= 0).any())):
        raise ValueError(f"{name} must be finite{' and positive' if name in POSITIVE else ''}, not {value}")
    if bool((value > LARGEST.get(name, math.inf)).any()):
        raise ValueError(f"{name} must be {LARGEST[name]:g} at most: the template bears no more; not {value}")
    if value.shape not in ((), (1,), own.shape):
        raise ValueError(f"{name} must be one value or {len(own)}, one a slice, not {tuple(value.shape)}")
    return value.expand_as(own)
