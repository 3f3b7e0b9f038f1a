"""Pictures as small as what a corruption leaves: their own pixels count, and the result lies on them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import interpolate

from neuropyro.cli import app
from neuropyro.data.image_frames import Frame
from neuropyro.data.image_slices import ImageSlices
from neuropyro.data.phantoms import BrainPhantoms
from neuropyro.generators import load_generator
from neuropyro.image_baselines import bicubic
from neuropyro.models.corruption import Downsample, parse_corruption
from neuropyro.reconstruct_framing import Framing
from neuropyro.reconstruct_inputs import job_of
from neuropyro.reconstruct_small import enlargement, window_of

SIDE = 16


def as_picture(pixels):
    return ImageSlices(np.asarray(pixels, np.float32), Path("small.png"), np.dtype(np.uint8), "png")


@pytest.fixture(scope="module")
def phantom():
    return BrainPhantoms(64, split="test")([1]).images


@pytest.fixture(scope="module")
def brains():
    G = load_generator("brains64")
    with torch.no_grad():
        return Framing.of(G, G(torch.randn(16, G.z_dim, generator=torch.Generator().manual_seed(0))))


@pytest.mark.parametrize(("top", "left", "height", "width"), [(12, 20, 32, 32), (0, 5, 32, 24), (30, 36, 32, 28)])
def test_a_crop_is_what_the_corruption_leaves_of_its_window(phantom, top, left, height, width):
    """Of 32 px shrunk by 2 to 16, which superres:4 would leave of all 64: exact, without any resampling."""
    crop = phantom[..., top : top + height, left : left + width]
    small = interpolate(crop, size=(height // 2, width // 2), mode="bicubic", antialias=True)
    picture, shrunk = as_picture((small + 1) * 127.5), parse_corruption("superres:4+noise:.02")
    assert enlargement(picture, shrunk, 64) == 4
    frame = Frame(2 * height, 2 * width, 1, (-2 * top, -2 * left, 128, 128), 64, 0.0, 255.0)
    y = window_of(shrunk, picture, frame)
    torch.testing.assert_close(y, small, atol=1e-5, rtol=0)
    torch.testing.assert_close(shrunk.A(phantom), small, atol=1e-5, rtol=0)
    assert shrunk.adjointness_test(phantom.double()) < 1e-12
    guess = bicubic(shrunk, y)  # of which the rest is black
    assert guess.shape == phantom.shape
    inside = guess[..., top : top + height, left : left + width]
    assert (inside - crop).abs().mean() < 0.15
    assert float((inside + 1).sum()) > 0.9 * float((guess + 1).sum())


def test_pixels_that_the_square_cuts_are_left_out():
    """The square is rows 1.25 to 13.25 of 16: pixels 2 to 12 lie whole in it."""
    picture, shrunk = as_picture(np.arange(256.0).reshape(1, 1, 16, 16)), Downsample(4)
    y = window_of(shrunk, picture, Frame(64, 64, 1, (5, 8, 48, 48), 64, 0.0, 255.0))
    assert y.shape == (1, 1, 11, 12)
    torch.testing.assert_close(127.5 * (y[0, 0, :, 0] + 1), 16 * torch.arange(2.0, 13) + 2, atol=1e-4, rtol=0)
    step = 64 / 48
    assert shrunk.factor == pytest.approx(4 * step)
    assert shrunk.window == pytest.approx((3 * step, 0, 44 * step, 64))


def test_a_whole_picture_stays_as_it_is():
    picture, shrunk = as_picture(np.arange(256.0).reshape(1, 1, 16, 16)), parse_corruption("superres:4")
    y = window_of(shrunk, picture, Framing(64, 1, intensity=(0.0, 255.0)).frame(picture, 4))
    torch.testing.assert_close(127.5 * (y + 1), torch.arange(256.0).reshape(1, 1, 16, 16), atol=1e-4, rtol=0)
    assert (shrunk.factor, shrunk.window) == (4, None)


def test_a_cropped_brain_is_found_to_fill_its_picture(brains, phantom, tmp_path):
    """Of 52 of 64 px, in which the brain lies tight: the square around it is nearly where it was."""
    crop = ((phantom[0, 0, 2:54, 4:56] + 1) * 127.5).clamp(0, 255).round().to(torch.uint8).numpy()
    Image.fromarray(crop).resize((16, 16), Image.Resampling.BICUBIC).save(tmp_path / "tight.png")
    job = job_of(tmp_path / "tight.png", None, Downsample(4), brains, simulate=False, seed=0)
    (line,) = job.remarks
    assert line.startswith("its content fills 97 % of the picture's side, and 78 % of that of the generator's images")
    assert "--field-of-view 16 takes the picture as it is" in line
    assert job.y.shape == (1, 1, 16, 16)
    assert job.frame.box[2] / 4 == pytest.approx(16 * 64 / 52, rel=0.05)  # px of the picture
    assert np.abs(np.array(job.corruption.window) - (2, 4, 52, 52)).max() < 3  # px, of which a pose is 1.5 off
    whole = Framing(**(vars(brains) | {"field_of_view": 16.0, "head": None}))
    job = job_of(tmp_path / "tight.png", None, Downsample(4), whole, simulate=False, seed=0)
    assert (job.remarks, job.corruption.factor, job.corruption.window) == ((), 4, None)


def test_a_negative_is_told(brains, phantom, tmp_path):
    levels = ((phantom[0, 0] + 1) * 127.5).clamp(0, 255).round().to(torch.uint8).numpy()
    for name, picture in {"usual": levels, "negative": 255 - levels}.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    told = {
        name: job_of(
            tmp_path / f"{name}.png", None, parse_corruption("noise:.1"), brains, simulate=False, seed=0
        ).remarks
        for name in ("usual", "negative")
    }
    assert told["usual"] == ()
    assert told["negative"][-1].startswith("its edges are bright, and those of the generator's images dark")


def test_a_factor_need_not_divide_the_generators_side(brains, phantom, tmp_path):
    pale = 0.8 * phantom  # so that the kernel's overshoot stays within -1 to 1
    np.save(tmp_path / "twelve.npy", interpolate(pale, size=(12, 12), mode="bicubic", antialias=True)[0, 0].numpy())
    whole = Framing(**(vars(brains) | {"field_of_view": 12.0, "head": None}))
    job = job_of(tmp_path / "twelve.npy", None, parse_corruption("superres:5"), whole, simulate=False, seed=0)
    assert job.y.shape == (1, 1, 12, 12)
    torch.testing.assert_close(job.corruption.A(pale), job.y, atol=1e-5, rtol=0)


@pytest.mark.usefixtures("few_candidates")
@pytest.mark.parametrize(("height", "width", "side"), [(4, 4, None), (3, 4, None), (4, 4, 6), (4, 4, 3)])
def test_the_result_lies_on_the_picture(generator, height, width, side, tmp_path):
    levels = np.random.default_rng(0).integers(20, 250, (height, width)).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "a.png")
    given = ["--corruption", "superres:4", "--guide", "normal", "--steps", "60", "--draws", "8"]
    given += [] if side is None else ["--field-of-view", str(side)]
    places = ["--generator", str(generator), "--out", str(tmp_path / "out")]
    app(["reconstruct", str(tmp_path / "a.png"), *given, *places], result_action="return_value")
    folder = tmp_path / "out" / "a"
    for name in ("clean.png", "sd_image.png"):
        assert np.asarray(Image.open(folder / name)).shape == (4 * height, 4 * width)
    square = json.loads((folder / "checks.json").read_text())["square"]
    assert square["height"] == square["width"] == (side or width)
    measured = np.load(folder / "measured.npy")
    if side != 3:  # of which the square shows a part
        np.testing.assert_allclose((measured[0, 0] + 1) * 127.5, levels, atol=1e-3)
    assert np.load(folder / "corrupted.npy").shape == measured.shape
    assert np.load(folder / "clean.npy").shape == (1, 1, SIDE, SIDE)
