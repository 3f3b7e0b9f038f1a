"""Tables of fits, against closed forms."""

import math
from dataclasses import replace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from neuropyro.inference import Schedule, compare, compare_guides, fit
from neuropyro.inference.comparison import SITES_SHOWN, Comparison, Row

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
