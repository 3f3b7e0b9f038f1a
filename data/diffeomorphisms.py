"""Random smooth, invertible maps: stationary velocity fields and their exponential.

A velocity field v, given by cubic B-spline control points, is integrated for unit time into the diffeomorphism
phi = exp(v) by scaling and squaring: exp(v) = exp(v / 2^n) composed with itself n times [1]_.  Coordinates are those of
:func:`torch.nn.functional.grid_sample`: -1 to 1 from the first to the last sample of each axis.

References
----------
.. [1] Arsigny et al., "A Log-Euclidean framework for statistics on diffeomorphisms", MICCAI 2006.
"""

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

__all__ = [
    "bspline_basis",
    "exponential",
    "flow_points",
    "identity_grid",
    "interpolate",
    "jacobian_determinant",
    "spline_field",
]


def bspline_basis(controls: int, samples: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Return the uniform cubic B-spline basis.

    Parameters
    ----------
    controls
        Number of control points over the axis, spread evenly with the outermost at its ends.
    samples
        Number of samples over the axis.

    Returns
    -------
    Tensor
        Weights ``(samples, controls + 2)`` float32: control points run one spacing beyond either end, so that every
        row sums to 1.

    Examples
    --------
    >>> bspline_basis(2, 3)  # at a control point, halfway, and at the other
    tensor([[0.1667, 0.6667, 0.1667, 0.0000],
            [0.0208, 0.4792, 0.4792, 0.0208],
            [0.0000, 0.1667, 0.6667, 0.1667]])
    """
    place = torch.linspace(0, controls - 1, samples, device=device)[:, None]
    distance = (place - torch.arange(-1, controls + 1, device=device)).abs()
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = (2 - distance).clamp(min=0) ** 3 / 6
    return torch.where(distance < 1, near, far)


def spline_field(controls: Tensor, samples: int) -> Tensor:
    """Interpolate control points into a smooth field.

    Parameters
    ----------
    controls
        Values at control points ``(B, C, n + 2, n + 2)``, in any unit; the outermost lie outside the image.
    samples
        Side of the field.

    Returns
    -------
    Tensor
        Field ``(B, C, samples, samples)`` in that unit, twice continuously differentiable.

    Raises
    ------
    RuntimeError
        The control points are no square.

    Examples
    --------
    >>> ramp = torch.arange(4.0).expand(1, 1, 4, 4)  # 0 and 3 lie outside
    >>> spline_field(ramp, 3)[0, 0].round(decimals=3)
    tensor([[1.0000, 1.5000, 2.0000],
            [1.0000, 1.5000, 2.0000],
            [1.0000, 1.5000, 2.0000]])
    """
    basis = bspline_basis(controls.shape[-1] - 2, samples, device=controls.device).to(controls.dtype)
    return torch.matmul(basis @ controls, basis.T)


def identity_grid(samples: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Return the identity map ``(1, samples, samples, 2)`` float32; the last axis is (column, row), each from -1 to 1.

    Examples
    --------
    >>> identity_grid(3)[0, 2]  # the last row
    tensor([[-1.,  1.],
            [ 0.,  1.],
            [ 1.,  1.]])
    """
    line = torch.linspace(-1, 1, samples, device=device)
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1)[None]


def exponential(velocity: Tensor, squarings: int = 5) -> Tensor:
    """Integrate a stationary velocity field for unit time, by scaling and squaring.

    Parameters
    ----------
    velocity
        Velocity ``(B, 2, n, n)``, (column, row), in units in which the image is 2 wide.
    squarings
        Number of compositions; the first step is ``velocity / 2**squarings``.

    Returns
    -------
    Tensor
        Displacement ``(B, 2, n, n)`` of the diffeomorphism, in that unit: phi(x) = x + displacement(x).

    Raises
    ------
    RuntimeError
        The field is no square.

    Examples
    --------
    A constant velocity shifts all points alike; under dx/dt = -x, each falls to x / e.

    >>> exponential(torch.full((1, 2, 3, 3), 0.25))[0, :, 0, 0]
    tensor([0.2500, 0.2500])
    >>> inwards = -identity_grid(5).permute(0, 3, 1, 2)
    >>> corner = torch.ones(2) + exponential(inwards, squarings=12)[0, :, -1, -1]
    >>> corner.round(decimals=3)
    tensor([0.3680, 0.3680])
    """
    grid = identity_grid(velocity.shape[-1], device=velocity.device).to(velocity.dtype)
    displacement: Tensor = velocity / 2**squarings
    for _ in range(squarings):
        displacement = displacement + _pull(displacement, grid + displacement.permute(0, 2, 3, 1))
    return displacement


def flow_points(velocity: Tensor, points: Tensor, time: Tensor, steps: int = 4) -> Tensor:
    """Carry points along a stationary velocity field in three dimensions, by the midpoint rule.

    Parameters
    ----------
    velocity
        Velocity ``(3, X, Y, Z)`` in units in which each axis of the volume is 2 long; it dies within a voxel outside.
    points
        ``(B, ..., 3)``, in the order (x, y, z), from -1 to 1 over each axis; of the velocity's dtype.
    time
        For how long, ``(B,)``, in the velocity's unit of time; negative runs backwards.
    steps
        Number of steps.

    Returns
    -------
    Tensor
        Points ``(B, ..., 3)``.

    Raises
    ------
    RuntimeError
        Velocity and points differ in dtype.

    Examples
    --------
    >>> along_x = torch.tensor([0.25, 0.0, 0.0]).reshape(3, 1, 1, 1).expand(3, 2, 2, 2)
    >>> flow_points(along_x, torch.zeros(2, 3), time=torch.tensor([2.0, -1.0]))
    tensor([[ 0.5000,  0.0000,  0.0000],
            [-0.2500,  0.0000,  0.0000]])
    """
    dt = (time / steps).reshape(-1, *[1] * (points.dim() - 1))
    for _ in range(steps):
        half = points + dt / 2 * _velocity_at(velocity, points)
        points = points + dt * _velocity_at(velocity, half)
    return points


def interpolate(volume: Tensor, points: Tensor) -> Tensor:
    """Interpolate volumes linearly; beyond them, values fall to zero within a voxel.

    Parameters
    ----------
    volume
        One volume ``(1, C, X, Y, Z)`` for all points.
    points
        ``(B, ..., 3)``, in the order (x, y, z), from -1 to 1 over each axis; of the volume's dtype.

    Returns
    -------
    Tensor
        ``(C, B, ...)``, in the volume's unit.

    Raises
    ------
    RuntimeError
        Volume and points differ in dtype, or there is more than one volume.

    Examples
    --------
    >>> volume = torch.arange(8.0).reshape(1, 1, 2, 2, 2)  # 4 x + 2 y + z
    >>> interpolate(volume, torch.tensor([[[0.0, 0, 0], [1, -1, -1], [3, 3, 3]]]))  # the middle, a corner, outside
    tensor([[[3.5000, 4.0000, 0.0000]]])
    """
    reverse = points.flip(-1).reshape(1, 1, 1, -1, 3)
    values = grid_sample(volume, reverse, padding_mode="zeros", align_corners=True)
    return values.reshape(volume.shape[1], *points.shape[:-1])


def jacobian_determinant(displacement: Tensor) -> Tensor:
    """Return by how much phi(x) = x + displacement(x) scales areas, by central differences.

    Parameters
    ----------
    displacement
        ``(B, 2, n, n)``, (column, row), in units in which the image is 2 wide; n is 2 or more.

    Returns
    -------
    Tensor
        ``(B, n, n)``; positive everywhere if and only if the map keeps its orientation.

    Examples
    --------
    >>> grid = identity_grid(3).permute(0, 3, 1, 2)
    >>> jacobian_determinant(0.5 * grid)[0, 0]  # half as long again in both directions
    tensor([2.2500, 2.2500, 2.2500])
    >>> mirror = grid * torch.tensor([-2.0, 0.0])[:, None, None]  # columns from right to left
    >>> jacobian_determinant(mirror)[0, 0]
    tensor([-1., -1., -1.])
    """
    step = 2 / (displacement.shape[-1] - 1)
    (d_row,), (d_col,) = (torch.gradient(displacement, spacing=step, dim=dim) for dim in (2, 3))
    return (1 + d_col[:, 0]) * (1 + d_row[:, 1]) - d_row[:, 0] * d_col[:, 1]


def _pull(field: Tensor, grid: Tensor) -> Tensor:
    return grid_sample(field, grid, padding_mode="border", align_corners=True)


def _velocity_at(velocity: Tensor, points: Tensor) -> Tensor:
    return interpolate(velocity[None], points).movedim(0, -1)
