import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from neuropyro.models import corruption as ops
from neuropyro.models.corruption_coils import SmoothPhase, birdcage_maps
from neuropyro.models.corruption_intensity import BiasField
from neuropyro.models.corruption_kspace_patterns import Lines, Points
from neuropyro.models.corruption_mask_shapes import FreeForm
from neuropyro.models.corruption_storage import corruption_from_settings, corruption_settings

RNG = np.random.default_rng(0)
EACH = [
    ops.Identity(0.1),
    ops.Downsample(4, "area", image_size=(16, 24)),
    ops.Downsample(2, antialias=False, noise=0.2),
    ops.Mask(RNG.random((16, 24)) > 0.5),
    ops.Mask(FreeForm(0.2, seed=3)),
    ops.Blur(1.5),
    ops.Blur.motion(5, 20),
    ops.Blur(RNG.standard_normal((3, 5))),
    ops.Intensity(RNG.random((16, 24)) + 0.5, noise=0.0),
    ops.Intensity(BiasField(0.3, 2), 1.4),
    ops.Undersample(Points(3, 0.2), phase=None, coils=3),
    ops.Undersample(Lines(2, density="variable"), phase=SmoothPhase(0.4, 1), noise=0.01),
    ops.Undersample(RNG.random((16, 24)) > 0.5, phase=RNG.standard_normal((16, 24)), coils=birdcage_maps(4, 16, 24)),
    ops.Compose(ops.Blur(1.0), ops.Mask(RNG.random((16, 24)) > 0.5), ops.Downsample(2), noise=0.3),
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
    corruption = ops.parse_corruption(f"inpaint:{path}+noise:.1")
    settings, tensors = corruption_settings(corruption)
    path.unlink()
    again = corruption_from_settings(settings, tensors)
    assert torch.equal(again.A(torch.ones(1, 1, 8, 8)), corruption.A(torch.ones(1, 1, 8, 8)))


class Physics:
    def A(self, x):  # noqa: N802
        return x


@pytest.mark.parametrize("corruption", [ops.as_corruption(Physics()), ops.Mask(lambda h, w: torch.ones(h, w))])
def test_functions_and_physics_cannot_be_written_down(corruption):
    with pytest.raises(ops.CorruptionError, match="cannot be saved"):
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
    with pytest.raises(ops.CorruptionError, match=message):
        corruption_from_settings(settings, {})
