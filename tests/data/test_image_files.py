import os
import pickle

import numpy as np
import pytest
from PIL import Image

from neuropyro.data.image_files import find_images, read_image, write_image
from neuropyro.data.image_slices import ImageFileError

RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (6, 9), dtype=np.uint16)
FLOAT = RNG.standard_normal((6, 9)).astype(np.float32)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("a.png", GREY8),
        ("a.png", GREY16),
        ("a.PNG", COLOUR),
        ("a.tif", GREY8),
        ("a.tiff", GREY16),
        ("a.tif", FLOAT),
        ("a.tif", COLOUR),
        ("a.bmp", GREY8),
    ],
)
def test_pictures_come_back_bit_by_bit(tmp_path, name, array):
    Image.fromarray(array).save(tmp_path / name)
    image = read_image(tmp_path / name)
    channels = array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0)
    assert image.dtype == array.dtype
    np.testing.assert_array_equal(image.pixels[0], channels)
    write_image(tmp_path / f"b{name[1:]}", image, image.pixels)
    again = np.asarray(Image.open(tmp_path / f"b{name[1:]}"))
    np.testing.assert_array_equal(again, array)
    assert again.dtype == array.dtype


def test_jpeg_comes_back_nearly(tmp_path):
    smooth = np.linspace(0, 255, 32 * 32).reshape(32, 32).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    image = read_image(tmp_path / "a.jpg")
    write_image(tmp_path / "b.jpeg", image, image.pixels)
    assert image.kind == "jpeg"
    assert np.abs(read_image(tmp_path / "b.jpeg").pixels[0, 0] - smooth).max() < 6  # it is lossy


def test_a_photograph_lying_on_its_side_is_turned_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees clockwise to show"
    smooth = np.linspace(0, 255, 16 * 24).reshape(16, 24).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert read_image(tmp_path / "a.jpg").pixels.shape == (1, 1, 24, 16)


def test_whole_numbers_are_rounded_and_clipped(tmp_path):
    Image.fromarray(GREY8).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    values = np.full((1, 1, 6, 9), 99.6, np.float32)
    values[0, 0, 0, :3] = -5, 300, 1.4
    write_image(tmp_path / "b.png", image, values)
    assert np.asarray(Image.open(tmp_path / "b.png"))[0, :4].tolist() == [0, 255, 1, 100]


def test_palettes_black_and_white_and_opaque_alpha(tmp_path):
    Image.fromarray(GREY8).convert("P").save(tmp_path / "palette.png")
    Image.fromarray(GREY8 > 100).save(tmp_path / "bits.png")
    Image.fromarray(GREY8).convert("LA").save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png").pixels[0, 1], GREY8)
    np.testing.assert_array_equal(read_image(tmp_path / "bits.png").pixels[0, 0], (GREY8 > 100) * 255)
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png").pixels[0], GREY8[None])
    Image.fromarray(np.dstack([COLOUR, GREY8])).save(tmp_path / "clear.png")
    with pytest.raises(ImageFileError, match=r"clear\.png: parts of it are transparent; save it without"):
        read_image(tmp_path / "clear.png")


@pytest.mark.parametrize(
    ("shape", "stack"),
    [
        ((6, 9), (1, 1, 6, 9)),
        ((1, 6, 9), (1, 1, 6, 9)),
        ((3, 6, 9), (1, 3, 6, 9)),
        ((6, 9, 3), (1, 3, 6, 9)),
        ((5, 6, 9), (5, 1, 6, 9)),
        ((5, 3, 6, 9), (5, 3, 6, 9)),
    ],
)
def test_arrays_of_each_layout(tmp_path, shape, stack):
    array = RNG.integers(-5, 1000, shape, dtype=np.int16)
    np.save(tmp_path / "a.npy", array)
    image = read_image(tmp_path / "a.npy")
    assert image.pixels.shape == stack
    assert np.sort(image.pixels.ravel()).tolist() == np.sort(array.ravel()).tolist()
    write_image(tmp_path / "b.npy", image, image.pixels)
    again = np.load(tmp_path / "b.npy")
    assert (again.dtype, again.shape) == (array.dtype, stack)
    np.testing.assert_array_equal(again, image.pixels)


def test_slices_of_a_stack(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(5.0)[:, None, None] * np.ones((5, 6, 9)))
    for which, expected in {"all": range(5), "middle": [2], 1: [1], (0, -1): [0, 4]}.items():
        image = read_image(tmp_path / "a.npy", slices=which)
        assert image.indices == tuple(expected)
        assert image.pixels[:, 0, 0, 0].tolist() == list(expected)
    with pytest.raises(ImageFileError, match=r"no slice \[7\]; slices are 0 to 4"):
        read_image(tmp_path / "a.npy", slices=7)
    with pytest.raises(ImageFileError, match="'all', 'middle' or numbers"):
        read_image(tmp_path / "a.npy", slices="first")


def test_not_a_number_becomes_the_darkest_value(tmp_path):
    array = FLOAT.copy()
    array[0, 0] = np.nan
    np.save(tmp_path / "a.npy", array)
    assert read_image(tmp_path / "a.npy").pixels[0, 0, 0, 0] == np.nanmin(array)


class Evil:
    def __reduce__(self):
        return os.system, ("touch executed",)


def test_nothing_in_a_file_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.array([Evil()]), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Evil()))
    for name in ("a.npy", "b.npy"):
        with pytest.raises(ImageFileError, match="not an array of numbers"):
            read_image(name)
    assert not (tmp_path / "executed").exists()


def test_files_that_are_no_images(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    (tmp_path / "a.txt").write_text("text")
    Image.fromarray(GREY8).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:60])
    Image.fromarray(GREY8).save(tmp_path / "pages.tif", save_all=True, append_images=[Image.fromarray(GREY8)])
    np.save(tmp_path / "complex.npy", np.ones((4, 4)) * 1j)
    np.save(tmp_path / "line.npy", np.ones(4))
    np.save(tmp_path / "infinite.npy", np.full((4, 4), np.inf))
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    for name, message in {
        "a.png": "damaged, or not a png",
        "cut.png": "damaged",
        "a.txt": r"unknown format '\.txt'; convert it to one of \.png",
        "none.png": "there is no such file",
        "pages.tif": "it has 2 pages",
        "complex.npy": "complex numbers.*k-space",
        "line.npy": r"got \(4,\)",
        "infinite.npy": "infinite",
        "words.npy": "real numbers",
    }.items():
        with pytest.raises(ImageFileError, match=rf"{name}: .*{message}"):
            read_image(tmp_path / name)


def test_writing_what_does_not_fit(tmp_path):
    Image.fromarray(GREY8).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    with pytest.raises(ImageFileError, match=r"b\.jpg: it would be jpeg, but a\.png is png; rename"):
        write_image(tmp_path / "b.jpg", image, image.pixels)
    with pytest.raises(ImageFileError, match=r"images must be \(1, 1, 6, 9\), got \(2, 1, 6, 9\)"):
        write_image(tmp_path / "b.png", image, np.zeros((2, 1, 6, 9)))


def test_a_folder_is_its_images_by_name(tmp_path):
    for name in ("b.png", "a.nii.gz", "c.TIF", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in find_images(tmp_path)] == ["a.nii.gz", "b.png", "c.TIF"]
    assert find_images(tmp_path / "b.png") == [tmp_path / "b.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageFileError, match="the folder has no image"):
        find_images(tmp_path / "empty")
    with pytest.raises(ImageFileError, match="no such file or folder"):
        find_images(tmp_path / "none")
