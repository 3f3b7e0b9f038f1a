import numpy as np
import torch
from scipy.optimize import minimize, rosen, rosen_der

from neuropyro.generators.row_descent import descend_rows


def rosenbrock(x: torch.Tensor) -> torch.Tensor:
    return (100 * (x[:, 1:] - x[:, :-1].square()).square() + (1 - x[:, :-1]).square()).sum(dim=1)


def test_quadratics_of_unlike_scales_reach_their_minima():
    rng = torch.Generator().manual_seed(0)
    scales = torch.logspace(-4, 0, 40).double()
    turn, _ = torch.linalg.qr(torch.randn(40, 40, generator=rng).double())
    minima = torch.randn(3, 40, generator=rng).double()
    x, values = descend_rows(
        lambda x, rows: ((x - minima[rows]) @ turn).square() @ scales, torch.zeros_like(minima), steps=600
    )
    # Gradients alone, at the best constant rate, would leave .9 of the weakest error, (1 - 2e-4) to the power of 600.
    torch.testing.assert_close(x, minima, atol=1e-6, rtol=0)
    assert (torch.stack(values).diff(dim=0) <= 0).all()


def test_a_curved_valley_is_followed_as_far_as_scipy_follows_it():
    starts = torch.tensor([[-1.2, 1.0, -0.5, 0.8], [0.0, 0.0, 2.0, -1.0], [1.0, 1.0, 1.0, 1.0]]).double()
    x, values = descend_rows(lambda x, _: rosenbrock(x), starts, steps=200)
    for start, end, value in zip(starts, x, values[-1], strict=True):
        there = minimize(rosen, start.numpy(), jac=rosen_der, method="L-BFGS-B", options={"gtol": 1e-8})
        np.testing.assert_allclose(float(value), float(rosen(end.numpy())), atol=1e-12)
        np.testing.assert_allclose(end.numpy(), there.x, atol=1e-4)


def test_rows_do_not_feel_each_other():
    starts = torch.tensor([[-1.2, 1.0], [0.3, 2.0], [5.0, -4.0]]).double()
    together, _ = descend_rows(lambda x, _: rosenbrock(x), starts, steps=15)
    for start, end in zip(starts, together, strict=True):
        alone, _ = descend_rows(lambda x, _: rosenbrock(x), start[None], steps=15)
        torch.testing.assert_close(alone[0], end, atol=1e-10, rtol=1e-10)


def test_it_stops_where_nothing_is_left_to_gain():
    calls = []

    def flat(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        calls.append(len(rows))
        return (x * 0.0).sum(dim=1) + 1

    x, values = descend_rows(flat, torch.ones(2, 3), steps=1000)
    assert (len(values), len(calls)) == (1, 1)
    assert torch.equal(x, torch.ones(2, 3))
    _, values = descend_rows(lambda x, _: x.square().sum(dim=1), torch.ones(2, 3), steps=1000)
    assert len(values) < 20
    assert values[-1].max() < 1e-10


def test_steps_into_what_has_no_value_are_shortened():
    def barrier(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return (x - x.log()).sum(dim=1)  # nan below 0, least at 1

    x, _ = descend_rows(barrier, torch.tensor([[1e-3, 0.5], [3.0, 0.01]]), steps=100)
    torch.testing.assert_close(x, torch.ones(2, 2), atol=1e-3, rtol=0)


def test_a_row_rests_where_it_gains_no_more_and_the_others_go_on():
    counts = torch.zeros(2)

    def bounded(x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        counts[rows] += 1
        return torch.where(rows == 0, 5 + x.square().sum(dim=1), rosenbrock(x))

    x, values = descend_rows(bounded, torch.tensor([[3.0, 4.0], [-1.2, 1.0]]).double(), steps=500)
    assert values[-1][0] == 5
    torch.testing.assert_close(x[1], torch.ones(2).double(), atol=1e-6, rtol=0)
    assert counts[0] < 30 < counts[1] < 200
