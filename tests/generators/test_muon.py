import pytest
import torch

from neuropyro.generators.muon import Muon, orthogonalised


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (8, 8)])
def test_directions_of_a_matrix_all_become_about_as_long(shape):
    rng = torch.Generator().manual_seed(0)
    size = min(shape)
    u, _ = torch.linalg.qr(torch.randn(shape[0], size, generator=rng))
    v, _ = torch.linalg.qr(torch.randn(shape[1], size, generator=rng))
    lengths = torch.logspace(-1.5, 0, size)  # Newton-Schulz leaves directions short that are 1e-3 of the norm
    found = u.T @ orthogonalised(u @ lengths.diag() @ v.T) @ v
    assert ((found.diagonal() > 0.6) & (found.diagonal() < 1.25)).all()
    assert (found - found.diagonal().diag()).abs().max() < 1e-4


def test_bfloat16_serves_as_well():
    matrix = torch.randn(16, 144, generator=torch.Generator().manual_seed(0))
    lengths = torch.linalg.svdvals(orthogonalised(matrix.bfloat16()).float())
    assert ((lengths > 0.6) & (lengths < 1.25)).all()


def test_convolutions_are_matrices_by_output_and_steps_have_the_size_of_the_rate():
    rng = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(4, 6, 3, 3).contiguous(memory_format=torch.channels_last))
    weight.grad = torch.randn(weight.shape, generator=rng)
    gradient = weight.grad.flatten(1).double()
    Muon([weight], [weight], torch.float32, lr=0.01).step()
    step = -weight.detach().flatten(1).double() / 0.01
    u, _, vt = torch.linalg.svd(gradient, full_matrices=False)
    inside = u.T @ step @ vt.T / 54**0.5  # the root of the longer side
    assert ((inside.diagonal() > 0.6) & (inside.diagonal() < 1.25)).all()
    assert 0.7 < step.square().mean().sqrt() < 1.2


def test_the_others_take_the_steps_of_adam():
    rng = torch.Generator().manual_seed(0)
    start = torch.randn(5, generator=rng)
    ours, theirs, matrix = (torch.nn.Parameter(t.clone()) for t in (start, start, torch.randn(3, 3, generator=rng)))
    muon = Muon([ours, matrix], [matrix], torch.float32, lr=0.1, betas=(0.9, 0.99))
    adam = torch.optim.Adam([theirs], lr=0.1, betas=(0.9, 0.99))
    for _ in range(3):
        gradient = torch.randn(5, generator=rng)
        ours.grad, theirs.grad, matrix.grad = gradient, gradient.clone(), torch.randn(3, 3, generator=rng)
        muon.step()
        adam.step()
    assert torch.equal(ours, theirs)


def test_a_stretched_bowl_is_descended_where_adam_has_hardly_begun():
    """A linear map of inputs of very different strength, which no scale of single numbers can even out."""
    rng = torch.Generator().manual_seed(0)
    mixing, _ = torch.linalg.qr(torch.randn(12, 12, generator=rng))
    inputs = torch.randn(400, 12, generator=rng) * torch.logspace(-1.5, 0, 12) @ mixing
    truth = torch.randn(12, 12, generator=rng)

    def left(optimiser, weight):
        for step in range(200):
            for group in optimiser.param_groups:
                group["lr"] = 0.1 * (1 - step / 200)
            optimiser.zero_grad()
            (inputs @ (weight - truth).T).square().mean().backward()
            optimiser.step()
        return float((weight.detach() - truth).square().mean() / truth.square().mean())

    weights = [torch.nn.Parameter(torch.zeros(12, 12)) for _ in range(2)]
    muon = left(Muon([weights[0]], [weights[0]], torch.float32, lr=0.1), weights[0])
    adam = left(torch.optim.Adam([weights[1]], lr=0.1, betas=(0.9, 0.99)), weights[1])
    assert muon < adam / 2
