import h5py
import numpy as np
import pytest
import torch

from neuropyro.data.image_slices import ImageFileError
from neuropyro.data.kspace_files import read_kspace, write_kspace


def kspace_of(images):
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(images, (-2, -1)), norm="ortho"), (-2, -1))


def images_of(y):
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(y, (-2, -1)), norm="ortho"), (-2, -1))


@pytest.fixture
def coils():
    rng = np.random.default_rng(0)
    return 1e-5 * (rng.standard_normal((4, 3, 16, 12)) + 1j * rng.standard_normal((4, 3, 16, 12)))


def fastmri(path, y, mask=None, reference=None):
    with h5py.File(path, "w") as file:
        file["kspace"] = y.astype(np.complex64)
        if mask is not None:
            file["mask"] = mask
        if reference is not None:
            file["reconstruction_rss"] = reference


def test_fastmri_slices_with_mask_and_reference(tmp_path, coils):
    mask = np.arange(12) % 2 == 0
    reference = np.linalg.norm(images_of(coils), axis=1)
    fastmri(tmp_path / "a.h5", coils, mask.astype(np.float32), reference)
    found = read_kspace(tmp_path / "a.h5", (1, 3))
    assert found.indices == (1, 3)
    np.testing.assert_allclose(found.measurements * found.scale, coils[[1, 3]] * mask, rtol=1e-5, atol=1e-12)
    assert found.sampled[5].tolist() == mask.tolist()
    np.testing.assert_allclose(found.reference * found.scale, reference[[1, 3]], rtol=1e-5)
    filled = np.linalg.norm(images_of(found.measurements.numpy()), axis=1)
    assert np.quantile(filled, 0.99) == pytest.approx(1, rel=1e-4)


def test_one_coil_and_unsampled_lines_without_a_mask(tmp_path, coils):
    y = coils[:, 0].copy()
    y[..., ::3] = 0
    fastmri(tmp_path / "a.hdf5", y)
    found = read_kspace(tmp_path / "a.hdf5")
    assert found.measurements.shape == (1, 1, 16, 12)
    assert found.indices == (2,)
    assert found.sampled[0].tolist() == [i % 3 > 0 for i in range(12)]
    assert found.reference is None


@pytest.mark.parametrize("name", ["a.npy", "a.h5"])
def test_round_trip(tmp_path, coils, name):
    fastmri(tmp_path / "in.h5", coils, np.arange(12) > 3)
    found = read_kspace(tmp_path / "in.h5", "all")
    write_kspace(tmp_path / name, found)
    again = read_kspace(tmp_path / name, "all")
    torch.testing.assert_close(again.measurements, found.measurements)
    assert torch.equal(again.sampled, found.sampled)
    assert again.scale == pytest.approx(found.scale, rel=1e-5)


def test_arrays_of_each_layout(tmp_path, coils):
    for array in (coils[0, 0], coils[0], coils, np.stack([coils[0].real, coils[0].imag], axis=-1)):
        np.save(tmp_path / "a.npy", array)
        found = read_kspace(tmp_path / "a.npy", 0)
        expected = coils[:1, :1] if array.ndim == 2 else coils[:1]
        np.testing.assert_allclose(found.measurements * found.scale, expected, rtol=1e-5)


def test_cropping_keeps_field_of_view_and_brightness(tmp_path):
    rows, columns = np.meshgrid(np.arange(48) - 24, np.arange(40) - 20, indexing="ij")
    image = np.exp(-(rows**2 + columns**2) / (2 * 6**2)) + 0j  # smooth, so that high frequencies are empty
    np.save(tmp_path / "a.npy", kspace_of(image))
    found = read_kspace(tmp_path / "a.npy")
    small = found.cropped(24, 20)
    expected = image[::2, ::2].real / found.scale
    np.testing.assert_allclose(images_of(small.measurements[0, 0].numpy()).real, expected, atol=1e-3)
    assert small.sampled.shape == (24, 20)
    with pytest.raises(ImageFileError, match=r"48 x 40 points, 64 x 64 are wanted"):
        found.cropped(64, 64)


@pytest.mark.parametrize(("height", "width"), [(48, 40), (24, 20), (24, 17), (15, 40), (33, 13)])
def test_resized_pixels_lie_where_those_of_a_resized_picture_do(height, width, tmp_path):
    """Of a Gaussian, by its formula: pixel i of n covers (i, i + 1) / n of the field of view."""

    def seen(rows, columns):
        at = [(np.arange(n) + 0.5) / n * whole for n, whole in ((rows, 48), (columns, 40))]
        return np.exp(-((at[0][:, None] - 22) ** 2 + (at[1] - 18) ** 2) / (2 * 5**2))

    np.save(tmp_path / "a.npy", kspace_of(seen(48, 40) + 0j))
    found = read_kspace(tmp_path / "a.npy")
    image = images_of(found.resized(height, width).measurements[0, 0].numpy()) * found.scale
    np.testing.assert_allclose(image, seen(height, width), atol=2e-3)


def test_files_that_are_no_kspace(tmp_path, coils):
    np.save(tmp_path / "real.npy", np.ones((4, 4)))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    np.save(tmp_path / "zero.npy", np.zeros((4, 4)) * 1j)
    (tmp_path / "text.h5").write_text("no file")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["image"] = np.ones((4, 4))
    fastmri(tmp_path / "flat.h5", coils[0, 0])
    fastmri(tmp_path / "mask.h5", coils, np.ones(5))
    fastmri(tmp_path / "blind.h5", coils, np.zeros(12))
    fastmri(tmp_path / "short.h5", coils, reference=np.ones((2, 16, 12)))
    for name, message in {
        "real.npy": r"must be complex \(H, W\).*got \(4, 4\) of float64",
        "objects.npy": "not an array of numbers",
        "zero.npy": "not 0 everywhere",
        "text.h5": "damaged, or not HDF5",
        "other.h5": "no dataset 'kspace'; it has image",
        "flat.h5": r"must be complex \(slices",
        "mask.h5": r"one value for each of 12 lines, got \(5,\)",
        "blind.h5": "its mask leaves no measurement",
        "short.h5": "reconstruction_rss has 2 slices, kspace 4",
        "none.h5": "no such file",
        "a.png": r"read from \.h5",
    }.items():
        with pytest.raises(ImageFileError, match=rf"{name}: .*{message}"):
            read_kspace(tmp_path / name)
    found = read_kspace(write_and_return(tmp_path / "good.npy", coils))
    with pytest.raises(ImageFileError, match=r"written to \.h5"):
        write_kspace(tmp_path / "a.mat", found)


def write_and_return(path, array):
    np.save(path, array)
    return path
