"""What a graph keeps for its gradient is counted once, of sparse tensors what they have."""

import torch

from neuropyro.guides.kept_numbers import kept_numbers


def test_a_tensor_is_counted_once():
    x = torch.ones(7, requires_grad=True)
    with kept_numbers() as kept:
        y = x.exp()
        _ = y * y  # keeps what the exponential kept
    assert kept.numbers == 7


def test_of_a_sparse_tensor_its_own_numbers_are_counted():
    rows = torch.eye(5).to_sparse()
    columns = torch.ones(5, 2, requires_grad=True)
    with kept_numbers() as kept:
        product = torch.sparse.mm(rows, columns)
    product.sum().backward()
    assert kept.numbers == 5
    assert columns.grad.tolist() == [[1.0, 1.0]] * 5
