"""The normaliser of the Potts prior against sums over all labellings, transfer matrices and limits."""

import itertools
import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import connected_components
from scipy.special import logsumexp

from neuropyro.data import Mesh
from neuropyro.models import spatial_normaliser
from neuropyro.models.spatial_normaliser import draw_labels, mean_agreement, potts_normaliser

COUPLINGS = np.array([0.0, 0.2, 0.5, 0.8, 1.1, 1.6, 2.5, 5.0])
# Seven triangles about a corner, a tail, a pair apart, and a vertex alone.
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5], [0, 5, 6], [0, 6, 1]])
IRREGULAR = Mesh(
    11,
    edges=np.concatenate([TRIANGLES[:, [0, 1]], TRIANGLES[:, [1, 2]], TRIANGLES[:, [0, 2]], [[6, 7], [8, 9]]]),
)


@cache
def sampled(n_labels):
    """What is sampled of a 3 x 3 grid, for seconds: couplings, and shares of agreeing edges."""
    return mean_agreement(Mesh.grid(3, 3), n_labels)


@pytest.fixture(params=[2, 3])
def square(request, monkeypatch):
    """K, and the normaliser of the grid."""
    monkeypatch.setattr(spatial_normaliser, "mean_agreement", lambda mesh, n_labels, seed: sampled(n_labels))
    return request.param, potts_normaliser(Mesh.grid(3, 3), request.param)


def exact(mesh: Mesh, n_labels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log C, and mean and sd of the number of agreeing edges at each coupling, over all labellings."""
    z = np.array(list(itertools.product(range(n_labels), repeat=mesh.n_vertices)), np.int8)
    agreeing = (z[:, mesh.edges[:, 0]] == z[:, mesh.edges[:, 1]]).sum(1)
    number, count = np.unique(agreeing, return_counts=True)
    log_weight = np.log(count) + COUPLINGS[:, None] * number
    log_c = logsumexp(log_weight, axis=1)
    share = np.exp(log_weight - log_c[:, None])
    mean = share @ number
    return log_c, mean, np.sqrt(share @ number**2 - mean**2)


def evaluate(normaliser, couplings) -> tuple[np.ndarray, np.ndarray]:
    """Log C and its derivative."""
    at = torch.tensor(couplings, dtype=torch.float64, requires_grad=True)
    log_c = normaliser(at)
    (slope,) = torch.autograd.grad(log_c.sum(), at)
    return log_c.detach().numpy(), slope.numpy()


def test_a_small_grid_is_summed_by_brute_force(square):
    n_labels, normaliser = square
    log_c, mean, sd = exact(Mesh.grid(3, 3), n_labels)
    found, slope = evaluate(normaliser, COUPLINGS)
    # 416 copies and 40 sweeps: a standard error of sd / 129, and what the cubic misses between knots.
    np.testing.assert_allclose(slope, mean, atol=0.03 * sd.max())
    np.testing.assert_allclose(found, log_c, atol=0.02)
    assert found[0] == pytest.approx(9 * math.log(n_labels), abs=1e-12)
    assert slope[0] == pytest.approx(12 / n_labels, abs=1e-12)


def test_an_irregular_mesh_in_three_pieces_is_summed_too():
    log_c, mean, sd = exact(IRREGULAR, 2)
    found, slope = evaluate(potts_normaliser(IRREGULAR, 2), COUPLINGS)
    np.testing.assert_allclose(slope, mean, atol=0.03 * sd.max())
    np.testing.assert_allclose(found, log_c, atol=0.02)


def strip(width: int, length: int, n_labels: int, coupling: float) -> float:
    """Log C of a grid by transfer matrices, row after row."""
    rows = np.array(list(itertools.product(range(n_labels), repeat=width)))
    within = coupling * (rows[:, 1:] == rows[:, :-1]).sum(1)
    between = coupling * (rows[:, None] == rows[None]).sum(-1)
    log_weight = within.astype(float)
    for _ in range(length - 1):
        log_weight = logsumexp(log_weight[:, None] + between, axis=0) + within
    return float(logsumexp(log_weight))


def test_a_long_strip_agrees_with_transfer_matrices():
    normaliser = potts_normaliser(Mesh.grid(40, 4), 3)
    couplings = [0.3, 0.7, 1.0, 1.3, 1.8, 3.0, 8.0]
    found, _ = evaluate(normaliser, couplings)
    # 1e-3 of a nat for each of 276 edges
    np.testing.assert_allclose(found, [strip(4, 40, 3, c) for c in couplings], atol=0.3)


def test_under_a_strong_coupling_each_piece_has_one_label():
    mesh = IRREGULAR
    pieces = connected_components(mesh.adjacency)[0]
    found, slope = evaluate(potts_normaliser(mesh, 3), [12.0])
    limit = 12.0 * len(mesh.edges) + pieces * math.log(3)
    # What is missing is the integral of all disagreement, sampled.
    assert found[0] == pytest.approx(limit, abs=0.1)
    assert slope[0] == pytest.approx(len(mesh.edges), abs=0.05)


def test_agreement_rises_and_is_the_derivative_at_its_knots(square):
    n_labels, normaliser = square
    knots, agreement = sampled(n_labels)
    assert (np.diff(knots) > 0).all()
    assert (np.diff(agreement) >= 0).all()
    _, slope = evaluate(normaliser, knots)
    np.testing.assert_allclose(slope, 12 * agreement, rtol=1e-10)


def test_one_label_always_agrees():
    found, _ = evaluate(potts_normaliser(Mesh.grid(2, 3), 1), COUPLINGS)
    np.testing.assert_allclose(found, 7 * COUPLINGS, atol=1e-10)


def test_an_edge_of_a_vertex_with_itself_is_none(monkeypatch):
    monkeypatch.setattr(spatial_normaliser, "FEW_EDGES", 200)  # fewer copies: the two are the same however rough
    plain = potts_normaliser(Mesh.grid(2, 2), 2)
    looped = potts_normaliser(Mesh(4, edges=np.concatenate([Mesh.grid(2, 2).edges, [[3, 3]]])), 2)
    assert looped.n_edges == plain.n_edges == 4
    torch.testing.assert_close(looped.pieces, plain.pieces, rtol=0, atol=0)


def test_single_precision_keeps_the_digits_that_matter(square):
    _, normaliser = square
    single = normaliser.to(None, torch.float32)
    assert single.pieces.dtype == torch.float32
    at = torch.tensor([0.3, 1.0, 2.0])
    torch.testing.assert_close(single(at).double(), normaliser(at.double()), rtol=1e-6, atol=1e-5)


def test_the_least_coupling_of_an_agreement(square):
    _, normaliser = square
    coupling = normaliser.coupling_of(0.9)
    _, slope = evaluate(normaliser, [coupling])
    assert 0.9 <= slope[0] / 12 < 0.97
    assert normaliser.coupling_of(2.0) == float(normaliser.knots[-1])


def test_drawn_labels_agree_as_often_as_they_should():
    mesh, rng = Mesh.grid(3, 3), np.random.default_rng(1)
    _, mean, sd = exact(mesh, 3)
    draws = [draw_labels(mesh, 3, COUPLINGS[4], rng, sweeps=30) for _ in range(300)]
    agreeing = [(z[mesh.edges[:, 0]] == z[mesh.edges[:, 1]]).sum() for z in draws]
    assert np.mean(agreeing) == pytest.approx(mean[4], abs=3.5 * sd[4] / 300**0.5)
    assert set(np.unique(draws)) == {0, 1, 2}
