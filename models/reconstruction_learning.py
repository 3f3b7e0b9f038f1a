"""What a generator cannot make, learned from clean images: S of a reconstruction's residual image.

Each image is inverted as it will be in a reconstruction, its latent held by the prior: the pixels count as if they were
off by independent errors of :data:`PIXEL_SD`, about what a generator misses.  (Without the prior W+ would fit an image
far better than a latent found from few measurements ever can, and S would be too small.)  What remains is handed to
:class:`~neuropyro.generators.residual_conditionals.ConditionalSpread`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm.auto import tqdm

from neuropyro.generators.residual_conditionals import ConditionalSpread
from neuropyro.models.corruption_composition import Identity

if TYPE_CHECKING:
    from neuropyro.models.reconstruction import LatentReconstruction

__all__ = ["learn_residual", "residuals_of"]

PIXEL_SD = 0.08
BATCH = 32


def residuals_of(model: LatentReconstruction, images: Tensor, seed: int = 0, progress: bool = False) -> Tensor:
    """Invert clean images and return what is left of each.

    Parameters
    ----------
    model
        Of the generator; its prior, number of candidates and of steps of search are used, its corruption is not.
    images
        (N, C, H, W) on -1..1, which the generator was not trained on.
    seed
        Of the candidates.
    progress
        Whether a bar is shown.

    Returns
    -------
    (N, C, H, W)

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> from neuropyro.models import LatentReconstruction
    >>> G = load_generator("brains64")
    >>> model = LatentReconstruction(G, Identity(0.1), "z", candidates=1, starts=1, search_steps=0)
    >>> z = torch.randn(1, G.z_dim, generator=torch.Generator().manual_seed(0))  # the one candidate of seed 0
    >>> left = residuals_of(model, G(z).detach() + 0.25, seed=0)
    >>> round(float(left.min()), 3), round(float(left.max()), 3)
    (0.25, 0.25)
    """
    bare = model.with_corruption(Identity(PIXEL_SD))
    bare.residual, bare.sigma = None, PIXEL_SD
    left = []
    for part in tqdm(torch.split(images, BATCH), unit="batch", desc="inversion", disable=not progress):
        measured = bare.prepare(part)
        values = bare.init_values(measured, seed)
        with torch.no_grad():
            made = measured.source.images(measured.source.w_of(values[measured.source.site]), values.get("pose"))
        left.append(part.to(made) - made)
    return torch.cat(left)


def learn_residual(
    model: LatentReconstruction, images: Tensor, seed: int = 0, progress: bool = False
) -> ConditionalSpread:
    """Learn S from some hundred clean images (N, C, H, W), see :func:`residuals_of`; give it as ``residual``.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> grey = SimpleNamespace(z_dim=1, w_dim=1, num_ws=1, img_resolution=4, img_channels=1)  # images as bright as z
    >>> grey.mapping = lambda z, labels=None: z[:, None]
    >>> grey.synthesis = lambda w, noise_mode: w[..., None].expand(-1, 1, 4, 4)
    >>> from neuropyro.models import LatentReconstruction
    >>> model = LatentReconstruction(grey, Identity(0.1), "z", candidates=9, starts=1, search_steps=20)
    >>> learned = learn_residual(model, 0.1 * torch.randn(60, 1, 4, 4))  # of which the latent takes a 16th
    >>> round(float(learned.sd.mean()), 2)
    0.1
    """
    return ConditionalSpread.of(residuals_of(model, images, seed, progress))
