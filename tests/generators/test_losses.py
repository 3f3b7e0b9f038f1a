import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from neuropyro.generators.config import DiscriminatorConfig, GeneratorConfig
from neuropyro.generators.discriminator import Discriminator
from neuropyro.generators.losses import (
    discriminator_loss,
    generator_loss,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)
from neuropyro.generators.stylegan2 import Generator


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_losses_are_cross_entropies():
    real, fake = torch.randn(2, 7, 1, generator=rng())
    ones, zeros = torch.ones(7, 1), torch.zeros(7, 1)
    expected = binary_cross_entropy_with_logits(real, ones) + binary_cross_entropy_with_logits(fake, zeros)
    torch.testing.assert_close(discriminator_loss(real, fake), expected)
    torch.testing.assert_close(generator_loss(fake), binary_cross_entropy_with_logits(fake, ones))


def test_losses_where_nothing_is_known():
    blind = torch.zeros(5, 1)
    assert discriminator_loss(blind, blind).item() == pytest.approx(2 * math.log(2))
    assert generator_loss(blind).item() == pytest.approx(math.log(2))


def test_r1_of_a_quadratic_form_and_its_gradient():
    # D(x) = x'Ax / 2 has gradient Ax, so R1 is mean |Ax|^2 and d R1 / dA = 2 mean (Ax) x' for any A that is symmetric.
    half = torch.randn(9, 9, generator=rng(1), dtype=torch.float64)
    A = (half + half.T).requires_grad_()
    images = torch.randn(4, 1, 3, 3, generator=rng(2), dtype=torch.float64, requires_grad=True)
    x = images.flatten(1)
    symmetric = (A + A.T) / 2
    penalty = r1_penalty((x @ symmetric * x).sum(1, keepdim=True) / 2, images)
    torch.testing.assert_close(penalty, (x @ A).square().sum(1).mean())
    (gradient,) = torch.autograd.grad(penalty, A)
    outer = 2 * torch.einsum("bi,bj->ij", x @ A, x) / 4
    torch.testing.assert_close(gradient, (outer + outer.T) / 2)


def test_r1_of_a_discriminator_against_finite_differences():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        D = Discriminator(DiscriminatorConfig(img_resolution=8, channels=(4, 4), stddev_channels=0)).double()
    images = torch.randn(2, 1, 8, 8, generator=rng(3), dtype=torch.float64, requires_grad=True)
    penalty = r1_penalty(D(images), images)
    step = 1e-5
    basis = torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8) * step
    with torch.no_grad():
        slopes = [(D(image + basis) - D(image - basis)) / (2 * step) for image in images]
    torch.testing.assert_close(penalty, torch.stack(slopes).square().sum((1, 2)).mean(), rtol=1e-6, atol=0)


def test_path_lengths_of_a_linear_generator():
    # images = sum over layers of J_l w_l, so the gradient of <images, y> at w_l is J_l' y.
    J = torch.randn(3, 5, 16, generator=rng(4))
    w = torch.randn(2, 3, 5, generator=rng(5), requires_grad=True)
    images = torch.einsum("bli,lip->bp", w, J).reshape(2, 1, 4, 4)
    noise = torch.randn(2, 1, 4, 4, generator=rng(6))
    back = torch.einsum("lip,bp->bli", J, noise.flatten(1) / 4)
    expected = back.square().sum(2).mean(1).sqrt()
    torch.testing.assert_close(path_lengths(images, w, noise), expected)


def test_path_lengths_can_be_descended():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        G = Generator(GeneratorConfig(img_resolution=8, z_dim=4, w_dim=4, channels=(4, 4))).double()
    w = torch.randn(2, G.num_ws, 4, generator=rng(7), dtype=torch.float64, requires_grad=True)
    noise = torch.randn(2, 1, 8, 8, generator=rng(8), dtype=torch.float64)

    def mean_length(_: torch.Tensor) -> torch.Tensor:
        return path_lengths(G.synthesis(w), w, noise).mean()

    weight = G.synthesis.layers[0].weight
    assert torch.autograd.gradcheck(mean_length, weight)


def test_path_length_penalty_moves_the_mean_without_a_gradient():
    lengths = torch.tensor([1.0, 3.0], requires_grad=True)
    penalty, mean = path_length_penalty(lengths, torch.tensor(1.0), decay=0.1)
    assert mean.item() == pytest.approx(1.1)
    assert not mean.requires_grad
    assert penalty.item() == pytest.approx(((1 - 1.1) ** 2 + (3 - 1.1) ** 2) / 2)
    penalty.backward()
    torch.testing.assert_close(lengths.grad, torch.tensor([-0.1, 1.9]))
