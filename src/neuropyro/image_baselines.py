"""What one would do without a generator: interpolation, zero filling, smoothness and sparsity.

Each takes (corruption, y) and returns images (B, C, H, W) on -1..1.  :func:`baselines_for` says which apply.

References
----------
Keys, IEEE TASSP 1981 (bicubic); Damelin and Hoang, *On surface completion and image inpainting by biharmonic
functions*, IJMMS 2018 (biharmonic, as in scikit-image).  For the others see their own files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import splu
from torch import Tensor
from torch.nn.functional import interpolate

from neuropyro.image_metrics import psnr
from neuropyro.image_total_variation import squared_norm, total_variation
from neuropyro.image_wavelets import wavelet_sparse
from neuropyro.models.corruption import Corruption
from neuropyro.models.corruption_resampling import downsampling

__all__ = [
    "Baseline",
    "baselines_for",
    "bicubic",
    "biharmonic",
    "in_place",
    "total_variation",
    "tuned",
    "wavelet_sparse",
    "zero_filled",
]

Baseline = Callable[[Corruption, Tensor], Tensor]
"""From a corruption and measurements y to images (B, C, H, W)."""
WEIGHTS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)


def bicubic(corruption: Corruption, y: Tensor) -> Tensor:
    """Bicubic interpolation of ``y`` (B, C, h, w) to the image's size; ``y`` itself where it has it.

    Where a window of the image was seen, the rest is black.

    Raises
    ------
    ValueError
        Where ``y`` is no image.

    Examples
    --------
    >>> from neuropyro.models.corruption import Downsample
    >>> bicubic(Downsample(4), torch.full((1, 1, 4, 4), 0.5)).mean((2, 3))
    tensor([[0.5000]])
    """
    if y.ndim != 4 or y.is_complex():
        raise ValueError(f"bicubic: it interpolates images (B, C, h, w), got {tuple(y.shape)} of {y.dtype}")
    size = corruption.image_shape(tuple(y.shape))[2:]
    y = in_place(corruption, y)
    return y if tuple(y.shape[2:]) == size else interpolate(y, size=size, mode="bicubic", antialias=True).clamp(-1, 1)


def in_place(corruption: Corruption, y: Tensor) -> Tensor:
    """Lay measurements (B, C, h, w) of a window of the image where it lies, in black; others are returned as they are.

    Examples
    --------
    >>> from neuropyro.models.corruption import Downsample
    >>> in_place(Downsample(4, image_size=16, window=(4, 0, 8, 16)), torch.zeros(1, 1, 2, 4))[0, 0, :, 0]
    tensor([-1.,  0.,  0., -1.])
    """
    part = downsampling(corruption)
    if part is None or part.window is None or part.image_size is None:
        return y
    (top, left), sides = ([round(at / part.factor) for at in some] for some in (part.window[:2], part.image_size))
    black = y.new_full((*y.shape[:2], *sides), -1.0)
    black[..., top : top + y.shape[-2], left : left + y.shape[-1]] = y
    return black


def zero_filled(corruption: Corruption, y: Tensor) -> Tensor:
    """Adjoint of the measurements, as of k-space whose gaps are zeros, seen from black.

    Raises
    ------
    ValueError
        Where the corruption is not linear.

    Examples
    --------
    >>> from neuropyro.models.corruption_kspace import Undersample
    >>> image, whole = torch.rand(1, 1, 16, 16), Undersample(1)  # every line of k-space
    >>> bool((zero_filled(whole, whole.A(image)) - image).abs().max() < 0.05)
    True
    """
    if not corruption.is_linear:
        raise ValueError("zero filled: it needs a linear corruption")
    black = torch.full_like(corruption.A_adjoint(torch.zeros_like(y)), -1.0)
    brighter = torch.where(corruption.observed(y) != 0, y - corruption.A(black), 0.0)
    return (black + corruption.A_adjoint(brighter) / squared_norm(corruption, black)).clamp(-1, 1)


def biharmonic(corruption: Corruption, y: Tensor) -> Tensor:
    """Holes filled by the surface of zero bi-Laplacian that continues what is around them.

    ``y`` has the image's shape; where it was observed it is kept as it is.

    Raises
    ------
    ValueError
        Where the measurements are of another shape than the image.

    Examples
    --------
    >>> from neuropyro.models.corruption_masks import Mask
    >>> plane = torch.linspace(-0.5, 0.5, 9).expand(1, 1, 9, 9)
    >>> observed = torch.ones(9, 9)
    >>> observed[3:6, 3:6] = 0
    >>> hole = Mask(observed)
    >>> torch.allclose(biharmonic(hole, hole.A(plane)), plane, atol=1e-5)  # a plane goes on as a plane
    True
    """
    if y.is_complex() or corruption.image_shape(tuple(y.shape)) != tuple(y.shape):
        raise ValueError(f"biharmonic: it fills holes of images, got measurements {tuple(y.shape)}")
    observed = (corruption.observed(y) != 0).expand_as(y).flatten(0, 1).cpu().numpy()
    images = y.detach().flatten(0, 1).double().cpu().numpy().copy()
    for mask in np.unique(observed, axis=0):
        same = (observed == mask).all(axis=(1, 2))
        images[same] = _filled(images[same], mask)
    return torch.where(corruption.observed(y) != 0, y, torch.from_numpy(images).clamp(-1, 1).to(y).reshape(y.shape))


def _filled(images: NDArray[np.float64], observed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``images`` (N, H, W) with the solution of L^2 u = 0 in the hole of ``observed`` (H, W)."""
    if observed.all():
        return images
    hole = ~observed.ravel()
    laplacian = _grid_laplacian(*observed.shape)
    rows = (laplacian @ laplacian)[hole]
    flat = images.reshape(len(images), -1).copy()
    flat[:, hole] = splu(rows[:, hole].tocsc()).solve(-(rows[:, ~hole] @ flat[:, ~hole].T)).T
    return flat.reshape(images.shape)


def _grid_laplacian(height: int, width: int) -> sp.csr_array:
    """Laplacian (HW, HW) of the grid's graph: borders are mirrored."""
    lines = []
    for n in (height, width):
        steps = sp.diags_array([-np.ones(n - 1), np.ones(n - 1)], offsets=[0, 1], shape=(n - 1, n))
        lines.append(steps.T @ steps)
    rows = sp.kron(lines[0], sp.eye_array(width))
    return (rows + sp.kron(sp.eye_array(height), lines[1])).tocsr()


def tuned(
    method: Callable[..., Tensor],
    corruption: Corruption,
    images: Tensor,
    weights: Iterable[float] = WEIGHTS,
    noise: float | None = None,
    seed: int = 0,
) -> Baseline:
    """Set the ``weight`` of ``method`` to the one with the best mean PSNR on ``images`` (B, C, H, W), corrupted.

    Images must be others than those that are reported.

    Parameters
    ----------
    noise
        Sd of the simulated noise, in place of the corruption's own.

    Examples
    --------
    >>> from neuropyro.models.corruption import Downsample
    >>> images = torch.zeros(1, 1, 8, 8)
    >>> images[..., 4:] = 1  # an edge, which little smoothing tells best from little noise
    >>> best = tuned(partial(total_variation, steps=100), Downsample(1), images, weights=(0.001, 0.5), noise=0.01)
    >>> best.keywords["weight"]
    0.001
    """
    y = corruption.corrupt(images, seed, noise)
    scores = {w: float(psnr(method(corruption, y, weight=w), images).mean()) for w in weights}
    return partial(method, weight=max(scores, key=lambda w: scores[w]))


def baselines_for(corruption: Corruption, y: Tensor) -> dict[str, Baseline]:
    """Baselines that apply to measurements ``y`` of a linear corruption, by name.

    Bicubic where ``y`` is a smaller image, biharmonic where it has a hole, zero filling and wavelets where it is
    k-space; total variation always.

    Examples
    --------
    >>> from neuropyro.models.corruption import Downsample
    >>> list(baselines_for(Downsample(4), torch.zeros(1, 1, 16, 16)))
    ['bicubic', 'total_variation']
    """
    found: dict[str, Baseline] = {}
    if not corruption.is_linear:
        return found
    if y.is_complex():
        found["zero_filled"], found["wavelet"] = zero_filled, wavelet_sparse
    else:
        same = corruption.image_shape(tuple(y.shape)) == tuple(y.shape)
        if same and bool((corruption.observed(y) == 0).any()):
            found["biharmonic"] = biharmonic
        elif y.ndim == 4 and not same:
            found["bicubic"] = bicubic
    return found | {"total_variation": total_variation}
