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
        Values at control points ``(B, C, n + 2, n + 2)``; the outermost lie outside the image.
    samples
        Side of the field.

    Returns
    -------
    Tensor
        Field ``(B, C, samples, samples)``, twice continuously differentiable.
    """
    basis = bspline_basis(controls.shape[-1] - 2, samples, device=controls.device).to(controls.dtype)
    return torch.matmul(basis @ controls, basis.T)


def identity_grid(samples: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Return the identity map ``(1, samples, samples, 2)``; the last axis is (column, row), each from -1 to 1."""
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
        Displacement ``(B, 2, n, n)`` of the diffeomorphism: phi(x) = x + displacement(x).
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
        Velocity ``(3, X, Y, Z)`` in units in which each axis of the volume is 2 long; no flow beyond the volume.
    points
        ``(B, ..., 3)``, from -1 to 1 over each axis.
    time
        For how long, ``(B,)``; negative runs backwards.
    steps
        Number of steps.

    Returns
    -------
    Tensor
        Points ``(B, ..., 3)``.
    """
    dt = (time / steps).reshape(-1, *[1] * (points.dim() - 1))
    for _ in range(steps):
        half = points + dt / 2 * _velocity_at(velocity, points)
        points = points + dt * _velocity_at(velocity, half)
    return points


def interpolate(volume: Tensor, points: Tensor) -> Tensor:
    """Interpolate volumes linearly; zero outside.

    Parameters
    ----------
    volume
        One volume ``(1, C, X, Y, Z)`` for all points.
    points
        ``(B, ..., 3)``, in the order (x, y, z), from -1 to 1 over each axis.

    Returns
    -------
    Tensor
        ``(C, B, ...)``.
    """
    reverse = points.flip(-1).reshape(1, 1, 1, -1, 3)
    values = grid_sample(volume, reverse, padding_mode="zeros", align_corners=True)
    return values.reshape(volume.shape[1], *points.shape[:-1])


def jacobian_determinant(displacement: Tensor) -> Tensor:
    """Return by how much phi(x) = x + displacement(x) scales areas, by central differences.

    Parameters
    ----------
    displacement
        ``(B, 2, n, n)``, (column, row), in units in which the image is 2 wide.

    Returns
    -------
    Tensor
        ``(B, n, n)``; positive everywhere if and only if the map keeps its orientation.
    """
    step = 2 / (displacement.shape[-1] - 1)
    (d_row,), (d_col,) = (torch.gradient(displacement, spacing=step, dim=dim) for dim in (2, 3))
    return (1 + d_col[:, 0]) * (1 + d_row[:, 1]) - d_row[:, 0] * d_col[:, 1]


def _pull(field: Tensor, grid: Tensor) -> Tensor:
    return grid_sample(field, grid, padding_mode="border", align_corners=True)


def _velocity_at(velocity: Tensor, points: Tensor) -> Tensor:
    return interpolate(velocity[None], points).movedim(0, -1)
