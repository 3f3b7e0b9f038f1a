import numpy as np
import pytest
import torch
from scipy.stats import beta, kstest, spearmanr

from neuropyro.data.phantom_codes import PhantomCodes, normals_to_sphere, sensitivities
from neuropyro.data.phantom_recipe import COVARIATES, PhantomRecipe
from neuropyro.data.phantoms import BrainPhantoms

COUNT = 40


@pytest.fixture(scope="module")
def phantoms() -> BrainPhantoms:
    return BrainPhantoms(resolution=32, recipe=PhantomRecipe(noise=(0.0, 0.0)))


@pytest.fixture(scope="module")
def codes(phantoms) -> PhantomCodes:
    return PhantomCodes.of(phantoms, COUNT, images=100)


def test_factors_make_the_slices(phantoms):
    factors = phantoms.factors([3, 8])
    assert torch.equal(phantoms.of_factors(factors), phantoms.images([3, 8]))
    assert kstest(factors.flatten(), "norm").pvalue > 0.01


def test_sensitivity_is_that_of_differences(phantoms):
    # Derivatives of pixels jump where interpolation passes a voxel; over 100 images that averages out to some per cent.
    gram, variance = sensitivities(phantoms, 100)
    factors, step = phantoms.factors(range(100)), 1e-2
    for name in ("brightness", "contrast", "size"):
        k = COVARIATES.index(name)
        moved = factors.clone()
        moved[:, k] += step
        found = ((phantoms.of_factors(moved) - phantoms.of_factors(factors)) / step).square().sum((1, 2, 3)).mean()
        # One random projection an image: the mean of 100 squares of normals has a relative sd of .14 or more.
        assert float(gram[k, k]) == pytest.approx(float(found), rel=0.5)
    images = phantoms.images(range(100)).flatten(1)
    assert variance == pytest.approx(float((images - images.mean(0)).square().sum() / 99), rel=1e-4)


def test_axes_are_orthonormal_and_covariates_have_their_own(codes):
    torch.testing.assert_close(codes.axes.T @ codes.axes, torch.eye(COUNT).double())
    acting = [name for name in COVARIATES if name != "noise"]
    assert codes.axes[range(len(acting)), range(len(acting))].eq(1).all()
    assert codes.sensitivity[len(acting) :].diff().max() < 1e-6


def test_codes_say_the_covariates(phantoms, codes):
    z, slices = codes(range(200)), phantoms(range(200))
    for k, name in enumerate(("position", "dilation", "atrophy", "contrast")):
        assert spearmanr(z[:, k], slices.covariates[name]).statistic > 0.98  # later ones are scaled by what is left


def test_what_codes_leave_out_matters_little(phantoms, codes):
    """Two slices of one code are far more alike than two that differ in their codes alone."""
    own, other = phantoms.factors(range(60)).double(), phantoms.factors(range(100, 160)).double()
    within = codes.axes @ codes.axes.T
    same_code = own @ within + other @ (torch.eye(len(within)) - within)
    same_rest = other @ within + own @ (torch.eye(len(within)) - within)
    image = phantoms.of_factors(own.float())
    apart = [(phantoms.of_factors(u.float()) - image).square().mean() for u in (same_code, same_rest)]
    assert apart[0] < 0.3 * apart[1]


def test_points_are_uniform_on_the_sphere():
    count, draws = 6, 20_000
    points = normals_to_sphere(np.random.default_rng(0).standard_normal((draws, count)))
    np.testing.assert_allclose((points**2).sum(1), count)
    for k in range(count):
        assert kstest((points[:, k] / np.sqrt(count) + 1) / 2, beta((count - 1) / 2, (count - 1) / 2).cdf).pvalue > 0.01
    # Along any direction a uniform point on the sphere has the same distribution as along an axis.
    turned = points @ np.linalg.qr(np.random.default_rng(1).standard_normal((count, count)))[0]
    for k in range(count):
        assert kstest((turned[:, k] / np.sqrt(count) + 1) / 2, beta((count - 1) / 2, (count - 1) / 2).cdf).pvalue > 0.01


def test_points_keep_all_but_the_length():
    normals = np.random.default_rng(0).standard_normal((50, 128))
    points = normals_to_sphere(normals)
    np.testing.assert_allclose(points[:, 0], normals[:, 0], atol=0.05)
    longer = normals.copy()
    longer[:, :-1] *= 1.1  # a longer vector of the same direction is another point
    assert np.abs(normals_to_sphere(longer)[:, 0] - points[:, 0]).max() > 0.05
    np.testing.assert_array_equal(np.sign(points[:, -1]), np.sign(normals[:, -1]))


@pytest.mark.parametrize("count", [3, 5000])
def test_impossible_counts_are_refused(phantoms, count):
    with pytest.raises(ValueError, match="count must be above"):
        PhantomCodes.of(phantoms, count, images=2)
