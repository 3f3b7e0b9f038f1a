"""Replicates of vertices against conditional Normals computed densely."""

import numpy as np
import pytest
import torch

from neuropyro.data import Cohort, simulate_reference
from neuropyro.models.mixture import Mixture
from neuropyro.models.scatter_nodes import ScatterNodes
from neuropyro.models.vertex_replicates import replicate_vertices
from neuropyro.models.visits import prepare_visits

COPIES = 200  # of each vertex, drawn at once
N_DRAWS = 20 * COPIES


def visits(missing, copies=1):
    cohort = simulate_reference(n_subjects=3, n_vertices=2, visits=2, seed=1)
    values = cohort.values.copy()
    if missing:
        values[1, 0] = np.nan
    values = np.tile(values, copies)
    return prepare_visits(Cohort(values, cohort.time, cohort.subject), None, dtype=torch.float64).with_subject_sums()


def mixture(loc, factor, sigma, omega=None):
    nodes = None if factor is None else ScatterNodes.single(factor)
    return Mixture(torch.full((2,), 0.5).double(), loc, nodes, sigma, omega=omega)


@pytest.mark.parametrize("omega", [0.0, 0.9], ids=["", "vertex effects"])
@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
def test_moments_are_those_of_new_values_given_the_old(missing, omega):
    """V and its replicate share M = J J' + omega^2 B B', S = sigma^2 I + M: their covariance is [[S, M], [M, S]]."""
    data = visits(missing, COPIES)
    generator = torch.Generator().manual_seed(0)
    loc = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    factor = torch.randn(2, 6, 4, generator=generator, dtype=torch.float64)
    sigma = torch.tensor([0.7, 1.3], dtype=torch.float64)
    certain = torch.tensor([[0.0, -1e9], [-1e9, 0.0]], dtype=torch.float64)  # vertex l is of cluster l
    law = mixture(loc, factor, sigma, torch.tensor([omega, 0.5 * omega]).double() if omega else None)
    drawn = torch.stack([replicate_vertices(certain.repeat(COPIES, 1), law, data) for _ in range(20)])
    drawn = drawn.reshape(N_DRAWS, 2, -1)
    same = (data.subject[:, None] == data.subject).double()
    for vertex in range(2):
        seen = torch.ones(6, dtype=torch.bool) if data.observed is None else data.observed[vertex] > 0
        shared = factor[vertex] @ factor[vertex].mT
        if law.omega is not None:
            shared = shared + law.omega[vertex] ** 2 * same
        total = shared + sigma[vertex] ** 2 * torch.eye(6)
        gain = shared[:, seen] @ total[seen][:, seen].inverse()
        mean = loc[vertex] + gain @ (data.values[vertex] - loc[vertex])[seen]
        covariance = total - gain @ shared[seen]
        sd = covariance.diagonal().sqrt()
        assert ((drawn[:, vertex].mean(0) - mean).abs() < 4.5 * sd / N_DRAWS**0.5).all()
        found = torch.cov(drawn[:, vertex].T)
        assert ((found - covariance).abs() < 6 * torch.outer(sd, sd) / N_DRAWS**0.5).all()


def test_labels_follow_their_posterior():
    data = visits(missing=False)
    loc = torch.stack([torch.zeros(6), torch.full((6,), 100.0)]).double()
    joint = torch.tensor([[0.25, 0.75], [1.0, 0.0]], dtype=torch.float64).log()
    drawn = torch.stack(
        [replicate_vertices(joint, mixture(loc, None, torch.ones(2).double()), data) for _ in range(500)]
    )
    share = (drawn.mean(-1) > 50).double().mean(0)
    assert float(share[0]) == pytest.approx(0.75, abs=0.08)  # four standard errors
    assert float(share[1]) == 0


@pytest.mark.parametrize("missing", [False, True], ids=["complete", "missing"])
def test_a_cluster_may_be_empty(missing):
    data = visits(missing)
    certain = torch.tensor([[0.0, -1e9], [0.0, -1e9]], dtype=torch.float64)
    loc, factor = torch.zeros(2, 6).double(), torch.ones(2, 6, 4).double()
    drawn = replicate_vertices(certain, mixture(loc, factor, torch.ones(2).double()), data)
    assert drawn.shape == (2, 6)
    assert torch.isfinite(drawn).all()
