import torch

from neuropyro.generators.augmentation import adapted_probability, augment


def images(count: int = 6) -> torch.Tensor:
    squares = torch.full((count, 1, 32, 32), -1.0)
    squares[:, :, 10:22, 12:20] = 0.5
    return squares


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_probability_zero_changes_nothing():
    torch.testing.assert_close(augment(images(), 0.0, rng()), images(), atol=1e-5, rtol=0)


def test_probability_one_changes_every_image_and_keeps_the_background():
    changed = augment(images(), 1.0, rng())
    assert ((changed - images()).abs().amax((1, 2, 3)) > 0.1).all()
    assert (changed[:, :, 0, 0] == -1).all()


def test_each_change_has_its_probability():
    changed = augment(images(400), 0.1, rng())
    share = ((changed - images(400)).abs().amax((1, 2, 3)) > 1e-3).float().mean().item()
    # Seven changes of probability .1: 1 - .9^7 = .52 of the images, give or take three standard errors.
    assert abs(share - (1 - 0.9**7)) < 0.08


def test_gradients_pass():
    x = images(2).double().requires_grad_()
    y = torch.randn(2, 1, 32, 32, generator=rng(), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((augment(x, 1.0, rng()) * y).sum(), x)
    # The map is affine in the image: its value at 2x - background equals that of the tangent.
    doubled = augment(2 * x.detach() + 1, 1.0, rng())
    expected = ((doubled - augment(x.detach(), 1.0, rng())) * y).sum()
    torch.testing.assert_close((gradient * (x.detach() + 1)).sum(), expected)


def test_adaptation_follows_the_sign():
    half = torch.tensor(0.5)
    up = adapted_probability(half, torch.tensor(0.9), 0.6, images=1000, ramp=10_000)
    down = adapted_probability(half, torch.tensor(0.1), 0.6, images=1000, ramp=10_000)
    torch.testing.assert_close(torch.stack([up, down]), torch.tensor([0.6, 0.4]))
    assert adapted_probability(torch.tensor(0.0), torch.tensor(-1.0), 0.6, 1000).item() == 0
    assert adapted_probability(torch.tensor(1.0), torch.tensor(1.0), 0.6, 1000).item() == 1
