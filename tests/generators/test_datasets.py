import nibabel
import numpy as np
import pytest
import torch
from matplotlib import image as raster

from neuropyro.generators.datasets import Shuffled, as_bytes, as_float, read_folder, read_nifti_slices


def test_shuffled_shows_every_image_once_an_epoch_in_new_order():
    data = Shuffled(torch.arange(10).reshape(10, 1, 1, 1).float(), seed=3)
    first, second = (data(torch.arange(s, s + 10)).flatten().long().tolist() for s in (0, 10))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    across = data(torch.arange(5, 15)).flatten().long().tolist()
    assert across == first[5:] + second[:5]
    assert Shuffled(data.images, seed=4)(torch.arange(10)).flatten().long().tolist() != first


def test_bytes_and_back():
    values = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(as_bytes(as_float(values)), values)
    assert as_float(values).min() == -1
    assert as_float(values).max() == 1


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="no image"):
        Shuffled(torch.empty(0, 1, 4, 4))


def test_folder_of_pictures(tmp_path):
    (tmp_path / "deeper").mkdir()
    raster.imsave(tmp_path / "b.png", np.full((40, 30), 0.25), cmap="gray", vmin=0, vmax=1)
    raster.imsave(tmp_path / "deeper" / "a.png", np.full((16, 16), 1.0), cmap="gray", vmin=0, vmax=1)
    (tmp_path / "notes.txt").write_text("not a picture")
    grey = read_folder(tmp_path, 16)
    assert grey.shape == (2, 1, 16, 16)
    assert grey[:, 0, 8, 8].tolist() == [64, 255]
    assert read_folder(tmp_path, 8, channels=3).shape == (2, 3, 8, 8)


def test_folder_errors_name_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match=r"no picture.*\.png"):
        read_folder(tmp_path, 16)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"broken\.png"):
        read_folder(tmp_path, 16)


def volume(tmp_path, flipped: bool = False):
    values = np.zeros((20, 30, 24), dtype=np.float32)
    values[5:15, 10:20, 4:20] = 50
    values[5:15, 10:20, 16:20] = 100  # Brighter above.
    affine = np.diag([1.0, 1, 1, 1])
    if flipped:
        values, affine = values[:, :, ::-1], np.diag([1.0, 1, -1, 1])
    path = tmp_path / f"volume{flipped}.nii.gz"
    nibabel.Nifti1Image(values, affine).to_filename(path)
    return path


@pytest.mark.parametrize("flipped", [False, True])
def test_nifti_slices_stand_upright_whatever_the_file_says(tmp_path, flipped):
    slices = read_nifti_slices([volume(tmp_path, flipped)], 24, axis="coronal")
    assert slices.shape == (10, 1, 24, 24)
    assert slices[0, 0, 6, 12] > 240
    assert 110 < slices[0, 0, 15, 12] < 145
    assert slices[0, 0, 0, 0] == 0


def test_nifti_every_and_axis(tmp_path):
    path = volume(tmp_path)
    assert len(read_nifti_slices([path, path], 16, axis="axial", every=4)) == 8
    with pytest.raises(ValueError, match="axis"):
        read_nifti_slices([path], 16, axis="oblique")


def test_nifti_errors_name_the_file(tmp_path):
    path = tmp_path / "broken.nii.gz"
    path.write_bytes(b"no volume")
    with pytest.raises(ValueError, match=r"broken\.nii\.gz"):
        read_nifti_slices([path], 16)
    flat = tmp_path / "series.nii"
    nibabel.Nifti1Image(np.ones((4, 4, 4, 3), dtype=np.float32), np.eye(4)).to_filename(flat)
    with pytest.raises(ValueError, match=r"series\.nii: has 4 dimensions"):
        read_nifti_slices([flat], 16)


def test_voxels_that_are_no_cubes_become_square_pixels(tmp_path):
    """A sphere of 8 mm, sampled every mm across and every 2 mm down, is a disc."""
    x, y, z = np.meshgrid(np.arange(-12, 12), np.arange(-12, 12), np.arange(-12, 12, 2), indexing="ij")
    values = (np.sqrt(x**2 + y**2 + z**2) < 8).astype(np.float32)
    path = tmp_path / "thick.nii.gz"
    nibabel.Nifti1Image(values, np.diag([1.0, 1, 2, 1])).to_filename(path)
    middle = as_float(read_nifti_slices([path], 24, axis="coronal"))[7, 0] > 0
    height, width = (int(middle.any(dim=d).sum()) for d in (1, 0))
    assert abs(height - width) <= 2
    assert 13 <= width <= 17


def test_truncated_and_empty_volumes_are_named(tmp_path):
    path = volume(tmp_path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"volumeFalse\.nii\.gz: cannot be read"):
        read_nifti_slices([path], 16)
    dot = np.zeros((20, 20, 20), dtype=np.float32)
    dot[10, 10, :] = 1.0
    nibabel.Nifti1Image(dot, np.eye(4)).to_filename(tmp_path / "dot.nii")
    with pytest.raises(ValueError, match=r"dot\.nii: (no axial slice|holds no positive)"):
        read_nifti_slices([tmp_path / "dot.nii"], 16, axis="axial")
    with pytest.raises(ValueError, match="every"):
        read_nifti_slices([tmp_path / "dot.nii"], 16, every=0)
