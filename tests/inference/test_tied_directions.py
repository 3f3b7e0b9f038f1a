"""Ties between elements: what couples several is found, what one number alone does is left to the guide."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from neuropyro.guides import Start, find_latents, make_flat_guide
from neuropyro.inference.tied_directions import tied_directions


def people(count: int):
    def growth(y):
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("subject", count):
            pyro.sample("speed", dist.Normal(mean, 1.0))

    latents = find_latents(growth, torch.zeros(count), {})
    return make_flat_guide("structured", Start(latents, latents.start))


def test_a_sum_that_is_free_is_a_tie():
    """Of four standard normals the curvature along their mean is 1 - .75, so that the sd is twice theirs."""
    ones = torch.full((4,), 0.5)
    directions, wider = tied_directions(
        people(4), lambda e: -0.5 * (e.square().sum(-1) - 0.75 * (e[:, 1:] @ ones).square()), n=1, draws=1
    )
    assert wider.item() == pytest.approx(2.0, abs=1e-3)
    assert abs(float(directions[1:, 0] @ ones)) == pytest.approx(1.0, abs=1e-3)


def test_a_number_that_is_free_by_itself_is_none():
    """Its curvature is .01: ten times as wide it would be, on top of the tail that the guide has learned for it."""
    lone, pair = torch.tensor([1.0, 0, 0, 0]), torch.tensor([0.0, 1, 1, 0]) / math.sqrt(2)

    def density(e):
        return -0.5 * (e.square().sum(-1) - 0.99 * (e[:, 1:] @ lone).square() - 0.5 * (e[:, 1:] @ pair).square())

    directions, wider = tied_directions(people(4), density, n=1, draws=1)
    assert abs(float(directions[1:, 0] @ pair)) == pytest.approx(1.0, abs=1e-3)
    assert wider.item() == pytest.approx(math.sqrt(2), abs=1e-3)
