r"""The curvature of the log joint density at a point, and the Gaussian guides' start that follows from it.

At a mode m the posterior is near Normal(m, H^{-1}), H the Hessian of the negative log density.  Rows of H come from
products of H with vectors, one further gradient each, so that a block structure makes it cheap: a row for each global
number, and for the local blocks as many products as a block has numbers, all elements probed at once under random
signs.  What couples two elements averages out, but would drown an element of small curvature beside one of large; so
the probe is repeated, each number scaled by the curvature found before.

References
----------
Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 1994; Bekas, Kokiopoulou & Saad, "An
estimator for the diagonal of a matrix", Applied Numerical Mathematics 2007.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from neuropyro.guides.arrow import Arrow
from neuropyro.guides.blocks import Blocks
from neuropyro.guides.hessian_products import curvature_products

__all__ = ["ArrowHessian", "arrow_at", "arrow_hessian", "cost", "descend", "hessian_diagonal", "local_curvature"]

Potential = Callable[[Tensor], Tensor]
SCALINGS, PROBES = 2, 4  # probes of each number of a local block: to find the scale, then to be averaged
DIAGONAL_PROBES = 32
LEAST = 1e-12
ITERATIONS, MEMORY = 60, 30  # of a round of the descent to a mode
ENOUGH = 0.1  # nats: a round that gains less is the last
LEFT = 1e-3  # nats to the mode, by a curvature that holds there, with which a descent is at its end
UNLIMITED = 1e3  # sds of a number, so far beyond which it is as good as not limited
SHARED_FLOOR, LOCAL_FLOOR = 1e-4, 2e-2  # least eigenvalues of the curvature scaled to a unit diagonal


@dataclass(frozen=True)
class ArrowHessian:
    """A Hessian without what couples two elements of a plate.

    Parameters
    ----------
    blocks
        The partition of the flat vector.
    shared
        ``(G, G)``.
    couplings
        ``(elements, m, G)`` for each local plate.
    local
        ``(elements, m, m)`` for each local plate.

    Examples
    --------
    >>> blocks = Blocks(torch.tensor([2]), (torch.tensor([[0], [1]]),))
    >>> local = torch.tensor([[[1.0]], [[4.0]]])
    >>> ArrowHessian(blocks, torch.tensor([[9.0]]), [torch.zeros(2, 1, 1)], [local]).diagonal().tolist()
    [1.0, 4.0, 9.0]
    """

    blocks: Blocks
    shared: Tensor
    couplings: list[Tensor]
    local: list[Tensor]

    @property
    def is_known(self) -> Tensor:
        """Whether all of it is finite, as it is not at a pole of the density; no dimensions."""
        return torch.stack([part.isfinite().all() for part in (self.shared, *self.couplings, *self.local)]).all()

    def or_identity(self) -> ArrowHessian:
        """Return the identity where it is not known."""
        known = self.is_known
        shared, *local = (torch.where(known, h, torch.eye(h.shape[-1]).to(h)) for h in (self.shared, *self.local))
        couplings = [torch.where(known, h, torch.zeros_like(h)) for h in self.couplings]
        return ArrowHessian(self.blocks, shared, couplings, local)

    def diagonal(self) -> Tensor:
        """Return the diagonal, ``(D,)``, in the order of the flat vector."""
        parts = [self.shared.diagonal(), *(h.diagonal(dim1=-2, dim2=-1).reshape(-1) for h in self.local)]
        return torch.cat(parts)[torch.argsort(self.blocks.order.to(self.shared.device))]


def arrow_hessian(potential: Potential, point: Tensor, blocks: Blocks) -> ArrowHessian:
    """Differentiate ``potential`` twice at ``point (D,)``, in double precision from there on.

    Cost: G + (SCALINGS + PROBES) * (sum of m) gradients of a gradient.

    Examples
    --------
    >>> blocks = Blocks(torch.tensor([0]), (torch.tensor([[1], [2]]),))
    >>> found = arrow_hessian(lambda x: 2 * x[0] ** 2 + x[0] * x[1] + x[1] ** 2 + 3 * x[2] ** 2, torch.ones(3), blocks)
    >>> [part.round(decimals=3).flatten().tolist() for part in (found.shared, *found.couplings, *found.local)]
    [[4.0], [1.0, 0.0], [2.0, 6.0]]
    """
    products = curvature_products(potential, point)
    generator = torch.Generator().manual_seed(0)
    g = len(blocks.shared)
    at_each = torch.arange(g, device=point.device), blocks.shared.to(point.device)
    shared_rows = products(point.new_zeros(g, len(point)).index_put(at_each, point.new_ones(g)))
    couplings, local = [], []
    for index in blocks.local:
        at = index.to(point.device)
        couplings.append(shared_rows[:, at].permute(1, 2, 0))
        local.append(_probe_blocks(products, point, at, generator))
    shared = shared_rows[:, blocks.shared.to(point.device)]
    return ArrowHessian(blocks, (shared + shared.mT) / 2, couplings, local)


def cost(blocks: Blocks) -> int:
    """Return about how many gradients a round of `descend` takes; one of a gradient counts as three.

    Examples
    --------
    >>> cost(Blocks(torch.arange(2), ()))  # two rows of the Hessian, and 60 gradients of L-BFGS
    66
    """
    return 3 * _n_products(blocks) + ITERATIONS


def _n_products(blocks: Blocks) -> int:
    return len(blocks.shared) + (SCALINGS + PROBES) * sum(index.shape[1] for index in blocks.local)


def hessian_diagonal(potential: Potential, point: Tensor, blocks: Blocks) -> Tensor:
    """Estimate the diagonal of the Hessian, ``(D,)``, by blocks where that is cheap, else by random signs alone.

    Examples
    --------
    >>> hessian_diagonal(lambda x: x[0] ** 2 + x[0] * x[1] + 3 * x[1] ** 2, torch.zeros(2), Blocks(torch.arange(2), ()))
    tensor([2., 6.], dtype=torch.float64)
    """
    if _n_products(blocks) <= 4 * DIAGONAL_PROBES:
        return arrow_hessian(potential, point, blocks).diagonal()
    signs = _signs((DIAGONAL_PROBES, len(point)), torch.Generator().manual_seed(0)).to(point)
    return (signs * curvature_products(potential, point)(signs)).mean(0)


def local_curvature(potential: Potential, point: Tensor, index: Tensor) -> Tensor:
    """Estimate the diagonal of the Hessian at places ``index (elements, m)``; returns ``(elements, m)``.

    Examples
    --------
    >>> found = local_curvature(lambda x: x[0] ** 2 + 3 * x[1] ** 2, torch.zeros(2), torch.tensor([[0], [1]]))
    >>> found.round(decimals=3).tolist()
    [[2.0], [6.0]]
    """
    products = curvature_products(potential, point)
    blocks = _probe_blocks(products, point, index.to(point.device), torch.Generator().manual_seed(0))
    return blocks.diagonal(dim1=-2, dim2=-1).to(point)


def arrow_at(point: Tensor, hessian: ArrowHessian, widest: Tensor | None = None) -> Arrow:
    """Return the arrow that maps standard normals to Normal(point, H^{-1}).

    Indefinite blocks are made definite; no direction of a block is then wider than ``widest (D,)``, sds, where given.
    A Hessian that is not known counts as the identity.

    Examples
    --------
    >>> hessian = ArrowHessian(Blocks(torch.arange(1), ()), torch.tensor([[4.0]]), [], [])
    >>> [arrow_at(torch.ones(1), hessian, widest)(torch.ones(1)).item() for widest in (None, torch.tensor([0.25]))]
    [1.5, 1.25]
    """
    hessian = hessian.or_identity()
    limits = _limits(hessian.blocks, widest)
    inverses = [
        _inverse_root(h, LOCAL_FLOOR, widest=limit) for h, limit in zip(hessian.local, limits[1:], strict=True)
    ]  # H_ii^{-1} = R R'
    schur = hessian.shared
    for root, coupling in zip(inverses, hessian.couplings, strict=True):
        whitened = (root.mT @ coupling).flatten(0, 1)
        schur = schur - whitened.mT @ whitened
    chol = _inverse_root(schur, SHARED_FLOOR, hessian.shared.diagonal(), limits[0]) if len(schur) else schur
    couplings = [
        -(root @ (root.mT @ coupling)) @ chol for root, coupling in zip(inverses, hessian.couplings, strict=True)
    ]
    order = hessian.blocks.order.to(point.device)
    like = [tensor.to(point) for tensor in (chol, *couplings, *inverses)]
    n = len(couplings)
    return Arrow(order, point, like[0], like[1 : 1 + n], like[1 + n :])


def descend(potential: Potential, point: Tensor, blocks: Blocks, rounds: int) -> Tensor:
    """Descend from a point near a mode to the mode, in rounds: whiten by the curvature there, then go by L-BFGS.

    In whitened coordinates the valleys of a posterior are near round, and some tens of steps do for what takes Adam
    thousands (Liu & Nocedal, "On the limited memory BFGS method", Mathematical Programming 1989).  Where the density
    grows without bound, the descent ends at the last point of which the curvature is known.

    Parameters
    ----------
    potential
        Of the flat vector.
    point
        ``(D,)`` where to begin.
    blocks
        In which to take the curvature.
    rounds
        At most so many; each costs what `cost` says.

    Examples
    --------
    >>> blocks = Blocks(torch.arange(2), ())
    >>> found = descend(lambda x: (x[0] - 1) ** 2 + 50 * (x[1] - x[0]) ** 2, torch.zeros(2), blocks, rounds=2)
    >>> found.round(decimals=3).tolist()
    [1.0, 1.0]
    """
    loss = float(potential(point.detach()))
    known = point
    for _ in range(rounds):
        hessian = arrow_hessian(potential, point, blocks)
        if not hessian.is_known:
            return known
        known, (found, left) = point, _whitened_descent(potential, arrow_at(point, hessian))
        gain = loss - float(potential(found))
        if not gain > 0:
            break
        point, loss = found, loss - gain
        if gain < ENOUGH or left < LEFT:
            break
    return point


def _whitened_descent(potential: Potential, arrow: Arrow) -> tuple[Tensor, float]:
    """Return the place that was reached, and what a Newton step from there would gain by the same curvature."""
    whitened = torch.zeros_like(arrow.loc).requires_grad_()
    search = torch.optim.LBFGS(
        [whitened], max_iter=ITERATIONS, history_size=MEMORY, line_search_fn="strong_wolfe", tolerance_change=1e-7
    )

    def closure() -> Tensor:
        search.zero_grad()
        value = potential(arrow._call(whitened))
        value.backward()  # type: ignore[no-untyped-call]
        return value

    try:
        search.step(closure)  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        if "overflow" not in str(error):
            raise
        return arrow.loc, math.inf  # a step beyond all numbers, towards a pole of the density
    (gradient,) = torch.autograd.grad(potential(arrow._call(whitened)), whitened)
    return arrow._call(whitened.detach()), 0.5 * float(gradient.square().sum())


def _limits(blocks: Blocks, widest: Tensor | None) -> list[Tensor | None]:
    """Return the sds that no direction of a block exceeds, global block first."""
    parts = [blocks.shared, *blocks.local]
    return [None if widest is None else widest.double()[index.to(widest.device)] for index in parts]


def _inverse_root(matrix: Tensor, floor: float, scale: Tensor | None = None, widest: Tensor | None = None) -> Tensor:
    """Return lower triangular R with R R' = matrix^{-1}, its scaled eigenvalues made positive, ``floor`` at least."""
    diagonal = (matrix.diagonal(dim1=-2, dim2=-1) if scale is None else scale).abs()
    size = diagonal.clamp_min(torch.finfo(matrix.dtype).tiny).sqrt().clamp_min(1e-6)
    values, vectors = torch.linalg.eigh(_by_both(matrix, 1 / size))
    covariance = (vectors / values.abs().clamp_min(floor).unsqueeze(-2)) @ vectors.mT
    if widest is not None:
        covariance = _narrowed(covariance, widest * size)
    root: Tensor = torch.linalg.cholesky(covariance) / size.unsqueeze(-1)
    return root


def _narrowed(covariance: Tensor, widest: Tensor) -> Tensor:
    """Return the covariance, its eigenvalues in units of the largest sds brought down to 1."""
    units = torch.minimum(widest, UNLIMITED * covariance.diagonal(dim1=-2, dim2=-1).sqrt())
    values, vectors = torch.linalg.eigh(_by_both(covariance, 1 / units))
    # Taking off what exceeds 1 would leave nothing where all of it does by far; rounding may take small ones below 0.
    rounding = torch.finfo(values.dtype).eps * values[..., -1:]
    values = torch.maximum(values, rounding).clamp_max(1.0)
    return _by_both((vectors * values.unsqueeze(-2)) @ vectors.mT, units)


def _by_both(matrix: Tensor, factor: Tensor) -> Tensor:
    """Multiply rows and columns."""
    return matrix * factor.unsqueeze(-1) * factor.unsqueeze(-2)


def _probe_blocks(products: Potential, point: Tensor, at: Tensor, generator: torch.Generator) -> Tensor:
    """Estimate the local blocks at places ``at (elements, m)``; returns ``(elements, m, m)``."""

    def probe(scale: Tensor) -> Tensor:
        signs = _signs((len(at), 1), generator).to(scale)
        weights = signs * scale
        vectors = [torch.zeros_like(point).index_put((at[:, j],), weights[:, j].to(point)) for j in range(at.shape[1])]
        return products(torch.stack(vectors))[:, at].permute(1, 2, 0) * (signs * scale).unsqueeze(-1)

    scale = torch.ones(at.shape, dtype=torch.float64, device=point.device)
    for _ in range(SCALINGS):
        scale = scale * probe(scale).diagonal(dim1=-2, dim2=-1).abs().clamp_min(LEAST).rsqrt()
    scaled = torch.stack([probe(scale) for _ in range(PROBES)]).mean(0)
    return (scaled + scaled.mT) / 2 / (scale.unsqueeze(-1) * scale.unsqueeze(-2))


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, shape, generator=generator) * 2.0 - 1.0
