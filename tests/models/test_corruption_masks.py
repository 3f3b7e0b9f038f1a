import numpy as np
import pytest
import torch
from PIL import Image

from neuropyro.models.corruption import Compose, CorruptionError, Downsample, Mask
from neuropyro.models.corruption_mask_shapes import SHAPES, Ellipse, FreeForm, Half, Pixels, Rectangle, Stripes
from neuropyro.models.corruption_masks import reframed

SEEN = np.array([[True, True, False], [True, False, False]])


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, lambda m: m.astype(np.float32), lambda m: m[None, None]])
def test_arrays_of_any_kind(kind):
    x = torch.arange(1.0, 7.0).reshape(1, 1, 2, 3)
    assert Mask(kind(SEEN)).A(x)[0, 0].tolist() == [[1, 2, 0], [4, 0, 0]]
    assert Mask(kind(SEEN)).observed(x)[0, 0].tolist() == SEEN.tolist()


def test_what_lies_in_the_hole_is_not_looked_at():
    y = torch.full((1, 1, 2, 3), torch.nan)
    y[0, 0, 0, 0] = 5.0
    adjoint = Mask([[1, 0, 0], [0, 0, 0]] * torch.ones(1, dtype=torch.int64).numpy()).A_adjoint(y)
    assert adjoint[0, 0].tolist() == [[5, 0, 0], [0, 0, 0]]


def test_one_mask_each_and_one_mask_a_channel():
    masks = torch.rand(3, 2, 4, 4) > 0.3
    x = torch.randn(3, 2, 4, 4)
    assert torch.equal(Mask(masks).A(x), x * masks)
    assert torch.equal(Mask(masks).observed(x), masks.float())
    assert torch.equal(Mask(masks[0]).A(x), x * masks[0])
    with pytest.raises(CorruptionError, match="3 masks for 2 images"):
        Mask(masks).A(x[:2])
    with pytest.raises(CorruptionError, match="2 channels for images of 3"):
        Mask(masks).A(torch.zeros(3, 3, 4, 4))


def test_small_images_of_a_masked_one_count_where_any_pixel_was_seen():
    seen = np.ones((8, 8))
    seen[:4] = 0
    both = Compose(Mask(seen), Downsample(2, "area"))
    counts = both.observed(torch.zeros(1, 1, 4, 4))
    assert counts[0, 0, :, 0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("name", ["mask.png", "mask.npy", "mask.tif"])
def test_files(tmp_path, name):
    path = tmp_path / name
    np.save(path, SEEN) if name.endswith("npy") else Image.fromarray(SEEN.astype(np.uint8) * 255).save(path)
    x = torch.ones(1, 1, 2, 3)
    assert Mask(path).A(x)[0, 0].tolist() == SEEN.tolist()
    assert Mask(str(path)).text == f"inpaint:{path}"


def test_files_that_are_no_masks(tmp_path):
    colours = np.zeros((4, 4, 3), np.uint8)
    colours[0, 0] = (255, 0, 0)
    Image.fromarray(colours).save(tmp_path / "red.png")
    Image.fromarray(np.full((4, 4), 7, np.uint8)).save(tmp_path / "flat.png")
    np.save(tmp_path / "stack.npy", np.ones((5, 4, 4)))
    for name, message in {
        "red.png": "has colours",
        "flat.png": "one value everywhere",
        "stack.npy": "has 5 slices",
        "none.png": r"no such file.*0 \(black\) in the hole",
    }.items():
        with pytest.raises(CorruptionError, match=rf"{name}.*{message}"):
            Mask(tmp_path / name)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((2, 2)), r"hides every pixel; .* 0 \(black\) in the hole"),
        (np.full((2, 2), np.nan), "not finite"),
        (np.ones(4), r"must be \(H, W\).*got \(4,\)"),
    ],
)
def test_arrays_that_are_no_masks(mask, message):
    with pytest.raises(CorruptionError, match=message):
        Mask(mask)


def test_sizes_must_agree():
    with pytest.raises(CorruptionError, match="the mask has 2 x 3 px, the image 4 x 4; resample"):
        Mask(SEEN).A(torch.zeros(1, 1, 4, 4))


def test_masks_of_an_images_size_are_brought_to_the_generators():
    mask = np.ones((8, 8))
    mask[:4] = 0
    whole = Compose(Mask(mask), Downsample(2))
    whole.A(torch.ones(1, 1, 8, 8))
    small = reframed(whole, lambda m: torch.from_numpy(m[::2, ::2]))
    assert small is whole
    assert small.observed(torch.zeros(1, 1, 2, 2))[0, 0].tolist() == [[1, 1], [1, 1]]  # bicubic reaches over the edge
    assert small.parts[0].A(torch.ones(1, 1, 4, 4))[0, 0, :, 0].tolist() == [0, 0, 1, 1]
    with pytest.raises(CorruptionError, match="hides every pixel"):
        reframed(Mask(mask), lambda m: torch.from_numpy(m[:4]))


def test_shapes_hide_the_share_that_they_say():
    share = {
        Rectangle(0.5, 0.25): 0.125,
        Ellipse(0.5, 0.5): np.pi / 16,
        Half("right", 0.25): 0.25,
        Stripes(4, 0.5): 0.5,
        Pixels(0.3): 0.3,
    }
    for shape, expected in share.items():
        seen = shape(256, 256)
        assert seen.dtype == torch.bool
        assert abs(1 - seen.double().mean() - expected) < 0.003  # a pixel's width at 256 px
    assert torch.equal(Half("left")(4, 4)[0], torch.tensor([False, False, True, True]))
    assert torch.equal(Half("bottom")(4, 4)[:, 0], torch.tensor([True, True, False, False]))
    assert torch.equal(Rectangle(0.5, 0.5, 0.25, 0.25)(4, 4)[:2, :2], torch.zeros(2, 2, dtype=torch.bool))


def test_random_shapes_differ_by_seed_alone():
    for kind in (Pixels, FreeForm):
        assert torch.equal(kind(seed=1)(32, 48), kind(seed=1)(32, 48))
        assert not torch.equal(kind(seed=1)(32, 48), kind(seed=2)(32, 48))


def test_free_form_is_one_shape_at_every_size():
    small, large = FreeForm(0.2, seed=3)(32, 32), FreeForm(0.2, seed=3)(128, 128)
    coarse = torch.nn.functional.avg_pool2d(large[None, None].float(), 4)[0, 0] > 0.5
    assert (coarse == small).double().mean() > 0.95  # edges, and where the last piece ended, may differ


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("rectangle", {"height": 1.5}, "height is a fraction"),
        ("ellipse", {"width": 0.0}, "above 0"),
        ("half", {"side": "north"}, "left, right, top, bottom"),
        ("stripes", {"count": 0}, "1 or more"),
        ("pixels", {"fraction": -0.1}, "fraction"),
        ("freeform", {"fraction": 1.0}, "below 1"),
    ],
)
def test_shapes_without_meaning(name, fields, message):
    with pytest.raises(CorruptionError, match=message):
        SHAPES[name](**fields)
