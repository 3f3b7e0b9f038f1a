"""Where in the head slices lie, and whether the generator was trained on any of that plane and from there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from neuropyro.data.image_slices import ImageSlices
from neuropyro.data.nifti_slices import PLANES
from neuropyro.data.phantom_recipe import POSITIONS

__all__ = ["place_warnings"]

NEAR = 3.0  # mm: brains, and the registrations by which files got their affines, differ by as much
AXES = {"coronal": "y", "axial": "z"}
MADE_UP = "what is shown there is made up"


def place_warnings(image: ImageSlices | None, generator: Any) -> list[str]:
    """Say where slices are of another plane than a generator's, or lie, by a file's affine, outside of where its did.

    Of planes it is told where what the card says of the training data names a single one, as "coronal slices"; of
    places where the file has such an affine and the card a ``recipe``
    (:class:`~neuropyro.data.phantom_recipe.PhantomRecipe`).

    Parameters
    ----------
    image
        Of the file; None where it holds no picture.
    generator
        With its ``card``.

    Examples
    --------
    >>> import numpy as np
    >>> from dataclasses import replace
    >>> from pathlib import Path
    >>> from neuropyro.generators import load_generator
    >>> pixels, G = np.zeros((2, 1, 8, 8), np.float32), load_generator("brains64")
    >>> places = {"indices": (40, 114), "positions": (-94.0, -20.0)}
    >>> slices = ImageSlices(pixels, Path("t1.nii"), pixels.dtype, "nifti", "coronal", **places)
    >>> [line[:70] for line in place_warnings(slices, G)]
    ["slice 40 lies at y = -94 mm by the file's own affine, and brains64 was"]
    >>> [line.partition(":")[0] for line in place_warnings(replace(slices, plane="axial"), G)]
    ['slices are axial, and brains64 was trained on coronal ones alone']
    """
    card = getattr(generator, "card", None)
    recipe, name = getattr(card, "details", {}).get("recipe"), getattr(card, "name", "the generator")
    if image is None or image.plane is None:
        return []
    plane = _plane_of(card)
    if plane not in (None, image.plane):
        return [
            f"slices are {image.plane}, and {name} was trained on {plane} ones alone: {MADE_UP}; give --plane {plane}, "
            "or a --generator trained on such images"
        ]
    if image.positions is None or image.plane not in POSITIONS or not isinstance(recipe, Mapping):
        return []
    low, high = recipe.get("position") or POSITIONS[image.plane]
    placed = zip(image.indices, image.positions, strict=True)
    outside = [(index, place) for index, place in placed if not low - NEAR <= place <= high + NEAR]
    if not outside:
        return []
    (index, place), axis = outside[0], AXES[image.plane]
    which = f"slice {index} lies" if len(outside) == 1 else f"{len(outside)} slices lie elsewhere, as slice {index}"
    known = f"{name} was trained on {image.plane} slices from {low:g} to {high:g} mm"
    return [
        f"{which} at {axis} = {place:.0f} mm by the file's own affine, and {known} alone: "
        f"{MADE_UP}; give other --slices, or a --generator trained on such images"
    ]


def _plane_of(card: Any) -> str | None:
    """Return the plane that a card's words on the training data name; None where they name none or several."""
    named = set(re.findall(r"[a-z]+", str(getattr(card, "training_data", "")).lower())) & set(PLANES)
    return named.pop() if len(named) == 1 else None
