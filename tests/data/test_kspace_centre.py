"""Where k-space has its zero frequency: told of whatever a good scan may lack, and never of one in the middle."""

import numpy as np
import pytest

from neuropyro.data.image_slices import ImageFileError
from neuropyro.data.kspace_centre import axes_off_centre
from neuropyro.data.kspace_files import read_kspace
from neuropyro.data.phantoms import BrainPhantoms
from neuropyro.models.corruption import Undersample
from neuropyro.models.corruption_kspace_patterns import Points

SCANS = {
    "whole": Undersample(1.0),
    "lines": Undersample(4.0),
    "few lines": Undersample(8.0, centre=0.04),
    "points": Undersample(Points(6.0)),
    "coils": Undersample(4.0, coils=5),
    "no phase": Undersample(2.0, phase=None),
    "noise": Undersample(4.0, noise=0.3),
}


@pytest.fixture(scope="module")
def images():
    return BrainPhantoms(64, split="test")(range(3)).images


def cut(kspace):
    """Half of k-space and a little more, as partial Fourier leaves it."""
    return kspace * (np.arange(kspace.shape[-2]) > kspace.shape[-2] // 2 - 5)[:, None]


@pytest.mark.parametrize("partial", [False, True])
@pytest.mark.parametrize("scan", SCANS)
def test_it_is_found_whatever_was_sampled(images, scan, partial):
    kspace = SCANS[scan].corrupt(images, seed=1).numpy()
    kspace = cut(kspace) if partial else kspace
    assert axes_off_centre(kspace) == ()
    for axes in ((-2, -1), (-2,), (-1,)):
        assert axes_off_centre(np.fft.ifftshift(kspace, axes)) == axes


@pytest.mark.parametrize("shape", [(16, 12), (64, 64), (320, 15), (5, 4)])
def test_what_has_no_peak_is_left_alone(shape):
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((40, *shape)) + 1j * rng.standard_normal((40, *shape))
    assert not any(axes_off_centre(one) for one in noise)
    assert axes_off_centre(np.ones(shape, complex)) == ()
    assert axes_off_centre(np.zeros(shape, complex)) == ()


def test_the_file_and_the_remedy_are_told(images, tmp_path):
    kspace = Undersample(4.0, coils=2).corrupt(images, seed=1).numpy()
    corner = np.fft.ifftshift(kspace, (-2, -1))
    np.save(tmp_path / "scan.npy", corner)
    with pytest.raises(ImageFileError, match=r"scan\.npy: .*in the corner.*fftshift\(kspace, \(-2, -1\)\)"):
        read_kspace(tmp_path / "scan.npy", "all")
    np.save(tmp_path / "scan.npy", np.fft.fftshift(corner, (-2, -1)))  # as was told
    found = read_kspace(tmp_path / "scan.npy", "all")
    np.testing.assert_allclose(found.measurements * found.scale, kspace, rtol=1e-5, atol=1e-6)
    np.save(tmp_path / "scan.npy", np.fft.ifftshift(kspace, -1))
    with pytest.raises(ImageFileError, match=r"at the edge.*fftshift over axis -1"):
        read_kspace(tmp_path / "scan.npy", "all")
