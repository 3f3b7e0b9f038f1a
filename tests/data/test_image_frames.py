import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image

from neuropyro.data.image_frames import Frame, foreground_centre, robust_range


def smooth(n=1, channels=1, height=40, width=30):
    """Slow waves, so that resampling to half and back hardly changes them."""
    rows, columns = np.meshgrid(np.linspace(0, 3, height), np.linspace(0, 2, width), indexing="ij")
    waves = [np.sin(rows + i) * np.cos(columns + j) for i in range(n) for j in range(channels)]
    return (100 * np.stack(waves).reshape(n, channels, height, width) + 200).astype(np.float32)


def test_same_size_is_the_intensity_map_alone_and_inverted():
    x = smooth(2, 1, 32, 32)
    frame = Frame.around(x, 32, intensity=(100.0, 300.0))
    np.testing.assert_allclose(frame.to_square(x), (x - 200) / 100, atol=1e-5)
    np.testing.assert_allclose(frame.from_square(frame.to_square(x)), x, atol=1e-3)


def test_robust_range_leaves_out_outliers_and_is_not_clipped():
    x = np.random.default_rng(0).uniform(0, 1000, (1, 1, 64, 64)).astype(np.float32)
    x[0, 0, 0, 0] = 1e6
    low, high = robust_range(x)
    assert 0 < low < 20
    assert 980 < high < 1000
    square = Frame.around(x, 64).to_square(x)
    assert square.max() > 1000
    np.testing.assert_allclose(Frame.around(x, 64).from_square(square), x, rtol=1e-4, atol=0.1)
    rare = np.zeros((1, 1, 64, 64))
    rare[0, 0, :2, :2] = 7.0  # fewer than the percentiles leave out
    assert robust_range(rare) == (0.0, 7.0)
    with pytest.raises(ValueError, match=r"every pixel is 3\.0"):
        robust_range(np.full((1, 1, 4, 4), 3.0))


def test_padding_is_black_and_what_was_seen_comes_back():
    x = smooth()
    frame = Frame.around(x, 40)
    square = frame.to_square(x)
    assert frame.box == (0, -5, 40, 40)
    assert (square[..., :5] == -1).all()
    assert (square[..., 35:] == -1).all()
    np.testing.assert_allclose(frame.from_square(square), x, atol=1e-3)


def test_cropping_leaves_the_outside_to_the_original():
    x = smooth()
    frame = Frame.around(x, 30, fit="crop")
    assert frame.box == (5, 0, 30, 30)
    back = frame.from_square(torch.ones(1, 1, 30, 30), original=x)
    np.testing.assert_array_equal(back[..., :5, :], x[..., :5, :])
    np.testing.assert_allclose(back[..., 5:35, :], frame.high, rtol=1e-5)
    assert frame.from_square(torch.ones(1, 1, 30, 30))[0, 0, 0, 0] == np.float32(frame.low)


def test_resampling_is_pillows_and_smooth_images_survive_it():
    x = smooth(1, 1, 64, 64)
    frame = Frame.around(x, 32, intensity=(0.0, 2.0))
    pillow = np.asarray(Image.fromarray(x[0, 0]).resize((32, 32), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(frame.to_square(x)[0, 0] + 1, pillow, rtol=1e-4)
    back = frame.from_square(frame.to_square(x))
    assert np.abs(back - x)[..., 2:-2, 2:-2].max() < 0.5  # of a range of 200
    assert frame.at(16).to_square(x).shape == (1, 1, 16, 16)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("flipped", [False, True])
def test_turns_and_flips_are_undone(turns, flipped):
    x = smooth(2)
    frame = Frame.around(x, 40, turns=turns, flipped=flipped)
    upright = np.rot90(x, turns, (2, 3))
    upright = upright[..., ::-1] if flipped else upright
    plain = Frame.around(upright, 40)
    np.testing.assert_allclose(frame.to_square(x), plain.to_square(upright.copy()), atol=1e-6)
    np.testing.assert_allclose(frame.from_square(frame.to_square(x)), x, atol=1e-3)


def test_field_of_view_in_millimetres():
    x = smooth(1, 1, 60, 50)
    frame = Frame.around(x, 20).with_field_of_view(40.0, (1.0, 2.0))
    assert frame.box == (10, 15, 40, 20)
    square = frame.at(40).to_square(x)
    assert square.shape == (1, 1, 40, 40)
    shifted = frame.with_field_of_view(40.0, (1.0, 2.0), centre=(0.0, 25.0))
    assert shifted.box == (-20, 15, 40, 20)
    above = shifted.at(40).to_square(x)[..., :18, :]
    torch.testing.assert_close(above, torch.full_like(above, -1.0))
    outside = frame.with_field_of_view(10.0, (1.0, 1.0), centre=(-50.0, 0.0))
    torch.testing.assert_close(outside.to_square(x), torch.full((1, 1, 20, 20), -1.0))
    np.testing.assert_array_equal(outside.from_square(torch.ones(1, 1, 20, 20), original=x), x)


def test_foreground_is_found_off_centre():
    x = np.full((2, 1, 20, 30), 5.0)
    x[0, 0, 3:7, 10:12] = 100.0
    x[1, 0, 9, 19] = 100.0
    x[1, 0, 0, 0] = 10.0  # noise
    assert foreground_centre(x, 5.0, 100.0) == (6.5, 15.0)
    with pytest.raises(ValueError, match=r"nothing is brighter.*5\.0 to 1000\.0"):
        foreground_centre(x, 5.0, 1000.0)


def test_colours_become_grey_and_grey_three_colours():
    colours = smooth(1, 3, 16, 16)
    frame = Frame.around(colours, 16, intensity=(-1.0, 1.0))
    expected = 0.299 * colours[:, :1] + 0.587 * colours[:, 1:2] + 0.114 * colours[:, 2:]
    np.testing.assert_allclose(frame.to_square(colours), expected, rtol=1e-5)
    assert frame.from_square(frame.to_square(colours)).shape == (1, 3, 16, 16)
    grey = Frame.around(colours[:, :1], 16, square_channels=3)
    assert grey.to_square(colours[:, :1]).shape == (1, 3, 16, 16)
    np.testing.assert_allclose(grey.from_square(grey.to_square(colours[:, :1])), colours[:, :1], rtol=1e-4)


def test_masks_keep_only_pixels_that_were_seen_whole():
    frame = Frame.around(smooth(1, 1, 8, 4), 4)
    observed = np.ones((8, 4), bool)
    observed[3, 1] = False
    seen = frame.mask_to_square(observed)
    assert seen.tolist() == [[False, True, True, False], [False, False, True, False]] + [[False, True, True, False]] * 2
    with pytest.raises(ValueError, match=r"must be \(8, 4\) px"):
        frame.mask_to_square(np.ones((4, 4)))


def test_a_frame_is_plain_numbers():
    frame = Frame.around(smooth(), 32)
    stored = json.loads(json.dumps(dataclasses.asdict(frame)))
    assert Frame(**(stored | {"box": tuple(stored["box"])})) == frame


def test_shapes_that_do_not_fit():
    frame = Frame.around(smooth(), 32)
    with pytest.raises(ValueError, match=r"for images \(N, 1, 40, 30\), got \(1, 1, 30, 40\)"):
        frame.to_square(np.zeros((1, 1, 30, 40)))
    with pytest.raises(ValueError, match=r"must be \(N, C, 32, 32\)"):
        frame.from_square(torch.zeros(1, 1, 16, 16))
    with pytest.raises(ValueError, match=r"\(N, 1 or 3, H, W\), got \(40, 30\)"):
        Frame.around(smooth()[0, 0], 32)
    with pytest.raises(ValueError, match="pad or crop, got 'stretch'"):
        Frame.around(smooth(), 32, fit="stretch")
    with pytest.raises(ValueError, match=r"black must be below that of white, got 1\.0 and 1\.0"):
        Frame.around(smooth(), 32, intensity=(1.0, 1.0))
