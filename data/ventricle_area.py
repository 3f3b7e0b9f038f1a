"""How large the ventricles are in a coronal image, by its intensities alone.

Where ventricles can be (an ellipse about the middle of the slice), a pixel counts by how dark it is between grey matter
and fluid, brightness being taken relative to the image's own white matter.  Pixels of which fluid fills a part border
on white matter, which hides some of it: of phantoms' true areas, and of differences between two dilations of one
phantom, :data:`SHARE` is seen at 64 px, whatever the size; the result is divided by it.  (Finer images hide less: at
128 px areas come out a fifth larger.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuropyro.data.phantom_recipe import FIELD_OF_VIEW
from neuropyro.data.template import TEMPLATE_INTENSITY

__all__ = ["TYPICAL_AREA", "ventricle_area", "ventricle_region"]

TYPICAL_AREA = 231.0
"""Area of the ventricles in the template's coronal slices, geometric mean over the usual positions, mm²."""
SHARE = 0.84
CENTRE, HALF_WIDTH, HALF_HEIGHT = 11.0, 32.0, 23.0  # of the ellipse: mm above the origin, mm
WHITE = 0.95  # quantile of an image's brightness that is white matter


def ventricle_region(height: int, width: int, field_of_view: float = FIELD_OF_VIEW["coronal"]) -> Tensor:
    """Return the pixels ``(height, width)`` bool in which ventricles are looked for; ``field_of_view`` in mm.

    Examples
    --------
    >>> region = ventricle_region(705, 705)  # 4 pixels a mm
    >>> round(float(region.sum()) / 4**2 / (HALF_WIDTH * HALF_HEIGHT), 2)  # an ellipse's area over its half axes is pi
    3.14
    """
    half = field_of_view / 2
    up = half - torch.arange(height) * (2 * half / (height - 1))
    across = torch.arange(width) * (2 * half / (width - 1)) - half
    return ((up[:, None] - CENTRE) / HALF_HEIGHT) ** 2 + (across / HALF_WIDTH) ** 2 < 1


def ventricle_area(images: Tensor, field_of_view: float = FIELD_OF_VIEW["coronal"]) -> Tensor:
    """Measure the area of the ventricles.

    Parameters
    ----------
    images
        Coronal T1-weighted slices ``(*, 1, H, W)`` in -1..1, framed as phantoms are (:mod:`neuropyro.data.phantoms`).
    field_of_view
        Distance between the centres of the outermost pixels, mm.

    Returns
    -------
    ``(*)``, mm².

    Examples
    --------
    >>> ventricle_area(torch.ones(2, 1, 64, 64))
    tensor([0., 0.])
    """
    brightness = (images[..., 0, :, :] + 1) / 2
    height, width = brightness.shape[-2:]
    white = brightness.flatten(-2).quantile(WHITE, dim=-1)[..., None, None]
    fluid, grey = (TEMPLATE_INTENSITY[tissue] / TEMPLATE_INTENSITY["wm"] * white for tissue in ("csf", "gm"))
    dark = ((grey - brightness) / (grey - fluid).clamp_min(1e-6)).clamp(0, 1)
    pixel = (field_of_view / (height - 1)) * (field_of_view / (width - 1))
    region = ventricle_region(height, width, field_of_view).to(images.device)
    return (dark * region).sum((-2, -1)) * pixel / SHARE
