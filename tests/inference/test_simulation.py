"""Programs run forward: against moments in closed form, and back into their data."""

from dataclasses import replace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from neuropyro.data import Cohort, simulate_reference
from neuropyro.inference import Schedule, fit, observe, predictive, prior_draws, simulate_prior
from neuropyro.inference.simulation import run_given
from neuropyro.models import SubjectProgression, VertexClusterMixture

SHORT = Schedule(max_steps=20, warm_up=10)


def regression(data):
    """Covariates and response in a tuple; a factor that is no observation; a deterministic site in a plate."""
    x, y = data
    slope = pyro.sample("slope", dist.Normal(0.0, 2.0))
    pyro.factor("soft", -0.0 * slope)
    with pyro.plate("row", len(x)):
        line = pyro.deterministic("line", slope * x)
        pyro.sample("y", dist.Normal(line, 0.1), obs=y)


X = torch.linspace(-1, 1, 50)


def test_a_data_set_follows_from_its_truth():
    simulated = simulate_prior(regression, (X, torch.zeros(50)), seed=3)
    x, y = simulated.data
    assert x is X or torch.equal(x, X)
    assert set(simulated.truth) == {"slope", "line"}
    np.testing.assert_allclose(simulated.truth["line"], simulated.truth["slope"] * X.numpy(), rtol=1e-6)
    assert float((y - torch.as_tensor(simulated.truth["line"])).std()) == pytest.approx(0.1, rel=0.4)
    assert simulated.sampled == ("slope",)


def test_seeds_decide():
    one, same, other = (simulate_prior(regression, (X, X), seed=seed).data[1] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_the_prior_predictive_has_the_moments_of_the_model():
    prior, observed = prior_draws(regression, (X, X), 3000, seed=0)
    assert prior["slope"].std() == pytest.approx(2.0, rel=0.05)  # standard error 1.3 %
    np.testing.assert_allclose(observed["y"].std(0), np.sqrt(4 * X.numpy() ** 2 + 0.01), rtol=0.08)


def test_a_value_that_is_not_in_the_data_needs_observe():
    def transformed(y):
        pyro.sample("y", dist.Normal(pyro.sample("m", dist.Normal(0.0, 1.0)), 1.0), obs=y + 1)

    with pytest.raises(ValueError, match="observe"):
        simulate_prior(transformed, torch.tensor(0.0))


def test_observe_keeps_containers():
    data = {"x": X, "more": [X.clone(), 3]}

    def model(data):
        pyro.sample("y", dist.Normal(torch.zeros(50), 1.0).to_event(1), obs=data["more"][0])

    new = observe(model, data, {"y": torch.ones(50)})
    assert new["more"][0].tolist() == [1.0] * 50
    assert new["more"][1] == 3
    assert new["x"] is X


def cohort_with_gaps():
    cohort = simulate_reference(n_subjects=10, n_vertices=6, seed=1)
    values = cohort.values.copy()
    values[3, 2] = values[7, 0] = np.nan
    return Cohort(values, cohort.time, cohort.subject, diagnosis=cohort.diagnosis)


@pytest.mark.parametrize("model", [VertexClusterMixture(2), SubjectProgression()], ids=lambda m: type(m).__name__)
def test_visits_are_simulated_on_a_cohorts_design(model):
    cohort = cohort_with_gaps()
    prepared = model.prepare(cohort)
    simulated = simulate_prior(model, cohort, seed=4)
    assert torch.equal(simulated.data.subject, prepared.subject)
    assert torch.equal(simulated.data.observed, prepared.observed)
    values = model.observed_values(simulated.data)["V"]
    assert np.isnan(values[2, 3])
    assert np.isnan(values[0, 7])
    assert np.isnan(values).sum() == 2
    np.testing.assert_allclose(simulated.data.sum_squares, np.nansum(values.astype(float) ** 2, 1), rtol=1e-5)
    truth = simulated.identified(model)
    reference = prepared.reference.numpy()
    assert truth["dps"][reference].mean() == pytest.approx(0, abs=1e-5)
    assert truth["dps"][reference].std() == pytest.approx(1, abs=1e-5)
    if "pi" in truth:
        assert (np.diff(truth["c"]) >= 0).all()
    result = fit(model, simulated.data, guide="map", schedule=SHORT, progress=False)
    assert result.data.values.shape == (6, 40)


class Drawn:
    """Posterior draws about given values."""

    def __init__(self, values):
        self.values = values

    def unidentified(self, draws):
        rng = np.random.default_rng(0)
        return {site: x + 1e-3 * rng.standard_normal((draws, *x.shape)) for site, x in self.values.items()}


def test_a_truth_has_the_labels_of_the_draws_about_it():
    """Onsets of two clusters are so near to each other that the draws' are the other way round."""
    model = VertexClusterMixture(2)
    simulated = simulate_prior(model, cohort_with_gaps(), seed=4)
    truth = {site: np.asarray(simulated.truth[site], float) for site in simulated.sampled}
    truth |= {"c": np.array([0.5, 0.52]), "a": np.array([-1.0, 2.0]), "b": np.array([1.0, 1.0])}
    found = Drawn(truth | {"c": np.array([0.53, 0.51])})
    one, draws = replace(simulated, truth=truth).beside(model, found, 50)
    for site in ("a", "b", "pi", "sigma"):
        np.testing.assert_allclose(draws[site].mean(0), one[site], atol=0.02)
    assert one["c"][0] > one["c"][1]  # by itself the truth is in the order of its own onsets
    assert (np.diff(replace(simulated, truth=truth).identified(model)["c"]) > 0).all()


def test_wrong_shapes_are_said():
    model = SubjectProgression()
    prepared = model.prepare(cohort_with_gaps())
    with pytest.raises(ValueError, match="vertices, visits"):
        observe(model, prepared, {"V": torch.zeros(2, 2)})


def test_predictive_draws_have_the_posteriors_moments():
    y = 0.7 * X + 0.1 * torch.randn(50, generator=torch.Generator().manual_seed(0))
    result = fit(regression, (X, y), guide="laplace", progress=False)
    drawn = result.predictive(2000)
    slope_variance = 1 / (1 / 4 + float((X * X).sum()) / 0.01)
    np.testing.assert_allclose(drawn["y"].std(0), np.sqrt(0.01 + X.numpy() ** 2 * slope_variance), rtol=0.08)
    np.testing.assert_allclose(drawn["line"], result.posterior(2000)["slope"][:, None] * X.numpy(), atol=1e-5)


@pytest.mark.parametrize("model", [VertexClusterMixture(2), SubjectProgression()], ids=lambda m: type(m).__name__)
def test_draws_in_the_gauge_describe_the_same_scores_and_curves(model):
    brief = Schedule(max_steps=2, warm_up=0, window=2)  # it holds wherever the guide is
    result = fit(model, cohort_with_gaps(), guide="normal", schedule=brief, progress=False)
    posterior = result.posterior(4)
    for s, run in enumerate(run_given(result, 4)):
        np.testing.assert_allclose(run["dps"]["value"].numpy(), posterior["dps"][s], rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(run["u"]["value"].numpy(), posterior["u"][s], rtol=1e-3, atol=1e-3)
    assert predictive(result, 3)["V"].shape == (3, 6, 40)
