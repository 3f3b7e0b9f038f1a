import numpy as np
import pytest
import torch

from neuropyro.models.corruption import CorruptionError, Intensity
from neuropyro.models.corruption_intensity import BiasField


def test_brightness_is_field_times_power():
    x = torch.rand(2, 1, 4, 4, dtype=torch.float64) * 2 - 1
    field = torch.rand(4, 4, dtype=torch.float64) + 0.5
    expected = 2 * field * ((x + 1) / 2) ** 1.7 - 1
    torch.testing.assert_close(Intensity(field, 1.7).A(x), expected, atol=2e-5, rtol=0)  # the darkest are .001
    torch.testing.assert_close(Intensity(field.numpy()).A(x), field * (x + 1) - 1)
    assert torch.equal(Intensity().A(x), x)


def test_gradients_are_finite_where_it_is_black_and_below():
    x = torch.tensor([-3.0, -1.0, 0.0, 1.0]).reshape(1, 1, 2, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(Intensity(gamma=0.5).A(x).sum(), x)
    assert gradient.isfinite().all()
    assert gradient[0, 0, 1].tolist() == pytest.approx([0.5**0.5, 0.5])  # by hand: .5 m^-.5 at m = .5 and 1


def test_bias_field_is_smooth_positive_and_of_geometric_mean_one():
    field = BiasField(0.3, seed=1)(32, 64)
    assert field.shape == (32, 64)
    assert (field > 0).all()
    torch.testing.assert_close(field.log().mean(), torch.tensor(0.0, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(field.log().std(correction=0), torch.tensor(0.3, dtype=torch.float64))
    steps = field.log().diff(dim=1).abs().max() / 0.3
    assert steps < 0.3  # at most a few periods over 64 px
    assert not torch.equal(field, BiasField(0.3, seed=2)(32, 64))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 0.0}, "gamma must be above 0"),
        ({"bias": np.zeros((2, 2))}, "must be positive"),
        ({"bias": np.ones((2, 2, 2))}, r"must be \(H, W\)"),
    ],
)
def test_arguments_without_meaning(arguments, message):
    with pytest.raises(CorruptionError, match=message):
        Intensity(**arguments)


def test_sizes_must_agree_and_strength_be_positive():
    with pytest.raises(CorruptionError, match="2 x 2 px, the image 4 x 4"):
        Intensity(np.ones((2, 2))).A(torch.zeros(1, 1, 4, 4))
    with pytest.raises(CorruptionError, match="strength"):
        BiasField(-1.0)
