"""The factored Normal against torch's."""

import torch
from torch.distributions import LowRankMultivariateNormal

from neuropyro.guides.factor_normal import FactorNormal


def laws():
    generator = torch.Generator().manual_seed(0)
    loc, sd = torch.randn(5, generator=generator).double(), torch.rand(5, generator=generator).double() + 0.1
    factor = torch.randn(5, 2, generator=generator).double()
    return FactorNormal(loc, factor, sd), LowRankMultivariateNormal(loc, factor, sd.square())


def test_the_density_is_torchs():
    law, expected = laws()
    x = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(1)).double()
    torch.testing.assert_close(law.log_prob(x), expected.log_prob(x))
    torch.testing.assert_close(law.expand(torch.Size([4])).log_prob(x), expected.log_prob(x))
    torch.testing.assert_close(law.covariance_matrix, expected.covariance_matrix)


def test_draws_have_its_moments():
    """Of 20,000 draws each element of the covariance has a standard error of at most sqrt(2 / 20,000) of its sds."""
    law, expected = laws()
    draws = law.expand(torch.Size([2])).rsample(torch.Size([10_000])).reshape(-1, 5)
    sd = expected.variance.sqrt()
    assert ((draws.mean(0) - expected.mean).abs() < 4 * sd / 20_000**0.5).all()
    error = (draws.T.cov() - expected.covariance_matrix) / torch.outer(sd, sd)
    assert error.abs().max() < 5 * (2 / 20_000) ** 0.5
