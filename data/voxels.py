"""Voxels as vertices: which are neighbours, and where they lie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["voxel_coordinates", "voxel_edges"]


def voxel_edges(voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pairs ``(E, 2)`` of voxels that share a face.

    Parameters
    ----------
    voxels
        ``(n, 3)`` distinct places in a grid, not negative.

    Examples
    --------
    >>> voxel_edges(np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [3, 0, 0]])).tolist()
    [[0, 1], [1, 2]]
    """
    if not len(voxels):
        return np.empty((0, 2), np.int64)
    shape = tuple(voxels.max(0) + 2)
    code = np.ravel_multi_index(tuple(voxels.T), shape)
    order = np.argsort(code)
    pairs = []
    for axis in range(3):
        beyond = np.ravel_multi_index(tuple((voxels + np.eye(3, dtype=np.int64)[axis]).T), shape)
        place = np.minimum(np.searchsorted(code[order], beyond), len(code) - 1)
        here = np.flatnonzero(code[order][place] == beyond)
        pairs.append(np.stack([here, order[place[here]]], 1))
    return np.concatenate(pairs)


def voxel_coordinates(voxels: NDArray[np.int64], affine: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return ``(n, 3)`` the centres in mm of voxels ``(n, 3)``; ``affine`` is ``(4, 4)``.

    Examples
    --------
    >>> affine = np.array([[2.0, 0, 0, -90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])  # of MNI152 at 2 mm
    >>> voxel_coordinates(np.array([[0, 0, 0], [45, 63, 36]]), affine).tolist()
    [[-90.0, -126.0, -72.0], [0.0, 0.0, 0.0]]
    """
    return (voxels @ affine[:3, :3].T + affine[:3, 3]).astype(np.float32)
