"""Fits that are saved and read back."""

import json
import subprocess
import sys

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

import neuropyro
from neuropyro.data import simulate_reference
from neuropyro.inference import FitError, Schedule, fit, load_fit
from neuropyro.models import ScorePriors, SubjectProgression, VertexClusterMixture

SHORT = Schedule(max_steps=10, warm_up=0, window=5)
BARE = """
import sys, types
sys.modules["neuropyro"] = types.ModuleType("neuropyro")
sys.modules["neuropyro"].__path__ = {path!r}
import pyro, pyro.distributions as dist, torch
from neuropyro.inference import Schedule, fit
fit(lambda y: pyro.sample("y", dist.Normal(pyro.sample("mean", dist.Normal(0., 1.)), 1.), obs=y), torch.tensor(1.0),
    "map", schedule=Schedule(max_steps=2, warm_up=0, window=2), progress=False).save({folder!r})
"""
"""The package without what its ``__init__`` holds, as where Python starts in the folder that holds a clone."""


@pytest.fixture(scope="module")
def cohort():
    return simulate_reference(n_subjects=8, n_vertices=6, seed=2)


@pytest.mark.parametrize("guide", ["map", "normal"])
@pytest.mark.parametrize(
    "model", [VertexClusterMixture(2, score_priors=ScorePriors(correlation=3.0)), SubjectProgression()]
)
def test_a_saved_fit_gives_the_same_draws(tmp_path, cohort, model, guide):
    result = fit(model, cohort, guide=guide, seed=4, restarts=2, schedule=SHORT, progress=False)
    result.save(tmp_path)
    loaded = load_fit(tmp_path, data=cohort)
    assert loaded.model == model
    assert loaded.verdict == result.verdict
    np.testing.assert_array_equal(loaded.losses, result.losses)
    for run in range(2):
        expected, got = result.posterior(5, run), loaded.posterior(5, run)
        assert expected.keys() == got.keys()
        for site in expected:
            np.testing.assert_array_equal(got[site], expected[site])


@pytest.fixture(scope="module")
def result(cohort):
    return fit(VertexClusterMixture(2), cohort, guide="map", schedule=SHORT, progress=False)


def test_other_data_are_refused(tmp_path, cohort, result):
    result.save(tmp_path)
    with pytest.raises(FitError, match="other data"):
        load_fit(tmp_path, data=cohort.subset(visits=np.arange(10)))


def test_a_path_is_not_the_data(tmp_path, cohort, result):
    result.save(tmp_path / "fit")
    cohort.save(tmp_path / "cohort.npz")
    for path in (tmp_path / "cohort.npz", str(tmp_path / "cohort.npz")):
        with pytest.raises(FitError, match=r"cohort.npz: a path, not the data; read .* as Cohort\.open\('"):
            load_fit(tmp_path / "fit", path)


def test_a_model_of_ones_own_is_given_again(tmp_path):
    def model(y):
        pyro.sample("y", dist.Normal(pyro.sample("x", dist.Normal(0.0, 1.0)), 1.0), obs=y)

    y = torch.tensor(1.0)
    fit(model, y, guide="map", schedule=SHORT, progress=False).save(tmp_path)
    with pytest.raises(FitError, match="model="):
        load_fit(tmp_path, data=y)
    assert load_fit(tmp_path, data=y, model=model).posterior(1)["x"].shape == (1,)


def test_a_fit_of_a_model_that_had_other_sites_is_refused(tmp_path, cohort, result):
    """As one is that an earlier version made."""
    result.save(tmp_path)
    with pytest.raises(FitError, match=r"other sites than this model's; it was saved by another version"):
        load_fit(tmp_path, cohort, model=VertexClusterMixture(2, visit_effect=True))


def test_damaged_folders(tmp_path, cohort, result):
    with pytest.raises(FitError, match="no such folder"):
        load_fit(tmp_path / "nowhere", cohort)
    with pytest.raises(FitError, match=r"no fit\.json"):
        load_fit(tmp_path, data=cohort)
    result.save(tmp_path)
    (tmp_path / "guides.safetensors").write_bytes(b"broken")
    with pytest.raises(FitError, match="damaged"):
        load_fit(tmp_path, data=cohort)


def test_a_name_outside_the_zoo_is_never_looked_up(tmp_path, cohort, result):
    result.save(tmp_path)
    settings = json.loads((tmp_path / "fit.json").read_text())
    settings["model"]["name"] = "os"
    (tmp_path / "fit.json").write_text(json.dumps(settings))
    with pytest.raises(FitError, match="none of"):
        load_fit(tmp_path, data=cohort)


def test_a_fit_is_saved_where_the_package_is_a_bare_folder(tmp_path):
    code = BARE.format(path=[str(path) for path in neuropyro.__path__], folder=str(tmp_path / "fit"))
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    kept = json.loads((tmp_path / "fit/fit.json").read_text())
    assert kept["versions"]["neuropyro"] == neuropyro.__version__
