"""ArviZ's container, its names, and its files."""

import arviz
import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from neuropyro.data import Cohort, simulate_reference
from neuropyro.inference import Schedule, fit, sample, save_netcdf, to_arviz
from neuropyro.inference.arviz_versions import group_names, read_netcdf
from neuropyro.models import SubjectProgression, VertexClusterMixture

GROUPS = {
    "posterior",
    "sample_stats",
    "log_likelihood",
    "prior",
    "prior_predictive",
    "posterior_predictive",
    "observed_data",
    "constant_data",
}
SHORT = Schedule(max_steps=30, warm_up=0)


def cohort_with_gaps():
    cohort = simulate_reference(n_subjects=8, n_vertices=20, seed=2)
    values = cohort.values.copy()
    values[3, 2] = np.nan
    names = [f"region {i}" for i in range(20)]
    subjects = np.char.add("sub-", cohort.subject.astype(str))
    return Cohort(values, cohort.time, subjects, diagnosis=cohort.diagnosis, feature_names=names)


@pytest.fixture(scope="module")
def result():
    return fit(VertexClusterMixture(2), cohort_with_gaps(), "normal", restarts=2, schedule=SHORT, progress=False)


@pytest.fixture(scope="module")
def tree(result):
    return result.to_arviz(draws=30)


def regression(data):
    """Written by nobody but the test: plates, no other method."""
    x, y = data
    slope = pyro.sample("slope", dist.Normal(0.0, 2.0))
    with pyro.plate("row", len(x)):
        pyro.sample("y", dist.Normal(slope * x, 0.5), obs=y)


X = torch.linspace(-1, 1, 12)
Y = 0.7 * X + 0.1


def test_groups_dimensions_and_coordinates(tree):
    assert set(group_names(tree)) == GROUPS
    posterior = tree["posterior"]
    assert posterior["c"].dims == ("chain", "draw", "cluster")
    assert posterior["c"].coords["cluster"].values.tolist() == [1, 2]
    assert posterior["dps"].shape == (2, 30, 32)
    assert posterior["dps"].dims[2] == "visit"
    assert posterior["alpha"].coords["subject"].values[1] == "sub-1"
    assert tree["sample_stats"]["loss"].shape == (2, 30)
    terms = tree["log_likelihood"]["V"]
    assert terms.dims == ("chain", "draw", "vertex")
    assert terms.coords["vertex"].values[2] == "region 2"
    assert tree["posterior_predictive"]["V"].dims == ("chain", "draw", "vertex", "visit")
    assert tree["constant_data"]["subject_index"].dims == ("visit",)


def test_missing_values_are_nan(tree):
    assert np.isnan(tree["observed_data"]["V"].values[2, 3])
    assert np.isnan(tree["observed_data"]["V"].values).sum() == 1


def test_each_chain_has_its_own_log_likelihood(result, tree):
    expected = VertexClusterMixture(2).log_likelihood(result, 30)
    np.testing.assert_array_equal(tree["log_likelihood"]["V"].values[0], expected)
    assert not np.array_equal(tree["log_likelihood"]["V"].values[1], expected)


def test_prior_draws_are_in_the_gauge_of_the_posterior(tree):
    reference = cohort_with_gaps().is_reference
    scores = tree["prior"]["dps"].values[0][:, reference]
    np.testing.assert_allclose(scores.mean(1), 0, atol=1e-4)


def test_the_summary_is_of_the_same_draws(result):
    table = arviz.summary(result.to_arviz(draws=50, predictive_draws=0), var_names=["c"], round_to="none")
    expected = np.stack([result.posterior(50, run)["c"] for run in range(2)]).mean((0, 1))
    np.testing.assert_allclose(np.asarray(table["mean"], float), expected, rtol=1e-5)


def test_netcdf_round_trip(tree, tmp_path):
    save_netcdf(tree, tmp_path / "posterior.nc")
    again = read_netcdf(tmp_path / "posterior.nc")
    assert set(group_names(again)) == GROUPS
    for group in GROUPS:
        for name, values in tree[group].data_vars.items():
            np.testing.assert_array_equal(again[group][name].values, values.values)
            for dim in values.dims:
                np.testing.assert_array_equal(again[group][name].coords[dim].values, values.coords[dim].values)


def test_biomarkers():
    result = fit(SubjectProgression(), cohort_with_gaps(), "map", schedule=SHORT, progress=False)
    tree = result.to_arviz(draws=12)
    assert tree["posterior"]["a"].dims == ("chain", "draw", "biomarker")
    assert tree["posterior"]["a"].coords["biomarker"].values[0] == "region 0"
    assert tree["log_likelihood"]["V"].shape == (1, 12, 20)


def test_a_plain_model_has_its_plates_names_and_its_own_density():
    result = fit(regression, (X, Y), "laplace", progress=False)
    tree = result.to_arviz(draws=400)
    terms = tree["log_likelihood"]["y"]
    assert terms.dims == ("chain", "draw", "row")
    slope = result.posterior(400)["slope"][:, None]
    expected = torch.distributions.Normal(torch.as_tensor(slope) * X, 0.5).log_prob(Y)
    np.testing.assert_allclose(terms.values[0], expected.numpy(), rtol=1e-4)


def test_draws_of_nuts_keep_what_is_known_of_them():
    result = sample(regression, (X, Y), draws=20, warm_up=20, chains=2, progress=False)
    tree = to_arviz(result, draws=500)
    assert tree["posterior"]["slope"].shape == (2, 20)
    assert tree["sample_stats"]["diverging"].shape == (2, 20)
    np.testing.assert_array_equal(tree["sample_stats"]["lp"].values[1], -result.runs[1].losses)


def test_large_data_are_not_simulated(result, monkeypatch):
    monkeypatch.setattr("neuropyro.inference.export.MOST_NUMBERS", 2000)
    assert "posterior_predictive" not in group_names(result.to_arviz(draws=20))
