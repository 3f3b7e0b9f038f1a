r"""Reconstruction of k-space (or any linear measurement) under sparsity of wavelet coefficients.

.. math::  \min_x\; \tfrac12 \| m (A x - y) \|^2 + \lambda \| D W x \|_1

with W an orthonormal wavelet transform and D its detail coefficients; solved by FISTA.  The transform is shifted at
random in each step, which averages its artefacts out over translations.

References
----------
Lustig, Donoho and Pauly, *Sparse MRI*, MRM 2007; Beck and Teboulle, *FISTA*, SIAM J. Imaging Sciences 2009; Figueiredo
and Nowak, IEEE TIP 2003 (random shifts); Daubechies, *Ten lectures on wavelets*, 1992, table 6.1 (the filter).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from neuropyro.image_total_variation import default_weight, squared_norm
from neuropyro.models.corruption import Corruption

__all__ = ["analysis_matrix", "inverse_transform", "shrunk", "transform", "wavelet_sparse"]

DAUBECHIES_4 = (
    0.23037781330885523,
    0.7148465705525415,
    0.6308807679295904,
    -0.02798376941698385,
    -0.18703481171888114,
    0.030841381835986965,
    0.032883011666982945,
    -0.010597401784997278,
)


def analysis_matrix(n: int, like: Tensor) -> Tensor:
    """Orthonormal periodic transform (n, n) of one level: the upper half gives means, the lower half details.

    n is even; the matrix is on ``like``'s device and of its dtype.

    Examples
    --------
    >>> matrix, one = analysis_matrix(8, like=torch.zeros(1, dtype=torch.double)), torch.eye(8, dtype=torch.double)
    >>> torch.allclose(matrix @ matrix.T, one, atol=1e-7)  # orthonormal
    True
    >>> (matrix.sum(1) ** 2).round(decimals=4).tolist()  # of a level signal: means of 2 each, squared, no details
    [2.0, 2.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0]
    """
    low = torch.tensor(DAUBECHIES_4, dtype=like.dtype, device=like.device)
    signs = torch.tensor([1.0, -1.0], dtype=like.dtype, device=like.device).repeat(len(low) // 2)
    taps = torch.arange(len(low), device=like.device)
    rows = torch.arange(n // 2, device=like.device)[:, None]
    columns = (2 * rows + taps) % n
    means, details = (torch.zeros(n // 2, n, dtype=like.dtype, device=like.device) for _ in range(2))
    means.scatter_add_(1, columns, low.expand(n // 2, -1))  # adds, since short signals meet a filter more than once
    details.scatter_add_(1, columns, (low.flip(0) * signs).expand(n // 2, -1))
    return torch.cat([means, details])


def _matrices(x: Tensor, levels: int) -> list[tuple[Tensor, Tensor]]:
    """Return the transforms of the rows' and columns' axes of each level."""
    sides = [(x.shape[-2] >> level, x.shape[-1] >> level) for level in range(levels)]
    if levels and (x.shape[-2] % 2**levels or x.shape[-1] % 2**levels):
        raise ValueError(f"wavelets: sides must be multiples of {2**levels}, got {x.shape[-2]} x {x.shape[-1]}")
    return [(analysis_matrix(h, x), analysis_matrix(w, x)) for h, w in sides]


def transform(x: Tensor, levels: int) -> Tensor:
    """Wavelet coefficients (..., H, W) of images (..., H, W); the coarsest means stand in the upper left corner.

    Examples
    --------
    >>> x = torch.randn(16, 16, dtype=torch.double)
    >>> torch.allclose(transform(x, levels=2).square().sum(), x.square().sum())  # orthonormal
    True
    """
    x = x.clone()
    for rows, columns in _matrices(x, levels):
        h, w = len(rows), len(columns)
        x[..., :h, :w] = rows @ x[..., :h, :w] @ columns.T
    return x


def inverse_transform(coefficients: Tensor, levels: int) -> Tensor:
    """Images (..., H, W) of wavelet coefficients (..., H, W).

    Examples
    --------
    >>> x = torch.randn(16, 16, dtype=torch.double)
    >>> torch.allclose(inverse_transform(transform(x, levels=2), levels=2), x)
    True
    """
    x = coefficients.clone()
    for rows, columns in reversed(_matrices(x, levels)):
        h, w = len(rows), len(columns)
        x[..., :h, :w] = rows.T @ x[..., :h, :w] @ columns
    return x


def _levels_of(height: int, width: int) -> int:
    """How often both sides can be halved, each time from 8 px or more; at most four times."""
    return next((k for k in (4, 3, 2, 1) if not (height % 2**k or width % 2**k) and min(height, width) >> k >= 4), 0)


def wavelet_sparse(
    corruption: Corruption, y: Tensor, weight: float | None = None, steps: int = 150, seed: int = 0
) -> Tensor:
    """Image (B, C, H, W) of measurements ``y``, sparse in wavelets.

    Parameters
    ----------
    corruption
        Linear.
    weight
        lambda: how much a detail coefficient's size counts beside half the squared residual; if None, as for
        total variation.
    steps
        Iterations.
    seed
        Of the shifts.

    Raises
    ------
    ValueError
        Where the corruption is not linear, or the image's sides are odd.

    Examples
    --------
    >>> from neuropyro.models.corruption_kspace import Undersample
    >>> image, whole = torch.full((1, 1, 16, 16), 0.5), Undersample(1)  # every line of k-space
    >>> bool((wavelet_sparse(whole, whole.A(image)) - image).abs().max() < 0.05)
    True
    """
    if not corruption.is_linear:
        raise ValueError("wavelets: they need a linear corruption")
    weight = default_weight(corruption) if weight is None else weight
    counts = corruption.observed(y)
    x = torch.full_like(corruption.A_adjoint(torch.zeros_like(y)), -1.0)
    levels = _levels_of(x.shape[-2], x.shape[-1])
    if levels == 0:
        raise ValueError(f"wavelets: even sides of 8 px or more are needed, got {x.shape[-2]} x {x.shape[-1]}")
    step = 1 / squared_norm(corruption, x)
    rng, ahead, momentum = np.random.default_rng(seed), x, 1.0
    for _ in range(steps):
        residual = torch.where(counts != 0, corruption.A(ahead) - y, 0.0)
        shift = tuple(int(s) for s in rng.integers(0, 2**levels, 2))
        new = shrunk(ahead - step * corruption.A_adjoint(residual), step * weight, levels, shift)
        following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        ahead = new + (momentum - 1) / following * (new - x)
        x, momentum = new, following
    return x.clamp(-1, 1)


def shrunk(x: Tensor, threshold: float, levels: int, shift: tuple[int, ...]) -> Tensor:
    """Images ``x`` (..., H, W) with the details of their shifted transform nearer to 0 by ``threshold``.

    ``shift`` is in px (down, across).

    Raises
    ------
    ValueError
        Where the sides are no multiples of ``2**levels``.

    Examples
    --------
    >>> coefficients = torch.zeros(8, 8, dtype=torch.double)
    >>> coefficients[0] = torch.tensor([9, 0, 0, 0, 3, -3, 0.5, 0])  # a mean, and details
    >>> x = inverse_transform(coefficients, levels=1)
    >>> transform(shrunk(x, 1.0, levels=1, shift=(0, 0)), levels=1)[0].round(decimals=3).abs().tolist()
    [9.0, 0.0, 0.0, 0.0, 2.0, 2.0, 0.0, 0.0]
    """
    coefficients = transform(x.roll(shift, (-2, -1)), levels)
    h, w = x.shape[-2] >> levels, x.shape[-1] >> levels
    coarse = coefficients[..., :h, :w].clone()
    coefficients = torch.sign(coefficients) * (coefficients.abs() - threshold).clamp(min=0)
    coefficients[..., :h, :w] = coarse
    return inverse_transform(coefficients, levels).roll([-s for s in shift], (-2, -1))
