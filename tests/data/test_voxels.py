"""Neighbours of voxels, against a search over all pairs."""

import numpy as np

from neuropyro.data.voxels import voxel_coordinates, voxel_edges


def test_edges_are_the_pairs_at_distance_one():
    rng = np.random.default_rng(0)
    voxels = np.argwhere(rng.random((5, 4, 6)) < 0.6)
    voxels = voxels[rng.permutation(len(voxels))]  # in any order
    distance = np.abs(voxels[:, None] - voxels[None]).sum(-1)
    pairs = {tuple(sorted(pair)) for pair in np.argwhere(distance == 1).tolist()}
    edges = voxel_edges(voxels)
    assert {tuple(sorted(edge)) for edge in edges.tolist()} == pairs
    assert len(edges) == len(pairs)
    assert voxel_edges(np.empty((0, 3), int)).shape == (0, 2)


def test_coordinates_by_the_affine():
    affine = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1]])
    np.testing.assert_array_equal(
        voxel_coordinates(np.array([[0, 0, 0], [1, 2, 3]]), affine), [[90, -126, -72], [88, -122, -66]]
    )
