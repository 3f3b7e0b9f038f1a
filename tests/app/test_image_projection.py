"""Searches for a latent find the image that made the measurements."""

import pytest
import torch

from neuropyro.generators import Generator, GeneratorConfig
from neuropyro.image_projection import project_plainly, pulse
from neuropyro.models.corruption import Downsample, Mask, Undersample
from neuropyro.models.corruption_mask_shapes import Rectangle


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(1)
    sizes = {"img_resolution": 8, "z_dim": 4, "w_dim": 4, "channel_base": 64, "channel_max": 8}
    made = Generator(GeneratorConfig(**sizes, mapping_layers=2))
    with torch.no_grad():
        for block in made.synthesis.blocks:
            block.torgb.weight *= 0.15  # images within -1..1
        for layer in made.synthesis.layers:
            layer.affine.weight *= 20  # that differ
    return made.freeze()


@pytest.mark.parametrize("method", [pulse, project_plainly])
@pytest.mark.parametrize("corruption", [Mask(Rectangle(0.3, 0.3)), Downsample(2), Undersample(2.0, 0.2)])
def test_measurements_of_a_generated_image_are_met(generator, method, corruption):
    near = torch.randn(2, 4, generator=torch.Generator().manual_seed(0)) + 0.3 * torch.randn(2, 4)  # to PULSE's start
    truth = generator.synthesis(generator.mapping(near), noise_mode="none").detach()
    y = corruption.A(truth)
    start = (corruption.A(method(generator, corruption, y, steps=1)) - y).abs().square().mean()
    found = method(generator, corruption, y, steps=150)
    assert found.shape == truth.shape
    assert (corruption.A(found) - y).abs().square().mean() < 0.2 * start


def test_what_a_hole_hides_is_not_looked_at(generator):
    corruption = Mask(Rectangle(0.5, 0.5))
    y = corruption.A(torch.zeros(1, 1, 8, 8))
    spoilt = torch.where(corruption.observed(y) != 0, y, 5.0)
    assert torch.equal(pulse(generator, corruption, spoilt, steps=3), pulse(generator, corruption, y, steps=3))


def test_the_seed_decides(generator):
    y = torch.zeros(1, 1, 4, 4)
    one, same, other = (pulse(generator, Downsample(2), y, steps=2, seed=s) for s in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
