r"""The spread of residual images by conditionals: each pixel given its neighbours.

.. math::  r_i = \sum_{j \in N(i)} a_{ij} r_j + d_i \varepsilon_i, \qquad \varepsilon_i \sim \mathrm{Normal}(0, 1),

for pixels in an order from coarse to fine, N(i) the nearest ones before i.  So r = (I - A)^{-1} D \varepsilon with A
sparse and lower triangular: S is positive definite whatever the numbers, follows edges and tissues where they are, and
costs one sparse solve.  Coefficients are regressions on residuals of some hundred images, whose covariance is shrunk
towards a stationary one (:class:`~neuropyro.generators.residuals.ResidualSpread`); how far is decided by the
log-density of residuals that were left out.

References
----------
Vecchia, *Estimation and model identification for continuous spatial processes*, JRSS B 1988; Schäfer, Katzfuss and
Owhadi, *Sparse Cholesky factorization by Kullback-Leibler minimization*, SIAM J. Sci. Comput. 2021 (the order, and that
these conditionals are the closest of their pattern).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Self

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import SuperLU, splu
from scipy.spatial import cKDTree
from torch import Tensor

from neuropyro.generators.residuals import ResidualSpread

__all__ = ["ConditionalSpread", "coarse_to_fine", "neighbours_before"]

NEIGHBOURS = 30
SHRINKAGES = (0.03, 0.1, 0.2, 0.4, 0.7, 1.0)
LEFT_OUT = 0.25  # of the residuals, where the shrinkage is chosen
CHUNK = 256  # pixels at once
CHANNEL_DISTANCE = 0.5  # px
Array = NDArray[np.float64]


@dataclass(frozen=True)
class ConditionalSpread:
    """Covariance S of the residual image.

    Attributes
    ----------
    weights
        a, (C H W, neighbours), pixel after pixel in the order of :func:`coarse_to_fine`, neighbours in that of
        :func:`neighbours_before`, 0 where there are fewer.
    sd
        d, (C, H, W), in the images' unit and layout.

    Examples
    --------
    >>> spread = ConditionalSpread(weights=torch.tensor([[0.0], [0.5]]), sd=torch.ones(1, 1, 2))  # r1 = .5 r0 + noise
    >>> spread.multiply(torch.eye(2).view(2, 1, 1, 2)).view(2, 2)
    tensor([[1.0000, 0.5000],
            [0.5000, 1.2500]])
    """

    weights: Tensor
    sd: Tensor
    typical_scale: ClassVar[float] = 1.0

    @classmethod
    def of(cls, residuals: Tensor, neighbours: int = NEIGHBOURS) -> Self:
        """Learn it from residuals (N, C, H, W) of some hundred images, whose mean is taken to be 0."""
        values, shape = residuals.flatten(1).double().cpu().numpy(), tuple(residuals.shape[1:])
        kept = math.ceil(len(values) * (1 - LEFT_OUT))
        places = neighbours_before(shape, neighbours)
        part = _Regressions(values[:kept], places, ResidualSpread.of(residuals[:kept].cpu()))
        densities = {share: cls._made(*part.solved(share), shape).log_density(values[kept:]) for share in SHRINKAGES}
        best = max(densities, key=lambda share: densities[share])
        whole = _Regressions(values, places, ResidualSpread.of(residuals.cpu()))
        return cls._made(*whole.solved(best), shape)

    @classmethod
    def _made(cls, weights: Array, sd: Array, shape: tuple[int, ...]) -> Self:
        return cls(torch.from_numpy(weights).float(), torch.from_numpy(sd.reshape(shape)).float())

    def to_arrays(self) -> dict[str, Tensor]:
        """Arrays by the names under which a card keeps them."""
        return {"residual.weights": self.weights, "residual.conditional_sd": self.sd}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Tensor]) -> Self | None:
        """Read it from a card's arrays; None where they have none."""
        names = ("residual.weights", "residual.conditional_sd")
        return cls(*(arrays[name].float() for name in names)) if all(name in arrays for name in names) else None

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Return itself: solves are on the CPU in double precision, and results follow what is multiplied."""
        return self

    def root(self, z: Tensor) -> Tensor:
        """Turn white noise ``z`` (..., C, H, W) into residuals: their covariance is S."""
        return self._applied(z, lambda v: self._factor.solve(self._scale * v))

    def multiply(self, x: Tensor) -> Tensor:
        """S times ``x`` (..., C, H, W)."""
        scale = self._scale**2
        return self._applied(x, lambda v: self._factor.solve(scale * self._factor.solve(v, "T")))

    def log_density(self, values: Array) -> float:
        """Mean log-density of residuals (N, C H W) under S, nats."""
        white = (self._matrix @ values.T) / self._scale
        return float(
            -0.5 * (white**2).sum(0).mean() - np.log(self._scale).sum() - white.shape[0] / 2 * np.log(2 * np.pi)
        )

    def _applied(self, x: Tensor, operation: Callable[[Array], Array]) -> Tensor:
        flat = x.detach().reshape(-1, self.sd.numel()).T.double().cpu().numpy()
        return torch.from_numpy(operation(flat).T).to(x).reshape(x.shape)

    @cached_property
    def _scale(self) -> Array:
        return self.sd.double().cpu().numpy().reshape(-1, 1)

    @cached_property
    def _matrix(self) -> sp.csc_array:
        """I - A, rows and columns in the image's layout."""
        shape = tuple(self.sd.shape)
        order, places = coarse_to_fine(shape), neighbours_before(shape, self.weights.shape[1])
        rows = np.repeat(order, places.shape[1])
        weights = np.where(places >= 0, self.weights.double().cpu().numpy(), 0.0).ravel()
        a = sp.coo_array((weights, (rows, places.clip(0).ravel())), shape=(len(order), len(order)))
        return (sp.eye_array(len(order)) - a).tocsc()

    @cached_property
    def _factor(self) -> _Permuted:
        return _Permuted(self._matrix, coarse_to_fine(tuple(self.sd.shape)))


class _Permuted:
    """Solves with a matrix that is triangular in an order of its rows and columns."""

    def __init__(self, matrix: sp.csc_array, order: NDArray[np.int64]) -> None:
        self.order = order
        triangular = matrix[order][:, order].tocsc()
        self.factor: SuperLU = splu(triangular, permc_spec="NATURAL", diag_pivot_thresh=0.0)

    def solve(self, v: Array, trans: str = "N") -> Array:
        """Solve for columns of ``v`` (n, m)."""
        found = np.empty_like(v)
        found[self.order] = self.factor.solve(np.ascontiguousarray(v[self.order]), trans)
        return found


def coarse_to_fine(shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Order the pixels of (C, H, W), flat indices, beginning with the coarsest grid.

    Examples
    --------
    >>> coarse_to_fine((1, 3, 3)).tolist()  # corners, middle, edges
    [0, 8, 2, 6, 4, 1, 3, 5, 7]
    """
    _, rows, columns = np.indices(shape).reshape(3, -1)
    spacing = np.gcd(np.gcd(rows, columns), 2 ** int(np.log2(max(shape[1:]))))  # of the coarsest grid that it lies on
    between = rows // spacing % 2 != columns // spacing % 2  # one of its axes lies on a coarser grid: half as far
    return np.lexsort((np.arange(len(rows)), between, -spacing)).astype(np.int64)


def neighbours_before(shape: tuple[int, ...], count: int) -> NDArray[np.int64]:
    """Find the nearest pixels before each, in order: flat indices (C H W, count), -1 where there are fewer.

    Examples
    --------
    >>> [sorted(row) for row in neighbours_before((1, 1, 3), 2).tolist()]  # of pixels 0, 2 and 1
    [[-1, -1], [-1, 0], [0, 2]]
    """
    order = coarse_to_fine(shape)
    channels, rows, columns = np.indices(shape).reshape(3, -1)[:, order]
    points = np.stack([rows, columns, CHANNEL_DISTANCE * channels], 1).astype(float)
    found = np.full((len(order), count), -1, np.int64)
    first = 1
    while first < len(order):
        last = min(2 * first, len(order))  # among twice as many points about half the nearest come before
        tree = cKDTree(points[:last])
        near = tree.query(points[first:last], k=min(4 * count + 1, last))[1]
        for i, candidates in zip(range(first, last), near, strict=True):
            before = candidates[candidates < i][:count]
            found[i, : len(before)] = order[before]
        first = last
    return found


class _Regressions:
    """Of each pixel on its neighbours, from a covariance between the sample's and a stationary one."""

    def __init__(self, values: Array, places: NDArray[np.int64], stationary: ResidualSpread) -> None:
        self.values, self.places = values, places
        self.order = coarse_to_fine(tuple(stationary.sd.shape))
        self.shape = tuple(stationary.sd.shape)
        self.sd = stationary.sd.double().numpy().ravel()
        unit = torch.zeros(1, *self.shape[1:], dtype=torch.float64)
        unit[0, 0, 0] = 1.0
        even = ResidualSpread(torch.ones_like(unit), stationary.power.double())
        self.correlation = even.multiply(unit)[0].numpy()

    def solved(self, share: float) -> tuple[Array, Array]:
        """Weights (n, neighbours) in order, and conditional sds (n,) in the image's layout."""
        weights, sd = np.zeros(self.places.shape), np.zeros(len(self.order))
        for first in range(0, len(self.order), CHUNK):
            part = slice(first, first + CHUNK)
            found, variance = self._chunk(self.order[part], self.places[part], share)
            weights[part], sd[self.order[part]] = found, np.sqrt(variance)
        return weights, sd

    def _chunk(self, pixels: NDArray[np.int64], places: NDArray[np.int64], share: float) -> tuple[Array, Array]:
        whole = np.concatenate([places, pixels[:, None]], 1)
        missing = whole < 0
        covariance = (1 - share) * self._sampled(whole) + share * self._stationary(whole)
        covariance = np.where(missing[:, :, None] | missing[:, None, :], 0.0, covariance)
        covariance += missing[:, :, None] * np.eye(whole.shape[1])
        solved = np.linalg.solve(covariance[:, :-1, :-1], covariance[:, :-1, -1:])
        weights = np.asarray(solved[..., 0], np.float64)
        variance: Array = covariance[:, -1, -1] - (weights * covariance[:, :-1, -1]).sum(1)
        return weights, np.maximum(variance, 1e-6 * covariance[:, -1, -1])

    def _sampled(self, whole: NDArray[np.int64]) -> Array:
        x = self.values[:, whole.clip(0)]  # (N, chunk, k)
        found: Array = np.einsum("nck,ncl->ckl", x, x, optimize=True) / len(x)
        return found

    def _stationary(self, whole: NDArray[np.int64]) -> Array:
        _, height, width = self.shape
        plane = height * width
        channels, rows, columns = whole.clip(0) // plane, whole.clip(0) % plane // width, whole.clip(0) % width
        away = [(t[:, :, None] - t[:, None, :]) for t in (channels, rows, columns)]
        found = self.correlation[away[1] % height, away[2] % width] * (away[0] == 0)
        floor = self.sd.max() * 1e-3
        scale = np.maximum(self.sd, floor)[whole.clip(0)]
        shrunk: Array = (found + 1e-4 * np.eye(whole.shape[1])) * scale[:, :, None] * scale[:, None, :]
        return shrunk
