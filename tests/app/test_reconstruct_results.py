"""What a reconstruction's folder says of it, end to end with a small untrained generator."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from neuropyro.cli import app
from neuropyro.generators import Card, Generator, GeneratorConfig, save_generator
from neuropyro.models import reconstruction

SIDE = 16
DEFAULTS = reconstruction.LatentReconstruction.__init__.__kwdefaults__


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    torch.manual_seed(0)
    made = Generator(GeneratorConfig(img_resolution=SIDE, z_dim=4, w_dim=4, channel_base=128, channel_max=8))
    path = tmp_path_factory.mktemp("generator") / "small.safetensors"
    save_generator(made, path, Card("small", "nothing", 0, {}, "MIT"))
    return path


@pytest.fixture(autouse=True)
def few_candidates(monkeypatch):
    quick = DEFAULTS | {"candidates": 8, "starts": 1, "search_steps": 2}
    monkeypatch.setattr(reconstruction.LatentReconstruction.__init__, "__kwdefaults__", quick)


def picture(path, size):
    at = np.linspace(-1, 1, size)
    levels = 220 * np.exp(-3 * (at[:, None] ** 2 + at**2)) + 20 * np.random.default_rng(0).random((size, size))
    Image.fromarray(levels.round().astype(np.uint8)).save(path)
    return path


def run(*arguments, **options):
    given = {"guide": "map", "steps": 4, "draws": 10} | options
    flat = [str(part) for name, value in given.items() for part in (f"--{name}", value)]
    app(["reconstruct", *map(str, arguments), *flat], result_action="return_value")


def read(path):
    return json.loads(path.read_text())


def test_much_noise_that_was_stated_is_warned(generator, tmp_path, capsys):
    small = picture(tmp_path / "a.png", SIDE // 4)
    run(small, corruption="superres:4+noise:.5", generator=generator, out=tmp_path / "out")
    said = "the noise that was stated, 0.5, is an sd of 64 grey levels of 255"
    assert any(said in line for line in read(tmp_path / "out" / "a" / "checks.json")["warnings"])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("given", [True, False])
def test_a_small_picture_as_its_own_truth_is_warned(given, generator, tmp_path):
    small = picture(tmp_path / "a.png", SIDE // 4)
    images = [small] if given else []
    run(*images, "--truth", small, corruption="superres:4", generator=generator, out=tmp_path / "out")
    said = [line for line in read(tmp_path / "out" / "a" / "checks.json")["warnings"] if "the truth of 4 px" in line]
    assert len(said) == 1
