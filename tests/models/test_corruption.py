"""Laws that every corruption obeys, over random shapes."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuropyro.models.corruption import (
    Blur,
    Compose,
    CorruptionError,
    Downsample,
    Identity,
    Intensity,
    Mask,
    Undersample,
)
from neuropyro.models.corruption_coils import birdcage_maps
from neuropyro.models.corruption_intensity import BiasField
from neuropyro.models.corruption_kspace_patterns import Lines, Points
from neuropyro.models.corruption_mask_shapes import FreeForm, Pixels, Rectangle

KERNEL = torch.tensor([[0.0, 1.0, 2.0], [-1.0, 3.0, 0.5], [0.0, 0.0, 1.0], [0.2, 0.1, 0.0], [1.0, 1.0, 1.0]])
LINEAR = {
    "identity": lambda: Identity(),
    "bicubic": lambda: Downsample(3),
    "area": lambda: Downsample(2, "area"),
    "aliased": lambda: Downsample(4, antialias=False),
    "hole": lambda: Mask(Rectangle(0.4, 0.6)),
    "pixels": lambda: Mask(Pixels(0.3)),
    "gaussian": lambda: Blur(1.3),
    "motion": lambda: Blur.motion(5.0, 30.0),
    "kernel": lambda: Blur(KERNEL),
    "bias": lambda: Intensity(BiasField(0.4, 3)),
    "kspace": lambda: Undersample(Lines(2.0, 0.2)),
    "coils": lambda: Undersample(Points(2.0, 0.2), coils=3),
    "blurred, masked, small": lambda: Compose(Blur(0.8), Mask(Pixels(0.2)), Downsample(2)),
    "blurred k-space": lambda: Compose(Intensity(BiasField()), Blur(0.7), Undersample(Lines(3.0, 0.2), coils=2)),
}
GREY_ONLY = ("kspace", "coils", "blurred k-space")


@pytest.mark.parametrize("name", LINEAR)
@settings(max_examples=12, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**31))
def test_adjointness(name, batch, channels, rows, columns, seed):
    corruption = LINEAR[name]()
    channels = 1 if name in GREY_ONLY else channels
    shape = (batch, channels, 12 * rows, 12 * columns)  # 12 is a multiple of every factor
    assert corruption.adjointness_test(torch.zeros(shape), seed) <= 1e-5
    assert corruption.adjointness_test(torch.zeros(shape, dtype=torch.float64), seed) <= 1e-12


@pytest.mark.parametrize("name", LINEAR)
def test_linear_part_is_what_a_does_beyond_black_grey_and_offset(name):
    corruption = LINEAR[name]()
    a, b = torch.randn(2, 2, 1, 12, 24, dtype=torch.float64)
    assert corruption.is_linear
    offset = corruption.A(torch.zeros_like(a))
    torch.testing.assert_close(corruption.linear(a), corruption.A(a) - offset)
    torch.testing.assert_close(corruption.linear(2 * a - 3 * b), 2 * corruption.linear(a) - 3 * corruption.linear(b))


@pytest.mark.parametrize("name", LINEAR)
def test_adjoint_is_the_gradient(name):
    corruption = LINEAR[name]()
    x = torch.randn(2, 1, 12, 24, dtype=torch.float64, requires_grad=True)
    image = corruption.A(x)
    y = torch.randn_like(image)
    (gradient,) = torch.autograd.grad((image.conj() * y).sum().real, x)
    torch.testing.assert_close(corruption.A_adjoint(y), gradient)


@pytest.mark.parametrize("name", LINEAR)
def test_shapes_devices_and_dtypes_follow_the_image(name):
    corruption = LINEAR[name]()
    x = torch.randn(2, 1, 12, 24)
    image = corruption.A(x)
    assert tuple(image.shape) == corruption.measurement_shape((2, 1, 12, 24))
    assert corruption.image_shape(tuple(image.shape)) == (2, 1, 12, 24)
    assert image.real.dtype == torch.float32
    assert corruption.A(x.double()).real.dtype == torch.float64
    meta = corruption.A(x.to("meta"))
    assert (meta.device.type, meta.shape) == ("meta", image.shape)
    assert corruption.A_adjoint(meta).shape == x.shape
    moved = copy.deepcopy(corruption).to(torch.float64)
    torch.testing.assert_close(moved.A(x), image)
    torch.testing.assert_close(moved.A_adjoint(image), corruption.A_adjoint(image))


@pytest.mark.parametrize("name", LINEAR)
def test_measurements_that_do_not_count_are_those_that_see_nothing(name):
    corruption = LINEAR[name]()
    zero = torch.zeros(1, 1, 12, 24, dtype=torch.float64)
    columns = corruption.linear(torch.eye(288, dtype=torch.float64).reshape(288, 1, 12, 24))
    sees = (columns.abs() > 1e-9).any(dim=0)
    counts = corruption.observed(corruption.A(zero)).expand(1, *sees.shape)[0].bool()
    assert torch.equal(counts, sees)


@pytest.mark.parametrize("name", LINEAR)
def test_simulated_noise_has_the_given_sd_where_measurements_count(name):
    corruption = LINEAR[name]()
    x = torch.zeros(64, 1, 24, 24)
    noise = corruption.corrupt(x, seed=1, noise=0.3) - corruption.A(x)
    counts = corruption.observed(noise).expand_as(noise) > 0
    values = noise[counts]
    values = torch.view_as_real(values) if values.is_complex() else values
    # of the sd of n values, the sd is about sd / sqrt(2 n); here n >= 2,000, so .3 (1 ± 4 / 63)
    assert abs(float(values.std()) - 0.3) < 0.02
    assert (noise[~counts] == 0).all()
    assert torch.equal(corruption.corrupt(x, seed=1, noise=0.3), corruption.corrupt(x, seed=1, noise=0.3))
    assert not torch.equal(corruption.corrupt(x, seed=2, noise=0.3), corruption.corrupt(x, seed=1, noise=0.3))


@pytest.mark.parametrize("corruption", [*(make() for make in LINEAR.values()), Intensity(BiasField(), gamma=1.5)])
def test_draws_and_restarts_stand_to_the_left(corruption):
    x = torch.randn(3, 2, 4, 1, 12, 24)
    y = corruption.A(x)
    assert tuple(y.shape) == corruption.measurement_shape(tuple(x.shape))
    torch.testing.assert_close(y[1, 1], corruption.A(x[1, 1]))
    assert corruption.observed(y).ndim == 4
    if corruption.is_linear:
        torch.testing.assert_close(corruption.A_adjoint(y)[2, 0], corruption.A_adjoint(y[2, 0]))
        assert corruption.image_shape(tuple(y.shape)) == tuple(x.shape)


def test_images_with_masks_phases_and_coils_of_their_own_keep_them_in_every_draw():
    masks, phase = torch.rand(4, 1, 12, 24) > 0.3, torch.randn(4, 12, 24)
    maps = torch.randn(4, 3, 12, 24, dtype=torch.complex64)
    for corruption in (Mask(masks), Undersample(masks[0, 0], phase=phase, coils=maps)):
        x = torch.randn(5, 4, 1, 12, 24)
        torch.testing.assert_close(corruption.A(x)[2], corruption.A(x[2]))


def test_compose_runs_its_parts_in_order():
    blur, small = Blur(1.0), Downsample(2)
    x = torch.randn(1, 2, 8, 8)
    both = Compose(blur, small)
    assert torch.equal(both.A(x), small.A(blur.A(x)))
    assert torch.equal(both.A_adjoint(small.A(x)), blur.A_adjoint(small.A_adjoint(small.A(x))))
    assert torch.equal(Compose(both, Identity())(x), both(x))


def test_compose_has_the_last_parts_noise_or_its_own():
    assert Compose(Blur(1.0), Downsample(2, noise=0.1)).noise == 0.1
    assert Compose(Blur(1.0), Downsample(2), noise=0.2).noise == 0.2
    assert Compose(Blur(1.0), Downsample(2)).noise is None
    with pytest.raises(CorruptionError, match=r"Blur, number 1 of 2, has some"):
        Compose(Blur(1.0, noise=0.1), Downsample(2))
    with pytest.raises(CorruptionError, match="at least one"):
        Compose()
    with pytest.raises(CorruptionError, match="no operator A"):
        Compose(Blur(1.0), "superres")


def test_compose_is_not_linear_if_a_part_is_not():
    both = Compose(Intensity(gamma=2.0), Downsample(2))
    assert not both.is_linear
    with pytest.raises(CorruptionError, match="not linear"):
        both.A_adjoint(torch.zeros(1, 1, 4, 4))
    with pytest.raises(CorruptionError, match="no linear part"):
        both.linear(torch.zeros(1, 1, 4, 4))


def test_tensors_are_kept_by_state_dict_and_used_after_loading():
    first, second = (Mask(torch.rand(8, 8) > 0.5) for _ in range(2))
    x = torch.ones(1, 1, 8, 8)
    before = second.A(x)
    second.load_state_dict(first.state_dict())
    assert torch.equal(second.A(x), first.A(x))
    assert not torch.equal(second.A(x), before)


def test_complex_sensitivities_survive_a_change_of_dtype():
    maps = birdcage_maps(3, 8, 8)
    corruption = Undersample(np.ones((8, 8)), coils=maps).to(torch.float32).to(torch.float64)
    x = torch.randn(1, 1, 8, 8, dtype=torch.float64)
    expected = Undersample(np.ones((8, 8)), coils=maps).A(x)
    torch.testing.assert_close(corruption.A(x), expected, atol=1e-6, rtol=1e-6)  # once float32


def test_what_is_made_without_gradients_may_meet_them_later():
    corruption = Downsample(2)
    with torch.inference_mode():
        corruption.A(torch.zeros(1, 1, 8, 8))
    x = torch.zeros(1, 1, 8, 8, requires_grad=True)
    corruption.A(x).square().sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("noise", [-1.0, float("nan"), float("inf")])
def test_noise_must_be_a_standard_deviation(noise):
    with pytest.raises(CorruptionError, match="standard deviation of 0 or more"):
        Identity(noise)


@pytest.mark.parametrize("name", LINEAR)
def test_images_must_be_real_batches(name):
    with pytest.raises(CorruptionError, match=r"must be real \(B, C, H, W\), got \(12, 24\)"):
        LINEAR[name]().A(torch.zeros(12, 24))
    with pytest.raises(CorruptionError, match=r"int64"):
        LINEAR[name]().A(torch.zeros(1, 1, 12, 24, dtype=torch.int64))


def test_free_form_holes_have_about_the_size_that_was_asked_for():
    for seed in range(5):
        hidden = 1 - FreeForm(0.25, seed=seed)(64, 64).double().mean()
        assert 0.25 <= hidden <= 0.35  # the last piece of a stroke may go beyond
