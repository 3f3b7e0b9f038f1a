"""What holds for every test: Pyro's own checks, a seed, no parameters left over, and one thread a process.

Tensors are small and test processes run side by side, so that more threads would only wait for each other.
"""

from collections.abc import Iterator

import pyro
import pytest
import torch


@pytest.fixture(autouse=True)
def checked_seeded_and_on_one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    with pyro.validation_enabled(True):
        yield
