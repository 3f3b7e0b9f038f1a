from types import SimpleNamespace

import pytest
import torch

from neuropyro.generators import Generator, GeneratorConfig, find_directions, measure_effects
from neuropyro.generators.directions import left_out_errors


def linear_world(cases: int = 400, dims: int = 12, noise: float = 0.1):
    """Covariates that w is made of: w = mean + truth' c + anatomy, so that the directions are known."""
    rng = torch.Generator().manual_seed(0)
    covariates = torch.randn(cases, 2, generator=rng, dtype=torch.float64)
    covariates[:, 1] += 0.6 * covariates[:, 0]
    truth = torch.randn(2, dims, generator=rng, dtype=torch.float64)
    rest = noise * torch.randn(cases, dims, generator=rng, dtype=torch.float64)
    return 3 + covariates @ truth + rest, covariates, truth


def test_directions_recover_what_w_is_made_of():
    w, covariates, truth = linear_world()
    found = find_directions(w, covariates, ("ventricles", "atrophy"))
    torch.testing.assert_close(found.vectors, truth, atol=0.05, rtol=0)
    assert found.r2.min() > 0.98
    torch.testing.assert_close(found.predict(w), covariates, atol=0.3, rtol=0)


def test_one_unit_along_a_direction_is_one_unit_of_its_covariate_and_none_of_the_others():
    w, covariates, _ = linear_world(noise=1.0)
    found = find_directions(w, covariates, ("a", "b"))
    moved = found.predict(w[:1] + found.vectors) - found.predict(w[:1])
    torch.testing.assert_close(moved, torch.eye(2, dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize("penalty", [0.1, 30.0])
def test_left_out_errors_are_those_of_fits_without_the_case(penalty):
    w, covariates, _ = linear_world(cases=25, dims=6, noise=1.0)
    centred, target = w - w.mean(dim=0), covariates - covariates.mean(dim=0)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    fast = left_out_errors(u, s, u.T @ target, target, torch.tensor(penalty, dtype=torch.float64))
    # With the same centring, leaving a case out of a ridge regression with an unpenalised constant.
    design = torch.cat([centred, torch.ones(25, 1, dtype=torch.float64)], dim=1)
    ridge = penalty * torch.diag(torch.tensor([1.0] * 6 + [0.0], dtype=torch.float64))
    for i in range(25):
        keep = torch.arange(25) != i
        x, y = design[keep], target[keep]
        coefficients = torch.linalg.solve(x.T @ x + ridge, x.T @ y)
        torch.testing.assert_close(fast[i], target[i] - design[i] @ coefficients, atol=1e-9, rtol=1e-9)


def test_a_covariate_unrelated_to_w_is_not_predicted():
    w, covariates, _ = linear_world(cases=100)
    noise = torch.randn(100, 1, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    found = find_directions(w, torch.cat([covariates, noise], dim=1), ("a", "b", "noise"))
    assert found.r2[2] < 0.1
    assert found.penalties[2] > found.penalties[0]


def test_effects_are_measured_in_images():
    """In a world where the image is linear in w, the measured effect is the readout of the direction."""
    readout = torch.randn(2, 12, generator=torch.Generator().manual_seed(1))

    class Mapping(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(12, 4))

        def forward(self, z):
            return (z @ self.weight.T)[:, None]

    def synthesis(w, noise_mode):
        return (w @ readout.T)[:, :, None, None]

    generator = SimpleNamespace(z_dim=4, w_dim=12, num_ws=1, mapping=Mapping(), synthesis=synthesis)
    w, covariates, _ = linear_world()
    found = find_directions(w, covariates, ("a", "b"))
    effects = measure_effects(generator, found, lambda image: image.flatten(1), amounts=(-1, 0, 3))
    torch.testing.assert_close(effects, found.vectors @ readout.T.double(), atol=1e-4, rtol=1e-4)


def test_effects_of_a_generator_are_its_mean_slopes():
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(8, z_dim=4, w_dim=5, mapping_layers=2, channels=(4, 4))).freeze()
    w = generator.mapping(torch.randn(500, 4))[:, 0]

    def brightness(image):
        return image.mean(dim=(1, 2, 3))[:, None]

    found = find_directions(w, brightness(generator.synthesis(w)), ("brightness",))
    effects = measure_effects(generator, found, brightness, amounts=(-0.1, 0.1), draws=8, seed=3)
    start = generator.mapping(torch.randn(8, 4, generator=torch.Generator().manual_seed(3)))[:, 0]
    low, high = (brightness(generator.synthesis(start + a * found.vectors[0].float())) for a in (-0.1, 0.1))
    torch.testing.assert_close(effects[0, 0].float(), (high - low).mean() / 0.2, rtol=1e-4, atol=1e-5)
    assert effects[0, 0] > 0


def test_misuse_is_explained():
    with pytest.raises(ValueError, match=r"covariates must have shape \(5, 2\)"):
        find_directions(torch.randn(5, 3), torch.randn(4, 2), ("a", "b"))
    with pytest.raises(ValueError, match="must be finite and vary"):
        find_directions(torch.randn(5, 3), torch.ones(5, 1), ("a",))
    with pytest.raises(ValueError, match="must be finite and vary"):
        find_directions(torch.randn(5, 3), torch.tensor([[0.0], [1.0], [2.0], [3.0], [torch.nan]]), ("a",))
    with pytest.raises(ValueError, match="3 covariates have no directions of their own in a w of 2 dimensions"):
        find_directions(torch.randn(5, 2), torch.randn(5, 3), ("a", "b", "c"))


def test_a_latent_of_one_number_has_a_direction():
    w = torch.randn(50, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = find_directions(w, 3 * w, ("size",))
    assert found.vectors.item() == pytest.approx(1 / 3, rel=1e-3)  # the smallest penalty shrinks by 1e-4
