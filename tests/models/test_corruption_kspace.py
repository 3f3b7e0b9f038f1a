import numpy as np
import pytest
import torch

from neuropyro.data.kspace_files import read_kspace
from neuropyro.models.corruption import CorruptionError, Undersample
from neuropyro.models.corruption_coils import (
    SmoothPhase,
    birdcage_maps,
    estimate_maps,
    estimate_phase,
    fft,
    inverse_fft,
)
from neuropyro.models.corruption_kspace_patterns import Lines, Points


def numpy_kspace(image, maps, phase, mask):
    """P F S e^{i phi} m, by numpy."""
    seen = maps * np.exp(1j * phase) * image
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(seen, (-2, -1)), norm="ortho"), (-2, -1))
    return spectrum * mask


def smooth_image(height, width):
    """A bright ellipse with soft edges, on -1..1: (1, 1, H, W) float64."""
    rows, columns = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return torch.from_numpy(2 / (1 + np.exp(12 * (np.hypot(rows / 0.8, columns / 0.7) - 1))) - 1)[None, None]


@pytest.mark.parametrize("size", [(16, 16), (15, 18)])
def test_measurements_are_numpys(size):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 1, *size))
    maps = rng.standard_normal((3, *size)) + 1j * rng.standard_normal((3, *size))
    phase, mask = rng.standard_normal(size), rng.random(size) > 0.5
    y = Undersample(mask, phase=phase, coils=maps).A(torch.from_numpy(x))
    np.testing.assert_allclose(y, numpy_kspace((x + 1) / 2, maps, phase, mask), atol=1e-12)


def test_transform_is_orthonormal_and_centred():
    x = torch.randn(2, 9, 12, dtype=torch.complex128)
    torch.testing.assert_close(inverse_fft(fft(x)), x)
    torch.testing.assert_close(fft(x).norm(), x.norm())
    flat = fft(torch.ones(9, 12, dtype=torch.complex128)).abs()
    assert divmod(int(flat.argmax()), 12) == (4, 6)


def test_batches_of_phases_and_coils():
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    phase = torch.randn(2, 8, 8, dtype=torch.float64)
    maps = torch.randn(2, 3, 8, 8, dtype=torch.complex128)
    whole = Undersample(np.ones((8, 8)), phase=phase, coils=maps)
    each = [Undersample(np.ones((8, 8)), phase=phase[i], coils=maps[i]).A(x[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(whole.A(x), torch.cat(each))
    assert whole.adjointness_test(x) < 1e-12


@pytest.mark.parametrize("density", ["random", "variable", "equispaced"])
@pytest.mark.parametrize(("acceleration", "width"), [(2, 64), (4, 64), (8, 64), (4, 63), (3, 320)])
def test_lines_have_the_acceleration_and_the_centre(density, acceleration, width):
    mask = Lines(acceleration, 0.08, density, seed=3)(10, width)
    assert (mask == mask[:1]).all()
    assert int(mask[0].sum()) == round(width / acceleration)
    reach = round(0.08 * width) // 2
    assert mask[0, width // 2 - reach : width // 2 + round(0.08 * width) - reach].all()
    assert not torch.equal(mask, Lines(acceleration, 0.08, density, seed=4)(10, width)) or density == "equispaced"


def test_equispaced_lines_lie_evenly():
    sampled = Lines(4, 0.0, "equispaced", seed=1)(1, 64)[0]
    places = [i for i in torch.nonzero(sampled)[:, 0].tolist() if i != 32]
    assert set(np.diff(places)) <= {4, 5}


def test_variable_density_prefers_the_middle():
    distance = torch.arange(256).sub(128).abs().double()
    far = {}
    for density in ("random", "variable"):
        masks = [Lines(4, 0.04, density, seed)(1, 256)[0] for seed in range(20)]
        far[density] = float(torch.stack([distance[m].mean() for m in masks]).mean())
    assert far["variable"] < 0.75 * far["random"]


def test_points_have_the_acceleration_a_disc_and_fall_outwards():
    mask = Points(4, 0.1, seed=2)(64, 48)
    assert int(mask.sum()) == 64 * 48 // 4
    rows, columns = torch.meshgrid((torch.arange(64) - 32) / 32, (torch.arange(48) - 24) / 24, indexing="ij")
    radius = torch.hypot(rows, columns)
    assert mask[radius <= 0.1].all()
    inner, outer = (mask[(radius > lo) & (radius < hi)].double().mean() for lo, hi in ((0.1, 0.5), (0.8, 1.2)))
    assert inner > 2 * outer


def test_full_sampling_loses_nothing():
    x = torch.randn(2, 1, 12, 10, dtype=torch.float64)
    corruption = Undersample(1.0, coils=4)
    y = corruption.A(x)
    magnitude = 2 * corruption.A_adjoint(y)  # A' halves, as A does
    torch.testing.assert_close(2 * magnitude - 1, x)  # the maps' squares sum to 1


def test_simulated_coils_have_unit_norm_and_see_their_own_side():
    maps = birdcage_maps(4, 32, 32)
    torch.testing.assert_close(maps.abs().square().sum(dim=0), torch.ones(32, 32, dtype=torch.float64))
    brightest = [divmod(int(m.abs().argmax()), 32) for m in maps]
    (_, right), (low, _), (_, left), (high, _) = brightest  # coils stand at the right, below, at the left, above
    assert right == 31 - left == 31
    assert low == 31 - high == 31
    assert maps.angle().diff(dim=1).abs().median() < 0.2  # smooth
    torch.testing.assert_close(birdcage_maps(1, 4, 4).abs(), torch.ones(1, 4, 4, dtype=torch.float64))


def test_simulated_phase_is_smooth_with_the_given_sd():
    phase = SmoothPhase(0.8, seed=1)(64, 64)
    torch.testing.assert_close(phase.std(correction=0), torch.tensor(0.8, dtype=torch.float64))
    assert phase.diff(dim=0).abs().max() < 0.3


def test_a_real_image_has_a_symmetric_spectrum_and_one_with_phase_has_not():
    x = smooth_image(33, 33)
    for phase, symmetric in ((None, True), (SmoothPhase(), False)):
        y = Undersample(np.ones((33, 33)), phase=phase).A(x)
        assert torch.allclose(y, y.flip(2, 3).conj(), atol=1e-9) is symmetric


def test_phase_is_estimated_from_the_centre():
    x, phase = smooth_image(64, 64), SmoothPhase(0.7, seed=2)
    y = Undersample(Lines(4, 0.16), phase=phase).A(x)
    bright = x[0, 0] > 0.5
    error = (estimate_phase(y, Lines(4, 0.16)(64, 64))[0] - phase(64, 64))[bright]
    assert error.abs().max() < 0.2  # radians; a tenth of the phase's range
    found = Undersample.from_measurement(y)
    torch.testing.assert_close(found.observed(y)[0, 0], Lines(4, 0.16)(64, 64).double())
    assert (found.A(x) - y).norm() < 0.1 * y.norm()
    assert (Undersample(Lines(4, 0.16), phase=None).A(x) - y).norm() > 0.5 * y.norm()


def test_coils_are_estimated_with_the_phase_in_them():
    x, maps, phase = smooth_image(64, 64), birdcage_maps(6, 64, 64), SmoothPhase(0.7)
    truth = Undersample(Lines(3, 0.2), phase=phase, coils=maps)
    y = truth.A(x)
    bright = x[0, 0] > 0.5
    expected = maps * torch.polar(torch.ones(64, 64, dtype=torch.float64), phase(64, 64))
    error = (estimate_maps(y, Lines(3, 0.2)(64, 64))[0] - expected)[:, bright]
    assert error.abs().max() < 0.1  # of a norm of 1
    found = Undersample.from_measurement(y[0])
    assert (found.A(x) - y).norm() < 0.1 * y.norm()
    known = Undersample.from_measurement(y, coils=maps)
    assert (known.A(x) - y).norm() < 0.1 * y.norm()


def test_estimates_need_the_centre_and_maps():
    y = torch.ones(1, 2, 8, 8, dtype=torch.complex64)
    sampled = torch.arange(8).expand(8, 8) != 4
    with pytest.raises(CorruptionError, match="centre is not sampled"):
        estimate_maps(y, sampled)
    with pytest.raises(CorruptionError, match="data needs their maps"):
        estimate_phase(y, torch.ones(8, 8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Undersample(0.5), "acceleration must be 1 or more"),
        (lambda: Lines(8, 0.5)(64, 64), "the centre alone has 32 of the 8 samples; lower"),
        (lambda: Points(64, 0.9)(64, 64), "the centre alone has"),
        (lambda: Lines(4, 1.5), "centre is a fraction"),
        (lambda: Lines(4, 0.08, "poisson"), "random, variable, equispaced, got 'poisson'"),
        (lambda: Undersample(np.ones((2, 2, 2))), r"pattern must be \(H, W\)"),
        (lambda: Undersample(np.zeros((2, 2))), "samples nothing"),
        (lambda: Undersample(4, phase=np.ones(3)), "phase must be finite radians"),
        (lambda: Undersample(4, coils=np.ones((2, 4, 4))), r"finite complex \(coils, H, W\).*float64"),
        (lambda: Undersample(4, coils=0), "1 coil or more"),
        (lambda: SmoothPhase(-1.0), "0 radians or more"),
        (lambda: birdcage_maps(0, 4, 4), "1 or more are needed"),
        (lambda: Undersample.from_measurement(torch.zeros(1, 8, 8)), "must be complex"),
        (lambda: Undersample(4).A(torch.zeros(1, 3, 64, 64)), "must be grey"),
        (lambda: Undersample(np.ones((4, 4))).A(torch.zeros(1, 1, 8, 8)), "pattern has 4 x 4 px, the image 8 x 8"),
        (lambda: Undersample(1, phase=np.ones((4, 4))).A(torch.zeros(1, 1, 8, 8)), "phase has 4 x 4 px"),
        (lambda: Undersample(1).A_adjoint(torch.zeros(1, 1, 8, 8)), "must be complex"),
        (lambda: Undersample(1).A_adjoint(torch.zeros(1, 2, 8, 8) + 0j), "1 coils are known, k-space has 2"),
    ],
)
def test_errors_say_what_is_wrong(make, message):
    with pytest.raises(CorruptionError, match=message):
        make()


def test_kspace_files_become_a_corruption_that_makes_them(tmp_path):
    x, truth = smooth_image(64, 64), Undersample(Lines(3, 0.2), phase=SmoothPhase(0.5), coils=3)
    np.save(tmp_path / "scan.npy", 7e-6 * truth.A(x).numpy())
    scan = read_kspace(tmp_path / "scan.npy")
    found = Undersample.from_measurement(scan.measurements)
    assert torch.equal(found.observed(scan.measurements)[0, 0].bool(), scan.sampled)
    brightness = 7e-6 / scan.scale  # of 1 in the file's unit
    again = found.A((brightness * (x.float() + 1)) - 1)
    assert (again - scan.measurements).norm() < 0.1 * scan.measurements.norm()
