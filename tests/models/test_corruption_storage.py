import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from neuropyro.models.corruption import (
    Blur,
    Compose,
    CorruptionError,
    Downsample,
    Identity,
    Intensity,
    Mask,
    Undersample,
    as_corruption,
    parse_corruption,
)
from neuropyro.models.corruption_coils import SmoothPhase, birdcage_maps
from neuropyro.models.corruption_intensity import BiasField
from neuropyro.models.corruption_kspace_patterns import Lines, Points
from neuropyro.models.corruption_mask_shapes import FreeForm
from neuropyro.models.corruption_storage import corruption_from_settings, corruption_settings

RNG = np.random.default_rng(0)
EACH = [
    Identity(0.1),
    Downsample(4, "area", image_size=(16, 24)),
    Downsample(2, antialias=False, noise=0.2),
    Mask(RNG.random((16, 24)) > 0.5),
    Mask(FreeForm(0.2, seed=3)),
    Blur(1.5),
    Blur.motion(5, 20),
    Blur(RNG.standard_normal((3, 5))),
    Intensity(RNG.random((16, 24)) + 0.5, noise=0.0),
    Intensity(BiasField(0.3, 2), 1.4),
    Undersample(Points(3, 0.2), phase=None, coils=3),
    Undersample(Lines(2, density="variable"), phase=SmoothPhase(0.4, 1), noise=0.01),
    Undersample(RNG.random((16, 24)) > 0.5, phase=RNG.standard_normal((16, 24)), coils=birdcage_maps(4, 16, 24)),
    Compose(Blur(1.0), Mask(RNG.random((16, 24)) > 0.5), Downsample(2), noise=0.3),
]


@pytest.mark.parametrize("corruption", EACH, ids=lambda c: type(c).__name__)
def test_saved_and_loaded_it_is_the_same_to_the_bit(corruption, tmp_path):
    settings, tensors = corruption_settings(corruption)
    save_file(tensors, tmp_path / "t.safetensors")
    again = corruption_from_settings(json.loads(json.dumps(settings)), load_file(tmp_path / "t.safetensors"))
    x = torch.randn(2, 1, 16, 24)
    assert torch.equal(again.A(x), corruption.A(x))
    assert type(again) is type(corruption)
    assert again.noise == corruption.noise
    assert corruption_settings(again)[0] == settings


def test_what_a_file_held_is_kept(tmp_path):
    path = tmp_path / "mask.npy"
    np.save(path, np.eye(8))
    corruption = parse_corruption(f"inpaint:{path}+noise:.1")
    settings, tensors = corruption_settings(corruption)
    path.unlink()
    again = corruption_from_settings(settings, tensors)
    assert torch.equal(again.A(torch.ones(1, 1, 8, 8)), corruption.A(torch.ones(1, 1, 8, 8)))


class Physics:
    def A(self, x):  # noqa: N802
        return x


@pytest.mark.parametrize("corruption", [as_corruption(Physics()), Mask(lambda h, w: torch.ones(h, w))])
def test_functions_and_physics_cannot_be_written_down(corruption):
    with pytest.raises(CorruptionError, match="cannot be saved"):
        corruption_settings(corruption)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"corruption": "system", "arguments": {}}, "'system' is not known"),
        ({"part": "Lines", "arguments": {}}, "not those of a corruption"),
        ({"corruption": "Mask", "arguments": {"mask": {"tensor": "tensor0", "complex": False}}}, "tensor0 is missing"),
    ],
)
def test_damaged_settings(settings, message):
    with pytest.raises(CorruptionError, match=message):
        corruption_from_settings(settings, {})
