"""ArviZ's container, its names, and its files."""

import arviz
import numpy as np
import pytest

from neuropyro.data import simulate_reference
from neuropyro.inference import Schedule, fit, save_netcdf
from neuropyro.models import VertexClusterMixture


@pytest.fixture(scope="module")
def result():
    cohort = simulate_reference(n_subjects=12, n_vertices=20, seed=2)
    schedule = Schedule(max_steps=60, warm_up=20)
    return fit(VertexClusterMixture(2), cohort, guide="normal", restarts=2, schedule=schedule, progress=False)


def test_groups_and_dimensions(result):
    tree = result.to_arviz(draws=7)
    posterior = tree["posterior"]
    assert posterior["c"].dims == ("chain", "draw", "cluster")
    assert posterior["dps"].shape == (2, 7, 48)
    assert posterior["dps"].dims[2] == "visit"
    assert tree["sample_stats"]["loss"].shape == (2, 60)
    assert tree["log_likelihood"]["V"].dims == ("chain", "draw", "vertex")


def test_the_summary_is_of_the_same_draws(result):
    table = arviz.summary(result.to_arviz(draws=50), var_names=["c"], round_to="none")
    expected = np.stack([result.posterior(50, run)["c"] for run in range(2)]).mean((0, 1))
    np.testing.assert_allclose(np.asarray(table["mean"], float), expected, rtol=1e-5)


def test_netcdf_round_trip(result, tmp_path):
    tree = result.to_arviz(draws=5)
    save_netcdf(tree, tmp_path / "posterior.nc")
    again = arviz.from_netcdf(str(tmp_path / "posterior.nc"))
    np.testing.assert_array_equal(again["posterior"]["a"].values, tree["posterior"]["a"].values)
    np.testing.assert_array_equal(again["sample_stats"]["loss"].values, tree["sample_stats"]["loss"].values)
