r"""How measurements scatter about what the corruption makes of the generated image.

.. math::  y \mid w \sim \mathrm{Normal}\left(A(G(w)),\; \tau^2 K + \sigma^2 I\right), \qquad K = L S L^\top

on the measurements that count: sigma is the measurement noise, L the corruption's linear part, and S the covariance
of the residual image, what the generator cannot make (:mod:`neuropyro.generators.residuals`), with a scale tau.  The
residual image is thus integrated out.  K is diagonalised once (:mod:`neuropyro.models.reconstruction_kernel`), K = U
diag(k) U', so that any sigma and tau cost one product with U a step.  There are no more directions than pixels: of more
measurements U has fewer columns than rows, and across these directions measurements scatter by their noise alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Size, Tensor

__all__ = ["MeasuredNormal", "MeasurementSpread"]


@dataclass(frozen=True, eq=False)
class MeasurementSpread:
    """K, diagonalised, for g = 1 corruption of all images or g = B of one each.

    Attributes
    ----------
    places
        (g, m) indices of the measurements that count among all n; padded with 0 where images have fewer.
    counts
        (g, m) 1, and 0 where it is padded.
    variance
        k, (g, r): r = m, or fewer where one corruption makes more numbers than images have.
    basis
        U, (g, m, r), in its columns; None is the identity.

    Examples
    --------
    >>> spread = MeasurementSpread(torch.tensor([[0, 2]]), torch.ones(1, 2), variance=torch.tensor([[3.0, 8.0]]))
    >>> spread.coordinates(torch.tensor([[5.0, 6.0, 7.0]])), spread.total(sigma=torch.ones(1), scale=1.0)
    (tensor([[5., 7.]]), tensor([[4., 9.]]))
    >>> spread.distance(torch.tensor([[2.0, 99.0, 3.0]]), sigma=torch.ones(1), scale=1.0)  # 4 / 4 + 9 / 9
    tensor([2.])
    """

    places: Tensor
    counts: Tensor
    variance: Tensor
    basis: Tensor | None = None

    @property
    def beyond(self) -> int:
        """Number of directions of the measurements that U has not, in which there is noise alone."""
        return self.places.shape[1] - self.variance.shape[1]

    def coordinates(self, v: Tensor) -> Tensor:
        """U' v (*, B, r) of vectors (*, B, n)."""
        return self._turned(self._counted(v))

    def _counted(self, v: Tensor) -> Tensor:
        """Those numbers (*, B, m) of vectors (*, B, n) that count."""
        if len(self.places) == 1:
            return v[..., self.places[0]]
        return v.gather(-1, self.places.expand(*v.shape[:-1], -1)) * self.counts

    def _turned(self, v: Tensor) -> Tensor:
        if self.basis is None:
            return v
        return v @ self.basis[0] if len(self.places) == 1 else torch.einsum("...bm,bmk->...bk", v, self.basis)

    def vectors(self, c: Tensor, n: int) -> Tensor:
        """U c (*, B, n) of coordinates (*, B, r); 0 where measurements do not count."""
        if self.basis is not None:
            shared = len(self.places) == 1
            c = c @ self.basis[0].mT if shared else torch.einsum("...bk,bmk->...bm", c, self.basis)
        c = c * self.counts
        zero = c.new_zeros(*c.shape[:-1], n)
        return zero.scatter_add(-1, self.places.expand(c.shape), c)

    def total(self, sigma: Tensor, scale: Tensor | float) -> Tensor:
        """tau^2 k + sigma^2, (*, B, r), for (*, B) each; 1 where padded."""
        tau = torch.as_tensor(scale, dtype=sigma.dtype, device=sigma.device)
        whole = self.variance * tau.square().unsqueeze(-1) + sigma.square().unsqueeze(-1)
        return torch.where(self.counts[:, : whole.shape[-1]] != 0, whole, 1.0)

    def distance(self, v: Tensor, sigma: Tensor, scale: Tensor | float) -> Tensor:
        """Squared distance (*, B) of deviations v (*, B, n) from 0, in sds of tau^2 K + sigma^2."""
        v = self._counted(v)
        c = self._turned(v)
        within = (c.square() / self.total(sigma, scale)).sum(-1)
        if not self.beyond:
            return within
        return within + (v.square().sum(-1) - c.square().sum(-1)).clamp_min(0) / sigma.square()

    def log_density(self, v: Tensor, sigma: Tensor, scale: Tensor | float) -> Tensor:
        """Log-density (*, B) of deviations v (*, B, n) under tau^2 K + sigma^2."""
        volume = self.total(sigma, scale).log().sum(-1) + torch.xlogy(2 * self.beyond, sigma)
        return -0.5 * (self.distance(v, sigma, scale) + volume + math.log(2 * math.pi) * self.counts.sum(-1))

    def draw(self, n: int, sigma: Tensor, scale: Tensor | float, shape: Size) -> Tensor:
        """Deviations (*shape, n) under tau^2 K + sigma^2, of a shape that ends with B; 0 where they do not count."""
        sd = self.total(sigma, scale).sqrt()
        white = torch.randn(*shape, sd.shape[-1], dtype=sd.dtype, device=sd.device)
        if not self.beyond:
            return self.vectors(sd * white, n)
        noise = torch.zeros(*shape, n, dtype=sd.dtype, device=sd.device)
        noise[..., self.places[0]] = torch.randn(*shape, self.places.shape[1], dtype=sd.dtype, device=sd.device)
        across = noise - self.vectors(self.coordinates(noise), n)
        return self.vectors(sd * white, n) + sigma.unsqueeze(-1) * across


class MeasuredNormal(dist.TorchDistribution):  # type: ignore[misc]
    """Normal distribution of measurements about ``loc`` (*, B, ...), real.

    Parameters
    ----------
    loc
        Mean; complex measurements as pairs of real numbers in a last dimension.
    spread
        K.
    sigma
        Noise, (*, B).
    scale
        tau, (*, B) or a number.
    event
        Number of dimensions of one image's measurements.

    Examples
    --------
    >>> spread = MeasurementSpread(torch.tensor([[0, 2]]), torch.ones(1, 2), variance=torch.tensor([[3.0, 8.0]]))
    >>> law = MeasuredNormal(torch.zeros(1, 3), spread, sigma=torch.ones(1), scale=1.0, event=1)
    >>> round(float(law.log_prob(torch.tensor([[2.0, 99.0, 3.0]]))), 3)  # -(1 + 1) / 2 - log(2 * 3) - log(2 pi)
    -4.63
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as torch declares it)
    has_rsample = True

    def __init__(
        self, loc: Tensor, spread: MeasurementSpread, sigma: Tensor, scale: Tensor | float, event: int
    ) -> None:
        self.loc, self.spread, self.sigma, self.scale = loc, spread, sigma, scale
        batch = torch.broadcast_shapes(loc.shape[:-event], sigma.shape)  # type: ignore[no-untyped-call]
        super().__init__(batch, loc.shape[-event:], validate_args=False)

    @property
    def support(self) -> Any:
        """All real numbers."""
        return constraints.independent(constraints.real, len(self.event_shape))

    def expand(self, batch_shape: Size, _instance: Any = None) -> MeasuredNormal:
        """Return it with another batch shape."""
        loc = self.loc.expand(*batch_shape, *self.event_shape)
        return MeasuredNormal(loc, self.spread, self.sigma.expand(batch_shape), self.scale, len(self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density (*, B) of measurements (*, B, ...); those that do not count are not looked at."""
        v = (value - self.loc).flatten(-len(self.event_shape))
        return self.spread.log_density(v, self.sigma, self.scale)

    def rsample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 (as torch declares it)
        """Draw; measurements that do not count are the mean's."""
        shape = Size(sample_shape) + self.batch_shape
        v = self.spread.draw(self.event_shape.numel(), self.sigma, self.scale, shape)
        return self.loc + v.reshape(*shape, *self.event_shape)
