"""Products of many rows, one a vertex, with a few columns that all of them share."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["row_products", "weighted_grams"]


def row_products(rows: Tensor, columns: Tensor) -> Tensor:
    """Products of ``rows (*, L, N)`` with ``columns (*lead, 1 or L, N, c)``; ``(*lead, L, c)``.

    Examples
    --------
    >>> row_products(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.ones(1, 2, 1))  # sums over a row
    tensor([[3.],
            [7.]])
    """
    if columns.dim() < 3 or columns.shape[-3] != 1:
        dense = rows.to_dense() if rows.is_sparse else rows
        return (dense.unsqueeze(-2) @ columns).squeeze(-2)
    shared = columns.squeeze(-3)
    if rows.dim() > 2:
        return rows @ shared
    lead, width = shared.shape[:-2], shared.shape[-1]
    wide = shared.movedim(-2, 0).reshape(rows.shape[-1], -1)  # every column of every curve: one pass over the rows
    if rows.is_sparse:
        product: Tensor = torch.sparse.mm(rows, wide)
        return product.reshape(rows.shape[0], *lead, width).movedim(0, -2)
    # This order of the product is the fast one, both ways, for rows that are stored visit by visit.
    return (wide.mT @ rows.mT).mT.reshape(rows.shape[0], *lead, width).movedim(0, -2)


def weighted_grams(rows: Tensor | None, columns: Tensor, weight: Tensor | None = None) -> Tensor:
    """Inner products of columns over what each row has, ``(*batch, c (c + 1) / 2)``, packed by row.

    Parameters
    ----------
    rows
        ``(L, N)`` of ones and zeros, or None for ones.
    columns
        ``(*batch, N, c)``.
    weight
        ``(*batch, N)`` of each term, or None for ones.

    Examples
    --------
    >>> columns = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> weighted_grams(None, columns), columns.mT @ columns
    (tensor([10., 14., 20.]), tensor([[10., 14.],
            [14., 20.]]))
    """
    weighted = columns if weight is None else weight.unsqueeze(-1) * columns
    i, j = torch.tril_indices(columns.shape[-1], columns.shape[-1], device=columns.device)
    if rows is None:
        return (columns.mT @ weighted)[..., i, j]
    return row_products(rows, columns[..., i] * weighted[..., j])
