import numpy as np
import torch
from scipy.interpolate import BSpline
from scipy.linalg import expm

from neuropyro.data.diffeomorphisms import (
    bspline_basis,
    exponential,
    flow_points,
    identity_grid,
    interpolate,
    jacobian_determinant,
    spline_field,
)


def smooth_velocity(seed: int, size: float = 0.2, samples: int = 48) -> torch.Tensor:
    controls = torch.randn(3, 2, 7, 7, generator=torch.Generator().manual_seed(seed))
    window = (1 - torch.linspace(-1, 1, samples) ** 2) ** 2
    return size * spline_field(controls, samples) * window[:, None] * window


def test_bspline_basis_is_that_of_scipy():
    basis = bspline_basis(5, 33).double().numpy()
    knots = np.arange(-3.0, 9.0) - 0.0
    place = np.linspace(0, 4, 33)
    for i in range(7):
        expected = BSpline.basis_element(knots[i : i + 5], extrapolate=False)(place)
        np.testing.assert_allclose(basis[:, i], np.nan_to_num(expected), atol=1e-6)


def test_spline_field_of_constant_controls_is_constant():
    field = spline_field(torch.full((2, 1, 6, 6), 0.7), 20)
    torch.testing.assert_close(field, torch.full((2, 1, 20, 20), 0.7))


def test_exponential_of_a_linear_field_is_the_matrix_exponential():
    matrix = torch.tensor([[0.1, -0.3], [0.25, -0.15]])
    grid = identity_grid(65)
    displacement = exponential((grid @ matrix.T).permute(0, 3, 1, 2), squarings=8)
    moved = grid + displacement.permute(0, 2, 3, 1)
    expected = grid @ torch.from_numpy(expm(matrix.double().numpy())).float().T
    # Points that leave the image meet its border; those of the middle never do.
    torch.testing.assert_close(moved[:, 20:45, 20:45], expected[:, 20:45, 20:45], atol=2e-3, rtol=0)


def test_exponential_of_the_opposite_field_is_the_inverse():
    velocity = smooth_velocity(0)
    forward, backward = exponential(velocity), exponential(-velocity)
    grid = identity_grid(48)
    middle = grid + forward.permute(0, 2, 3, 1)
    back = torch.nn.functional.grid_sample(backward, middle, padding_mode="border", align_corners=True)
    assert forward.abs().max() > 0.1
    torch.testing.assert_close(forward + back, torch.zeros_like(forward), atol=4e-3, rtol=0)


def test_exponential_keeps_orientation_where_the_field_itself_would_fold():
    velocity = smooth_velocity(1, size=0.6)
    assert jacobian_determinant(velocity).min() < 0
    assert jacobian_determinant(exponential(velocity, squarings=7)).min() > 0


def test_jacobian_determinant_of_a_linear_map():
    matrix = torch.tensor([[0.2, -0.3], [0.1, 0.4]])
    displacement = (identity_grid(9) @ matrix.T).permute(0, 3, 1, 2)
    expected = torch.linalg.det(torch.eye(2) + matrix)
    torch.testing.assert_close(jacobian_determinant(displacement), expected.expand(1, 9, 9))


def test_interpolate_is_exact_for_a_linear_volume_and_zero_outside():
    x, y, z = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in (4, 5, 6)), indexing="ij")
    volume = (2 * x - 3 * y + 0.5 * z + 1)[None, None]
    points = torch.rand(2, 7, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = points @ torch.tensor([2.0, -3.0, 0.5]) + 1
    torch.testing.assert_close(interpolate(volume, points)[0], expected)
    assert interpolate(volume, torch.full((1, 1, 3), 1.5)).item() == 0


def test_flow_points_of_a_linear_field_is_exponential_in_time():
    line = torch.linspace(-1, 1, 9)
    grid = torch.stack(torch.meshgrid(line, line, line, indexing="ij"))
    points = torch.tensor([[[0.1, -0.2, 0.3]], [[0.2, 0.1, -0.1]]])
    time = torch.tensor([0.8, -0.8])
    moved = flow_points(grid, points, time, steps=32)
    torch.testing.assert_close(moved, points * time.exp()[:, None, None], atol=1e-4, rtol=0)
