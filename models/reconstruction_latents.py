r"""The prior of the generator's latent, in a space where it is standard normal.

.. math::  w = \mu + M\, e\, R^\top, \qquad e_{ld} \sim \mathrm{Normal}(0, 1)

for w (layers, w_dim) of one image: mu and R R' are mean and covariance of w over the generator's own z, the same for
every layer, and M M' is the correlation of layers, 1 on its diagonal and rho beside it.  With rho = 0 layers are
independent (the W+ of the literature); with rho near 1 they nearly share one w, as they do in what the generator was
trained on.  Guides work on e, where one learning rate suits every number: the site's support says so.

References
----------
Marinescu et al., "Bayesian image reconstruction using deep generative models", arXiv 2012.04567, section 3 (the prior;
full covariance and correlated layers are ours); Abdal et al., "Image2StyleGAN", ICCV 2019 (W+).
"""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Size, Tensor
from torch.distributions import biject_to, transform_to
from torch.distributions.transforms import Transform

__all__ = ["LatentNormal", "Whitened", "colinearity", "layer_correlation"]

SHRINKAGE = 0.01  # of the covariance towards its diagonal: some directions of w hardly vary


class Whitened(constraints.Constraint):  # type: ignore[misc]
    """All arrays of ``event_dim`` dimensions, to be reached from standard normal ones by ``transform``.

    Examples
    --------
    >>> from torch.distributions import AffineTransform
    >>> biject_to(Whitened(AffineTransform(10.0, 2.0), event_dim=1))(torch.tensor([-1.0, 0.0, 1.0]))
    tensor([ 8., 10., 12.])
    """

    def __init__(self, transform: Transform, event_dim: int = 2) -> None:
        self.transform, self.event_dim = transform, event_dim
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Whether they are finite."""
        return torch.isfinite(value).flatten(-self.event_dim).all(-1)


@biject_to.register(Whitened)  # type: ignore[no-untyped-call, untyped-decorator]
@transform_to.register(Whitened)  # type: ignore[no-untyped-call, untyped-decorator]
def _transform_of(constraint: Whitened) -> Transform:
    transform: Transform = constraint.transform
    return transform


class _MatrixAffine(Transform):
    """The map from e to w of the module's docstring.

    Parameters
    ----------
    loc
        mu, (w_dim,).
    rows
        M, (layers, layers), lower triangular.
    columns
        R, (w_dim, w_dim), lower triangular.
    """

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.independent(constraints.real, 2)
    bijective = True

    def __init__(self, loc: Tensor, rows: Tensor, columns: Tensor) -> None:
        super().__init__()  # no cache: optimisers change parameters in place, which it would not see
        self.loc, self.rows, self.columns = loc, rows, columns
        self.rows_inverse, self.columns_inverse = (_inverse(t) for t in (rows, columns))
        volume = len(loc) * rows.diagonal().log().sum() + len(rows) * columns.diagonal().log().sum()
        self.volume = volume

    def with_cache(self, cache_size: int = 1) -> _MatrixAffine:
        """Return itself: nothing is kept."""
        return self

    def __eq__(self, other: object) -> bool:
        return self is other

    def _call(self, e: Tensor) -> Tensor:
        return self.loc + self.rows @ e @ self.columns.mT

    def _inverse(self, w: Tensor) -> Tensor:
        return self.rows_inverse @ (w - self.loc) @ self.columns_inverse.mT

    def log_abs_det_jacobian(self, e: Tensor, w: Tensor) -> Tensor:
        """Logarithm of the volume by which it stretches, the same everywhere."""
        return self.volume.expand(e.shape[:-2])


class LatentNormal(dist.TorchDistribution):  # type: ignore[misc]
    """Matrix normal distribution of w, event (layers, w_dim).

    Parameters
    ----------
    affine
        From standard normals; see :meth:`of`.
    free
        From the numbers that guides and searches move to w; ``affine`` if None.

    Examples
    --------
    >>> law = LatentNormal.of(torch.zeros(2), torch.eye(2), layers=torch.eye(3))  # six standard normals
    >>> round(float(law.log_prob(torch.ones(3, 2))), 3)  # -6 (1 + log(2 pi)) / 2
    -8.514
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as torch declares it)
    has_rsample = True

    def __init__(
        self,
        affine: _MatrixAffine,
        batch_shape: Size = Size(),  # noqa: B008 (as torch declares it)
        free: _MatrixAffine | None = None,
    ) -> None:
        self.affine, self.free = affine, affine if free is None else free
        super().__init__(batch_shape, Size([len(affine.rows), len(affine.loc)]), validate_args=False)

    @classmethod
    def of(cls, mean: Tensor, covariance: Tensor, layers: Tensor) -> LatentNormal:
        """Make it from the mean (w_dim,), the covariance (w_dim, w_dim) and the correlation (layers, layers)."""
        wide = covariance.double()
        shrunk = (1 - SHRINKAGE) * wide + SHRINKAGE * torch.diag(wide.diagonal())
        rows, columns = (torch.linalg.cholesky(t.double()).to(mean) for t in (layers, shrunk))
        return cls(_MatrixAffine(mean, rows, columns))

    def in_steps_of(self, sd: Tensor) -> LatentNormal:
        """Return the same law, of which guides and searches move every number in units of ``sd`` (w_dim,)."""
        return LatentNormal(
            self.affine, free=_MatrixAffine(self.affine.loc, torch.eye(len(self.affine.rows)).to(sd), sd.diag())
        )

    @property
    def support(self) -> Any:
        """All of space, reached through the whitening."""
        return Whitened(self.free)

    def expand(self, batch_shape: Size, _instance: Any = None) -> LatentNormal:
        """Return it with another batch shape."""
        return LatentNormal(self.affine, Size(batch_shape), self.free)

    def log_prob(self, w: Tensor) -> Tensor:
        """Log-density (*) of w (*, layers, w_dim)."""
        squares = self.affine.inv(w).square().sum((-2, -1))
        density: Tensor = -0.5 * (squares + self.event_shape.numel() * math.log(2 * math.pi)) - self.affine.volume
        return density

    def rsample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 (as torch declares it)
        """Draw, differentiably."""
        like = self.affine.loc
        e = torch.randn(self._extended_shape(sample_shape), dtype=like.dtype, device=like.device)
        drawn: Tensor = self.affine(e)
        return drawn


def _inverse(lower: Tensor) -> Tensor:
    eye = torch.eye(len(lower), dtype=torch.float64, device=lower.device)
    inverse: Tensor = torch.linalg.solve_triangular(lower.double(), eye, upper=False)
    return inverse.to(lower)


def layer_correlation(layers: int, rho: float, like: Tensor) -> Tensor:
    """Matrix (layers, layers) with 1 on its diagonal and ``rho`` beside it.

    Raises
    ------
    ValueError
        Where rho is not in 0..1, 1 excluded.

    Examples
    --------
    >>> layer_correlation(3, 0.5, like=torch.zeros(())).tolist()
    [[1.0, 0.5, 0.5], [0.5, 1.0, 0.5], [0.5, 0.5, 1.0]]
    """
    if not 0 <= rho < 1 or math.isnan(rho):
        raise ValueError(f"reconstruction: the correlation of layers must be 0 or more and below 1, got {rho}")
    return torch.full((layers, layers), rho).fill_diagonal_(1.0).to(like)


def colinearity(w: Tensor) -> Tensor:
    """Sum over all ordered pairs of layers of :math:`|1 - cos(w_i, w_j)|`, (*), for w (*, layers, w_dim).

    Examples
    --------
    >>> colinearity(torch.eye(3)), colinearity(torch.ones(3, 3)).round(decimals=3)  # at right angles; all alike
    (tensor(6.), tensor(0.))
    """
    unit: Tensor = w / w.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return (1 - unit @ unit.mT).abs().sum((-2, -1))
