"""Where in the head slices lie, and whether the generator was trained on any from there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neuropyro.data.image_slices import ImageSlices
from neuropyro.data.phantom_recipe import POSITIONS

__all__ = ["place_warnings"]

NEAR = 3.0  # mm: brains, and the registrations by which files got their affines, differ by as much
AXES = {"coronal": "y", "axial": "z"}


def place_warnings(image: ImageSlices | None, generator: Any) -> list[str]:
    """Say where a file's affine places slices outside of what a generator of phantoms' slices was trained on.

    It is not told of files without such an affine, nor of generators whose card has no ``recipe``
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
    >>> from pathlib import Path
    >>> from neuropyro.generators import load_generator
    >>> pixels, G = np.zeros((2, 1, 8, 8), np.float32), load_generator("brains64")
    >>> places = {"indices": (40, 114), "positions": (-94.0, -20.0)}
    >>> slices = ImageSlices(pixels, Path("t1.nii"), pixels.dtype, "nifti", "coronal", **places)
    >>> [line[:70] for line in place_warnings(slices, G)]
    ["slice 40 lies at y = -94 mm by the file's own affine, and brains64 was"]
    """
    card = getattr(generator, "card", None)
    recipe = getattr(card, "details", {}).get("recipe")
    if image is None or image.positions is None or image.plane not in POSITIONS or not isinstance(recipe, Mapping):
        return []
    low, high = recipe.get("position") or POSITIONS[image.plane]
    placed = zip(image.indices, image.positions, strict=True)
    outside = [(index, place) for index, place in placed if not low - NEAR <= place <= high + NEAR]
    if not outside:
        return []
    (index, place), axis = outside[0], AXES[image.plane]
    which = f"slice {index} lies" if len(outside) == 1 else f"{len(outside)} slices lie elsewhere, as slice {index}"
    known = f"{getattr(card, 'name', 'the generator')} was trained on {image.plane} slices from {low:g} to {high:g} mm"
    return [
        f"{which} at {axis} = {place:.0f} mm by the file's own affine, and {known} alone: "
        "what is shown there is made up; give other --slices, or a --generator trained on such images"
    ]
