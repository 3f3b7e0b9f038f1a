import dataclasses

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from neuropyro.data.phantom_draws import FACTORS, covariates_of, draw_factors, name_factors
from neuropyro.data.phantom_recipe import COVARIATES, LOGARITHMIC, POSITIONS, PhantomRecipe

RANGES = dataclasses.asdict(PhantomRecipe(position=POSITIONS["coronal"]))


@pytest.mark.parametrize("name", COVARIATES)
def test_covariates_are_uniform_over_their_ranges(name):
    draws = draw_factors(0, "test", range(800), resolution=1)["covariates"]
    values = covariates_of(draws, RANGES)[name].double()
    low, high = RANGES[name]
    scaled = (values - low) / (high - low) if name not in LOGARITHMIC else (values / low).log() / np.log(high / low)
    assert kstest(scaled.numpy(), "uniform").pvalue > 1e-3


def test_each_slice_has_a_stream_of_its_own_whatever_the_resolution():
    three, one = draw_factors(5, "train", [4, 9, 2], 16), draw_factors(5, "train", [9], 16)
    assert all(torch.equal(one[name][0], three[name][1]) for name in three)
    fine = draw_factors(5, "train", [9], 32)
    assert all(torch.equal(fine[name], one[name]) for name in FACTORS)
    others = [draw_factors(6, "train", [9], 16), draw_factors(5, "test", [9], 16), draw_factors(5, "train", [8], 16)]
    assert all(not torch.equal(other[name], one[name]) for other in others for name in FACTORS)


def test_names_cut_factors_in_their_order():
    count = sum(int(np.prod(shape)) for shape in FACTORS.values())
    named = name_factors(torch.arange(2.0 * count).view(2, count))
    joined = torch.cat([part.flatten(1) for part in named.values()], dim=1)
    assert torch.equal(joined, torch.arange(2.0 * count).view(2, count))
    assert {name: tuple(part.shape[1:]) for name, part in named.items()} == FACTORS


def test_given_values_take_the_place_of_their_own_alone():
    normals = torch.randn(4, len(COVARIATES), generator=torch.Generator().manual_seed(0))
    own, changed = covariates_of(normals, RANGES), covariates_of(normals, RANGES, {"dilation": 2.0})
    assert changed["dilation"].tolist() == [2.0] * 4
    assert all(torch.equal(changed[name], own[name]) for name in COVARIATES if name != "dilation")
