import numpy as np
import pytest
import torch
from scipy import ndimage

from neuropyro.models.corruption import Blur, CorruptionError
from neuropyro.models.corruption_blur import motion_kernel


@pytest.mark.parametrize("sd", [0.4, 1.0, 2.5])
def test_gaussian_is_scipys(sd):
    x = np.random.default_rng(0).standard_normal((2, 3, 12, 17))
    expected = ndimage.gaussian_filter(x, (0, 0, sd, sd), mode="nearest")
    np.testing.assert_allclose(Blur(sd).A(torch.from_numpy(x)), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 3), (1, 5), (7, 3)])
def test_any_kernel_is_scipys_convolution(shape):
    rng = np.random.default_rng(1)
    x, kernel = rng.standard_normal((9, 11)), rng.standard_normal(shape)
    expected = ndimage.convolve(x, kernel, mode="nearest")
    np.testing.assert_allclose(Blur(kernel).A(torch.from_numpy(x)[None, None])[0, 0], expected, atol=1e-12)


def test_kernels_wider_than_the_image():
    x = torch.randn(1, 1, 3, 1, dtype=torch.float64)
    assert Blur(2.0).adjointness_test(x) < 1e-12
    expected = ndimage.gaussian_filter(x.numpy(), (0, 0, 2.0, 2.0), mode="nearest")
    np.testing.assert_allclose(Blur(2.0).A(x), expected, atol=1e-12)


def test_motion_is_a_line_of_its_length_and_angle():
    level = motion_kernel(5.0, 0.0)
    torch.testing.assert_close(level[level.shape[0] // 2, 1:-1], torch.full((5,), 0.2, dtype=torch.float64))
    torch.testing.assert_close(motion_kernel(5.0, 90.0), level.T)
    rising = motion_kernel(7.0, 45.0)  # counter-clockwise: it rises to the right, so low rows go with high columns
    places = torch.arange(rising.shape[0], dtype=torch.float64) - rising.shape[0] // 2
    assert (rising * places[:, None] * places).sum() < -1
    torch.testing.assert_close(rising.sum(), torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(rising, rising.flip(0, 1))


def test_kernel_from_a_file(tmp_path):
    kernel = np.random.default_rng(0).standard_normal((3, 3))
    np.save(tmp_path / "k.npy", kernel)
    x = torch.randn(1, 1, 5, 5)
    assert torch.equal(Blur.from_file(tmp_path / "k.npy").A(x), Blur(kernel).A(x))
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(CorruptionError, match=r"text\.npy: not a readable"):
        Blur.from_file(tmp_path / "text.npy")


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (0.0, "above 0 px, got 0.0"),
        (-1.0, "above 0 px"),
        (float("nan"), "above 0 px"),
        (np.ones((2, 3)), r"odd sides, got \(2, 3\)"),
        (np.ones(3), r"odd sides, got \(3,\)"),
        (np.zeros((3, 3)), "not 0 everywhere"),
        (np.full((3, 3), np.inf), "finite"),
    ],
)
def test_kernels_without_meaning(kernel, message):
    with pytest.raises(CorruptionError, match=message):
        Blur(kernel)


def test_motion_without_length():
    with pytest.raises(CorruptionError, match="a length above 0"):
        Blur.motion(0.0)
