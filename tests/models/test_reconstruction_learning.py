"""S learned from clean images whose residuals are known."""

import math

import torch

from neuropyro.models import LatentReconstruction
from neuropyro.models.corruption import Downsample
from neuropyro.models.reconstruction_learning import learn_residual, residuals_of

QUICK = {"candidates": 20, "starts": 1, "search_steps": 60}


def dense(spread):
    units = torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)
    return spread.multiply(units).reshape(64, 64)


def test_residuals_are_what_no_latent_makes(linear_generator, residual):
    generator = linear_generator()
    model = LatentReconstruction(generator, Downsample(2, noise=0.1), residual=residual, **QUICK)
    clean = model.simulate(40, seed=1)["clean"]
    found = residuals_of(model, clean)
    left = (clean - found).flatten(1).double()  # of the form constant + w times maps
    maps = torch.cat([generator.constant[None], *generator.maps]).detach().double()
    fitted = left @ torch.linalg.pinv(maps) @ maps
    torch.testing.assert_close(fitted, left, atol=1e-4, rtol=0)
    drawn = math.exp(2 * 0.35) * dense(residual).trace() / 64  # tau^2 S, of which latents take a part
    assert 0.5 * drawn < found.square().mean() < 1.5 * drawn  # latents take a part; the search ends early
    assert model.residual is residual


def test_the_covariance_is_found_again(linear_generator, residual):
    generator = linear_generator()
    model = LatentReconstruction(
        generator, Downsample(2, noise=0.1), residual=residual, residual_prior=(0.0, 1e-3), **QUICK
    )
    clean = model.simulate(500, seed=1)["clean"]
    maps = torch.cat(list(generator.maps)).detach().double()
    outside = torch.eye(64, dtype=torch.float64) - torch.linalg.pinv(maps) @ maps  # what latents cannot explain
    learned, truth = (outside @ dense(s) @ outside for s in (learn_residual(model, clean), residual))
    assert (learned - truth).norm() < 0.35 * truth.norm()
    assert abs(float(learned.trace() / truth.trace()) - 1) < 0.1
