r"""How measurements scatter about what the corruption makes of the generated image.

.. math::  y \mid w \sim \mathrm{Normal}\left(A(G(w)),\; \tau^2 L S L^\top + \sigma^2 I\right)

on the measurements that count: sigma is the measurement noise, L the corruption's linear part, and S the covariance
of the residual image, what the generator cannot make (:mod:`neuropyro.generators.residuals`), with a scale tau.  The
residual image is thus integrated out.  K = L S L' is diagonalised once, K = U diag(k) U', so that any sigma and tau
cost one product with U a step; above :data:`DENSE_LIMIT` measurements only K's diagonal is kept, which takes the
residuals of different measurements to be independent.  Without a residual k is 0.

Given y and w the residual image is drawn by conditioning (Matheron's rule): with r, eps from their priors,

.. math::  r + \tau^2 S L^\top (\tau^2 K + \sigma^2)^{-1} (y - A(G(w)) - L r - \varepsilon)

is a draw of its posterior.  There K is never approximated: above the limit the system is solved by conjugate gradients.

References
----------
Rasmussen and Williams, "Gaussian processes for machine learning", 2006, eq. 2.23 (conditioning); Wilson et al.,
"Pathwise conditioning of Gaussian processes", JMLR 2021 (Matheron's rule).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Size, Tensor

from neuropyro.generators.residuals import ResidualCovariance
from neuropyro.models.corruption_operator import Corruption, as_measurements, flat_reals

__all__ = ["MeasuredNormal", "MeasurementSpread", "conditional_residual", "spread_of"]

DENSE_LIMIT = 4096  # measurements, real numbers
MATRICES = 8  # dense ones at most, where each image has a corruption of its own
CHUNK = 256  # columns of K at once
DIAGONAL_DRAWS = 1000  # each variance is then known to 4.5 %
DOUBLE_LIMIT = 2048  # up to so many the eigenvectors are found in double precision
ITERATIONS, TOLERANCE = 200, 1e-5  # of conjugate gradients


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
        k, (g, m).
    basis
        U, (g, m, m), in its columns; None is the identity.

    Examples
    --------
    >>> spread = MeasurementSpread(torch.tensor([[0, 2]]), torch.ones(1, 2), variance=torch.tensor([[3.0, 8.0]]))
    >>> spread.coordinates(torch.tensor([[5.0, 6.0, 7.0]])), spread.total(sigma=torch.ones(1), scale=1.0)
    (tensor([[5., 7.]]), tensor([[4., 9.]]))
    """

    places: Tensor
    counts: Tensor
    variance: Tensor
    basis: Tensor | None = None

    def coordinates(self, v: Tensor) -> Tensor:
        """U' v (*, B, m) of vectors (*, B, n)."""
        if len(self.places) == 1:
            v = v[..., self.places[0]]
            return v if self.basis is None else v @ self.basis[0]
        v = v.gather(-1, self.places.expand(*v.shape[:-1], -1)) * self.counts
        return v if self.basis is None else torch.einsum("...bm,bmk->...bk", v, self.basis)

    def vectors(self, c: Tensor, n: int) -> Tensor:
        """U c (*, B, n) of coordinates (*, B, m); 0 where measurements do not count."""
        if self.basis is not None:
            shared = len(self.places) == 1
            c = c @ self.basis[0].mT if shared else torch.einsum("...bk,bmk->...bm", c, self.basis)
        c = c * self.counts
        zero = c.new_zeros(*c.shape[:-1], n)
        return zero.scatter_add(-1, self.places.expand(c.shape), c)

    def total(self, sigma: Tensor, scale: Tensor | float) -> Tensor:
        """tau^2 k + sigma^2, (*, B, m), for (*, B) each; 1 where padded."""
        tau = torch.as_tensor(scale, dtype=sigma.dtype, device=sigma.device)
        whole = self.variance * tau.square().unsqueeze(-1) + sigma.square().unsqueeze(-1)
        return torch.where(self.counts != 0, whole, 1.0)

    def log_density(self, v: Tensor, sigma: Tensor, scale: Tensor | float) -> Tensor:
        """Log-density (*, B) of deviations v (*, B, n) under tau^2 K + sigma^2."""
        variance = self.total(sigma, scale)
        terms = self.coordinates(v).square() / variance + variance.log()
        return -0.5 * (terms.sum(-1) + math.log(2 * math.pi) * self.counts.sum(-1))


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
        sd = self.spread.total(self.sigma, self.scale).sqrt()
        shape = Size(sample_shape) + self.batch_shape + sd.shape[-1:]
        v = self.spread.vectors(sd * torch.randn(shape, dtype=sd.dtype, device=sd.device), self.event_shape.numel())
        return self.loc + v.reshape(*v.shape[:-1], *self.event_shape)


def spread_of(
    corruption: Corruption, residual: ResidualCovariance | None, observed: Tensor, y: Tensor
) -> MeasurementSpread:
    """Diagonalise K.

    Parameters
    ----------
    corruption
        Linear, where there is a residual.
    residual
        S; None is 0.
    observed
        (B, n) booleans: which measurements count.
    y
        Measurements (B, ...), of which shape, dtype and device matter.

    Examples
    --------
    >>> from neuropyro.generators.residuals import ResidualSpread
    >>> from neuropyro.models.corruption import Downsample
    >>> white = ResidualSpread(torch.full((1, 4, 4), 0.2), torch.ones(16))
    >>> y, seen = torch.zeros(1, 1, 2, 2), torch.tensor([[True, True, False, True]])
    >>> spread_of(Downsample(2, "area"), white, seen, y).variance  # of means of four pixels
    tensor([[0.0100, 0.0100, 0.0100]])
    """
    image = corruption.image_shape(tuple(y.shape))
    own = not _is_shared(corruption, observed, torch.zeros((1, *image[1:]), dtype=y.real.dtype, device=y.device))
    places, seen = _places(observed if own else observed[:1])
    counts = seen.to(y.real.dtype)
    if residual is None:
        return MeasurementSpread(places, counts, torch.zeros_like(counts))
    g, m = places.shape
    if m > DENSE_LIMIT or g > MATRICES:
        diagonal = _diagonal(corruption, residual, torch.zeros((g, *image[1:]), dtype=y.real.dtype, device=y.device))
        return MeasurementSpread(places, counts, diagonal.gather(-1, places) * counts)
    kernel = _kernel(corruption, residual, places, y)
    kernel = kernel * counts.unsqueeze(-1) * counts.unsqueeze(-2) - torch.diag_embed(1 - counts)  # padding comes last
    variance, basis = torch.linalg.eigh(kernel.double() if m <= DOUBLE_LIMIT else kernel)
    return MeasurementSpread(places, counts, variance.flip(-1).clamp_min(0).to(counts), basis.flip(-1).to(counts))


def _is_shared(corruption: Corruption, observed: Tensor, black: Tensor) -> bool:
    """Whether the corruption does the same to every image; one with parameters of each makes several of one image."""
    return len(observed) == 1 or (len(corruption.A(black)) == 1 and bool((observed == observed[:1]).all()))


def _places(seen: Tensor) -> tuple[Tensor, Tensor]:
    """Find the indices (g, m) of what is True in ``seen`` (g, n), and (g, m) booleans, False where padded."""
    m = int(seen.sum(-1).max())
    order = (~seen).to(torch.int8).argsort(dim=-1, stable=True)[:, :m]
    counts = seen.gather(-1, order)
    return torch.where(counts, order, 0), counts


def _kernel(corruption: Corruption, residual: ResidualCovariance, places: Tensor, y: Tensor) -> Tensor:
    """K (g, m, m), a few columns at a time."""
    g, m = places.shape
    n = flat_reals(y[:1], y.ndim - 1).shape[-1]
    columns = []
    for part in torch.split(torch.arange(m, device=y.device), CHUNK):
        unit = torch.zeros(len(part), g, n, dtype=y.real.dtype, device=y.device)
        unit.scatter_(-1, places[:, part].mT.unsqueeze(-1), 1.0)
        unit = as_measurements(unit if g > 1 else unit[:, 0], y)  # one corruption: units are images of a batch
        found = flat_reals(corruption.linear(residual.multiply(corruption.A_adjoint(unit))), y.ndim - 1)
        found = found.reshape(len(part), g, n).gather(-1, places.expand(len(part), g, m))
        columns.append(found.movedim(0, -1))
    kernel = torch.cat(columns, -1)
    return (kernel + kernel.mT) / 2


def _diagonal(corruption: Corruption, residual: ResidualCovariance, like: Tensor) -> Tensor:
    """Estimate K's diagonal (g, n) by residual images drawn from S, which are shaped ``like``."""
    source = torch.Generator().manual_seed(0)
    total: Tensor | float = 0.0
    for _ in range(DIAGONAL_DRAWS):
        y = corruption.linear(residual.root(torch.randn(like.shape, generator=source).to(like)))
        total = total + flat_reals(y, y.ndim - 1).square()
    return torch.as_tensor(total) / DIAGONAL_DRAWS


def conditional_residual(
    corruption: Corruption,
    residual: ResidualCovariance,
    spread: MeasurementSpread,
    deviation: Tensor,
    sigma: Tensor,
    scale: Tensor,
    white: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Residual images (B, C, H, W) given y and w: their mean, or a draw.

    Parameters
    ----------
    deviation
        y - A(G(w)), (B, ...), 0 where measurements do not count; complex where they are.
    sigma, scale
        (B,)
    white
        White noise (B, C, H, W) and (B, ...) for a draw; the mean if None.

    Examples
    --------
    >>> from neuropyro.generators.residuals import ResidualSpread
    >>> from neuropyro.models.corruption import Identity
    >>> white, y = ResidualSpread(torch.full((1, 2, 2), 0.3), torch.ones(16)), torch.full((1, 1, 2, 2), 0.5)
    >>> spread = spread_of(Identity(), white, torch.ones(1, 4, dtype=torch.bool), y)
    >>> conditional_residual(Identity(), white, spread, y, torch.tensor([0.1]), torch.ones(1))[0, 0, 0]
    tensor([0.4500, 0.4500])
    """
    event = deviation.ndim - 1
    tau, sd = (t.reshape(-1, *[1] * event) for t in (scale, sigma))
    prior = None
    if white is not None:
        prior = scale.reshape(-1, 1, 1, 1) * residual.root(white[0])
        deviation = deviation - corruption.linear(prior) - sd * white[1]

    def back(v: Tensor) -> Tensor:
        """S L' v of vectors (B, n)."""
        return residual.multiply(corruption.A_adjoint(as_measurements(v, deviation)))

    flat = flat_reals(deviation, event)
    weights = spread.coordinates(flat) / spread.total(sigma, scale)
    solved = spread.vectors(weights, flat.shape[-1])
    if spread.basis is None:
        seen = spread.vectors(torch.ones_like(weights), flat.shape[-1])

        def product(v: Tensor) -> Tensor:
            through = flat_reals(corruption.linear(back(v)), event)
            return seen * (scale.square().unsqueeze(-1) * through + sigma.square().unsqueeze(-1) * v)

        solved = _conjugate_gradients(product, seen * flat, solved)
    mean = tau.square().reshape(-1, 1, 1, 1) * back(solved)
    return mean if prior is None else prior + mean


def _conjugate_gradients(product: Callable[[Tensor], Tensor], b: Tensor, x: Tensor) -> Tensor:
    """Solve product(x) = b (B, n) for each row, from ``x``; product is symmetric and positive."""
    r = b - product(x)
    p, norm = r, r.square().sum(-1, keepdim=True)
    goal = TOLERANCE**2 * b.square().sum(-1, keepdim=True)
    for _ in range(ITERATIONS):
        if bool((norm <= goal).all()):
            break
        q = product(p)
        step = norm / (p * q).sum(-1, keepdim=True).clamp_min(1e-30)
        x, r = x + step * p, r - step * q
        new = r.square().sum(-1, keepdim=True)
        p, norm = r + new / norm.clamp_min(1e-30) * p, new
    return x
