"""Starts: the candidate that made the measurements is found, and searching never ends below where it began."""

import numpy as np
import pytest
import torch
from torch import nn

from neuropyro.models import LatentReconstruction
from neuropyro.models.corruption import Downsample, Identity, Mask, Undersample
from neuropyro.models.corruption_kspace_patterns import Lines
from neuropyro.models.corruption_operator import flat_reals
from neuropyro.models.reconstruction_start import WIDE, closeness

MASKS = np.random.default_rng(0).random((3, 1, 8, 8)) > 0.4
CORRUPTIONS = {
    "downsampled": Downsample(2, noise=0.1),
    "a mask for each image": Mask(MASKS, noise=0.1),
    "k-space": Undersample(Lines(2.0, 0.2), noise=0.1),
}
WHICH = torch.tensor([4, 11, 7])


@pytest.fixture(params=CORRUPTIONS, ids=str)
def corruption(request):
    return CORRUPTIONS[request.param]


@pytest.mark.parametrize("prior", ["wplus", "w", "z"])
def test_the_candidate_that_made_the_measurements_is_taken(linear_generator, residual, corruption, prior):
    settings = {"candidates": 20, "starts": 1, "search_steps": 0, "residual": residual}
    model = LatentReconstruction(linear_generator(), corruption, prior, **settings)
    found = model.prepare_source(torch.device("cpu"), torch.float32).candidates(20, seed=5)
    start = model.init_values(corruption.A(found.images[WHICH]), seed=5)
    torch.testing.assert_close(start[prior[0]], found.latents[WHICH])
    torch.testing.assert_close(start["residual_scale"], torch.full((3,), float(np.exp(0.35))))


def test_closeness_is_the_likelihood_up_to_a_constant(linear_generator, residual, corruption):
    model = LatentReconstruction(linear_generator(), corruption, candidates=6, residual=residual)
    measured = model.prepare(model.simulate(3, 1)["y"])
    found = measured.source.candidates(6, 0)
    tau = torch.full((3,), WIDE * float(np.exp(0.35)))
    expected = []
    for image in found.images:
        y = corruption.A(image.expand(3, -1, -1, -1))
        v = measured.values.flatten(1) - flat_reals(y, y.ndim - 1)
        expected.append(measured.spread.log_density(v, torch.full((3,), 0.1), tau))
    gap = torch.stack(expected) - closeness(model, measured, found)
    torch.testing.assert_close(gap, gap[:1].expand_as(gap), rtol=1e-3, atol=1e-3)


def test_the_search_ascends_the_posterior_and_each_image_keeps_its_best(linear_generator, residual):
    def started(**settings):
        return LatentReconstruction(linear_generator(), Downsample(2), residual=residual, candidates=12, **settings)

    plain = started(starts=1, search_steps=0)
    measured = plain.prepare(plain.simulate(4, 3)["y"])
    densities = []
    for model in (plain, started(starts=1, search_steps=40), started(starts=4, search_steps=40)):
        densities.append(model.log_joint(model.init_values(measured), measured))
    assert (densities[1] > densities[0]).all()
    assert (densities[2] >= densities[1] - 1e-3).all()


class Conditional(nn.Module):
    """A generator of 4 x 4 px whose mapping adds its label, and which tells the noise mode in a corner."""

    z_dim = w_dim = 2
    num_ws, img_resolution, img_channels, label_dim = 2, 4, 1, 2

    def __init__(self):
        super().__init__()
        self.mapping = Labelled()

    def synthesis(self, w, noise_mode="const"):
        image = w.mean(1).repeat(1, 8).reshape(-1, 1, 4, 4)
        corner = torch.zeros(4, 4)
        corner[0, 0] = {"none": 0.0, "const": 9.0}[noise_mode]
        return image + corner.to(w)


class Labelled(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, z, labels=None):
        return (z * self.scale + 10 * labels).unsqueeze(1).expand(-1, 2, -1)


@pytest.mark.parametrize("prior", ["w", "z"])
def test_labels_reach_the_mapping(prior):
    labels = torch.tensor([[0.0, 1.0]])
    model = LatentReconstruction(Conditional(), Identity(0.1), prior, labels=labels, candidates=5, residual=None)
    drawn = model.simulate(400, 0)["clean"].reshape(400, 8, 2).mean((0, 1))
    torch.testing.assert_close(drawn, torch.tensor([0.0, 10.0]), atol=0.3, rtol=0)
    start = model.init_values(torch.zeros(1, 1, 4, 4))
    assert torch.isfinite(start[prior]).all()


def test_noise_inputs_are_off_or_fixed():
    labels = torch.zeros(1, 2)
    for mode, corner in (("none", 0.0), ("const", 9.0)):
        model = LatentReconstruction(Conditional(), Identity(0.1), "z", labels=labels, noise_mode=mode)
        source = model.prepare_source(torch.device("cpu"), torch.float32)
        assert float(source.images(torch.zeros(1, 2, 2))[0, 0, 0, 0]) == corner


def test_candidates_are_drawn_once(linear_generator):
    source = LatentReconstruction(linear_generator(), Identity()).prepare_source(torch.device("cpu"), torch.float32)
    assert source.candidates(5, 0) is source.candidates(5, 0)
    assert not torch.equal(source.candidates(5, 0).latents, source.candidates(5, 1).latents)
