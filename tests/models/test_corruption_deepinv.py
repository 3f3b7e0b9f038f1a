"""The adapter on doubles with deepinv's signatures, so that deepinv itself is not needed."""

from types import SimpleNamespace

import pytest
import torch

from neuropyro.models.corruption import Compose, CorruptionError, DeepinvPhysics, Downsample, as_corruption


class Halving:
    """A linear physics in deepinv's vocabulary."""

    noise_model = SimpleNamespace(sigma=torch.tensor(0.1))

    def A(self, x, **_):  # noqa: N802
        return x[..., ::2] / 2

    def A_adjoint(self, y, **_):  # noqa: N802
        x = torch.zeros(*y.shape[:-1], 2 * y.shape[-1], dtype=y.dtype)
        x[..., ::2] = y / 2
        return x


class MRI(torch.nn.Module):
    """Two-channel images to two-channel k-space, as deepinv's."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mask", (torch.arange(8) % 2 == 0).float().expand(1, 2, 8, 8).clone())

    def A(self, x):  # noqa: N802
        y = torch.fft.fft2(torch.complex(x[:, 0], x[:, 1]), norm="ortho")
        return torch.stack([y.real, y.imag], dim=1) * self.mask

    def A_adjoint(self, y):  # noqa: N802
        y = y * self.mask
        x = torch.fft.ifft2(torch.complex(y[:, 0], y[:, 1]), norm="ortho")
        return torch.stack([x.real, x.imag], dim=1)


class Spectral(Halving):
    """A physics whose ``mask`` is no mask of measurements."""

    mask = torch.tensor(0.5)


class Squaring:
    def A(self, x):  # noqa: N802
        return x.square()


def test_a_linear_physics():
    corruption = as_corruption(Halving())
    x = torch.randn(2, 1, 8, 8)
    assert isinstance(corruption, DeepinvPhysics)
    assert corruption.noise == pytest.approx(0.1)
    assert corruption.is_linear
    assert torch.equal(corruption.A(x), x[..., ::2] / 2)
    assert corruption.adjointness_test(x) < 1e-6
    assert corruption.measurement_shape((2, 1, 8, 8)) == (2, 1, 8, 4)
    assert corruption.image_shape((2, 1, 8, 4)) == (2, 1, 8, 8)
    assert corruption.observed(corruption.A(x)).min() == 1
    assert as_corruption(Spectral()).observed(corruption.A(x)).shape == (1, 1, 8, 4)


def test_mri_is_given_complex_magnitudes():
    corruption = as_corruption(MRI())
    x = torch.randn(2, 1, 8, 8)
    expected = torch.fft.fft2((x[:, 0] + 1) / 2, norm="ortho") * MRI().mask[0, 0]
    torch.testing.assert_close(torch.complex(*corruption.A(x).unbind(dim=1)), expected)
    assert corruption.adjointness_test(x) < 1e-6
    torch.testing.assert_close(corruption.linear(x), corruption.A(x) - corruption.A(torch.zeros_like(x)))
    assert torch.equal(corruption.observed(corruption.A(x)), MRI().mask)
    assert corruption.noise is None
    draws = torch.randn(3, 2, 1, 8, 8)
    torch.testing.assert_close(corruption.A(draws)[1], corruption.A(draws[1]))
    with pytest.raises(CorruptionError, match="made of grey ones"):
        corruption.A(torch.zeros(1, 3, 8, 8))


def test_physics_in_a_composition_and_on_the_unit_range():
    both = Compose(Downsample(2), Halving())
    x = torch.randn(1, 1, 16, 16)
    assert torch.equal(both.A(x), Downsample(2).A(x)[..., ::2] / 2)
    assert both.adjointness_test(x) < 1e-6
    assert both.noise == pytest.approx(0.1)
    unit = DeepinvPhysics(Halving(), unit_range=True)
    torch.testing.assert_close(unit.A(x), (x[..., ::2] + 1) / 4)
    assert unit.adjointness_test(x) < 1e-6


def test_a_physics_without_adjoint_is_not_linear():
    corruption = as_corruption(Squaring())
    assert not corruption.is_linear
    with pytest.raises(CorruptionError, match="not linear"):
        corruption.A_adjoint(torch.zeros(1, 1, 2, 2))


def test_other_things_are_refused_and_corruptions_left_alone():
    small = Downsample(2)
    assert as_corruption(small) is small
    with pytest.raises(CorruptionError, match="a str has no operator A"):
        as_corruption("superres:8")
