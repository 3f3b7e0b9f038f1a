"""Small matrices number by number, against LAPACK."""

import numpy as np
import pytest
import torch

from neuropyro.models.packed_grams import lower_triangle, quadratic, solve


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_it_agrees_with_dense_matrices(rows):
    rng = np.random.default_rng(rows)
    columns = rng.normal(size=(5, 3, 7, rows)) * np.array([10.0, 1, 0.1, 1])[:rows]
    gram, product = columns.swapaxes(-1, -2) @ columns, rng.normal(size=(5, 3, rows))
    packed = torch.as_tensor(np.stack([gram[..., i, j] for i, j in lower_triangle(rows)]))
    moved = torch.as_tensor(np.moveaxis(product, -1, 0))
    expected = np.linalg.solve(np.eye(rows) + gram, product[..., None])[..., 0]
    squares, volume = quadratic(packed, moved)
    np.testing.assert_allclose(np.moveaxis(solve(packed, moved).numpy(), 0, -1), expected, rtol=1e-9)
    np.testing.assert_allclose(squares.numpy(), (product * expected).sum(-1), rtol=1e-9)
    np.testing.assert_allclose(volume.numpy(), np.linalg.slogdet(np.eye(rows) + gram)[1], rtol=1e-12)
