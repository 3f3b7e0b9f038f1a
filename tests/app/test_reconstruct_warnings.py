"""When a reconstruction warns of itself, and that it says what to do."""

import nibabel
import numpy as np
import pytest
from torch.nn.functional import avg_pool2d

from neuropyro.data.image_files import read_image
from neuropyro.data.phantoms import BrainPhantoms
from neuropyro.generators import load_generator
from neuropyro.inference import fit
from neuropyro.inference.convergence import CosineSchedule
from neuropyro.models import LatentReconstruction
from neuropyro.models.corruption import Downsample
from neuropyro.reconstruct_warnings import (
    channel_warnings,
    check_warnings,
    mask_warnings,
    missing_warnings,
    noise_warnings,
    size_warnings,
    truth_warnings,
)

FINE = {"surprise": 1.1, "latent_distance": 1.0, "misfit": 1.0, "noise": 0.03}


def checks(*each):
    return {name: np.array([one[name] for one in each]) for name in FINE}


@pytest.mark.parametrize(
    ("odd", "said", "remedy"),
    [
        ({"surprise": 1.94}, "unlike what the generator was trained on: the measurements are 1.9 sds", "--generator"),
        ({"latent_distance": 2.3}, "trained on: the latent is 2.3 sds from the mean", "--generator"),
        ({"misfit": 2.5}, "contradicts its input: off by 2.5 sds of the noise", "--corruption"),
    ],
)
def test_a_bad_check_is_said_with_a_remedy_and_its_slice(odd, said, remedy):
    assert check_warnings(checks(FINE, FINE)) == []
    (line,) = check_warnings(checks(FINE, FINE | odd))
    assert line.startswith("slice 2: ")
    assert check_warnings(checks(FINE, FINE | odd), slices=(80, 90)) == [line.replace("slice 2", "slice 90")]
    assert said in line
    assert remedy in line.partition(";")[2]


@pytest.mark.parametrize(("kernel", "remedy"), [("bicubic", "give kernel=area"), ("area", "leave out kernel=area")])
def test_the_kernel_that_shrank_a_picture_is_among_the_suspects(kernel, remedy):
    (line,) = check_warnings(checks(FINE | {"surprise": 1.94}), kernel=kernel)
    assert line.startswith("unlike what the generator was trained on or shrunk otherwise: the measurements are 1.9 sds")
    assert remedy in line
    assert "else give a --generator" in line
    (line,) = check_warnings(checks(FINE | {"latent_distance": 2.3}), kernel=kernel)  # which no kernel explains
    assert "kernel" not in line


def test_a_learned_noise_that_is_too_small_is_said_with_the_one_to_give():
    (line,) = check_warnings(checks(FINE | {"misfit": 2.6, "noise": 0.0034}), learned_noise=True)
    assert "off by 2.6 sds of the noise, which was learned as 0.0034, too small" in line
    assert "+noise:.0088" in line  # 2.6 * .0034
    assert "+noise" not in check_warnings(checks(FINE | {"misfit": 2.6}))[0]


def test_noise_is_said_to_be_large_where_it_was_learned():
    noisy = checks(FINE | {"noise": 0.5})
    assert check_warnings(noisy) == []
    (line,) = check_warnings(noisy, learned_noise=True)
    assert line.startswith("what the generator cannot make is taken for noise, with an sd of 64 grey levels;")
    assert check_warnings(checks(FINE), learned_noise=True) == []


def test_noise_is_said_to_be_large_where_it_was_stated():
    assert noise_warnings(None) == noise_warnings(0.05) == []
    (line,) = noise_warnings(1.5)
    assert line.startswith("the noise that was stated, 1.5, is an sd of 191 grey levels of 255 (brightness is -1 to 1)")
    assert "+noise:.02" in line


def test_a_picture_in_colour_and_a_grey_generator_and_the_other_way_round():
    grey = np.random.default_rng(0).random((1, 1, 8, 8)).repeat(3, 1)
    colour = np.random.default_rng(1).random((1, 3, 8, 8))
    assert "only the luminance is used" in channel_warnings(255 * colour, grey[:, :1])[0]
    assert "generator's images are in colour" in channel_warnings(grey[:, :1], colour)[0]
    for picture, clean in [(255 * colour, colour), (grey, grey[:, :1]), (grey[:, :1], grey), (None, colour)]:
        assert channel_warnings(picture, clean) == []  # a grey generator may have three equal channels


def test_a_picture_that_was_shrunk_to_what_the_corruption_leaves():
    (line,) = size_warnings(256, 16, 64)
    assert "256 px was shrunk to 16 px" in line
    for side, measured in [(16, 16), (18, 16), (12, 16), (256, 64)]:  # a picture measured whole is brought to its size
        assert size_warnings(side, measured, 64) == []


def test_a_picture_that_was_enlarged():
    (line,) = size_warnings(12, 64, 64)
    assert "12 px was enlarged to 64 px" in line
    assert "superres" in line


def test_a_truth_as_small_as_the_corrupted_picture():
    (line,) = truth_warnings(16, 16, 64)
    assert line.startswith("the truth of 16 px was enlarged to 64 px, and is as small as what the corruption leaves")
    assert "of 64 px or more" in line
    assert "as small" not in truth_warnings(40, 16, 64)[0]
    for side, measured in [(64, 16), (50, 16), (256, 16), (16, 64)]:  # whole measurements are told of by their own size
        assert truth_warnings(side, measured, 64) == []


def head(hole):
    """A disc of structure on black, 32 x 32 px, with 0 in a hole (booleans) as a file may have it."""
    at = np.linspace(-1, 1, 32)
    disc = at[:, None] ** 2 + at**2 < 0.6
    return np.where(disc & ~hole, 100 + 50 * np.sin(9 * at), 0.0)[None, None]


def square(middle, half):
    hole = np.zeros((32, 32), bool)
    hole[middle - half : middle + half, middle - half : middle + half] = True
    return hole


@pytest.mark.parametrize("half", [2, 6])
def test_an_inverted_mask_hides_nearly_all_or_keeps_what_is_empty(half):
    hole = square(16, half)
    assert mask_warnings(head(hole), ~hole[None, None]) == []
    (line,) = mask_warnings(head(hole), hole[None, None])
    assert ("hides 98 % of the picture" if half == 2 else "nothing but empty background") in line
    assert "black is the hole" in line
    assert "invert" in line


def test_a_mask_that_hides_background_or_half_the_head_is_not_inverted():
    left = np.zeros((32, 32), bool)
    left[:, :16] = True
    for hole in (left, square(2, 2), square(16, 6)):
        assert mask_warnings(head(np.zeros_like(hole)), ~hole[None, None]) == []  # a clean picture, to be corrupted
        assert mask_warnings(np.where(hole, np.nan, head(hole)), ~hole[None, None]) == []


def test_pixels_that_were_nan_are_counted(tmp_path):
    volume = np.random.default_rng(0).uniform(2, 9, (6, 7, 8))
    volume[1, 3, 2:4] = volume[2, 5, 0] = np.nan
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "t1.nii")
    image = read_image(tmp_path / "t1.nii", slices=(3, 4))  # of the NaN elsewhere nothing is used
    (line,) = missing_warnings(image.missing, image.pixels)
    assert line.startswith(f"2 of 96 pixels were NaN and are taken for black, {np.nanmin(volume[:, 3:5]):g}; ")
    np.save(tmp_path / "t1.npy", volume)
    assert read_image(tmp_path / "t1.npy").missing == 3
    assert missing_warnings(read_image(tmp_path / "t1.nii", slices=4).missing, image.pixels) == []


@pytest.mark.slow
def test_of_means_of_pixels_the_kernel_of_means_is_nearer_and_does_not_warn():
    truth = BrainPhantoms(64, split="test")([0]).images
    found, errors = {}, {}
    for kernel in ("bicubic", "area"):
        model = LatentReconstruction(load_generator("brains64"), Downsample(4, kernel), candidates=500, starts=2)
        schedule = CosineSchedule(0.06, max_steps=200, warm_up=100, window=20)
        result = fit(model, avg_pool2d(truth, 4), guide="structured", schedule=schedule, progress=False)
        found[kernel] = check_warnings(model.checks(result, 16), learned_noise=True, kernel=kernel)
        errors[kernel] = np.sqrt(np.square(model.estimate(result, 32) - truth.numpy()).mean())
    assert found["area"] == []
    assert "give kernel=area" in found["bicubic"][0]
    assert errors["area"] < 0.9 * errors["bicubic"]
