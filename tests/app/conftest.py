"""A small generator, untrained, and a quick search of its latents, for commands that reconstruct."""

import pytest
import torch

from neuropyro.generators import Card, Generator, GeneratorConfig, save_generator
from neuropyro.models import reconstruction

SIDE = 16  # px of its images
DEFAULTS = reconstruction.LatentReconstruction.__init__.__kwdefaults__


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    torch.manual_seed(0)
    made = Generator(GeneratorConfig(img_resolution=SIDE, z_dim=4, w_dim=4, channel_base=128, channel_max=8))
    path = tmp_path_factory.mktemp("generator") / "small.safetensors"
    save_generator(made, path, Card("small", "nothing", 0, {}, "MIT"))
    return path


@pytest.fixture
def few_candidates(monkeypatch):
    quick = DEFAULTS | {"candidates": 8, "starts": 1, "search_steps": 2}
    monkeypatch.setattr(reconstruction.LatentReconstruction.__init__, "__kwdefaults__", quick)
