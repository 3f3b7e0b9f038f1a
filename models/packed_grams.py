r"""Many small matrices A = I + G at once, each of G's numbers a tensor of its own over all of them.

A library's factor of a matrix of four rows costs a call each; row by row over a million of them it costs forty
operations in all.  A = L D L' with a unit lower L: no square roots, and pivots of at least 1, since G is a sum of
squares.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

__all__ = ["lower_triangle", "quadratic", "solve", "unpacked"]

Factor = tuple[dict[tuple[int, int], Tensor], list[Tensor], list[Tensor]]


def lower_triangle(rows: int) -> Iterator[tuple[int, int]]:
    """Yield row and column of a packed symmetric matrix's numbers, in their order.

    Examples
    --------
    >>> list(lower_triangle(2))
    [(0, 0), (1, 0), (1, 1)]
    """
    yield from ((i, j) for i in range(rows) for j in range(i + 1))


def unpacked(grams: Tensor, rows: int) -> Tensor:
    """Return symmetric matrices ``(*, r, r)`` of packed ones ``(*, r (r + 1) / 2)``.

    Examples
    --------
    >>> unpacked(torch.tensor([1.0, 2.0, 3.0]), rows=2).tolist()
    [[1.0, 2.0], [2.0, 3.0]]
    """
    place = torch.zeros(rows, rows, dtype=torch.long, device=grams.device)
    i, j = torch.tril_indices(rows, rows, device=grams.device)
    place[i, j] = place[j, i] = torch.arange(len(i), device=grams.device)
    return grams[..., place]


def quadratic(grams: Sequence[Tensor] | Tensor, products: Sequence[Tensor] | Tensor) -> tuple[Tensor, Tensor]:
    """Return p' (I + G)^-1 p and log det(I + G), ``(*,)`` each.

    Parameters
    ----------
    grams
        ``(r (r + 1) / 2, *)`` of G, row by row up to the diagonal; r of at least 1.
    products
        ``(r, *)`` of p.

    Examples
    --------
    >>> distance, volume = quadratic(torch.tensor([[1.0], [0.0], [3.0]]), torch.tensor([[2.0], [4.0]]))
    >>> distance.tolist(), volume.exp().round(decimals=3).tolist()  # 4 / 2 + 16 / 4, and 2 * 4
    ([6.0], [8.0])
    """
    _, pivots, forward = _factor(grams, products)
    squares, volume = forward[0].square() / pivots[0], pivots[0].log()
    for y, pivot in zip(forward[1:], pivots[1:], strict=True):
        squares, volume = squares + y.square() / pivot, volume + pivot.log()
    return squares, volume


def solve(grams: Sequence[Tensor] | Tensor, products: Sequence[Tensor] | Tensor) -> Tensor:
    """Return (I + G)^-1 p, ``(r, *)``.

    Examples
    --------
    >>> solve(torch.tensor([[1.0], [0.0], [3.0]]), torch.tensor([[2.0], [4.0]])).flatten().tolist()  # 2 / 2, 4 / 4
    [1.0, 1.0]
    """
    lower, pivots, forward = _factor(grams, products)
    found: dict[int, Tensor] = {}
    for j in reversed(range(len(pivots))):
        found[j] = forward[j] / pivots[j]
        for i in range(j + 1, len(pivots)):
            found[j] = found[j] - lower[i, j] * found[i]
    return torch.stack([found[j] for j in range(len(pivots))])


def _factor(grams: Sequence[Tensor] | Tensor, products: Sequence[Tensor] | Tensor) -> Factor:
    """Return L, D and L^-1 p."""
    lower: dict[tuple[int, int], Tensor] = {}
    pivots: list[Tensor] = []
    forward: list[Tensor] = []
    gram = dict(zip(lower_triangle(len(products)), grams, strict=True))
    for j in range(len(products)):
        pivot, y = 1 + gram[j, j], products[j]
        for k in range(j):
            pivot = pivot - lower[j, k].square() * pivots[k]
            y = y - lower[j, k] * forward[k]
        for i in range(j + 1, len(products)):
            below = gram[i, j]
            for k in range(j):
                below = below - lower[i, k] * lower[j, k] * pivots[k]
            lower[i, j] = below / pivot
        pivots.append(pivot)
        forward.append(y)
    return lower, pivots, forward
