"""Verdicts on fits that are good, and on fits that are bad in a known way; the models are unknown to the library."""

from dataclasses import replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from neuropyro.data import simulate_reference
from neuropyro.inference import Schedule, check_predictive, diagnose, fit, leave_one_out, sample
from neuropyro.inference.predictive_checks import LeaveOneOut
from neuropyro.inference.run_agreement import compare_runs
from neuropyro.inference.verdict import NEAR, Diagnosis, Finding
from neuropyro.models import VertexClusterMixture


class Growth:
    """A user's model: each child grows along a line of its own, about a common one."""

    dims: ClassVar = {"level": ("child",), "y": ("child", "visit")}

    def __call__(self, data):
        t, y = data
        slope = pyro.sample("slope", dist.Normal(t.new_zeros(()), 2.0))
        noise = pyro.sample("noise", dist.LogNormal(t.new_full((), -1.0), 0.2))
        with pyro.plate("child", len(y), dim=-1):
            level = pyro.sample("level", dist.Normal(t.new_zeros(()), 1.0))
            line = level.unsqueeze(-1) + slope.unsqueeze(-1) * t
            pyro.sample("y", dist.Normal(line, noise.unsqueeze(-1)).to_event(1), obs=y)

    def constant_data(self, data):
        return {"years": (("visit",), np.asarray(data[0].cpu()))}


@pytest.fixture(scope="module")
def growth():
    generator = torch.Generator().manual_seed(1)
    t = torch.linspace(0, 1, 5)
    level = torch.randn(15, 1, generator=generator)
    return t, level + 1.5 * t + 0.3 * torch.randn(15, 5, generator=generator)


def answers(diagnosis):
    return [finding.answer for finding in diagnosis.findings]


def test_a_good_fit_of_a_users_model(growth):
    schedule = Schedule(max_steps=200, warm_up=200)
    found = diagnose(fit(Growth(), growth, "structured", restarts=2, schedule=schedule, progress=False), 400, 100)
    assert answers(found)[1:4] == ["yes"] * 3
    assert found.weights.khat < 0.7
    assert found.agreement.spread < 1
    assert len(found.checks) == 4
    assert "k-hat" in str(found)


@pytest.mark.slow
def test_nuts_is_judged_by_its_chains(growth):
    result = sample(Growth(), growth, draws=60, warm_up=40, chains=2, progress=False)
    found = diagnose(result, draws=60, predictive_draws=40)
    assert found.weights is None
    assert found.agreement.rhat.keys() >= {"slope", "noise"}
    assert found.findings[0].question.startswith("Did the sampler")
    assert found.findings[2].answer == "yes"


def test_a_point_says_nothing_of_its_own_sureness(growth):
    found = diagnose(fit(Growth(), growth, "map", progress=False), 50, 50)
    assert "point estimate" in found.verdict
    assert answers(found)[1:3] == ["not asked", "not asked"]
    assert any("laplace" in advice for advice in found.advice)


def test_a_fit_that_was_cut_short_is_told_to_go_on(growth):
    found = diagnose(fit(Growth(), growth, "normal", schedule=Schedule(max_steps=2, warm_up=1), progress=False), 50, 50)
    assert answers(found)[0] == "no"
    assert not found.trusted
    assert "more steps" in found.advice[0]


def heavy(y):
    """Normal noise, for data whose tails are not."""
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("row", len(y)):
        pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def test_data_that_the_model_cannot_make_are_said():
    y = torch.cat([torch.linspace(-1, 1, 30), torch.tensor([9.0])])
    found = diagnose(fit(heavy, y, "laplace", progress=False), 200, 200)
    assert answers(found)[3] == "no"
    assert "max of the data (y)" in found.findings[3].reason


def test_predictive_p_values_in_closed_form():
    """The posterior predictive of the mean of n rows is Normal(posterior mean, 1 / (n + 1) + 1 / n)."""
    y = torch.linspace(-1, 1, 10) + 0.5
    result = fit(heavy, y, "laplace", progress=False)
    (check,) = check_predictive(result, ["mean"], draws=4000)
    z = (0.5 - 5 / 11) / (1 / 11 + 1 / 10) ** 0.5
    expected = 1 - torch.distributions.Normal(0.0, 1.0).cdf(torch.tensor(z))
    assert check.p_value == pytest.approx(float(expected), abs=0.035)  # four standard errors


def test_statistics_of_ones_own_and_names_that_do_not_apply():
    y = torch.linspace(-1, 1, 10)
    result = fit(heavy, y, "laplace", progress=False)

    def spread(values):
        return float(np.ptp(values))

    (check,) = check_predictive(result, [spread], draws=20)
    assert check.statistic == "spread"
    assert check.observed == pytest.approx(2.0)
    with pytest.raises(ValueError, match="no statistic 'autocorrelation within subjects'"):
        check_predictive(result, ["autocorrelation within subjects"])


def test_autocorrelation_is_of_consecutive_visits_of_a_subject():
    cohort = simulate_reference(n_subjects=10, n_vertices=5, seed=3)
    model = VertexClusterMixture(2)
    result = fit(model, cohort, "map", schedule=Schedule(max_steps=5), progress=False)
    (check,) = check_predictive(result, ["autocorrelation within subjects"], draws=3)
    values = result.data.values.numpy().astype(float)
    centred = values - values.mean(1, keepdims=True)
    pairs = [(n, n + 1) for n in range(39) if cohort.subject[n] == cohort.subject[n + 1]]
    products = np.mean([centred[:, i] * centred[:, j] for i, j in pairs])
    assert check.observed == pytest.approx(products / (centred**2).mean(), rel=1e-5)


def test_leave_one_out_in_closed_form():
    """p(y_i | others) = Normal(sum of others / n, 1 + 1 / n) for n rows and a standard normal prior."""
    y = torch.linspace(-1, 1, 10)
    found = leave_one_out(fit(heavy, y, "laplace", progress=False), draws=4000)
    others = (y.sum() - y) / 10
    expected = torch.distributions.Normal(others, (1 + 1 / 10) ** 0.5).log_prob(y)
    np.testing.assert_allclose(found.pointwise, expected.numpy(), atol=0.03)
    assert found.elpd == pytest.approx(float(expected.sum()), abs=0.1)
    assert found.bad == 0
    assert leave_one_out(fit(heavy, y, "map", progress=False)) is None


def test_leave_one_out_is_of_the_best_restart_alone():
    y = torch.linspace(-1, 1, 10)
    good = fit(heavy, y, "laplace", progress=False)
    bad = fit(heavy, y + 3, "laplace", progress=False).runs[0]
    expected, found = leave_one_out(good), leave_one_out(replace(good, runs=(*good.runs, bad)))
    np.testing.assert_array_equal(found.pointwise, expected.pointwise)


def test_units_left_out_are_named_where_the_model_knows_their_names():
    names = np.array(["MMSE", "FDG", "tau"])
    found = LeaveOneOut(-12.0, 2.0, np.array([0.1, 0.9, 1.2]), np.zeros(3), "vertex", names)
    said = str(found)
    assert "a vertex left out at a time; not known for 66.7 % of them" in said
    assert said.endswith("above 0.7 (tau 1.2, FDG 0.9)")
    assert "(" not in str(replace(found, names=None)).split("above 0.7")[1]


class Named(Growth):
    """The same, of children who have names."""

    def coords(self, data):
        return {"child": np.array([f"kid {i}" for i in range(15)])}


def test_names_are_those_of_the_axes(growth):
    result = fit(Named(), growth, "laplace", restarts=2, schedule=Schedule(max_steps=30, warm_up=30), progress=False)
    found = leave_one_out(result, 60)
    assert found.unit == "child"
    assert found.names.tolist()[:2] == ["kid 0", "kid 1"]
    rhat = compare_runs(result, 60, limit=15)
    assert rhat.where["level"].startswith("level[kid ")
    assert rhat.where["slope"] == "slope"


@pytest.mark.parametrize(
    ("others", "begins"),
    [
        ((), "Keep this fit, and take its intervals as approximate; answered with no: is the approximation"),
        (
            ("not known",),
            "Keep this fit, and take its intervals as approximate; answered with no: is the approximation",
        ),
        (("no",), "Use with care; answered with no: is the approximation"),
    ],
)
def test_distance_from_the_posterior_alone_is_no_reason_to_discard_a_fit(others, begins):
    others = tuple(Finding("Can each row be left out in turn?", answer, "Of some.") for answer in others)
    findings = (Finding(NEAR, "no", "Pareto k-hat 0.9."), *others)
    found = Diagnosis(SimpleNamespace(is_point=False), findings, None, None, (), None)
    assert found.verdict.startswith(begins)
    assert not found.trusted
