"""Products with a Hessian, many at once, against the dense Hessian."""

import pytest
import torch

from neuropyro.guides import hessian_products as module
from neuropyro.guides.hessian_products import curvature_products

POINT = torch.linspace(-1, 1, 6, dtype=torch.float64)
VECTORS = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class ScaledByHost(torch.autograd.Function):
    """x times a number that is read on the host, whose backward therefore bears no batches."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.save_for_backward(factor)
        return x * factor.item()

    @staticmethod
    def backward(ctx, gradient):
        (factor,) = ctx.saved_tensors
        gradient.detach().sum().item()  # an error of a batch
        return gradient * factor.item(), None


def bent(x):
    return x.sin().square().sum() + x.prod() + (x.cumsum(0) / 2).exp().sum()


def bent_on_the_host(x):
    return bent(ScaledByHost.apply(x, torch.tensor(2.0)))


@pytest.mark.parametrize("potential", [bent, bent_on_the_host])
@pytest.mark.parametrize("numbers", [module.NUMBERS, 100, 1])
def test_they_are_those_of_the_dense_hessian(monkeypatch, potential, numbers):
    monkeypatch.setattr(module, "NUMBERS", numbers)
    expected = VECTORS @ torch.autograd.functional.hessian(lambda x: bent(x * (1 if potential is bent else 2)), POINT)
    torch.testing.assert_close(curvature_products(potential, POINT)(VECTORS), expected, rtol=1e-12, atol=1e-12)


def test_no_vectors_have_no_products():
    assert curvature_products(bent, POINT)(VECTORS[:0]).shape == (0, 6)


@pytest.mark.parametrize(("numbers", "at_once"), [(1, 1), (module.NUMBERS, module.AT_ONCE)])
def test_a_batch_is_as_large_as_memory_bears(monkeypatch, numbers, at_once):
    monkeypatch.setattr(module, "NUMBERS", numbers)
    sizes = []
    monkeypatch.setattr(module, "_products", lambda gradient, at, vectors: sizes.append(len(vectors)) or 2 * vectors)
    torch.testing.assert_close(curvature_products(lambda x: (x * x).sum(), POINT)(VECTORS), 2 * VECTORS)
    assert max(sizes) == at_once
