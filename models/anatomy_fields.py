r"""Smooth Gaussian fields on a surface, spanned by few functions, so that their algebra is cheap.

.. math::  g = \sum_m B_m u_m, \qquad u \sim \mathrm{Normal}(0, I_M)

The functions are smooth bumps around M vertices that lie far from each other; rows of B have norm 1, so that g has
variance 1 everywhere.  With B = Q diag(d) R', the covariance s^2 B B' + w^2 I of a field with white noise is diagonal
in Q: :math:`(s^2 B B' + w^2 I)^{-1} = w^{-2} (I - Q \,\mathrm{diag}(s^2 d^2 / (s^2 d^2 + w^2))\, Q')`.

References
----------
Higdon, "Space and space-time modeling using process convolutions", 2002 (fields as smoothed noise on few points);
Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985 (points far from each other).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.data import CohortError, Mesh
from neuropyro.data.surfaces import smoothed

__all__ = ["SmoothField"]

SMALLEST = 1e-10  # of the largest eigenvalue of B'B; below, it is rounding


@dataclass(frozen=True, eq=False)
class SmoothField:
    """Fields of unit variance.

    Parameters
    ----------
    basis
        B, ``(vertices, M)``.

    Examples
    --------
    >>> line = np.arange(30)
    >>> points = np.stack([4.0 * line, 0 * line, 0 * line], 1)  # mm
    >>> field = SmoothField.on_mesh(Mesh(30, edges=np.stack([line[:-1], line[1:]], 1), coordinates=points), knots=8)
    >>> covariance = field.basis @ field.basis.mT
    >>> bool((covariance.diagonal() - 1).abs().max() < 1e-5), bool(covariance[0, 1] > 0.9 > 0.1 > covariance[0, 29])
    (True, True)
    """

    basis: Tensor

    @classmethod
    def on_mesh(cls, mesh: Mesh, knots: int = 400, fwhm: float = 20.0) -> SmoothField:
        """Span it by bumps on a mesh.

        Parameters
        ----------
        mesh
            With coordinates.
        knots
            M, at most.
        fwhm
            Full width at half maximum of a bump, mm.

        Raises
        ------
        CohortError
            Where the mesh has no coordinates.
        """
        if mesh.coordinates is None:
            raise CohortError("mesh: smooth fields need `coordinates` in mm")
        centres = _far_apart(mesh.coordinates, min(knots, mesh.n_vertices))
        points = np.zeros((mesh.n_vertices, len(centres)), np.float32)
        points[centres, np.arange(len(centres))] = 1
        bumps = smoothed(mesh, points, fwhm)
        norm = np.linalg.norm(bumps, axis=1, keepdims=True)
        far = np.flatnonzero(norm[:, 0] < 1e-6 * norm.max())
        bumps[far, np.arange(len(far)) % bumps.shape[1]] = 1  # a vertex that no bump reaches moves with some other
        return cls(torch.from_numpy(bumps / np.maximum(np.linalg.norm(bumps, axis=1, keepdims=True), 1e-30)))

    @property
    def size(self) -> int:
        """M."""
        return self.basis.shape[1]

    def __call__(self, u: Tensor) -> Tensor:
        """Fields ``(*, vertices)`` of numbers u ``(*, M)``."""
        return u.to(self.basis) @ self.basis.mT

    @cached_property
    def spectrum(self) -> tuple[Tensor, Tensor, Tensor]:
        """Q ``(vertices, M)``, d ``(M,)`` and R ``(M, M)`` of B = Q diag(d) R', in float64; Q is 0 where d is."""
        basis = self.basis.double()
        squares, r = torch.linalg.eigh(basis.mT @ basis)
        d = torch.where(squares > SMALLEST * squares[-1], squares, 0).sqrt()
        return basis @ r * torch.where(d > 0, 1 / d, 0), d, r

    def at(self, vertices: Tensor) -> SmoothField:
        """Return the same fields, seen at some of the vertices: ``(vertices,)`` bool, or their numbers."""
        return SmoothField(self.basis[vertices])


def _far_apart(points: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Numbers of ``count`` of the points ``(n, 3)``: each the one that is farthest from all before it."""
    chosen = np.zeros(count, np.int64)
    distance = np.full(len(points), np.inf, np.float32)
    for k in range(1, count):
        distance = np.minimum(distance, ((points - points[chosen[k - 1]]) ** 2).sum(1))
        chosen[k] = distance.argmax()
    return chosen
