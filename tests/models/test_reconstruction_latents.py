"""The law of w, and in which units it is moved."""

import torch
from torch.distributions import biject_to

from neuropyro.models.reconstruction_latents import LatentNormal, layer_correlation


def law() -> tuple[LatentNormal, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, generator=rng)
    mean, covariance = torch.randn(4, generator=rng), root @ root.T + torch.eye(4)
    return LatentNormal.of(mean, covariance, layer_correlation(3, 0.6, mean)), mean, covariance


def test_in_other_steps_it_is_the_same_law():
    own, mean, _ = law()
    sd = torch.tensor([0.1, 2.0, 30.0, 0.5])
    moved = own.in_steps_of(sd)
    w = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1))
    assert torch.equal(moved.log_prob(w), own.log_prob(w))
    assert torch.equal(moved.expand([5]).log_prob(w), own.expand([5]).log_prob(w))
    torch.testing.assert_close(biject_to(moved.expand([5]).support)(w), mean + sd * w)
    torch.testing.assert_close(biject_to(own.support)(torch.zeros(3, 4)), mean.expand(3, 4))


def test_the_density_is_that_of_a_normal_of_all_numbers():
    own, mean, covariance = law()
    shrunk = 0.99 * covariance + 0.01 * covariance.diagonal().diag()
    whole = torch.kron(layer_correlation(3, 0.6, mean), shrunk)
    w = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(2))
    dense = torch.distributions.MultivariateNormal(mean.repeat(3), whole)
    torch.testing.assert_close(own.log_prob(w), dense.log_prob(w.flatten(1)), rtol=1e-4, atol=1e-4)
