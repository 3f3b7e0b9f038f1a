r"""Noise whose mean bends with the global numbers, and whose width depends on them.

How well a subject's score is known hangs on how steep the trajectories are, and where it lies on their curvature.  A
Normal whose blocks are coupled by their means alone is off by a little in each of hundreds of subjects; together that
adds up to a precision of the global sites that the posterior does not have.  So bent noise h
(:mod:`neuropyro.guides.bent`) is mixed with its first G numbers h_g, those of the global block, before the arrow,

.. math::  u_j = h_j \exp(t_j^\top h_g) + r_j^\top (h_g^2 - 1),

with t_j and r_j zero at the start; of a global number they see the global numbers before it alone, so that h follows
from u.

References
----------
Papamakarios et al., "Normalizing flows for probabilistic modeling and inference", JMLR 2021, section 3.1 (triangular
maps).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neuropyro.guides.arrow import Arrow
from neuropyro.guides.bent import ArrowBent, StuckBent

__all__ = ["ArrowCurved", "StuckCurved"]

UNIT = 0.1  # of what is learned here: many numbers, each of a small effect


class ArrowCurved(ArrowBent):
    """An `ArrowBent`, started as one, of curved noise."""

    mask: Tensor

    def __init__(self, arrow: Arrow, width: float) -> None:
        super().__init__(arrow, width)
        g, like = len(arrow.shared), arrow.loc
        self.widths, self.bends = (nn.Parameter(like.new_zeros(len(like), g)) for _ in range(2))
        self.register_buffer("mask", UNIT * torch.ones_like(self.widths).tril(-1), persistent=False)

    def stuck(self) -> StuckCurved:
        """Return the distribution of the whitened vector."""
        return StuckCurved(self._arrow(), self.skew, self.tail, self.widths * self.mask, self.bends * self.mask)


class StuckCurved(StuckBent):
    """Draws x = arrow(u) of curved noise u, whose density sticks the landing.

    Parameters
    ----------
    arrow, skew, tail
        As of `StuckBent`.
    widths, bends
        t and r, ``(D, G)`` in the order of the arrow's blocks; of the global block strictly lower triangular.
    """

    def __init__(self, arrow: Arrow, skew: Tensor, tail: Tensor, widths: Tensor, bends: Tensor) -> None:
        self.widths, self.bends = widths, bends
        self._last: tuple[Tensor, Tensor] | None = None
        super().__init__(arrow, skew, tail)

    def mixed(self, noise: Tensor) -> Tensor:
        """Return what the arrow mixes, of standard normal noise ``(*, D)``, and keep what its density needs."""
        h = super().mixed(noise)
        ordered = h[..., self.arrow.order]
        shared = self._shared(ordered)
        u = (ordered * (shared @ self.widths.mT).exp() + self._bend(shared))[..., self.arrow.back]
        self._last = u, h
        return u

    def before_mixing(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-density of curved noise ``(*, D)``, and its gradient."""
        h = self._last[1] if self._last is not None and self._last[0] is u else self._straightened(u)
        density, by_noise = super().before_mixing(h)
        ordered, slope = h[..., self.arrow.order], by_noise[..., self.arrow.order]
        log_width = self._shared(ordered) @ self.widths.mT
        slope = self._solve_transposed(ordered, log_width.exp(), slope)[..., self.arrow.back]
        return density - log_width.sum(-1), slope

    def _solve_transposed(self, h: Tensor, width: Tensor, slope: Tensor) -> Tensor:
        """Return the gradient by u of the density, given that by h of bent noise's; all in the order of the blocks."""
        g, shared = self.widths.shape[-1], self._shared(h)
        local = slope[..., g:] / width[..., g:]
        pull = self.widths.sum(0) + (slope * h)[..., g:] @ self.widths[g:] + 2 * shared * (local @ self.bends[g:])
        own, steep = (h * width)[..., :g].unsqueeze(-1), 2 * shared.unsqueeze(-2)
        jacobian = torch.diag_embed(width[..., :g]) + own * self.widths[:g] + steep * self.bends[:g]
        right = (slope[..., :g] - pull).unsqueeze(-1)
        solved: Tensor = torch.linalg.solve_triangular(jacobian.mT, right, upper=True)
        return torch.cat([solved.squeeze(-1), local], -1)

    def _straightened(self, u: Tensor) -> Tensor:
        """Solve for the bent noise, global numbers one after the other."""
        ordered = u[..., self.arrow.order]
        shared = torch.zeros_like(self._shared(ordered))
        for j in range(shared.shape[-1]):
            number = (ordered[..., j] - self._bend(shared)[..., j]) * (-(shared @ self.widths[j])).exp()
            shared = torch.cat([shared[..., :j], number.unsqueeze(-1), shared[..., j + 1 :]], -1)
        h = (ordered - self._bend(shared)) * (-(shared @ self.widths.mT)).exp()
        return h[..., self.arrow.back]

    def _shared(self, ordered: Tensor) -> Tensor:
        return ordered[..., : self.widths.shape[-1]]

    def _bend(self, shared: Tensor) -> Tensor:
        return (shared.square() - 1) @ self.bends.mT
