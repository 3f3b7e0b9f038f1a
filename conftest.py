"""What holds for every test: Pyro's own checks, a seed, no parameters left over, and one thread a process.

Tensors are small and test processes run side by side, so that more threads would only wait for each other.  With
``--device cuda`` the tests of models, guides and runners run there.
"""

import tempfile
from collections.abc import Iterator
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="where models, guides and runners are tested: cpu or cuda")


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.config.getoption("--device"))


@pytest.fixture(autouse=True)
def example_of_docstrings(doctest_namespace: dict[str, Any]) -> None:
    """Let the docstrings of `neuropyro.inference` go on with the model of `neuropyro.inference`."""

    def model(y: torch.Tensor) -> None:
        mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
        with pyro.plate("visit", len(y)):
            pyro.sample("y", dist.Normal(mean, 1.0), obs=y)

    doctest_namespace.update(model=model, torch=torch, pyro=pyro, dist=dist)


@pytest.fixture(scope="session", autouse=True)
def temporary_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let pytest clear away the temporary files of the docstrings' examples."""
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path_factory.mktemp("temporary"))
    yield
    tempfile.tempdir = before


@pytest.fixture(autouse=True)
def checked_seeded_and_on_one_thread() -> Iterator[None]:
    torch.set_num_threads(1)
    pyro.set_rng_seed(0)
    pyro.clear_param_store()
    with pyro.validation_enabled(True):
        yield
