"""Tables of fits, against closed forms."""

import math
from dataclasses import replace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from neuropyro.data import simulate_reference
from neuropyro.inference import LeaveOneOut, Schedule, Weights, compare, compare_guides, fit
from neuropyro.inference.comparison import SITES_SHOWN, Comparison, Row
from neuropyro.models import VertexClusterMixture

Y = torch.linspace(-1, 1, 9) + 0.4


def conjugate(y):
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("visit", len(y)):
        pyro.sample("y", dist.Normal(mean, 1.0), obs=y)


def stiff(y):
    """The same with a noise that is far too small."""
    mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    with pyro.plate("visit", len(y)):
        pyro.sample("y", dist.Normal(mean, 0.2), obs=y)


@pytest.fixture(scope="module")
def table():
    return compare_guides(conjugate, Y, ["map", "laplace", "normal"], progress=False)


def test_means_sds_and_the_evidence(table):
    evidence = torch.distributions.MultivariateNormal(torch.zeros(9), torch.eye(9) + 1).log_prob(Y)
    point, laplace, normal = table.rows
    for row in table.rows:
        assert row.mean["mean"] == pytest.approx(float(Y.sum()) / 10, abs=0.05)  # 500 draws: standard error .014
    assert math.isnan(point.sd["mean"])
    assert point.elbo == -math.inf
    assert laplace.sd["mean"] == pytest.approx(10**-0.5, rel=0.13)  # four standard errors
    assert laplace.elbo == pytest.approx(float(evidence), abs=0.01)
    assert normal.elbo <= float(evidence) + 4 * normal.elbo_error + 1e-3


def test_the_table_is_aligned(table):
    lines = str(table).splitlines()
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[0].split()[:2] == ["fit", "ELBO"]
    assert "point" in lines[1]
    assert any(line.startswith("mean ") for line in lines[5:])


def test_leave_one_out_tells_models_apart():
    fits = {"right": fit(conjugate, Y, "laplace", progress=False), "stiff": fit(stiff, Y, "laplace", progress=False)}
    found = compare(fits)
    assert found.best.name == "right"
    difference, error = found.loo_difference(found.rows[1])
    pointwise = found.rows[1].loo.pointwise - found.rows[0].loo.pointwise
    assert difference == pytest.approx(pointwise.sum())
    assert error == pytest.approx(np.std(pointwise) * 3)
    assert found.loo_difference(found.rows[0]) == (0, 0)


def test_a_sum_of_units_that_weigh_too_much_ranks_nothing():
    fits = {"right": fit(conjugate, Y, "laplace", progress=False), "stiff": fit(stiff, Y, "laplace", progress=False)}
    found = compare(fits)
    heavy = [replace(row, loo=replace(row.loo, shapes=np.full_like(row.loo.shapes, 0.9))) for row in found.rows]
    unknown = replace(found, rows=(replace(heavy[0], elbo=heavy[1].elbo - 1), heavy[1]))
    assert unknown.best.name == "stiff"  # by its ELBO
    assert np.isnan(unknown.loo_difference(unknown.rows[1])).all()
    assert "Leave-one-out is not known of right, stiff" in str(unknown)
    assert "not known" not in str(found)


def test_an_elbo_of_which_strays_make_all_is_a_bound_that_ranks_nothing():
    inner = np.random.default_rng(0).normal(-20.0, 1.0, 98)
    astray = Weights(np.concatenate([inner, [-5e3, -1.75e6]]))
    heavy = LeaveOneOut(-30.0, 2.0, np.full(9, 0.9), np.zeros(9))
    means = {"mean": 1.0}
    wild = Row("wild", inner.mean(), 0.1, 2.9, 1.0, True, heavy, means, means, astray)
    tame = Row("tame", -25.0, 0.1, 2.4, 1.0, True, heavy, means, means, Weights(inner - 5))
    found = Comparison((wild, tame), {})
    assert (wild.strays, tame.strays) == (2, 0)
    assert found.best is tame  # 5 nats below the bound, which the two strays leave far
    lines = str(found).splitlines()
    assert f"≤ {inner.mean():.1f}" in lines[1]
    assert "±" not in lines[1].split("wild")[1].split("2.90")[0]
    assert lines[3].startswith(
        "wild: 2 of 100 draws lie where the posterior is all but nil, up to 1,749,980 nats below"
    )
    assert "compare by ELBO" not in str(found)
    assert "compare by ELBO" in str(Comparison((tame,), {}))


def test_the_elbo_of_a_fit_whose_widths_were_set_afterwards_is_said_to_be_another():
    result = fit(conjugate, Y, "laplace", progress=False)
    widened = "converged; its global block, by 64 short chains, 1.07 times as wide as by the ELBO"
    run = replace(result.runs[0], verdict=widened)
    assert "before short chains set widths" in str(compare({"one": replace(result, runs=(run,))}))
    assert "short chains" not in str(compare({"one": result}))


def test_sites_that_a_model_tells_of_have_a_legend():
    cohort = simulate_reference(n_subjects=6, n_vertices=9, n_clusters=2, seed=0)
    result = fit(VertexClusterMixture(2), cohort, "map", schedule=Schedule(max_steps=2, warm_up=1), progress=False)
    said = compare([result], draws=5).in_words().splitlines()
    assert "sigma: sd of the residuals; unit: standardised" in said
    told = {line.partition(":")[0] for line in said}
    sites = {line.partition("[")[0] for line in said if "[" in line} | {"time_share", "correlation"}
    assert sites <= told  # none is left without a word


def test_all_elements_can_be_had_in_words():
    def many(y):
        pyro.sample("mean", dist.Normal(torch.zeros(30), 1.0).to_event(1))

    found = compare([fit(many, Y, "laplace", progress=False)])
    assert str(found).splitlines()[-1] == "(6 more, of which these fits agree better)"
    assert "mean[29]" in found.in_words()


def test_the_table_shows_first_what_fits_disagree_in():
    def row(name, **mean):
        return Row(name, 0.0, 0.1, 0.2, 1.0, True, None, mean, dict.fromkeys(mean, 0.5))

    same = {f"same{i}": 100.0 for i in range(SITES_SHOWN)}
    found = Comparison((row("one", **same, other=1.0), row("two", **same, other=2.0)), {})
    assert found.disagreement("same0") == 0
    assert found.disagreement("other") == 2  # sds of 0.5
    assert "other" in str(found)
    assert "same23" not in str(found)
    assert "same23" in found.in_words()


def test_fits_of_other_data_are_refused():
    short = Schedule(max_steps=2, warm_up=1)
    fits = [fit(conjugate, y, "map", schedule=short, progress=False) for y in (Y, Y + 1)]
    with pytest.raises(ValueError, match="different data"):
        compare(fits)
    with pytest.raises(ValueError, match="no fit"):
        compare([])


def test_fits_of_one_guide_get_names_of_their_own():
    short = Schedule(max_steps=2, warm_up=1)
    fits = [fit(conjugate, Y, "map", seed=seed, schedule=short, progress=False) for seed in range(3)]
    assert list(compare(fits, draws=5).fits) == ["map", "map (2)", "map (3)"]
