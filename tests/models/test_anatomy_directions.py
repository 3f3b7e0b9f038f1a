"""Directions of ventricles and atrophy: a closed form, and what phantoms show of the same covariates."""

import math
from types import SimpleNamespace

import numpy as np
import torch
from scipy.stats import norm
from torch import nn

from neuropyro.data.phantom_recipe import COVARIATES
from neuropyro.data.phantoms import BrainPhantoms, PhantomRecipe
from neuropyro.generators import load_generator
from neuropyro.models.anatomy_directions import STANDARD, coded_direction, image_directions, standard_latents


class LinearMapping(nn.Module):
    """From the direction of z to w, as StyleGAN2 normalises z."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)))

    def forward(self, z):
        return (z / z.norm(dim=1, keepdim=True) * math.sqrt(40) @ self.mix)[:, None].expand(-1, 2, -1)


def test_a_coded_direction_is_the_regression_on_the_covariate():
    """Of n normal and c = low + (high - low) Phi(n): Cov(n, c) / Var(c) = 12 / (2 sqrt(pi) (high - low))."""
    mapping, place = LinearMapping(), COVARIATES.index("atrophy")
    axes = torch.zeros(60, 40)
    axes[place, 7] = 1.0
    card = SimpleNamespace(arrays={"codes.axes": axes}, details={"recipe": {"atrophy": [-0.1, 0.3]}})
    found = coded_direction(SimpleNamespace(card=card, mapping=mapping, z_dim=40), "atrophy")
    exact = mapping.mix[7].detach() * 12 / (2 * math.sqrt(math.pi) * 0.4)
    others = float(mapping.mix.detach().norm(dim=0).max()) * 12**0.5 / 0.4 / 100  # a standard error, of 10,000 draws
    np.testing.assert_allclose(found, exact, atol=4 * others)


def test_directions_in_a_card_are_freed_of_each_other():
    effects = torch.tensor([[0.9, 0.2], [-0.5, 0.8]])
    alone = torch.tensor([[1.0, 2.0, 0.0], [0.0, -1.0, 3.0]])
    arrays = {"directions.vectors": effects @ alone, "directions.effects": effects}
    card = SimpleNamespace(arrays=arrays, details={"directions": {"dilation": {}, "atrophy": {}}})
    for found, expected in zip(image_directions(SimpleNamespace(card=card)), alone, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_slices_lose_their_cortex_as_phantoms_do():
    """Mean change of 40 slices: of phantoms, by their recipe; of the bundled generator's, along the direction."""
    generator = load_generator("brains64").freeze()
    phantoms = BrainPhantoms(64, split="test", recipe=PhantomRecipe(noise=(0.0, 0.0)))
    whole, thinned = (phantoms(range(40), dilation=1.0, atrophy=lost).images for lost in (0.0, 0.15))
    with torch.no_grad():
        w = generator.mapping(torch.randn(40, generator.z_dim, generator=torch.Generator().manual_seed(1)))
        moved = w + 0.15 * image_directions(generator)[1]
        made = generator.synthesis(moved, noise_mode="none") - generator.synthesis(w, noise_mode="none")
    made, known = made.mean(0).flatten(), (thinned - whole).mean(0).flatten()
    assert float(torch.cosine_similarity(made, known, dim=0)) > 0.9
    assert abs(float(made @ known / known.square().sum()) - 1) < 0.2


def test_standard_latents_say_typical_ventricles_and_a_whole_cortex_and_nothing_else():
    generator = load_generator("brains64")
    z = torch.randn(5, generator.z_dim, generator=torch.Generator().manual_seed(2))
    moved = standard_latents(generator, z)
    seen = moved * generator.z_dim**0.5 / moved.norm(dim=1, keepdim=True)  # as the mapping sees it
    places = [int(generator.card.arrays["codes.axes"][COVARIATES.index(n)].abs().argmax()) for n in STANDARD]
    shares = [norm.cdf(seen[:, place].double()) for place in places]
    low, high = generator.card.details["recipe"]["dilation"]
    np.testing.assert_allclose(low * (high / low) ** shares[0], 1.0, rtol=1e-4)
    low, high = generator.card.details["recipe"]["atrophy"]
    np.testing.assert_allclose(low + (high - low) * shares[1], 0.0, atol=1e-5)
    others = [i for i in range(generator.z_dim) if i not in places]
    assert torch.equal(moved[:, others], z[:, others])
