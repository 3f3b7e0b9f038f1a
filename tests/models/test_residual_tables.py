"""Residuals read from tables against those that loops over vertices give."""

import numpy as np
import pytest
import torch

from neuropyro.data import Cohort
from neuropyro.models.course import Course
from neuropyro.models.residual_tables import ResidualTables, map_sums
from neuropyro.models.trajectory import Trajectories
from neuropyro.models.visits import prepare_visits

L, K = 9, 2


def a_course(scatter):
    rng = torch.Generator().manual_seed(0)
    row = lambda *numbers: torch.tensor(numbers, dtype=torch.float64)  # noqa: E731
    return Course(
        theta=Trajectories(a=row(-2, 1.5), b=row(1.2, 8.0), c=row(0.0, 0.5), d=row(0.5, -0.5)),
        scatter=row(*[0.5, 0.3, 0.2, 0.5, -0.6] * 2).reshape(2, 5) if scatter else None,
        sigma=row(0.8, 1.1),
        rho=None,
        spread=None,
        scores=row(0, 1, 0, 1, 0),
        label=torch.arange(L) % K,
        own=torch.randn(L, 9, generator=rng, dtype=torch.float64) if scatter else None,
    )


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
@pytest.mark.parametrize("scatter", [False, True], ids=["plain", "scatter"])
def test_they_are_residuals_about_each_vertexs_own_curve(missing, scatter):
    values = np.random.default_rng(0).normal(size=(7, L))
    if missing:
        values[2, [1, 3]] = values[5, 0::2] = np.nan  # of one visit, all of a cluster
    visits = prepare_visits(Cohort(values, np.arange(7), [0, 0, 0, 1, 1, 2, 2]), None, dtype=torch.float64)
    course = a_course(scatter)
    at = torch.tensor([[0, 1, 2], [3, 4, -1], [5, 6, -1]])
    tables = ResidualTables(course, map_sums(course, visits), at, at >= 0)
    scores = torch.linspace(-30, 30, 3 * 11 * 3, dtype=torch.float64).reshape(3, 11, 3)  # far beyond the curves too
    misfit, mean = tables.at(scores)
    for i in range(3):
        for m in range(3):
            for p in range(11):
                columns = course.columns(scores[i, p, m].reshape(1))[:, 0].numpy()
                for k in range(K):
                    own = np.arange(L)[(np.arange(L) % K == k) & ~np.isnan(values[at[i, m]])] if at[i, m] >= 0 else []
                    curve = [columns[k, 0] + (columns[k, 1:] @ course.own[v].numpy() if scatter else 0) for v in own]
                    left = values[at[i, m], own] - np.array(curve) if len(own) else np.zeros(1)
                    expected = (left**2).sum() - len(left) * left.mean() ** 2
                    assert float(mean[i, k, m, p]) == pytest.approx(left.mean(), abs=1e-4)
                    assert float(misfit[i, k, m, p] * course.sigma[k] ** 2) == pytest.approx(expected, abs=1e-3)
                    assert float(tables.count[i, k, m]) == len(own)
