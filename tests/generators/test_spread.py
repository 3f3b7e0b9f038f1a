import math

import pytest
import torch

from neuropyro.generators.spread import SpreadLoss, energy_distance


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def textures(count: int, seed: int, size: float = 1.0) -> torch.Tensor:
    """Images whose pixels vary together, with sd ``size`` about one mean."""
    roots = torch.randn(16, 16, generator=rng(0)) * torch.logspace(0, -2, 16)
    return 0.5 + (size * torch.randn(count, 16, generator=rng(seed)) @ roots.T).view(count, 1, 4, 4)


def test_energy_distance_by_hand():
    x, y = torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [2.0], [4.0]])
    between = (1 + 2 + 4 + 2 + 1 + 1) / 6
    own = (1 + 3 + 2) / 3
    assert energy_distance(x, y).item() == pytest.approx(2 * between - 3 - own)


def test_pairs_are_left_out_of_the_distance_between():
    x, y = torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [5.0]])
    between = (5 + 2) / 2
    assert energy_distance(x, y, paired=True).item() == pytest.approx(2 * between - 3 - 4)
    # So it is 0 on average for pairs of one distribution, however alike the two of each pair are.
    pairs = [torch.randn(6, 8, generator=rng(i)) for i in range(500)]
    noisy = [0.9 * x + 0.19**0.5 * torch.randn(6, 8, generator=rng(1000 + i)) for i, x in enumerate(pairs)]
    found = torch.stack([energy_distance(x, y, paired=True).mean() for x, y in zip(pairs, noisy, strict=True)])
    assert abs(found.mean()) < 3 * found.std() / math.sqrt(500)


def test_energy_distance_of_normals_has_its_closed_form():
    # E|N(m, v)| = sqrt(2 v / pi) exp(-m^2 / 2 v) + m erf(m / sqrt(2 v)), here of x - y with m = 1 and v = 2.
    x, y = torch.randn(2, 4000, 1, generator=rng(1), dtype=torch.float64)
    between = math.sqrt(4 / math.pi) * math.exp(-1 / 4) + math.erf(1 / 2)
    found = energy_distance(x, y + 1)
    assert found.item() == pytest.approx(2 * between - 2 * math.sqrt(4 / math.pi), abs=0.03)  # some 3 standard errors


def test_small_batches_of_one_distribution_are_at_distance_zero_on_average():
    found = torch.stack([energy_distance(*torch.randn(2, 4, 8, generator=rng(i))).mean() for i in range(500)])
    assert abs(found.mean()) < 3 * found.std() / math.sqrt(500)


@pytest.mark.parametrize("size", [0.3, 1.0, 2.0])
def test_descent_finds_the_diversity_of_real_images(size):
    loss = SpreadLoss.of(textures(500, seed=2), components=8)
    scale = torch.tensor(size, requires_grad=True)
    optimiser = torch.optim.Adam([scale], lr=0.05)
    for i in range(150):
        optimiser.zero_grad()
        made = 0.5 + (textures(8, seed=2 * i + 1000) - 0.5) * scale
        loss(made, textures(8, seed=2 * i + 1001), rng(i)).backward()
        optimiser.step()
    assert scale.item() == pytest.approx(1.0, abs=0.15)


def test_pixels_that_never_vary_do_not_count():
    real = textures(20, seed=3)
    real[:, :, 2:] = -1.0
    loss = SpreadLoss.of(real, components=64)
    assert len(loss.sd) == 8
    assert torch.isfinite(loss(real[:5], real[5:], rng(0)))
