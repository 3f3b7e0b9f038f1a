import numpy as np
import pytest
import torch

from neuropyro.image_metrics import psnr
from neuropyro.image_wavelets import analysis_matrix, inverse_transform, shrunk, transform, wavelet_sparse
from neuropyro.models.corruption import Identity, Intensity, Undersample


@pytest.mark.parametrize("n", [4, 8, 10, 64])
def test_one_level_is_orthonormal(n):
    matrix = analysis_matrix(n, torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(n, dtype=torch.float64), atol=1e-11, rtol=0)


def test_details_of_cubics_vanish():
    """Four vanishing moments, away from where the period closes."""
    matrix = analysis_matrix(32, torch.zeros((), dtype=torch.float64))
    cubic = torch.linspace(-1, 1, 32, dtype=torch.float64) ** 3
    torch.testing.assert_close((matrix @ cubic)[16:28], torch.zeros(12, dtype=torch.float64), atol=1e-11, rtol=0)


@pytest.mark.parametrize("levels", [0, 1, 3])
def test_transform_is_orthonormal_and_inverted(levels):
    x = torch.randn(2, 1, 16, 32, dtype=torch.float64)
    coefficients = transform(x, levels)
    torch.testing.assert_close(coefficients.norm(), x.norm())
    torch.testing.assert_close(inverse_transform(coefficients, levels), x)


def test_transform_is_pywavelets():
    pywt = pytest.importorskip("pywt")
    x = np.random.default_rng(0).standard_normal((32, 32))
    coarse, *details = pywt.wavedec2(x, "db4", mode="periodization", level=2)
    # the period begins elsewhere, so that sizes agree at one shift of the image

    def apart(shift):
        found = transform(torch.from_numpy(x).roll((shift, shift), (0, 1)), 2).abs().numpy()
        pairs = ((found[:8, :8], coarse), (found[16:, 16:], details[1][2]), (found[:8, 8:16], details[0][1]))
        return max(np.abs(np.sort(ours.ravel()) - np.sort(np.abs(theirs.ravel()))).max() for ours, theirs in pairs)

    assert min(map(apart, range(32))) < 1e-6


def test_orthonormal_denoising_shrinks_details_by_the_weight():
    """With A = 1 and one step without a shift the answer is soft thresholding."""
    coefficients = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    coefficients[..., 8:, :] = torch.linspace(-0.4, 0.4, 16, dtype=torch.float64)
    x = inverse_transform(coefficients, 1)
    expected = torch.sign(coefficients) * (coefficients.abs() - 0.1).clamp(min=0)
    torch.testing.assert_close(transform(shrunk(x, 0.1, 1, (0, 0)), 1), expected)


def test_noise_is_removed_and_whole_kspace_kept():
    rows, columns = torch.meshgrid(*[torch.linspace(-3, 3, 32)] * 2, indexing="ij")
    x = (torch.sin(rows) * torch.cos(columns) * 0.8)[None, None]
    noisy = Identity(0.2)
    y = noisy.corrupt(x, seed=1)
    assert psnr(wavelet_sparse(noisy, y, weight=0.3), x).item() > psnr(y, x).item() + 6
    whole = Undersample(1)
    torch.testing.assert_close(wavelet_sparse(whole, whole.A(x), weight=1e-5), x, atol=1e-3, rtol=0)


def test_errors():
    with pytest.raises(ValueError, match="even sides of 8 px or more are needed, got 9 x 16"):
        wavelet_sparse(Identity(), torch.zeros(1, 1, 9, 16))
    with pytest.raises(ValueError, match="linear"):
        wavelet_sparse(Intensity(gamma=2.0), torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="multiples of 8, got 12 x 16"):
        transform(torch.zeros(12, 16), 3)
