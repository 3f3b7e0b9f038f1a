"""Every test of a model runs under Pyro's own checks, with a seed and without parameters left from another test."""

from collections.abc import Iterator

import pyro
import pytest


@pytest.fixture(autouse=True)
def checked_and_seeded() -> Iterator[None]:
    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    with pyro.validation_enabled(True):
        yield
