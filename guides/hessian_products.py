"""Products of a Hessian with vectors, many at once.

A product costs a gradient of the gradient.  On small data nearly all of that is the overhead of its some hundred
operations, on large data half of it is reading them; so as many vectors go through each operation as memory bears.

References
----------
Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 1994.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from neuropyro.guides.kept_numbers import kept_numbers
from neuropyro.progress_bars import told

__all__ = ["curvature_products"]

AT_ONCE = 32  # vectors, beyond which nothing is gained
NUMBERS = 2**25  # that a batch may hold, 128 MB in single precision


def curvature_products(potential: Callable[[Tensor], Tensor], point: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the map from vectors ``(n, D)`` to their products with the Hessian at ``point (D,)``, double precision.

    The gradient is found once, and its graph kept for as long as the map is.

    Examples
    --------
    >>> curvature_products(lambda x: x[0] ** 2 * x[1], torch.tensor([1.0, 2.0]))(torch.eye(2)).tolist()
    [[4.0, 2.0], [2.0, 0.0]]
    """
    at = point.detach().clone().requires_grad_()
    with kept_numbers() as kept:
        (gradient,) = torch.autograd.grad(potential(at), at, create_graph=True)
    size = min(max(NUMBERS // max(kept.numbers, 1), 1), AT_ONCE)

    def products(vectors: Tensor) -> Tensor:
        parts = torch.split(vectors, size) if len(vectors) else ()
        rows = [_products(gradient, at, part) for part in told(parts)]
        return torch.cat([point.new_zeros(0, len(point)), *rows]).double()

    return products


def _products(gradient: Tensor, at: Tensor, vectors: Tensor) -> Tensor:
    """Return the products of one batch; one after the other where an operation of the model's knows no batches."""
    if len(vectors) > 1:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # operations that are slower in batches
                (rows,) = torch.autograd.grad(gradient, at, vectors, retain_graph=True, is_grads_batched=True)
                return rows.detach()
        except RuntimeError:  # no batches of that operation, or no memory for them; other errors come again below
            pass
    return torch.stack([torch.autograd.grad(gradient, at, vector, retain_graph=True)[0] for vector in vectors]).detach()
