r"""Visits of many vertices that share few mean curves: a Normal whose log-density is one matrix product.

Row l of the data, V_l (its N visits), given a mean curve F and r columns J, is

.. math::  V_l \sim \mathrm{Normal}(F,\; \sigma^2 I + J J^\top).

With K candidate curves for each of L vertices, the squared distances are
:math:`\sum_n (V_{ln} - F_{kn})^2 = |V_l|^2 - 2 V_l \cdot F_k + |F_k|^2`, and Woodbury's identity needs of V only the
products with F and J besides.  So V is read once, in one product with K (1 + r) columns, and nothing of size
K x N x L is ever built.  Missing values drop out: V holds 0 there, and the Gram matrix of the columns becomes a
product with the mask, one for each vertex.

References
----------
Petersen & Pedersen, *The Matrix Cookbook*, 2012, eqs. 156 (Woodbury) and 24 (determinant).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Size, Tensor

from neuropyro.models.packed_grams import lower_triangle, quadratic, unpacked
from neuropyro.models.row_products import row_products, weighted_grams
from neuropyro.models.vertex_effects import Lasting

__all__ = ["VisitNormal"]

DUST = 1e-24  # responsibility below which a law has no part in a vertex


class VisitNormal(TorchDistribution):  # type: ignore[misc]
    """Normal(loc, scale^2 I + factor factor') over visits; batch = vertices.

    Parameters
    ----------
    loc
        ``(*batch, visits)`` mean curves.  Where the last batch dimension is 1, all vertices share the curve, and
        the log-density is a matrix product; else each vertex has its own.
    scale
        ``(*batch,)`` sd of the independent part.
    factor
        ``(*batch, visits, r)`` columns of the low-rank part, or None.
    observed
        ``(vertices, visits)``, 1 where a value was seen and 0 where it is missing (and `value` is 0), or None.
    sum_squares
        ``(vertices,)``, the data's own sums of squares, if the caller has them: saves a pass over the data.
    lasting
        What lasts of each subject at each vertex, with the data's sums over subjects' visits, or None for nothing: the
        covariance is then that of :mod:`neuropyro.models.vertex_effects` and the columns.

    Notes
    -----
    Differences of large sums lose digits: centre the data first.

    Examples
    --------
    >>> curves, values = torch.zeros(5), torch.zeros(100, 5)  # one curve of five visits, 100 vertices
    >>> VisitNormal(curves.expand(1, 5), torch.ones(1)).log_prob(values).shape
    torch.Size([100])
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as torch declares it)
    support = constraints.real_vector

    def __init__(
        self,
        loc: Tensor,
        scale: Tensor,
        factor: Tensor | None = None,
        observed: Tensor | None = None,
        sum_squares: Tensor | None = None,
        lasting: Lasting | None = None,
    ) -> None:
        self.loc, self.scale, self.factor = loc, scale, factor
        self.observed, self.sum_squares, self.lasting = observed, sum_squares, lasting
        vertices = Size() if observed is None else observed.shape[:-1]
        batch = torch.broadcast_shapes(loc.shape[:-1], scale.shape, vertices)  # type: ignore[no-untyped-call]
        # Values are checked once, where they are read in; a pass over them at every step would cost as much as the
        # likelihood.
        super().__init__(batch, loc.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Size, _instance: Any = None) -> VisitNormal:
        """Return the same distribution with another batch shape; curves stay shared."""
        new: VisitNormal = self._get_checked_instance(VisitNormal, _instance)
        for name in ("loc", "scale", "factor", "observed", "sum_squares", "lasting"):
            setattr(new, name, getattr(self, name))
        TorchDistribution.__init__(new, Size(batch_shape), self.event_shape, validate_args=False)
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of ``value (*, vertices, visits)``, summed over visits; ``(*batch,)``."""
        distance, residual, gram, log_det = self._statistics(value)
        variance = self.scale * self.scale
        if residual:
            fitted, extra = _woodbury(residual, gram, variance)
            distance, log_det = distance - fitted, log_det + extra
        # What columns far larger than the data leave of a distance is rounding, and may be far below 0.
        log_prob = -0.5 * (distance.clamp_min(0) / variance + log_det + self._n_visits() * math.log(2 * math.pi))
        if log_prob.requires_grad:
            log_prob.register_hook(_without_dust)  # type: ignore[no-untyped-call]
        shape = torch.broadcast_shapes(log_prob.shape, self.batch_shape)  # type: ignore[no-untyped-call]
        return log_prob.expand(shape)

    @torch.no_grad()
    def sample_weights(self, value: Tensor) -> Tensor:
        """Draw the columns' weights h given ``value (vertices, visits)``, ``(*batch, r)``."""
        if self.factor is None:
            raise ValueError("factor: None; without columns there are no weights")
        _, products, grams, _ = self._statistics(value)
        residual = torch.stack(products, -1)
        variance = (self.scale * self.scale)[..., None, None]
        gram = unpacked(torch.stack(grams, -1), len(products))
        eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        chol = torch.linalg.cholesky(eye + gram / variance).expand(*residual.shape, -1)
        mean = torch.cholesky_solve(residual.unsqueeze(-1) / variance, chol)
        spread = torch.linalg.solve_triangular(chol.mT, torch.randn_like(mean), upper=True)
        drawn: Tensor = (mean + spread).squeeze(-1)
        return drawn

    @torch.no_grad()
    def sample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 (as torch declares it)
        """Draw ``(*sample_shape, *batch, visits)``; missing values are drawn too."""
        shape = self._extended_shape(sample_shape)
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        drawn: Tensor = self.loc + self.scale.unsqueeze(-1) * noise
        if self.lasting is not None:
            drawn = drawn + self.lasting.drawn(shape[:-1])
        if self.factor is not None:
            weights = torch.randn(*shape[:-1], self.factor.shape[-1], 1, dtype=self.loc.dtype, device=self.loc.device)
            drawn = drawn + (self.factor @ weights).squeeze(-1)
        return drawn

    def _statistics(self, value: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor], Tensor]:
        """Return what is left when the columns' weights are integrated out: of the white part and of what lasts.

        That is the squared distance to the curve, times the variance; products of the residual with the columns, and of
        these with each other, packed by row; the log determinant.
        """
        columns = self._columns()
        product = row_products(value, columns)
        gram = weighted_grams(self.observed, columns)
        squares = (value * value).sum(-1) if self.sum_squares is None else self.sum_squares
        log_det = self._n_visits() * (self.scale * self.scale).log()
        if self.lasting is not None:
            product, gram = product - self.lasting.products(columns), gram - self.lasting.grams(columns)
            squares, log_det = squares - self.lasting.squares(), log_det + self.lasting.volume()
        of_curve, *of_columns = product.unbind(-1)
        grams = dict(zip(lower_triangle(columns.shape[-1]), gram.unbind(-1), strict=True))
        residual = [own - grams[i, 0] for i, own in enumerate(of_columns, 1)]
        rest = [own for (_, j), own in grams.items() if j > 0]
        return squares - 2 * of_curve + grams[0, 0], residual, rest, log_det

    def _columns(self) -> Tensor:
        loc = self.loc.unsqueeze(-1)
        if self.factor is None:
            return loc
        return torch.cat([loc.expand(*self.factor.shape[:-1], 1), self.factor], -1)

    def _n_visits(self) -> Tensor | int:
        return self.event_shape[0] if self.observed is None else self.observed.sum(-1)


def _without_dust(gradient: Tensor | None) -> Tensor | None:
    """Return 0 for what is near the least number there is: such numbers make a product of matrices many times slower.

    Gradients of the density of a mixture's vertices are responsibilities.
    """
    return None if gradient is None else torch.where(gradient.abs() < DUST, 0.0, gradient)


def _woodbury(residual: list[Tensor], gram: list[Tensor], variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the low-rank part explains of the squared distance, and what it adds to the log-determinant."""
    scaled = [own / variance for own in gram]
    if scaled[0].shape[-1] > 1:
        explained, volume = quadratic(scaled, residual)
        return explained / variance, volume
    # One matrix for all vertices: they become columns of one triangular solve.
    matrix = unpacked(torch.stack(scaled, -1), len(residual)).squeeze(-3)
    eye = torch.eye(len(residual), dtype=matrix.dtype, device=matrix.device)
    # cholesky_ex does not synchronise a GPU; a failure shows as NaN in the loss.
    chol = torch.linalg.cholesky_ex(eye + matrix).L
    whitened = torch.linalg.solve_triangular(chol, torch.stack(residual, -2), upper=False).square().sum(-2)
    return whitened / variance, 2 * chol.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
