"""Minimisation of many functions side by side: L-BFGS, with each row's own memory and line search.

Fitting a batch of images is a function for each of them, of a thousand numbers that pull in very unlike strengths.
Plain gradients creep along the weak ones; the curvature that L-BFGS gathers on the way costs a few products of vectors
beside the pass through a network.  Rows share passes and nothing else, so that what is found for one does not depend on
the others.

Source: Nocedal and Wright, *Numerical optimization*, 2nd edition 2006: algorithms 7.4 (two loops), 3.1 (backtracking).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["descend_rows"]

Objective = Callable[[Tensor, Tensor], Tensor]
"""From points (R, D) of the rows of those numbers (R,) to their values (R,)."""

DECREASE = 1e-4  # share of the decrease that the slope promises, which a step must bring
SHRINK, TRIALS = 0.4, 12  # of a step that does not
ENOUGH, WITHIN = 1e-4, 20  # share of its value that a row has to gain within so many steps to go on
CURVED = 1e-10  # least cosine of a step and the gradient's change, from which curvature is learned


@dataclass(frozen=True)
class _Points:
    """Where each row is: x (B, D), value (B,) and gradient (B, D)."""

    x: Tensor
    value: Tensor
    gradient: Tensor

    @classmethod
    def at(cls, objective: Objective, x: Tensor, rows: Tensor) -> "_Points":
        """Evaluate ``rows`` at ``x``."""
        x = x.detach().requires_grad_()
        value = objective(x, rows)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        return cls(x.detach(), value.detach(), gradient)

    def put(self, rows: Tensor, others: "_Points", which: Tensor) -> "_Points":
        """Return these points with those of ``others`` that are marked in ``which`` in the place of ``rows``."""
        pairs = ((self.x, others.x), (self.value, others.value), (self.gradient, others.gradient))
        return _Points(*(own.index_put((rows[which],), other[which]) for own, other in pairs))


class _Memory:
    """The last steps and changes of the gradient, and each row's scale of the inverse Hessian, 0 where not known."""

    def __init__(self, like: Tensor, size: int) -> None:
        self.size = size
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        self.scale = like.new_zeros(len(like), 1)

    def direction(self, gradient: Tensor) -> Tensor:
        """Return minus the inverse Hessian times ``gradient``; of unit length where nothing is known."""
        q, shares = gradient, []
        for step, change, weight in reversed(self.pairs):
            shares.append(weight * _dot(step, q))
            q = q - shares[-1] * change
        q = q * torch.where(self.scale > 0, self.scale, 1 / gradient.norm(dim=1, keepdim=True).clamp(min=1e-30))
        for (step, change, weight), share in zip(self.pairs, reversed(shares), strict=True):
            q = q + (share - weight * _dot(change, q)) * step
        return -q

    def learn(self, before: _Points, after: _Points) -> None:
        """Take in a step; rows that did not move forget all, for what they knew led nowhere."""
        step, change = after.x - before.x, after.gradient - before.gradient
        curvature, steepness = _dot(step, change), _dot(change, change)
        good = curvature > CURVED * (_dot(step, step) * steepness).sqrt()
        weight = torch.where(good, 1 / curvature, 0.0)
        self.scale = torch.where(good, curvature / steepness, self.scale)
        self.pairs = [*self.pairs, (step, change, weight)][-self.size :]
        moved = (step != 0).any(dim=1, keepdim=True)
        self.pairs = [(s, c, w * moved) for s, c, w in self.pairs]
        self.scale = self.scale * moved


def descend_rows(objective: Objective, start: Tensor, steps: int, memory: int = 30) -> tuple[Tensor, list[Tensor]]:
    """Descend every row's function.

    Parameters
    ----------
    objective
        ``objective(x, rows)``: values (R,) of the functions of ``rows`` (R,) at ``x`` (R, D), differentiable in ``x``.
    start
        (B, D), in units in which all numbers may be expected to move about as far.
    steps
        At most; each takes one evaluation, or a few where a row's step has to be shortened.  A row rests from where
        20 steps gain less than a ten-thousandth of its value.
    memory
        How many steps curvature is learned from.

    Returns
    -------
    x : Tensor
        (B, D)
    values : list of Tensor
        (B,) at the start and after each step, up to that from which all rows rest.

    Examples
    --------
    >>> scales, minima = torch.tensor([1.0, 100.0]), torch.tensor([[1.0, 2.0], [-3.0, 0.5]])
    >>> x, _ = descend_rows(lambda x, rows: ((x - minima[rows]).square() @ scales), torch.zeros(2, 2), steps=30)
    >>> torch.allclose(x, minima, atol=1e-3)
    True
    """
    points = _Points.at(objective, start, torch.arange(len(start), device=start.device))
    known, values = _Memory(start, memory), [points.value]
    done = torch.zeros_like(known.scale, dtype=torch.bool)
    for _ in range(steps):
        steepest = known.scale == 0
        moved = _search_line(objective, points, known.direction(points.gradient).masked_fill(done, 0.0))
        done = done | (steepest & (moved.x == points.x).all(dim=1, keepdim=True))
        if bool(done.all()):
            break
        known.learn(points, moved)
        points = moved
        values.append(points.value)
        done = done | _stalled(values)
    return points.x, values


def _search_line(objective: Objective, start: _Points, direction: Tensor) -> _Points:
    """Go along ``direction`` as far as every row's value falls enough; rows for which no length does so stay."""
    slope = _dot(start.gradient, direction)[:, 0]
    found, rows, length = start, torch.arange(len(slope), device=slope.device)[slope < 0], 1.0
    for _ in range(TRIALS):
        if not len(rows):
            break
        trial = _Points.at(objective, start.x[rows] + length * direction[rows], rows)
        enough = trial.value <= start.value[rows] + DECREASE * length * slope[rows]
        found = found.put(rows, trial, enough)
        rows, length = rows[~enough], length * SHRINK
    return found


def _stalled(values: list[Tensor]) -> Tensor:
    """Whether each row has gained too little of late, (B, 1)."""
    before, now = values[max(len(values) - 1 - WITHIN, 0)], values[-1]
    return ((len(values) > WITHIN) & (before - now <= ENOUGH * now.abs()))[:, None]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Scalar products of rows, (B, D) twice to (B, 1)."""
    return (a * b).sum(dim=1, keepdim=True)
