r"""Abduction of a scan: which anatomy, which residual, and which noise of the scanner made it.

With y = A(G(w) + r) + noise, w is inferred by :class:`~neuropyro.models.reconstruction.LatentReconstruction`, from the
scan at half its resolution: what is finer says little of w beside r, and the covariance of 1,024 pixels is diagonalised
in no time.  Given w, r is normal at full resolution, and is drawn; the noise is then whatever is left, so that the
three make the scan again, exactly.

The scan does not tell of the score: what it shows of the ventricles reaches the score through ``ventricle_volume``
alone, which is measured from such scans.  (The posterior is cut there.)

References
----------
Marinescu, Moyer & Golland, "Bayesian image reconstruction using deep generative models", arXiv 2012.04567; Plummer,
"Cuts in Bayesian graphical models", Statistics and Computing 2015.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neuropyro.models.anatomy_images import SliceImage
from neuropyro.models.anatomy_scanners import Scanners
from neuropyro.models.corruption import Compose, Corruption, Downsample, Identity
from neuropyro.models.reconstruction import LatentReconstruction
from neuropyro.models.reconstruction_conditioning import conditional_residual
from neuropyro.models.reconstruction_kernel import spread_of

__all__ = ["ImageDraws", "Runner", "infer_images"]

Runner = Callable[[Any, Any], Any]
"""Fits a model to data, as :func:`neuropyro.inference.fit` does, for instance with a guide bound to it."""
FACTOR = 2
LEAST_NOISE = 0.01  # of a scanner that is said to have none
CANDIDATES, SEARCH_STEPS = 500, 100
"""From the prior, of which the best is improved for so many steps."""


@dataclass(frozen=True, eq=False)
class ImageDraws:
    """Draws of what is behind N scans.

    Attributes
    ----------
    w
        ``(draws, N, num_ws, w_dim)``.
    residual
        r, ``(draws, N, C, H, W)``.
    left
        What the scanner added, in the scan's unit: scan - A(G(w) + r), ``(draws, N, C, h, w)``.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> generator = SimpleNamespace(synthesis=lambda w, noise_mode: w.reshape(-1, 1, 2, 2))  # pixels are latents
    >>> whole = SimpleNamespace(generator=generator, residual=None)
    >>> draws = _behind(whole, Identity(), torch.full((1, 2, 2), 0.5), torch.full((3, 1, 4), 0.2), seed=0)
    >>> draws.left.shape, draws.left.unique()
    (torch.Size([3, 1, 2, 2]), tensor([0.3000]))
    """

    w: Tensor
    residual: Tensor
    left: Tensor


def infer_images(
    image: SliceImage, scanners: Scanners, scans: Tensor, site: Tensor, draws: int, seed: int, fit: Runner | None
) -> ImageDraws:
    """Draw what is behind scans.

    Parameters
    ----------
    scans
        ``(N, C, h, w)``.
    site
        ``(N,)`` int, their scanners.
    fit
        Infers w; without one, w stays at its mode, and only r is drawn.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from neuropyro.generators import Generator, GeneratorConfig
    >>> generator = Generator(GeneratorConfig(8, z_dim=4, w_dim=4, channels=(4, 4), mapping_layers=1)).freeze()
    >>> image = SliceImage(generator, *torch.zeros(3, 4), residual=None)
    >>> scanners, scans = Scanners({"A": Identity(noise=0.1)}, image.shape), torch.full((2, 1, 8, 8), -0.5)
    >>> runner = lambda model, y: SimpleNamespace(posterior=lambda draws: {"w": torch.ones(draws, len(y), 1, 4)})
    >>> found = infer_images(image, scanners, scans, torch.tensor([0, 0]), draws=3, seed=0, fit=runner)
    >>> (image.images(found.w[2]) + found.residual[2] + found.left[2]).round(decimals=5).unique()  # the scans again
    tensor([-0.5000])
    """
    found: list[ImageDraws | None] = [None] * len(scans)
    whole = _reconstruction(image)
    for k, scanner in enumerate(scanners.scanners.values()):
        rows = (site == k).nonzero().squeeze(-1)
        if len(rows):
            small, operator = _at_half(scans[rows], scanner)
            w = _latents(whole.with_corruption(operator), small, draws, seed, fit)
            for row, one in zip(rows.tolist(), w.unbind(1), strict=True):
                found[row] = _behind(whole, scanner, scans[row], one, seed + row)
    parts = [one for one in found if one is not None]
    return ImageDraws(*(torch.stack([getattr(p, name) for p in parts], 1) for name in ("w", "residual", "left")))


def _at_half(scans: Tensor, scanner: Corruption) -> tuple[Tensor, Corruption]:
    """Return scans at half their resolution, and the operator that makes such."""
    finest = Downsample(FACTOR, kernel="area")
    noise = (scanner.noise or LEAST_NOISE) / FACTOR
    silent = _without_noise(scanner)
    return finest.A(scans), Compose(silent, finest, noise=noise)


def _without_noise(scanner: Corruption) -> Corruption:
    """Return the same scanner, silent."""
    arguments = scanner.arguments() | {"noise": None}
    if isinstance(scanner, Compose):
        return Compose(*(_without_noise(part) for part in scanner))
    return type(scanner)(**arguments)


def _reconstruction(image: SliceImage) -> LatentReconstruction:
    """Return the model of w, of whole images."""
    settings: dict[str, Any] = {"starts": 1, "search_steps": SEARCH_STEPS, "candidates": CANDIDATES}
    return LatentReconstruction(image.generator, Identity(), residual=image.residual, **settings)


def _latents(model: LatentReconstruction, y: Tensor, draws: int, seed: int, fit: Runner | None) -> Tensor:
    """Draws of w ``(draws, N, num_ws, w_dim)``."""
    if fit is not None:
        result = fit(model, y)
        found = torch.as_tensor(result.posterior(draws)["w"])
    else:
        found = model.init_values(model.prepare(y), seed)["w"].expand(draws, -1, -1, -1)
    return found.expand(*found.shape[:-2], model.generator.num_ws, -1)


@torch.no_grad()
def _behind(whole: LatentReconstruction, scanner: Corruption, scan: Tensor, w: Tensor, seed: int) -> ImageDraws:
    """R and the scanner's noise, given draws of one image's w ``(draws, num_ws, w_dim)``."""
    made = whole.generator.synthesis(w, noise_mode="none")
    deviation = scan - scanner.A(made)
    residual = torch.zeros_like(made)
    if whole.residual is not None and scanner.is_linear:
        source = torch.Generator().manual_seed(seed)
        white = (
            torch.randn(made.shape, generator=source).to(made),
            torch.randn(deviation.shape, generator=source).to(made),
        )
        sigma = deviation.new_full((len(made),), scanner.noise or LEAST_NOISE)
        spread = spread_of(
            scanner, None, (scanner.observed(deviation) != 0).expand(deviation.shape).flatten(1), deviation
        )
        tau = torch.full_like(sigma, math.exp(whole.residual_prior[0]))
        residual = conditional_residual(scanner, whole.residual, spread, deviation, sigma, tau, white)
    return ImageDraws(w, residual, scan - scanner.A(made + residual))
