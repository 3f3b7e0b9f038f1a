import nibabel
import numpy as np
import pytest

from neuropyro.data.image_files import read_image, write_image
from neuropyro.data.image_slices import ImageFileError

SHAPE = (4, 5, 6)


def ras_volume(dtype):
    """Value of a voxel tells its place: x + 10 y + 100 z in RAS+ order."""
    x, y, z = np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij")
    return (x + 10 * y + 100 * z).astype(dtype)


def saved(path, codes="RAS", dtype=np.int16, zooms=(1.0, 2.0, 3.0), slope=None):
    """The volume as stored with axes in the order and direction of ``codes``."""
    affine = np.diag([*zooms, 1.0])
    image = nibabel.Nifti1Image(ras_volume(dtype), affine)
    wanted = nibabel.orientations.axcodes2ornt(tuple(codes))
    image = image.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), wanted))
    if slope is not None:
        image.header.set_slope_inter(slope, 5.0)
        image.header["scl_slope"] = slope
    nibabel.save(image, path)
    return image


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR", "IAL"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_slices_are_the_same_way_up_whatever_the_orientation(tmp_path, codes, name):
    saved(tmp_path / name, codes)
    coronal = read_image(tmp_path / name, 2, "coronal")
    x, z = np.arange(4), np.arange(6)[::-1, None]
    np.testing.assert_array_equal(coronal.pixels[0, 0], x + 20 + 100 * z)  # row 0 superior, column 0 left
    assert coronal.spacing == (3.0, 1.0)
    axial = read_image(tmp_path / name, 1, "axial")
    np.testing.assert_array_equal(axial.pixels[0, 0], x + 10 * np.arange(5)[::-1, None] + 100)  # row 0 anterior
    assert axial.spacing == (2.0, 1.0)
    sagittal = read_image(tmp_path / name, 3, "sagittal")
    np.testing.assert_array_equal(sagittal.pixels[0, 0], 3 + 10 * np.arange(5) + 100 * z)
    assert sagittal.spacing == (3.0, 2.0)
    assert read_image(tmp_path / name, "all", "coronal").pixels.shape == (5, 1, 6, 4)
    assert read_image(tmp_path / name, "middle").indices == (2,)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("plane", ["coronal", "axial", "sagittal"])
def test_slices_are_put_back_where_they_were(tmp_path, codes, dtype, plane):
    original = saved(tmp_path / "a.nii.gz", codes, dtype)
    image = read_image(tmp_path / "a.nii.gz", (1, 3), plane)
    write_image(tmp_path / "same.nii.gz", image, image.pixels)
    same = nibabel.load(tmp_path / "same.nii.gz")
    np.testing.assert_array_equal(np.asarray(same.dataobj), np.asarray(original.dataobj))
    np.testing.assert_array_equal(same.affine, original.affine)
    assert same.get_data_dtype() == np.dtype(dtype)
    write_image(tmp_path / "other.nii.gz", image, image.pixels + 1)
    other = read_image(tmp_path / "other.nii.gz", "all", plane).pixels
    before = read_image(tmp_path / "a.nii.gz", "all", plane).pixels
    changed = [i for i in range(len(before)) if not np.array_equal(other[i], before[i])]
    assert changed == [1, 3]
    limit = 255 if dtype is np.uint8 else np.inf
    np.testing.assert_array_equal(other[[1, 3]], np.minimum(before[[1, 3]] + 1, limit))


def test_scaled_volumes_keep_their_values_and_type(tmp_path):
    saved(tmp_path / "a.nii")
    image = nibabel.load(tmp_path / "a.nii")
    scaled = nibabel.Nifti1Image(image.get_fdata() * 0.37 + 2, image.affine)
    scaled.set_data_dtype(np.int16)
    nibabel.save(scaled, tmp_path / "b.nii")
    found = read_image(tmp_path / "b.nii", "all")
    write_image(tmp_path / "c.nii", found, found.pixels)
    again = nibabel.load(tmp_path / "c.nii")
    assert again.get_data_dtype() == np.int16
    step = float(nibabel.load(tmp_path / "b.nii").dataobj.slope)
    np.testing.assert_allclose(again.get_fdata(), scaled.get_fdata(), atol=step)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_other_slices_of_a_scaled_volume_stay_to_the_last_bit(tmp_path, codes, dtype):
    made = saved(tmp_path / "a.nii", codes)
    scaled = nibabel.Nifti1Image((np.asarray(made.dataobj) % 256).astype(dtype), made.affine)
    scaled.header.set_slope_inter(0.37, 5.0)  # of what is stored, which is written as it is
    nibabel.save(scaled, tmp_path / "b.nii.gz")
    before = nibabel.load(tmp_path / "b.nii.gz")
    assert before.dataobj.slope == pytest.approx(0.37)
    image = read_image(tmp_path / "b.nii.gz", (1, 3))
    wanted = np.random.default_rng(0).uniform(6, 90, image.pixels.shape)
    write_image(tmp_path / "c.nii.gz", image, wanted)
    after = nibabel.load(tmp_path / "c.nii.gz")
    assert after.get_data_dtype() == np.dtype(dtype)
    axis = nibabel.aff2axcodes(made.affine).index("A" if "A" in nibabel.aff2axcodes(made.affine) else "P")
    own, new = (np.moveaxis(one.get_fdata(), axis, 0) for one in (before, after))
    order = range(5) if "A" in nibabel.aff2axcodes(made.affine) else range(4, -1, -1)
    for index, place in enumerate(order):
        assert np.array_equal(own[place], new[place]) == (index not in (1, 3))
    found = read_image(tmp_path / "c.nii.gz", (1, 3)).pixels
    np.testing.assert_allclose(found, wanted, atol=1e-4 if dtype is np.float32 else 0.37 / 2 + 1e-4)
    write_image(tmp_path / "sd.nii.gz", image, wanted / 1000, others=0.0)  # in a scale of its own: none is lost
    np.testing.assert_allclose(read_image(tmp_path / "sd.nii.gz", (1, 3)).pixels, wanted / 1000, atol=2e-4)
    assert not read_image(tmp_path / "sd.nii.gz", (0, 2, 4)).pixels.any()


def test_four_dimensions(tmp_path):
    volume = np.stack([ras_volume(np.float32)] * 2, axis=3)
    nibabel.save(nibabel.Nifti1Image(volume[..., :1], np.eye(4)), tmp_path / "one.nii")
    one = read_image(tmp_path / "one.nii")
    write_image(tmp_path / "again.nii", one, one.pixels)
    assert nibabel.load(tmp_path / "again.nii").shape == (4, 5, 6, 1)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "two.nii")
    with pytest.raises(ImageFileError, match=r"two\.nii: a volume of three dimensions.*index_img"):
        read_image(tmp_path / "two.nii")


def test_files_and_planes_that_are_not_there(tmp_path):
    saved(tmp_path / "a.nii")
    (tmp_path / "b.nii").write_text("no volume")
    with pytest.raises(ImageFileError, match=r"b\.nii: damaged, or not a NIfTI"):
        read_image(tmp_path / "b.nii")
    with pytest.raises(ImageFileError, match="sagittal, coronal, axial, got 'oblique'"):
        read_image(tmp_path / "a.nii", plane="oblique")
    with pytest.raises(ImageFileError, match=r"no slice \[9\]; slices are 0 to 4"):
        read_image(tmp_path / "a.nii", 9)
