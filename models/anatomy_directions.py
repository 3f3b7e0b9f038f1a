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

from neuropyro.data.phantom_draws import at_quantile
from neuropyro.data.phantom_recipe import COVARIATES

__all__ = ["coded_direction", "image_directions"]

DRAWS = 10_000


def image_directions(generator: Any) -> tuple[Tensor, Tensor]:
    """Change of w ``(w_dim,)`` for one typical area of ventricles, and for the whole cortex lost.

    Raises
    ------
    ValueError
        Where the generator's card has no direction of the ventricles.
    """
    card = getattr(generator, "card", None)
    if "codes.axes" in getattr(card, "arrays", {}):
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
    torch.Size([128])
    """
    card = generator.card
    place = int(card.arrays["codes.axes"][COVARIATES.index(covariate)].abs().argmax())
    reference = next(iter(generator.mapping.parameters()))
    z = torch.randn(DRAWS, generator.z_dim, generator=torch.Generator().manual_seed(0))
    w = generator.mapping(z.to(reference))[:, 0].double().cpu()
    normal = z[:, place] * math.sqrt(z.shape[1]) / z.norm(dim=1)  # the mapping sees z's direction alone
    value = at_quantile(covariate, torch.special.ndtr(normal.double()), *card.details["recipe"][covariate])
    off = value - value.mean()
    direction: Tensor = off @ (w - w.mean(0)) / off.square().sum()
    return direction.float()
