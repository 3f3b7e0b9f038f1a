from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neuropyro.generators.residuals import ResidualSpread, band_power, frequency_bands


def spread(size: int = 6, bands: int = 4) -> ResidualSpread:
    rng = torch.Generator().manual_seed(0)
    sd = 0.1 + torch.rand(1, size, size, generator=rng, dtype=torch.float64)
    return ResidualSpread(sd, torch.tensor([3.0, 1.5, 0.5, 0.1], dtype=torch.float64)[:bands])


def dense(spread: ResidualSpread) -> torch.Tensor:
    """S as a matrix, from discrete Fourier matrices written out."""
    size = spread.sd.shape[1]
    line = np.fft.fft(np.eye(size), norm="ortho")
    fourier = torch.from_numpy(np.kron(line, line))
    power = spread.power[frequency_bands((size, size), len(spread.power)).flatten()]
    correlation = (fourier.conj().T @ torch.diag(power).to(fourier) @ fourier).real
    scale = torch.diag(spread.sd.flatten())
    return scale @ correlation @ scale


def test_bands_are_rings():
    bands = frequency_bands((8, 8), 4)
    assert bands[0, 0] == 0
    assert bands[4, 4] == 3  # the corner of the spectrum, half a cycle per pixel both ways
    assert torch.equal(bands, bands.T)
    assert torch.equal(bands[1:], bands[1:].flip(0))
    assert bands[0, 1] == int(np.floor((1 / 8) / (np.sqrt(2) / 2) * 4))


def test_power_of_white_noise_is_its_variance_in_every_band():
    noise = 3 * torch.randn(400, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    # The lowest of four bands has over 10 frequencies: 4,000 squares, relative standard error .03.
    torch.testing.assert_close(band_power(noise, 4), torch.full((4,), 9.0), rtol=0.12, atol=0)


def test_power_of_a_wave_lies_in_its_band():
    rows = torch.arange(16, dtype=torch.float64)
    wave = torch.cos(2 * torch.pi * 5 * rows / 16)[None, None, :, None].expand(1, 1, 16, 16)
    power = band_power(wave, 8)
    band = int(frequency_bands((16, 16), 8)[5, 0])
    assert power[band] > 0
    assert power.sum() == pytest.approx(float(power[band]))


def test_root_and_product_are_those_of_the_matrix():
    S, x = dense(spread()), torch.randn(6 * 6, 6 * 6, dtype=torch.float64)
    torch.testing.assert_close(spread().multiply(x.reshape(-1, 1, 6, 6)).flatten(1), x @ S)
    white = torch.eye(36, dtype=torch.float64).reshape(-1, 1, 6, 6)
    root = spread().root(white).flatten(1).T  # column i is the root's product with the unit vector i
    torch.testing.assert_close(root @ root.T, S)


def test_spread_is_learned_from_residuals():
    truth = spread(12)
    smooth = ResidualSpread(torch.full((1, 12, 12), 0.3, dtype=torch.float64), truth.power)
    residuals = smooth.root(torch.randn(3000, 1, 12, 12, dtype=torch.float64))
    found = ResidualSpread.of(residuals, bands=4)
    ratio = found.power / truth.power
    torch.testing.assert_close(ratio / ratio.mean(), torch.ones(4, dtype=torch.float64), rtol=0.05, atol=0)
    again = found.root(torch.randn(3000, 1, 12, 12, dtype=torch.float64))
    torch.testing.assert_close(again.var(dim=0).mean(), residuals.var(dim=0).mean(), rtol=0.05, atol=0)
    torch.testing.assert_close(band_power(again, 4), band_power(residuals, 4), rtol=0.1, atol=0)


def test_black_background_stays_black_almost():
    residuals = torch.randn(50, 1, 12, 12)
    residuals[:, :, :6] = 0
    found = ResidualSpread.of(residuals)
    assert found.sd[:, :5].max() <= 2e-3
    assert found.sd.min() > 0
    assert torch.isfinite(found.root(torch.randn(2, 1, 12, 12))).all()


def test_it_travels_in_a_card():
    card = SimpleNamespace(arrays=spread().to_arrays())
    assert torch.equal(ResidualSpread.from_card(card).power, spread().power)
    assert ResidualSpread.from_card(None) is None
    assert ResidualSpread.from_card(SimpleNamespace(arrays={})) is None
