"""Calibration must pass where a guide is right, and fail where it is not."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from neuropyro.data import simulate_reference
from neuropyro.inference import Schedule, calibrate, fit
from neuropyro.inference.calibration import LEVELS, Calibration
from neuropyro.inference.ranks import chi_squared_p, ecdf_envelope, envelope_p
from neuropyro.models import VertexClusterMixture

DESIGN = (torch.stack([torch.ones(8), torch.linspace(-1, 1, 8)], 1), torch.zeros(8))

PRIOR = 0.3


def regression(data):
    """Two weights, known noise: the posterior is Normal with a full covariance."""
    x, y = data
    w = pyro.sample("w", dist.Normal(torch.zeros(2), PRIOR).to_event(1))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal((x @ w.unsqueeze(-1)).squeeze(-1), 0.7), obs=y)


@dataclass
class Analytic:
    """The posterior in closed form, its sds multiplied by ``narrowing``, in the place of a fit."""

    data: tuple[torch.Tensor, torch.Tensor]
    seed: int
    narrowing: float

    def posterior(self, draws):
        x, y = self.data
        precision = torch.eye(2) / PRIOR**2 + x.mT @ x / 0.49
        mean = torch.linalg.solve(precision, x.mT @ y / 0.49)
        noise = torch.randn(draws, 2, generator=torch.Generator().manual_seed(self.seed))
        root = torch.linalg.cholesky(precision.inverse())
        return {"w": (mean + self.narrowing * noise @ root.mT).numpy()}


def exact_guide(data):
    """The same as a Pyro guide, which has nothing to learn."""
    x, y = data
    precision = torch.eye(2) / PRIOR**2 + x.mT @ x / 0.49
    mean = torch.linalg.solve(precision, x.mT @ y / 0.49)
    pyro.sample("w", dist.MultivariateNormal(mean, precision_matrix=precision))


def test_the_exact_posterior_passes():
    found = calibrate(
        regression, DESIGN, datasets=400, draws=39, runner=partial(Analytic, narrowing=1.0), progress=False
    )
    assert found.passes()
    for level in LEVELS[:3]:
        coverage = found.coverage("w", level)
        assert abs(coverage.actual - level) < 4 * coverage.error
    assert "400 data sets" in str(found)


def test_a_narrowed_guide_fails():
    found = calibrate(
        regression, DESIGN, datasets=400, draws=39, runner=partial(Analytic, narrowing=0.7), progress=False
    )
    assert found.p_value("w") < 0.01
    assert found.p_value("w", "ecdf") < 0.01
    assert not found.passes()
    # A central interval of 90 % of a Normal 0.7 times too narrow holds 75 %.
    assert found.coverage("w", 0.9).actual == pytest.approx(0.75, abs=0.06)


def test_a_narrowed_guide_fails_through_the_runner_too():
    """The exact posterior as a Pyro guide, its sds halved, fitted like any other."""

    def narrowed(data):
        x, y = data
        precision = torch.eye(2) / PRIOR**2 + x.mT @ x / 0.49
        mean = torch.linalg.solve(precision, x.mT @ y / 0.49)
        pyro.sample("w", dist.MultivariateNormal(mean, precision_matrix=4 * precision))

    found = calibrate(regression, DESIGN, narrowed, 40, draws=19, progress=False)
    assert found.p_value("w") < 0.01
    assert not found.passes(0.01)


def test_a_guide_that_learns_nothing_is_taken_as_it_is():
    found = calibrate(regression, DESIGN, exact_guide, 10, draws=19, progress=False)
    assert found.ranks["w"].shape == (10, 2)
    assert found.passes()


def test_mvn_passes_on_a_conjugate_model():
    schedule = Schedule(max_steps=20, warm_up=40, learning_rate=0.03, window=20)
    found = calibrate(regression, DESIGN, "mvn", 30, draws=39, schedule=schedule, progress=False)
    assert found.passes(0.01)


def test_labels_and_gauge_of_truth_and_draws_agree():
    """Not calibration, which two short fits cannot show: shapes, sites, and ranks in their range."""
    cohort = simulate_reference(n_subjects=8, n_vertices=6, seed=0)
    schedule = Schedule(max_steps=4, warm_up=0)
    model = VertexClusterMixture(2)
    found = calibrate(model, cohort, "normal", 2, draws=19, schedule=schedule, progress=False)
    assert found.ranks["dps"].shape == (2, 32)
    assert {"c", "alpha", "beta", "pi"} <= set(found.ranks)
    assert all(((ranks >= 0) & (ranks <= 19)).all() for ranks in found.ranks.values())


def test_draws_are_no_copies_of_the_truth():
    """Of a guide that is the prior the first draw would be the truth itself, were both drawn from one seed."""
    pairs = []

    def measured(y):
        x = pyro.sample("x", dist.Normal(torch.zeros(()), 1.0))
        pyro.sample("y", dist.Normal(x, 1e-4), obs=y)

    def prior(y):
        pyro.sample("x", dist.Normal(torch.zeros(()), 1.0))

    def runner(data, seed):
        result = fit(measured, data, prior, seed=seed, progress=False)
        pairs.append((float(data), float(result.posterior(1)["x"][0])))
        return result

    for seed in (0, 1):
        calibrate(measured, torch.zeros(()), datasets=3, draws=1, runner=runner, seed=seed, progress=False)
    truth, drawn = np.array(pairs).T
    assert (np.abs(truth - drawn) > 1e-3).all()
    assert len(set(truth)) == 6  # nor do the data sets of one seed come again under another


def test_a_site_that_is_not_there_is_said():
    with pytest.raises(ValueError, match="no site 'v'"):
        calibrate(regression, DESIGN, exact_guide, 1, sites=["v"], progress=False)


def test_p_values_of_uniform_ranks_are_uniform():
    """Of 300 sets of uniform ranks 10 % have p below .1: four binomial standard errors are 7 %."""
    rng = np.random.default_rng(1)
    sets = rng.integers(0, 100, (300, 80))
    for test in (chi_squared_p, envelope_p):
        share = np.mean([test(ranks, 99) < 0.1 for ranks in sets])
        assert share == pytest.approx(0.1, abs=0.07)


def test_many_numbers_do_not_hide_one_that_is_wrong():
    """A site of 200 numbers, one of them always too high: the p-value is multiplied by 200, and must bear that."""
    ranks = np.random.default_rng(3).integers(0, 100, (60, 200))
    ranks[:, 7] = np.random.default_rng(4).integers(0, 50, 60)
    assert Calibration({"x": ranks}, 99).p_value("x", "ecdf") < 1e-3
    assert Calibration({"x": ranks[:, :7]}, 99).p_value("x", "ecdf") > 0.01


def test_the_envelopes_p_value_falls_and_goes_on_falling_where_replicates_end():
    spread = np.linspace(0, 99, 60).round().astype(int)
    p = np.array([envelope_p(np.where(np.arange(60) < low, 0, spread), 99) for low in range(0, 40, 2)])
    assert p[0] > 0.5
    assert (np.diff(p) <= 0).all()
    assert 0 < p[-1] < 1e-6


def test_uniform_ranks_stay_in_the_envelope_as_often_as_it_says():
    rng = np.random.default_rng(2)
    share, low, high = ecdf_envelope(60, 99, level=0.9)
    inside = []
    for _ in range(400):
        ecdf = np.searchsorted(np.sort(rng.integers(0, 100, 60)), np.round(share * 100) - 1, side="right") / 60
        inside.append(((ecdf >= low) & (ecdf <= high)).all())
    assert np.mean(inside) == pytest.approx(0.9, abs=0.06)  # four standard errors, two sets of replicates


def test_intervals_count_ranks():
    ranks = np.arange(100)[:, None]
    found = Calibration({"x": ranks}, 99)
    assert found.coverage("x", 0.9).actual == pytest.approx(0.9)
    assert found.coverage("x", 0.95).actual == pytest.approx(0.95)
    assert found.coverage("x", 0.5).actual == pytest.approx(0.5)
