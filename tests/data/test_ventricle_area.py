"""Ventricle area by intensity against phantoms whose labels are known."""

import numpy as np
import pytest
import torch

from neuropyro.data.phantoms import BrainPhantoms, PhantomRecipe
from neuropyro.data.ventricle_area import SHARE, TYPICAL_AREA, ventricle_area, ventricle_region


@pytest.fixture(scope="module")
def phantoms() -> BrainPhantoms:
    return BrainPhantoms(64, split="test", recipe=PhantomRecipe(noise=(0.0, 0.0)))


@pytest.mark.slow
def test_areas_are_those_of_the_labels(phantoms):
    """Of 60 phantoms from small to large: correlation, no bias on average, and slopes of one phantom's dilations."""
    measured, true = [], []
    for dilation in (0.6, 1.0, 1.6, 2.5, 4.0):
        slices = phantoms(range(60), dilation=dilation)
        measured.append(ventricle_area(slices.images).numpy())
        true.append(slices.area("ventricles").numpy())
    measured, true = np.stack(measured), np.stack(true)
    assert np.corrcoef(measured.ravel(), true.ravel())[0, 1] > 0.93
    assert abs(measured.mean() / true.mean() - 1) < 0.1
    slopes = (measured[-1] - measured[0]) / (true[-1] - true[0])
    assert abs(np.median(slopes) - 1) < 0.1
    assert (np.diff(measured, axis=0) > 0).mean() > 0.99


@pytest.mark.slow
def test_the_typical_area_is_the_templates(phantoms):
    assert abs(phantoms.ventricles.typical / TYPICAL_AREA - 1) < 0.01


def test_a_dark_disc_has_its_area_whatever_the_brightness():
    """White matter with fluid in a disc of 12 mm: its area over the share that is seen, at any brightness."""
    x = (torch.arange(64) * 176 / 63 - 88) ** 2
    disc = x[:, None].roll(-4, 0) + x < 12**2
    image = torch.where(disc, 0.26 / 0.875, 1.0)[None, None]
    expected = float(disc.sum()) * (176 / 63) ** 2 / SHARE
    for white in (0.9, 0.6):
        assert abs(float(ventricle_area(image * white * 2 - 1)) / expected - 1) < 1e-4


def test_leading_dimensions_and_empty_images():
    assert ventricle_area(torch.rand(2, 3, 1, 64, 64)).shape == (2, 3)
    assert float(ventricle_area(torch.full((1, 1, 64, 64), -1.0))) >= 0
    assert int(ventricle_region(64, 64).sum()) == 294
