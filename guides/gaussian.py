"""A learned Gaussian in the shape of an arrow, shared by the guides that differ in their blocks alone.

What couples numbers is learned in units of their own sds: steps of one size suit a guide that starts narrow too, where
couplings in whitened units would wander as far as at full width, and blow the guide up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyro.distributions as dist
import torch
from torch import Size, Tensor, nn
from torch.distributions import constraints

from neuropyro.guides.arrow import Arrow
from neuropyro.guides.blocks import Blocks
from neuropyro.guides.flat import Whitening
from neuropyro.guides.start import Start
from neuropyro.guides.ties import TiedArrow, Ties

__all__ = ["ArrowGaussian", "StuckNormal"]

FEW = 4  # couplings of a number, that may move by whole steps
LEAST_LOG = -8.0  # of an sd beside that at the start: below, single precision could not solve for the density


class ArrowGaussian(nn.Module):
    """Normal with a full covariance in the global block and in each local one, given the global.

    Parameters
    ----------
    start
        Where it starts.
    blocks
        The partition of the flat vector.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.guides import find_latents
    >>> from neuropyro.guides.blocks import one_block
    >>> latents = find_latents(model, torch.ones(9), {"mean": torch.tensor(0.5)})
    >>> law = ArrowGaussian(Start(latents, latents.start), one_block(latents))
    >>> before = float(law().log_prob(latents.start))
    >>> law.respread(torch.zeros(1), torch.tensor([[3.0]]))
    >>> round(before, 3), round(float(law().log_prob(latents.start)), 3)  # Normal(0.5, 0.1), Normal(0.5, 0.3)
    (1.384, 0.285)
    """

    def __init__(self, start: Start, blocks: Blocks) -> None:
        super().__init__()
        like, g = start.point, len(blocks.shared)
        self.whitening = Whitening(start.arrow(blocks))
        self.loc = nn.Parameter(torch.zeros_like(like))
        width = math.log(start.width)
        self.shared = nn.Parameter(_identity(g, like) * width)
        self.couplings = nn.ParameterList(like.new_zeros(*index.shape, g) for index in blocks.local)
        self.scales = nn.ParameterList(
            _identity(index.shape[1], like).repeat(len(index), 1, 1) * width for index in blocks.local
        )
        self.ties = Ties(like, len(like) - g)

    def forward(self) -> Any:
        """Return the distribution of the flat vector."""
        return dist.TransformedDistribution(self.stuck(), [self.whitening()])

    def stuck(self) -> StuckNormal:
        """Return the distribution of the whitened vector."""
        return StuckNormal(self.tied_arrow())

    @property
    def global_places(self) -> Tensor:
        """``(G,)`` places of the global block in the flat vector."""
        return self.whitening.order[: len(self.shared)]

    def shared_noise(self, h: Tensor) -> Tensor:
        """Return of mixed noise ``(*, D)`` what `respread` mixes: global block, then local ones together."""
        return torch.cat([h[..., self.global_places], h @ self.ties.directions], -1)

    @torch.no_grad()
    def tie(self, directions: Tensor, wider: Tensor) -> None:
        """Let local blocks move together along ``directions (D, r)``, as many as `Ties` has, ``wider (r,)`` times."""
        self.ties.directions.copy_(directions)
        self.ties.root.copy_(wider.diag())

    @torch.no_grad()
    def respread(self, shift: Tensor, root: Tensor) -> None:
        """Let the guide mix ``shift + root t`` where it mixed t: the global block, then what local ones do together.

        Else elements given the global sites stay the same.

        Parameters
        ----------
        shift
            ``(G + r,)``.
        root
            ``(G + r, G + r)`` lower triangular, of a positive diagonal.
        """
        arrow, g = self._arrow(), len(self.shared)
        directions, mix = self.ties.directions, self.ties.root
        moved = (directions @ (mix @ shift[g:])).index_put((self.global_places,), shift[:g])
        self.loc.copy_(arrow._call(moved))
        self.shared.copy_(_raw(arrow.shared @ root[:g, :g]))
        along = (directions @ (mix @ root[g:, :g]))[self.whitening.order[g:]] / _unit(g)
        parts = torch.split(along, [len(coupling.flatten(0, 1)) for coupling in self.couplings])
        for coupling, part in zip(self.couplings, parts, strict=True):
            coupling.copy_(coupling @ root[:g, :g] + part.reshape(coupling.shape))
        self.ties.root.copy_(mix @ root[g:, g:])

    @contextmanager
    def global_block_held(self) -> Iterator[None]:
        """Within, the global block's own law learns nothing."""
        free = torch.ones_like(self.loc).index_fill(0, self.global_places, 0.0)
        by_number = [p for p in self.parameters(recurse=False) if p is not self.shared]
        hooks = [p.register_hook(lambda gradient: gradient * free) for p in by_number]  # type: ignore[no-untyped-call]
        hooks.append(self.shared.register_hook(torch.zeros_like))  # type: ignore[no-untyped-call]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def tied_arrow(self) -> Arrow | TiedArrow:
        """Return the map from mixed noise to the whitened vector."""
        return self.ties(self._arrow()) if len(self.scales) else self._arrow()

    def _arrow(self) -> Arrow:
        scales = [_lower(scale) for scale in self.scales]
        unit = _unit(len(self.shared))
        couplings = [scale @ coupling * unit for scale, coupling in zip(scales, self.couplings, strict=True)]
        return Arrow(self.whitening.order, self.loc, _lower(self.shared), couplings, scales)


class StuckNormal(dist.TorchDistribution):  # type: ignore[misc]
    """Normal draws x = arrow(e), whose density has the gradient by x alone: it sticks the landing, as `sticking` does.

    Its value is that of the e that was drawn.  A twin that learns nothing would solve for e, whose rounding grows with
    the condition of the arrow: an ELBO is then better the worse the condition, and an optimiser finds out.

    Examples
    --------
    >>> drawn = torch.tensor([1.0], requires_grad=True)
    >>> density = StuckNormal(Arrow(torch.arange(1), torch.zeros(1), torch.tensor([[2.0]]), [], [])).log_prob(drawn)
    >>> round(density.item(), 3), torch.autograd.grad(density, drawn)[0].item()  # of Normal(0, 2) at 1
    (-1.737, -0.25)
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as torch declares it)
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, arrow: Arrow | TiedArrow) -> None:
        self.arrow = arrow
        super().__init__(torch.Size(), arrow.loc.shape, validate_args=False)

    def rsample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 (as torch declares it)
        """Draw, differentiably."""
        noise = torch.randn(*sample_shape, *self.event_shape)
        drawn: Tensor = self.arrow(self.mixed(noise.to(self.arrow.loc)))
        return drawn

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of ``value (*, D)``."""
        with torch.no_grad():
            e = self.arrow.inv(value)
            density, by_noise = self.before_mixing(e)
            slope = self.arrow.solve_transposed(by_noise)
            volume = self.arrow.log_abs_det_jacobian(e, value)
        return density - volume + ((value - value.detach()) * slope).sum(-1)

    def mixed(self, noise: Tensor) -> Tensor:
        """Return what the arrow mixes, of standard normal noise ``(*, D)``."""
        return noise

    def unmixed(self, h: Tensor) -> Tensor:
        """Return the noise ``(*, D)`` of which ``h`` is made."""
        return h

    def stretch(self, noise: Tensor) -> Tensor:
        """Return the logarithm of what `mixed` stretches each number of noise by."""
        return torch.zeros_like(noise)

    def before_mixing(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-density of what the arrow mixes ``(*, D)``, and its gradient."""
        return -0.5 * (e.square().sum(-1) + e.shape[-1] * math.log(2 * math.pi)), -e


def _identity(n: int, like: Tensor) -> Tensor:
    return torch.eye(n, dtype=like.dtype, device=like.device)


def _lower(raw: Tensor) -> Tensor:
    """Return the lower triangle, in units of its diagonal, which is kept as its logarithm."""
    scale = raw.diagonal(dim1=-2, dim2=-1).clamp_min(LEAST_LOG).exp()
    n = raw.shape[-1]
    return scale.unsqueeze(-1) * (_unit(n) * raw.tril(-1) + _identity(n, raw))


def _raw(scale: Tensor) -> Tensor:
    """Return what `_lower` makes the lower triangular ``scale`` of."""
    diagonal = scale.diagonal(dim1=-2, dim2=-1)
    below = (scale / diagonal.unsqueeze(-1)).tril(-1) / _unit(scale.shape[-1])
    return torch.diag_embed(diagonal.log()) + below


def _unit(n: int) -> float:
    """Return what a step of one size moves each of n couplings by: together they move a draw no further than few do."""
    return math.sqrt(min(1.0, FEW / max(n, 1)))
