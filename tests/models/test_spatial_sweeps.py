"""Mean field on a mesh against dense algebra, brute force, and its own optimality."""

import itertools

import numpy as np
import pytest
import torch
from scipy.special import softmax

from neuropyro.data import Mesh
from neuropyro.models.spatial_sweeps import LabelField, mean_field, neighbours_of, smooth

HUB = Mesh(9, edges=[[0, v] for v in range(1, 7)] + [[6, 7], [3, 3]])  # a hub, a loop, and a vertex alone
MESHES = {"grid": Mesh.grid(3, 3), "hub": HUB}


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def likelihood(*shape: int, seed: int = 0, sd: float = 1.0) -> torch.Tensor:
    return sd * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def dense(mesh: Mesh) -> torch.Tensor:
    adjacency = mesh.adjacency.toarray()
    np.fill_diagonal(adjacency, 0)
    return torch.as_tensor(adjacency, dtype=torch.float64)


def bound(q: torch.Tensor, each: torch.Tensor, coupling: float, mesh: Mesh) -> float:
    """E_q[log p(V | Z)] + lambda E_q[agreeing edges] + H(q), by the dense adjacency."""
    agreeing = (q * (dense(mesh) @ q)).sum() / 2
    return float((q * each).sum() + coupling * agreeing + torch.special.entr(q).sum())


@pytest.fixture(params=MESHES)
def mesh(request) -> Mesh:
    return MESHES[request.param]


def test_sums_means_and_smoothing_are_products_with_the_adjacency(mesh):
    neighbours, values = neighbours_of(mesh), likelihood(2, 9, 4)
    adjacency = dense(mesh)
    torch.testing.assert_close(neighbours.sums(values), adjacency @ values)
    degree = adjacency.sum(1, keepdim=True)
    means = torch.where(degree > 0, adjacency @ values / degree.clamp(min=1), values)
    torch.testing.assert_close(neighbours.means(values), means)
    torch.testing.assert_close(smooth(values, neighbours, 1), (values + means) / 2)
    torch.testing.assert_close(neighbours.join(neighbours.split(values)), values, rtol=0, atol=0)


@pytest.mark.parametrize("coupling", [0.0, 0.4, 1.2, 4.0])
@pytest.mark.parametrize("seed", range(5))
def test_no_sweep_lowers_the_bound(mesh, coupling, seed):
    neighbours, each = neighbours_of(mesh), likelihood(9, 3, seed=seed)
    field = LabelField(neighbours.split(each), scalar(coupling), neighbours)
    q = [part.softmax(-1) for part in neighbours.split(likelihood(9, 3, seed=seed + 100, sd=3.0))]  # any start
    before = -np.inf
    for _ in range(30):
        q, _ = field.sweep(q)
        now = bound(neighbours.join(q), each, coupling, mesh)
        assert float(field.bound(q)) == pytest.approx(now, rel=1e-12)
        assert now >= before - 1e-10
        before = now


def test_the_fixed_point_answers_the_likelihood_once(mesh):
    neighbours, each = neighbours_of(mesh), likelihood(9, 3)
    q = mean_field(each, scalar(0.7), neighbours, 200).exp()
    torch.testing.assert_close(q, (each + 0.7 * dense(mesh) @ q).softmax(-1), rtol=1e-8, atol=1e-10)


def test_overwhelming_evidence_is_not_outvoted():
    """Four unanimous neighbours against a thousand nats."""
    each = torch.zeros(9, 2, dtype=torch.float64)
    each[:, 0], each[4] = 50.0, torch.tensor([0.0, 1000.0])
    q = mean_field(each, scalar(1.3), neighbours_of(Mesh.grid(3, 3)), 500).exp()
    assert q[4, 1] > 1 - 1e-12
    assert (q[[0, 1, 2, 3, 5, 6, 7, 8], 0] > 1 - 1e-12).all()


def test_without_coupling_it_is_exact_with_all_derivatives(mesh):
    neighbours = neighbours_of(mesh)

    def found(each: torch.Tensor) -> torch.Tensor:
        log_q = mean_field(each, scalar(0.0), neighbours, 3)
        return (log_q.exp() * (each - log_q)).sum()

    each = likelihood(9, 3).requires_grad_()
    assert float(found(each).detach()) == pytest.approx(float(each.detach().logsumexp(-1).sum()), rel=1e-14)
    exact = torch.autograd.functional.hessian(lambda x: x.logsumexp(-1).sum(), each)
    torch.testing.assert_close(torch.autograd.functional.hessian(found, each), exact, rtol=1e-10, atol=1e-12)


def test_gradients_at_the_fixed_point_are_those_of_the_best_bound(mesh):
    neighbours, each = neighbours_of(mesh), likelihood(9, 3)

    def best(each: torch.Tensor, coupling: torch.Tensor) -> torch.Tensor:
        log_q = mean_field(each, coupling, neighbours, 300)
        q = log_q.exp()
        return (q * (each - log_q)).sum() + coupling * (q * neighbours.sums(q)).sum() / 2

    coupling = scalar(0.6).requires_grad_()
    by_each, by_coupling = torch.autograd.grad(best(each.requires_grad_(), coupling), (each, coupling))
    step, direction = 1e-5, likelihood(9, 3, seed=9)
    with torch.no_grad():
        rise = (best(each + step * direction, coupling) - best(each - step * direction, coupling)) / (2 * step)
        assert float((by_each * direction).sum()) == pytest.approx(float(rise), rel=1e-6)
        rise = (best(each, coupling + step) - best(each, coupling - step)) / (2 * step)
        assert float(by_coupling) == pytest.approx(float(rise), rel=1e-6)


def marginals(each: torch.Tensor, coupling: float, mesh: Mesh) -> np.ndarray:
    """The exact posterior of each label, over all labellings."""
    z = np.array(list(itertools.product(range(each.shape[1]), repeat=len(each))))
    agreeing = (z[:, mesh.edges[:, 0]] == z[:, mesh.edges[:, 1]]).sum(1)
    weight = softmax(coupling * agreeing + each.numpy()[np.arange(len(each)), z].sum(1))
    return np.stack([weight @ (z == k) for k in range(each.shape[1])], 1)


def test_q_is_near_the_exact_posterior():
    """Mean field leaves out how neighbours' doubts go together, an error of the second order of the coupling."""
    grid, each = Mesh.grid(3, 3), likelihood(9, 3, sd=2.0)
    neighbours = neighbours_of(grid)
    error = {}
    for coupling in (0.1, 0.2, 0.4):
        q = mean_field(each, scalar(coupling), neighbours, 200).exp().numpy()
        error[coupling] = np.abs(q - marginals(each, coupling, grid)).max()
    assert error[0.4] < 0.08
    assert error[0.2] < error[0.4] / 2.5
    assert error[0.1] < error[0.2] / 2.5


def test_a_batch_is_what_each_of_it_is_alone(mesh):
    neighbours = neighbours_of(mesh)
    each, coupling = likelihood(4, 9, 3), torch.tensor([0.0, 0.5, 1.0, 3.0], dtype=torch.float64)
    together = mean_field(each, coupling, neighbours, 21)
    alone = [mean_field(e, c, neighbours, 21) for e, c in zip(each, coupling, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-12, atol=1e-12)


def test_one_sweep_is_enough_to_be_called(mesh):
    log_q = mean_field(likelihood(9, 3), scalar(0.5), neighbours_of(mesh), 1)
    torch.testing.assert_close(log_q.exp().sum(-1), torch.ones(9, dtype=torch.float64))


def test_the_wider_neighbourhood_is_tried_as_a_start():
    """Two halves of a noisy grid: its own likelihood alone may leave islands that a better bound does not have."""
    grid = Mesh.grid(12, 12)
    neighbours, truth = neighbours_of(grid), torch.arange(144) // 72
    gained = 0.0
    for seed in range(6):
        each = likelihood(144, 2, seed=seed, sd=1.5) + torch.nn.functional.one_hot(truth, 2)
        field = LabelField(neighbours.split(each), scalar(1.2), neighbours)
        q = [part.softmax(-1) for part in neighbours.split(each)]
        for _ in range(100):
            q, _ = field.sweep(q)
        plain = bound(neighbours.join(q), each, 1.2, grid)
        found = bound(mean_field(each, scalar(1.2), neighbours, 100).exp(), each, 1.2, grid)
        assert found >= plain - 1e-6
        gained = max(gained, found - plain)
    assert gained > 0.05
