import torch

from neuropyro.generators import Generator, GeneratorConfig
from neuropyro.generators.readouts import CovariateReadout, covariate_directions


def pictures(count: int, seed: int):
    """Images that are linear in two covariates, with anatomy of their own beside them."""
    world = torch.Generator().manual_seed(0)
    patterns, anatomy = torch.randn(2, 64, generator=world), torch.randn(5, 64, generator=world)
    rng = torch.Generator().manual_seed(seed)
    covariates = torch.randn(count, 2, generator=rng)
    pixels = covariates @ patterns + torch.randn(count, 5, generator=rng) @ anatomy
    noise = 0.05 * torch.randn(count, 64, generator=rng)
    return (pixels + noise).reshape(-1, 1, 8, 8), covariates.double()


def test_covariates_are_read_out_of_images_not_seen():
    readout = CovariateReadout.of(*pictures(300, 1), ("size", "place"), components=20)
    images, covariates = pictures(100, 2)
    assert readout.r2(images, covariates).min() > 0.99
    assert readout.r2(images, covariates.flip(0)).max() < 0.2


def test_directions_of_a_generator_change_what_is_read():
    torch.manual_seed(0)
    G = Generator(GeneratorConfig(8, z_dim=8, w_dim=8, mapping_layers=2, channels=(8, 8))).freeze()
    made = G.synthesis(G.mapping(torch.randn(400, 8)), noise_mode="const")
    brightness, tilt = made.mean((1, 2, 3)), made[:, 0, :4].mean((1, 2)) - made[:, 0, 4:].mean((1, 2))
    covariates = torch.stack([brightness, tilt], 1).double()
    readout = CovariateReadout.of(made, covariates, ("brightness", "tilt"), components=32)
    directions, effects = covariate_directions(G, readout, draws=300, seed=4)
    assert directions.names == ("brightness", "tilt")
    assert directions.vectors.shape == (2, 8)
    w = G.mapping(torch.randn(100, 8))[:, 0]
    for k in range(2):
        step = 0.2 * covariates[:, k].std().float() * directions.vectors[k].float()
        change = (readout(G.synthesis(w + step)) - readout(G.synthesis(w - step))).mean(dim=0)
        assert change[k] > 0
        assert abs(change[k] / (0.4 * covariates[:, k].std()) - effects[k, k]) < 0.3
