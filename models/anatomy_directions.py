r"""Where in a generator's w ventricles widen and the cortex is lost, everything else staying as it is.

A generator that learned from codes (:mod:`neuropyro.data.phantom_codes`) makes of each z a phantom whose covariates are
known: each is a function of one coordinate of z, and all are independent.  So the mean change of w for one unit of a
covariate, the others and the rest of the anatomy being as they are, is a regression on that covariate alone:

.. math::  v = \mathrm{Cov}(w, c) / \mathrm{Var}(c)

Of other generators only directions are known that were found by reading covariates out of images, those of the card.
A readout that is poor, as that of atrophy is, drags whatever else varies with what it reads.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from neuropyro.data.phantom_draws import at_quantile, quantile_of
from neuropyro.data.phantom_recipe import COVARIATES

__all__ = ["coded_direction", "has_codes", "image_directions", "standard_latents"]

DRAWS = 10_000
STANDARD = {"dilation": 1.0, "atrophy": 0.0}
"""Ventricles of the typical area, and the whole cortex."""


def has_codes(generator: Any) -> bool:
    """Whether a generator learned from codes, which say where in z a covariate lies.

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> has_codes(load_generator("brains64"))
    True
    """
    return "codes.axes" in getattr(getattr(generator, "card", None), "arrays", {})


def image_directions(generator: Any) -> tuple[Tensor, Tensor]:
    """Change of w ``(w_dim,)`` for one typical area of ventricles, and for the whole cortex lost.

    Raises
    ------
    ValueError
        Where the generator's card has no direction of the ventricles.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> effects = torch.tensor([[2.0, 0.0], [1.0, 1.0]])  # the second direction moves both covariates
    >>> arrays = {"directions.vectors": torch.eye(2), "directions.effects": effects}
    >>> card = SimpleNamespace(details={"directions": {"dilation": 0.9, "atrophy": 0.8}}, arrays=arrays)
    >>> image_directions(SimpleNamespace(card=card))
    (tensor([0.5000, 0.0000]), tensor([-0.5000,  1.0000]))
    """
    card = getattr(generator, "card", None)
    if has_codes(generator):
        return coded_direction(generator, "dilation"), coded_direction(generator, "atrophy")
    names = list(getattr(card, "details", {}).get("directions", {}))
    if "dilation" not in names:
        raise ValueError(
            "anatomy: the generator's card has no direction `dilation`; measure one (generators.find_directions) "
            "and put it in the card, or simulate without images"
        )
    vectors, effects = card.arrays["directions.vectors"], card.arrays["directions.effects"]  # type: ignore[union-attr]
    alone = torch.linalg.solve(effects.double().cpu(), vectors.double().cpu()).float()
    atrophy = alone[names.index("atrophy")] if "atrophy" in names else torch.zeros_like(alone[0])
    return alone[names.index("dilation")], atrophy


@torch.no_grad()
def coded_direction(generator: Any, covariate: str) -> Tensor:
    """Mean change of w ``(w_dim,)`` for one unit of a covariate of phantoms, of a generator that learned their codes.

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> coded_direction(load_generator("brains64"), "atrophy").shape
    torch.Size([512])
    """
    place = _place(generator.card, covariate)
    reference = next(iter(generator.mapping.parameters()))
    z = torch.randn(DRAWS, generator.z_dim, generator=torch.Generator().manual_seed(0))
    w = generator.mapping(z.to(reference))[:, 0].double().cpu()
    normal = z[:, place] * math.sqrt(z.shape[1]) / z.norm(dim=1)  # the mapping sees z's direction alone
    value = at_quantile(covariate, torch.special.ndtr(normal.double()), *_range(generator.card, covariate))
    off = value - value.mean()
    direction: Tensor = off @ (w - w.mean(0)) / off.square().sum()
    return direction.float()


def standard_latents(generator: Any, z: Tensor) -> Tensor:
    """Latents ``(N, z_dim)`` of the same anatomies, their ventricles typical and no cortex lost: :data:`STANDARD`.

    From there the ways to what a simulation asks for are short, and steps along one direction go them; the slice of a
    person whose z happens to have the largest ventricles could not be brought back.  Of generators without codes z is
    returned as it is.

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> z = torch.randn(3, 128, generator=torch.Generator().manual_seed(0))
    >>> moved = standard_latents(load_generator("brains64"), z)
    >>> (moved != z).sum(dim=1)
    tensor([2, 2, 2])
    """
    if not has_codes(generator):
        return z
    card = generator.card
    places = [_place(card, name) for name in STANDARD]
    shares = [quantile_of(name, value, *_range(card, name)) for name, value in STANDARD.items()]
    normals = torch.special.ndtri(torch.tensor(shares, dtype=torch.float64)).to(z)
    moved = z.clone()
    moved[:, places] = 0
    # The mapping sees the direction alone: among numbers of a mean square of 1 these are to be the normals.
    left = moved.square().sum(dim=1, keepdim=True) / (z.shape[1] - normals.square().sum())
    moved[:, places] = normals * left.sqrt()
    return moved


def _place(card: Any, covariate: str) -> int:
    """Coordinate of z that says the covariate."""
    return int(card.arrays["codes.axes"][COVARIATES.index(covariate)].abs().argmax())


def _range(card: Any, covariate: str) -> tuple[float, float]:
    low, high = card.details["recipe"][covariate]
    return float(low), float(high)
