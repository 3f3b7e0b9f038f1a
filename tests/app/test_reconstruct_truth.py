"""The clean images that a reconstruction is compared with."""

import numpy as np
import pytest
import torch
from PIL import Image

from neuropyro.data.image_files import read_image
from neuropyro.data.image_slices import ImageFileError
from neuropyro.models.corruption import Undersample
from neuropyro.models.corruption_text import parse_corruption
from neuropyro.reconstruct_framing import Framing
from neuropyro.reconstruct_inputs import job_of

SIDE = 16


def picture(path):
    """A blob on black, with noise."""
    at = np.linspace(-1, 1, SIDE)
    levels = 220 * np.exp(-3 * (at[:, None] ** 2 + at**2)) + 20 * np.random.default_rng(0).random((SIDE, SIDE))
    Image.fromarray(levels.round().astype(np.uint8)).save(path)
    return path


def test_a_truth_has_the_brightness_of_kspace(tmp_path):
    """In whatever unit the picture and the k-space are."""
    pixels = read_image(picture(tmp_path / "a.png")).pixels
    np.save(tmp_path / "scan.npy", 1e-4 * Undersample(2.0, 0.2).A(torch.as_tensor(pixels) / 127.5 - 1)[0].numpy())
    np.save(tmp_path / "dim.npy", (0.3 * pixels / 255).astype(np.float32))
    framing = Framing(SIDE, 1)
    kspace = parse_corruption("kspace:2+noise:.02")
    bright, dim = (
        job_of(tmp_path / "scan.npy", tmp_path / name, kspace, framing, simulate=False, seed=0)
        for name in ("a.png", "dim.npy")
    )
    torch.testing.assert_close(dim.truth, bright.truth, atol=1e-3, rtol=0)
    off = [(bright.corruption.linear(share * (bright.truth + 1)) - bright.y).norm() for share in (0.95, 1.0, 1.05)]
    assert off.index(min(off)) == 1


@pytest.mark.parametrize("simulate", [True, False])
def test_a_mask_is_no_clean_image(simulate, tmp_path):
    hole = np.full((SIDE, SIDE), 255, np.uint8)
    hole[4:8, 4:8] = 0
    Image.fromarray(hole).save(tmp_path / "mask.png")
    given = (tmp_path / "mask.png", None) if simulate else (picture(tmp_path / "a.png"), tmp_path / "mask.png")
    with pytest.raises(ImageFileError, match=r"mask.png: it has two values alone, as a mask has; give the clean image"):
        job_of(*given, parse_corruption("inpaint:half"), Framing(SIDE, 1), simulate, seed=0)
