import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.stats import spearmanr

from neuropyro.data.phantom_recipe import COVARIATES, SPLITS, PhantomRecipe
from neuropyro.data.phantoms import BrainPhantoms, PhantomSlices
from neuropyro.data.template import TEMPLATE_INTENSITY, TISSUES, thin_cortex


@pytest.fixture(scope="module")
def coronal() -> BrainPhantoms:
    return BrainPhantoms(resolution=64, split="test", seed=0)


@pytest.fixture(scope="module")
def axial() -> BrainPhantoms:
    return BrainPhantoms(resolution=64, plane="axial", split="test", seed=0)


@pytest.fixture(scope="module")
def fine() -> BrainPhantoms:
    """Of 1 mm, the template's own voxels."""
    return BrainPhantoms(resolution=177, split="test", seed=0)


def like(phantoms: BrainPhantoms, **changes) -> BrainPhantoms:
    """The same phantoms with other settings, on the same template."""
    other = object.__new__(BrainPhantoms)
    other.__dict__ |= vars(phantoms) | changes
    return other


def ventricles_in_image(phantoms: BrainPhantoms, slices: PhantomSlices) -> np.ndarray:
    """Fluid by intensity alone, in pixels, where the largest ventricles would reach in the same slice."""
    covariates = slices.covariates | {"dilation": phantoms.recipe.dilation[1]}
    largest = phantoms(range(len(slices.images)), **covariates)
    reach = largest.labels[:, TISSUES.index("ventricles")] > 0.1
    white = slices.covariates["brightness"][:, None, None]
    grey, fluid = (
        slices.covariates["contrast"][:, None, None] * white,
        white * TEMPLATE_INTENSITY["csf"] / TEMPLATE_INTENSITY["wm"],
    )
    darkness = (grey - (slices.images[:, 0] + 1) / 2) / (grey - fluid)
    return (darkness.clamp(0, 1) * reach).sum((1, 2)).numpy()


def test_shapes_ranges_and_names(coronal):
    slices = coronal(range(6))
    assert slices.images.shape == (6, 1, 64, 64)
    assert slices.images.dtype == torch.float32
    assert slices.labels.shape == (6, 4, 64, 64)
    assert slices.images.min() == -1
    assert slices.images.max() <= 1
    assert slices.labels.min() >= 0
    assert slices.labels[:, :3].sum(1).max() <= 1 + 1e-5
    assert set(slices.covariates) == set(COVARIATES)
    assert slices.pixel == 176 / 63


def test_background_is_exactly_black(coronal):
    slices = coronal(range(16))
    outside = slices.labels[:, :3].sum(1) == 0
    assert outside.float().mean() > 0.3
    assert (slices.images[:, 0][outside] == -1).all()
    assert slices.images[:, 0, [0, -1]].max() < -0.9, "brains touch the frame"


def test_a_slice_does_not_depend_on_its_batch(coronal):
    together = coronal(range(5))
    alone = coronal([3])
    torch.testing.assert_close(together.images[3:4], alone.images, atol=1e-5, rtol=0)
    assert together.covariates["dilation"][3] == alone.covariates["dilation"][0]
    again = coronal([3])
    assert torch.equal(again.images, alone.images)


def test_splits_and_seeds_share_no_slice(coronal):
    hashes = [
        hashlib.sha256(image.numpy().tobytes()).hexdigest()
        for split in SPLITS
        for seed in (0, 1)
        for image in like(coronal, split=split, seed=seed).images(range(20))
    ]
    assert len(set(hashes)) == len(hashes)


def test_another_split_differs_by_its_stream_alone(coronal):
    expected = like(coronal, split="train").images([0])
    assert torch.equal(coronal.of_split("train").images([0]), expected)
    assert not torch.equal(coronal.images([0]), expected)
    assert coronal.split == "test"
    with pytest.raises(ValueError, match="split must be one of"):
        coronal.of_split("dev")


def test_given_covariates_leave_all_else(coronal):
    plain = coronal(range(4))
    same = coronal(range(4), **plain.covariates)
    torch.testing.assert_close(same.images, plain.images, atol=1e-5, rtol=0)
    dilated = coronal(range(4), dilation=torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert dilated.covariates["dilation"].tolist() == [1, 2, 3, 4]
    assert torch.equal(dilated.covariates["position"], plain.covariates["position"])
    assert not torch.equal(dilated.images, plain.images)


@pytest.mark.parametrize("plane", ["coronal", "axial"])
@pytest.mark.parametrize("seed", [0, 1])
def test_ventricle_area_is_the_dilation_given(plane, seed, request):
    """Wherever the slice lies and whatever else varies: in the labels to a few per cent, in the image by rank."""
    phantoms = like(request.getfixturevalue(plane), seed=seed)
    slices = phantoms(range(200))
    dilation = slices.covariates["dilation"]
    unscaled = slices.area("ventricles") / slices.covariates["size"] ** 2
    missed = (unscaled / (dilation * phantoms.ventricles.typical)).log()
    assert missed.abs().quantile(0.95) < 0.1
    assert abs(missed.median()) < 0.02
    assert spearmanr(dilation, slices.area("ventricles")).statistic > 0.98
    assert spearmanr(dilation, ventricles_in_image(phantoms, slices)).statistic > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("resolution", [128, 256])
@pytest.mark.parametrize("plane", ["coronal", "axial"])
def test_ventricle_area_is_the_dilation_given_at_finer_resolutions(plane, resolution):
    phantoms = BrainPhantoms(resolution=resolution, plane=plane, split="test")
    slices = phantoms(range(100))
    assert spearmanr(slices.covariates["dilation"], ventricles_in_image(phantoms, slices)).statistic > 0.95


def test_dilation_of_one_is_the_templates_typical_area(coronal, fine):
    """Measured on the template itself, voxel by voxel: the geometric mean over the plane's usual positions."""
    template = fine.template
    first, last = coronal.ranges()["position"]
    ys = np.arange(first, last + 1, 3)
    fractions = template.tissues[TISSUES.index("ventricles")].numpy().sum((0, 2))
    areas = ndimage.gaussian_filter1d(fractions, 3.0)[(ys - float(template.origin[1])).astype(int)]
    assert coronal.ventricles.typical == pytest.approx(np.exp(np.log(areas).mean()), rel=0.03)


def test_flow_time_is_read_from_the_table_backwards(coronal):
    table = coronal.ventricles
    p, t = 4, 12
    wanted = table.areas[p, t] / table.typical
    found = table.flow_time(wanted[None], table.positions[p][None])
    torch.testing.assert_close(found, table.times[t][None], atol=1e-3, rtol=0)
    between = (table.areas[p, t] * table.areas[p + 1, t]).sqrt() / table.typical
    found = table.flow_time(between[None], table.positions[p : p + 2].mean()[None])
    torch.testing.assert_close(found, table.times[t][None], atol=1e-3, rtol=0)


def test_atrophy_leaves_the_fluid_about_the_ventricles(coronal):
    """Or the one would pass for the other."""
    young, old = (coronal(range(40), atrophy=a) for a in (0.0, 0.25))
    reach = coronal(range(40), dilation=2.0).labels[:, TISSUES.index("ventricles")] > 0.1
    gained = ((old.labels[:, 2] - young.labels[:, 2]) * reach).sum()
    assert gained < 0.01 * (young.labels[:, 2] * reach).sum()


def test_atrophy_takes_the_grey_matter_it_says(coronal):
    smooth = like(coronal, recipe=dataclasses.replace(coronal.recipe, patchiness=0.0))
    loss = torch.linspace(0.05, 0.25, 5)
    whole = smooth(range(60), atrophy=0.0).area("gm").sum()
    left = torch.stack([smooth(range(60), atrophy=float(a)).area("gm").sum() for a in loss])
    # Calibrated over the whole brain; slices differ from it.
    torch.testing.assert_close(1 - left / whole, loss, atol=0.03, rtol=0)


def test_atrophy_leaves_the_brain_and_its_ventricles(coronal):
    young, old = (coronal(range(8), atrophy=a) for a in (0.0, 0.25))
    torch.testing.assert_close(young.labels[:, :3].sum(1), old.labels[:, :3].sum(1), atol=1e-4, rtol=0)
    assert torch.equal(young.labels[:, 3], old.labels[:, 3])


@pytest.mark.parametrize(("position", "size"), [(-30.0, 0.95), (0.0, 1.04)])
def test_size_scales_the_brain(coronal, position, size):
    still = like(coronal, recipe=dataclasses.replace(coronal.recipe, warp=(0, 0, 0), relief=(0, 0), tilt=0, aspect=0))
    one, other = (still(range(4), position=position, size=s, dilation=1.0) for s in (1.0, size))
    areas = [s.labels[:, :3].sum((1, 2, 3)) for s in (one, other)]
    torch.testing.assert_close(areas[1] / areas[0], torch.full((4,), size**2), atol=0.01, rtol=0)


def test_contrast_is_the_ratio_of_grey_to_white(coronal):
    slices = coronal(range(32), bias=0.0, noise=0.0, brightness=0.9)
    intensity = (slices.images[:, 0] + 1) / 2
    grey, white = (torch.stack([i[t > 0.97].median() for i, t in _pure(slices, intensity, k)]) for k in (0, 1))
    torch.testing.assert_close(grey / white, slices.covariates["contrast"], atol=0.04, rtol=0)


def _pure(slices: PhantomSlices, intensity: torch.Tensor, tissue: int):
    return zip(intensity, slices.labels[:, tissue], strict=True)


def test_an_unwarped_slice_of_the_template_is_the_template(fine, monkeypatch):
    recipe = PhantomRecipe(warp=(0, 0, 0), relief=(0, 0), tilt=0, shift=0, aspect=0, patchiness=0)
    phantoms = like(fine, recipe=recipe)
    template = phantoms.template
    x0, y0, z0 = (int(c) for c in template.origin)
    monkeypatch.setattr(phantoms, "_flow_time", lambda points, covariates: torch.zeros(1))
    fixed = {"position": -20.0, "atrophy": 0.0, "rotation": 0.0, "size": 1.0, "bias": 0.0}
    slices = phantoms([0], **fixed, noise=0.0, contrast=0.645 / 0.875, brightness=0.875)
    # Pixels of 1 mm, on the template's own voxels: x from -88, z down from 93.
    brain = template.texture[0, :, -20 - y0]
    for value, tissue in zip(TEMPLATE_INTENSITY.values(), template.tissues[:3, :, -20 - y0], strict=True):
        brain = brain + value * tissue
    made = (slices.images[0, 0].flip(0).T + 1) / 2
    placed = torch.zeros(177, 177)
    depth = min(brain.shape[1], 177 - (z0 + 83))
    placed[x0 + 88 : x0 + 88 + brain.shape[0], z0 + 83 : z0 + 83 + depth] = brain[:, :depth]
    torch.testing.assert_close(made, placed, atol=0.01, rtol=0)


def test_slices_of_other_resolutions_show_the_same_brain(coronal, fine):
    fixed = {"bias": 0.0, "noise": 0.0}
    recipe = dataclasses.replace(coronal.recipe, patchiness=0.0)
    coarse = like(coronal, recipe=recipe)([0, 1], **fixed).area("wm")
    torch.testing.assert_close(like(fine, recipe=recipe)([0, 1], **fixed).area("wm"), coarse, rtol=0.05, atol=0)


def test_thin_cortex_shifts_the_log_odds_of_sulcal_fluid():
    tissues = torch.tensor([0.5, 0.1, 0.4, 0.0])[:, None]
    thinned = thin_cortex(tissues, torch.tensor(0.7))[:, 0]
    fluid = thinned[2] - 0.02
    assert torch.isclose(torch.log(fluid / (thinned[0] + thinned[1])), torch.log(torch.tensor(0.38 / 0.6)) + 0.7)
    assert torch.isclose(thinned[:3].sum(), torch.tensor(1.0))
    torch.testing.assert_close(thin_cortex(tissues, torch.tensor(0.0)), tissues, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"plane": "sagittal"}, "plane"),
        ({"split": "dev"}, "split"),
        ({"resolution": 8}, "resolution"),
        ({"seed": -1}, "seed"),
        ({"recipe": PhantomRecipe(dilation=(0.0, 2.0))}, "dilation"),
        ({"recipe": PhantomRecipe(noise=(0.2, 0.1))}, "noise"),
        ({"recipe": PhantomRecipe(noise=(float("nan"), 0.1))}, "noise"),
        ({"recipe": PhantomRecipe(dilation=(1.0, 9.0))}, "dilation"),
    ],
)
def test_wrong_settings_are_named(settings, named):
    with pytest.raises(ValueError, match=named):
        BrainPhantoms(**settings)


@pytest.mark.parametrize("given", [{"dilation": -1.0}, {"size": 0.0}, {"position": float("nan")}])
def test_impossible_covariates_are_refused_by_name(coronal, given):
    with pytest.raises(ValueError, match=f"{next(iter(given))} must be finite"):
        coronal([0], **given)


def test_what_the_template_does_not_bear_is_refused(coronal):
    with pytest.raises(ValueError, match="dilation must be 6 at most"):
        coronal([0], dilation=9.0)
    largest = coronal(range(20), dilation=6.0, size=1.0).area("ventricles") / coronal.ventricles.typical
    assert abs(largest.mean().item() / 6 - 1) < 0.03  # in some slices less: the template's ventricles end


@pytest.mark.parametrize("indices", [[], [2, -1]])
def test_slices_have_numbers_from_0_on(coronal, indices):
    with pytest.raises(ValueError, match="indices: give one or more, each 0 or more"):
        coronal(indices)


def test_covariates_are_one_value_or_one_a_slice(coronal):
    with pytest.raises(ValueError, match=r"atrophy must be one value or 3, one a slice, not \(2,\)"):
        coronal([0, 1, 2], atrophy=torch.zeros(2))


def test_unknown_covariates_are_named(coronal):
    with pytest.raises(ValueError, match="no covariate ventricle_size: phantoms have position"):
        coronal([0], ventricle_size=2.0)
