r"""Reconstruction under a total-variation prior, for every linear corruption.

.. math::  \min_x\; \tfrac12 \| m (A x - y) \|^2 + \lambda \sum_p \| (\nabla x)_p \|

with m the measurements that count and the isotropic sum over pixels p (channels apart).  Solved by the primal-dual
method with a dual variable for each of the two terms, so that A is used through A and A_adjoint alone.  The slopes'
dual is at most lambda long, so steps of x go with 1 / lambda; 300 of them then come within 1 % of the minimum.

References
----------
Chambolle and Pock, *A first-order primal-dual algorithm for convex problems*, JMIV 2011, algorithm 1; Rudin, Osher and
Fatemi, Physica D 1992 (total variation); Lustig, Donoho and Pauly, MRM 2007 (in k-space).
"""

from __future__ import annotations

import torch
from torch import Tensor

from neuropyro.models.corruption import Corruption

__all__ = ["default_weight", "divergence", "gradient", "squared_norm", "total_variation"]

GRADIENT_NORM = 8.0  # largest eigenvalue of minus the Laplacian, at most
LEAST_WEIGHT = 3e-4
TYPICAL_SLOPE = 0.25  # mean absolute slope of a Laplace prior, per px
STEP = 0.05  # of x, times lambda


def gradient(x: Tensor) -> Tensor:
    """Forward differences down and across (2, B, C, H, W) of ``x`` (B, C, H, W), 0 past the border.

    Examples
    --------
    >>> gradient(torch.tensor([[[[1.0, 3.0], [1.0, 4.0]]]])).flatten(1).tolist()
    [[0.0, 1.0, 0.0, 0.0], [2.0, 0.0, 3.0, 0.0]]
    """
    down, across = torch.zeros_like(x), torch.zeros_like(x)
    down[..., :-1, :] = x.diff(dim=-2)
    across[..., :-1] = x.diff(dim=-1)
    return torch.stack([down, across])


def divergence(p: Tensor) -> Tensor:
    """Minus the adjoint of :func:`gradient`: (2, B, C, H, W) to (B, C, H, W).

    Examples
    --------
    >>> x, p = torch.randn(1, 1, 4, 5, dtype=torch.double), torch.randn(2, 1, 1, 4, 5, dtype=torch.double)
    >>> torch.allclose((gradient(x) * p).sum(), -(x * divergence(p)).sum())
    True
    """
    down, across = p[0][..., :-1, :], p[1][..., :-1]
    total = torch.zeros_like(p[0])
    total[..., :-1, :] += down
    total[..., 1:, :] -= down
    total[..., :-1] += across
    total[..., 1:] -= across
    return total


def squared_norm(corruption: Corruption, like: Tensor, steps: int = 30) -> float:
    """Largest eigenvalue of L'L for images like ``like`` (B, C, H, W), by power iteration.

    Random starts of several images are iterated side by side, and 1 % is added for what is left of the convergence.

    Examples
    --------
    >>> from neuropyro.models.corruption_masks import Mask
    >>> round(squared_norm(Mask(torch.ones(4, 4)), torch.zeros(1, 1, 4, 4)), 2)
    1.01
    """
    x = torch.randn(like.shape, generator=torch.Generator().manual_seed(0), dtype=like.dtype).to(like.device)
    largest = torch.ones(())
    for _ in range(steps):
        x = corruption.A_adjoint(corruption.linear(x))
        norms = x.flatten(1).norm(dim=1)
        largest = norms.max()
        x = x / norms.clamp(min=1e-30).reshape(-1, 1, 1, 1)
    return 1.01 * float(largest)


def default_weight(corruption: Corruption) -> float:
    """Return lambda of the posterior mode: the noise's variance by the slopes' scale; .0003 where there is no noise.

    Examples
    --------
    >>> from neuropyro.models.corruption_resampling import Downsample
    >>> default_weight(Downsample(4)), default_weight(Downsample(4, noise=0.1))
    (0.0003, 0.04000000000000001)
    """
    return max(LEAST_WEIGHT, (corruption.noise or 0.0) ** 2 / TYPICAL_SLOPE)


def total_variation(corruption: Corruption, y: Tensor, weight: float | None = None, steps: int = 300) -> Tensor:
    """Image (B, C, H, W) of measurements ``y`` under total variation.

    Parameters
    ----------
    corruption
        Linear.
    weight
        lambda: how much total variation counts beside half the squared residual; if None, see :func:`default_weight`.
    steps
        Iterations of the primal-dual method.

    Raises
    ------
    ValueError
        Where the corruption is not linear, or the weight not positive.

    Examples
    --------
    >>> from neuropyro.models.corruption_masks import Mask
    >>> image, observed = torch.full((1, 1, 8, 8), 0.5), torch.ones(8, 8)
    >>> observed[2:5, 2:5] = 0
    >>> hole = Mask(observed)
    >>> bool((total_variation(hole, hole.A(image)) - image).abs().max() < 0.02)
    True
    """
    if not corruption.is_linear:
        raise ValueError("total variation: it needs a linear corruption")
    weight = default_weight(corruption) if weight is None else weight
    if not weight > 0:
        raise ValueError(f"total variation: the weight must be above 0, got {weight}")
    counts, black = corruption.observed(y), torch.full_like(corruption.A_adjoint(torch.zeros_like(y)), -1.0)
    b = torch.where(counts != 0, y - corruption.A(black), 0.0)
    norm, step = squared_norm(corruption, black), STEP / weight
    # half of the allowed product of steps and norms for each of the two dual variables
    data_step, slope_step = 0.5 / (step * norm), 0.5 / (step * GRADIENT_NORM)
    x = corruption.A_adjoint(b) / norm  # above black
    residual, slopes, ahead = counts * (corruption.linear(x) - b), torch.zeros_like(gradient(x)), x
    for _ in range(steps):
        residual = counts * (residual + data_step * (corruption.linear(ahead) - b)) / (1 + data_step)
        slopes = _within_ball(slopes + slope_step * gradient(ahead), weight)
        new = x - step * (corruption.A_adjoint(residual) - divergence(slopes))
        x, ahead = new, 2 * new - x
    return (black + x).clamp(-1, 1)


def _within_ball(p: Tensor, radius: float) -> Tensor:
    """Vectors ``p`` (2, ...) shortened to ``radius`` where they are longer."""
    return p / (p.square().sum(dim=0, keepdim=True).sqrt() / radius).clamp(min=1)
