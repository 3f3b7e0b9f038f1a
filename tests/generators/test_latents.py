import dataclasses
import math

import pytest
import torch

from neuropyro.generators import (
    Card,
    Generator,
    GeneratorConfig,
    latent_statistics,
    load_generator,
    project,
    save_generator,
)


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(GeneratorConfig(16, z_dim=4, w_dim=5, mapping_layers=2, channels=(8, 6, 4))).freeze()


def test_statistics_are_the_moments_of_seeded_draws(generator):
    statistics = latent_statistics(generator, draws=2_000, seed=5)
    z = torch.randn(2_000, 4, generator=torch.Generator().manual_seed(5))
    w = generator.mapping(z)[:, 0].double()
    centred = w - w.mean(dim=0)
    torch.testing.assert_close(statistics.mean.double(), w.mean(dim=0), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(statistics.covariance.double(), centred.T @ centred / 1_999, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(statistics.sd.double(), w.std(dim=0), atol=1e-6, rtol=1e-5)
    assert math.isclose(statistics.total_sd**2, w.var(dim=0).sum().item(), rel_tol=1e-5)
    assert torch.equal(latent_statistics(generator, 2_000, 5).mean, statistics.mean)
    assert not torch.equal(latent_statistics(generator, 2_000, 6).mean, statistics.mean)


def test_statistics_come_from_the_card_where_it_has_them(generator, tmp_path):
    statistics = latent_statistics(generator)
    marked = dataclasses.replace(statistics, mean=statistics.mean + 1)
    card = Card("small", "none", 0, {"fid": 0.0}, "MIT", arrays=marked.to_arrays())
    save_generator(generator, tmp_path / "small.safetensors", card)
    loaded = load_generator(tmp_path / "small.safetensors")
    torch.testing.assert_close(latent_statistics(loaded).mean, statistics.mean + 1)
    torch.testing.assert_close(latent_statistics(loaded, seed=1).mean, statistics.mean, atol=0.1, rtol=0)


def test_statistics_of_a_conditional_generator_depend_on_the_label():
    torch.manual_seed(1)
    generator = Generator(GeneratorConfig(8, label_dim=2, z_dim=4, w_dim=5, mapping_layers=2, channels=(4, 4)))
    one, other = (latent_statistics(generator, labels=torch.eye(2)[i : i + 1]) for i in range(2))
    mixed = latent_statistics(generator)
    assert (one.mean - other.mean).abs().max() > 0.05
    torch.testing.assert_close(mixed.mean, (one.mean + other.mean) / 2, atol=0.05, rtol=0)
    assert mixed.total_sd > min(one.total_sd, other.total_sd)


@pytest.mark.parametrize("space", ["w", "wplus"])
def test_projection_finds_images_of_the_generator(generator, space):
    statistics, layers = latent_statistics(generator), generator.num_ws if space == "wplus" else 1
    offset = 0.3 * torch.randn(3, layers, 5, generator=torch.Generator().manual_seed(2))
    images = generator.synthesis((statistics.mean + statistics.sd * offset).expand(-1, generator.num_ws, -1))
    found = project(generator, images, space=space, steps=100)
    contrast = images.std(dim=(1, 2, 3))
    assert (found.rmse < 0.02 * contrast).all()
    torch.testing.assert_close(generator.synthesis(found.w), found.images)
    assert found.losses[-1] < 1e-3 * found.losses[0]
    assert found.w.shape == (3, generator.num_ws, 5)
    if space == "w":
        torch.testing.assert_close(found.w, found.w[:, :1].expand_as(found.w))


def test_projection_of_an_image_does_not_depend_on_its_batch(generator):
    images = generator.synthesis(generator.mapping(torch.randn(2, 4, generator=torch.Generator().manual_seed(3))))
    together, alone = project(generator, images, steps=20), project(generator, images[1:], steps=20)
    torch.testing.assert_close(together.w[1:], alone.w, atol=1e-4, rtol=1e-4)


def test_projection_weighs_features(generator):
    images = generator.synthesis(generator.mapping(torch.randn(1, 4)))
    calls = []

    def features(image):
        calls.append(image.shape)
        return image.mean(dim=(1, 2, 3))[:, None]

    found = project(generator, images, steps=3, features=features, feature_weight=2.0)
    start = generator.synthesis(latent_statistics(generator).mean[None])
    expected = (start - images).square().mean() + 2 * (start.mean() - images.mean()).square()
    torch.testing.assert_close(found.losses[0], expected)
    assert len(calls) >= 5  # once of the image, once at the start, at least once a step


def test_projection_refuses_unknown_spaces_and_random_noise(generator):
    for options in ({"space": "z"}, {"noise_mode": "random"}):
        with pytest.raises(ValueError, match="space must be 'w' or 'wplus' and noise fixed"):
            project(generator, torch.zeros(1, 1, 16, 16), **options)


@pytest.mark.parametrize("shape", [(1, 1, 8, 8), (1, 3, 16, 16), (1, 16, 16)])
def test_projection_refuses_images_of_another_shape(generator, shape):
    with pytest.raises(ValueError, match=r"images must have shape \(B, 1, 16, 16\)"):
        project(generator, torch.zeros(shape))
