import numpy as np
import pytest
import torch
from PIL import Image

from neuropyro.image_baselines import baselines_for, bicubic, biharmonic, tuned, zero_filled
from neuropyro.image_metrics import mae, psnr
from neuropyro.image_total_variation import total_variation
from neuropyro.models.corruption import Compose, Downsample, Identity, Intensity, Mask, Undersample
from neuropyro.models.corruption_kspace_patterns import Lines
from neuropyro.models.corruption_mask_shapes import Pixels, Rectangle


@pytest.fixture(scope="module")
def brains():
    """Three heads: a bright ellipse on black with a dark one and a grey one in it, edges one px wide."""
    rows, columns = torch.meshgrid(*[torch.linspace(-1, 1, 32)] * 2, indexing="ij")

    def ellipse(row, column, height, width):
        return torch.sigmoid(20 * (1 - torch.hypot((rows - row) / height, (columns - column) / width)))

    kinds = ((0.6, 0.1), (0.7, -0.2), (0.5, 0.2))
    inner = [1.6 - 1.2 * ellipse(0.1, v, 0.2, 0.3) - 0.6 * ellipse(-0.4, -v, 0.1, 0.2) for _, v in kinds]
    heads = [ellipse(0, 0, 0.8, w) * grey for (w, _), grey in zip(kinds, inner, strict=True)]
    return torch.stack(heads)[:, None] - 1


def test_bicubic_is_pillows():
    x = torch.rand(2, 1, 16, 16) * 2 - 1
    y = Downsample(4).A(x)
    large = bicubic(Downsample(4), y)
    pillow = np.asarray(Image.fromarray(y[0, 0].numpy()).resize((16, 16), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(large[0, 0], pillow.clip(-1, 1), atol=1e-6)
    assert bicubic(Identity(), y) is y
    with pytest.raises(ValueError, match="it interpolates images"):
        bicubic(Undersample(4), torch.zeros(1, 1, 8, 8) + 0j)


def test_zero_filling_of_whole_kspace_is_the_image_and_of_half_is_not():
    x = torch.rand(2, 1, 16, 16, dtype=torch.float64) * 2 - 1
    whole = Undersample(1, coils=3)
    # the norm by power iteration has 1 % to spare, so brightness above black is low by 1 %
    torch.testing.assert_close((zero_filled(whole, whole.A(x)) + 1) * 1.01 - 1, x, atol=1e-6, rtol=0)
    half = Undersample(Lines(2))
    assert mae(zero_filled(half, half.A(x)), x).min() > 5


def test_biharmonic_surfaces_continue_cubics():
    rows, columns = torch.meshgrid(*[torch.linspace(-1, 1, 16, dtype=torch.float64)] * 2, indexing="ij")
    cubic = (0.3 * rows**3 - 0.2 * rows * columns**2 + 0.4 * columns**2 - 0.1 * rows)[None, None]
    x = torch.cat([cubic, -cubic])  # the discrete bi-Laplacian of a cubic is exactly 0
    hole = Mask(Rectangle(0.4, 0.5))
    y = hole.A(x)
    y[hole.observed(y).expand_as(y) == 0] = torch.nan
    torch.testing.assert_close(biharmonic(hole, y), x, atol=1e-9, rtol=0)


def test_biharmonic_is_scikit_images():
    restoration = pytest.importorskip("skimage.restoration")
    x = (torch.rand(1, 1, 20, 24, dtype=torch.float64) - 0.5) / 2
    seen = Pixels(0.3)(20, 24)
    for border in (seen[:2], seen[-2:], seen[:, :2], seen[:, -2:]):
        border.fill_(True)  # near borders scikit-image cuts its stencils short
    hole = Mask(seen)
    expected = restoration.inpaint_biharmonic(hole.A(x)[0, 0].numpy(), ~seen.numpy())
    known = x[0, 0][seen]
    found = biharmonic(hole, hole.A(x))[0, 0].clamp(known.min(), known.max())  # as scikit-image does
    np.testing.assert_allclose(found, expected, atol=1e-8)


def test_biharmonic_with_a_mask_for_each_image_and_with_none():
    x = torch.rand(2, 1, 8, 8) - 0.5
    masks = torch.ones(2, 1, 8, 8)
    masks[0, 0, 3:5, 3:5] = 0
    found = biharmonic(Mask(masks), x * masks)
    assert torch.equal(found[1], x[1])
    assert torch.equal(found[0:1], biharmonic(Mask(masks[0, 0]), x[:1] * masks[:1]))
    assert torch.equal(biharmonic(Identity(), x), x)
    with pytest.raises(ValueError, match="fills holes of images"):
        biharmonic(Downsample(2), x)


def test_each_corruption_has_its_baselines(brains):
    names = {
        Downsample(2): {"bicubic", "total_variation"},
        Mask(Rectangle()): {"biharmonic", "total_variation"},
        Undersample(4): {"zero_filled", "wavelet", "total_variation"},
        Compose(Mask(Rectangle()), Downsample(2)): {"bicubic", "total_variation"},
        Identity(0.1): {"total_variation"},
        Intensity(gamma=2.0): set(),
    }
    for corruption, expected in names.items():
        y = corruption.corrupt(brains)
        found = baselines_for(corruption, y)
        assert found.keys() == expected
        assert all(method(corruption, y).shape == brains.shape for method in found.values())


@pytest.mark.parametrize(
    ("corruption", "better", "worse", "decibels"),
    [
        (Undersample(2), "total_variation", "zero_filled", 3.0),
        (Undersample(2), "wavelet", "zero_filled", 2.0),
        (Downsample(2), "total_variation", "bicubic", 0.5),
    ],
)
def test_smoothness_and_sparsity_beat_none(brains, corruption, better, worse, decibels):
    y = corruption.corrupt(brains)
    methods = baselines_for(corruption, y)
    score = {name: psnr(methods[name](corruption, y), brains).mean() for name in (better, worse)}
    assert score[better] > score[worse] + decibels


def test_weight_is_tuned_on_images_of_its_own(brains):
    noisy = Identity(0.2)
    weights = (0.001, 0.1, 1.0)
    method = tuned(total_variation, noisy, brains[:2], weights)
    y = noisy.corrupt(brains[2:], seed=1)
    scores = [psnr(total_variation(noisy, y, weight=w), brains[2:]).item() for w in weights]
    assert psnr(method(noisy, y), brains[2:]).item() == max(scores) == scores[1]


def test_zero_filling_needs_a_linear_corruption():
    with pytest.raises(ValueError, match="linear"):
        zero_filled(Intensity(gamma=2.0), torch.zeros(1, 1, 4, 4))
