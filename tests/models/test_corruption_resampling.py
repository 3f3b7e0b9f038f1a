import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, interpolate

from neuropyro.models.corruption import CorruptionError, Downsample, parse_corruption
from neuropyro.models.corruption_resampling import area_matrix


@pytest.mark.parametrize("factor", [1, 2, 3, 5, 8])
def test_bicubic_is_torchs_and_pillows(factor):
    x = torch.randn(2, 3, 5 * factor, 7 * factor, dtype=torch.float64)
    y = Downsample(factor).A(x)
    torch.testing.assert_close(y, interpolate(x, size=(5, 7), mode="bicubic", antialias=True), atol=1e-12, rtol=0)
    pillow = Image.fromarray(x[0, 0].float().numpy()).resize((7, 5), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(y[0, 0], np.asarray(pillow), atol=1e-5)  # float32


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
def test_aliased_bicubic_is_torchs_plain_one(factor):
    x = torch.randn(2, 1, 5 * factor, 7 * factor, dtype=torch.float64)
    y = Downsample(factor, antialias=False).A(x)
    torch.testing.assert_close(y, interpolate(x, size=(5, 7), mode="bicubic"), atol=1e-12, rtol=0)


@pytest.mark.parametrize("factor", [1, 2, 7])
def test_area_is_the_mean_of_blocks(factor):
    x = torch.randn(2, 1, 4 * factor, 3 * factor, dtype=torch.float64)
    torch.testing.assert_close(Downsample(factor, "area").A(x), avg_pool2d(x, factor), atol=1e-12, rtol=0)


def test_sides_that_are_no_multiple():
    x = torch.randn(1, 1, 64, 65, dtype=torch.float64)
    y = Downsample(3, image_size=(64, 65)).A(x)
    torch.testing.assert_close(y, interpolate(x, size=(21, 21), mode="bicubic", antialias=True), atol=1e-12, rtol=0)
    assert Downsample(3, image_size=(64, 65)).adjointness_test(x) < 1e-12
    assert Downsample(3, "area", image_size=(64, 65)).adjointness_test(x) < 1e-12
    torch.testing.assert_close(area_matrix(64, 21).sum(dim=1), torch.ones(21, dtype=torch.float64))
    block = area_matrix(5, 2)  # pixels that are cut count by their share
    torch.testing.assert_close(block, torch.tensor([[2, 2, 1, 0, 0], [0, 0, 1, 2, 2]], dtype=torch.float64) / 5)


@pytest.mark.parametrize("side", range(16, 64))
def test_factors_need_not_be_whole(side):
    """A square of any side around a small picture; the text rounds the factor, and means the same."""
    x = torch.randn(1, 1, 64, 64, dtype=torch.float64)
    shrunk = Downsample(64 / side, image_size=64)
    wanted = interpolate(x, size=(side, side), mode="bicubic", antialias=True)
    torch.testing.assert_close(shrunk.A(x), wanted, atol=1e-12, rtol=0)
    assert shrunk.adjointness_test(x) < 1e-12
    torch.testing.assert_close(parse_corruption(shrunk.text).A(x), wanted, atol=1e-12, rtol=0)


def test_constants_stay():
    for kernel, antialias in (("bicubic", True), ("bicubic", False), ("area", True)):
        y = Downsample(4, kernel, antialias).A(torch.full((1, 1, 16, 16), -1.0))
        torch.testing.assert_close(y, torch.full((1, 1, 4, 4), -1.0))


def test_adaptive_pooling_agrees_where_blocks_are_whole():
    x = torch.randn(1, 1, 12, 12)
    torch.testing.assert_close(Downsample(4, "area").A(x), adaptive_avg_pool2d(x, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "number of 1 or more, got 0"),
        ((0.5,), "number of 1 or more, got 0.5"),
        ((float("nan"),), "number of 1 or more, got nan"),
        ((2, "lanczos"), r"bicubic or area \(means of blocks\), got 'lanczos'"),
        ((2, "area", False), "leave out antialias"),
    ],
)
def test_arguments_without_meaning(arguments, message):
    with pytest.raises(CorruptionError, match=message):
        Downsample(*arguments)


def test_images_that_do_not_fit():
    with pytest.raises(CorruptionError, match="4 x 64 px are too few for a factor of 8"):
        Downsample(8).A(torch.zeros(1, 1, 4, 64))
    with pytest.raises(CorruptionError, match=r"height and width must be \(64, 64\), got \(32, 32\)"):
        Downsample(8, image_size=64).A(torch.zeros(1, 1, 32, 32))
    with pytest.raises(CorruptionError, match=r"measurements must be \(1, 1, 8, 8\), got \(1, 1, 7, 8\)"):
        Downsample(8, image_size=64).A_adjoint(torch.zeros(1, 1, 7, 8))
