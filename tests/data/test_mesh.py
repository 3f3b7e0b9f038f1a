"""Meshes: edges of faces, neighbours, subsets, errors."""

import numpy as np
import pytest

from neuropyro.data import CohortError, Mesh, cortex_mesh

SQUARE = np.array([[0, 1, 2], [0, 2, 3]])  # two triangles that share the edge 0-2


def mesh() -> Mesh:
    xyz = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    return Mesh(4, faces=SQUARE, coordinates=xyz, template="fsaverage5", template_index=np.array([3, 4, 7, 9]))


def test_edges_of_faces_come_once_each():
    assert mesh().edges.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]]
    twice = Mesh(3, edges=[[2, 1], [1, 2], [0, 1]])
    assert twice.edges.tolist() == [[0, 1], [1, 2]]


def test_adjacency_is_symmetric_with_one_for_each_pair():
    adjacency = mesh().adjacency.toarray()
    expected = np.array([[0, 1, 1, 1], [1, 0, 1, 0], [1, 1, 0, 1], [1, 0, 1, 0]])
    np.testing.assert_array_equal(adjacency, expected)


def test_subset_renumbers():
    part = mesh().subset([3, 2, 0])
    assert part.n_vertices == 3
    assert part.faces.tolist() == [[2, 1, 0]]
    assert part.edges.tolist() == [[0, 1], [0, 2], [1, 2]]
    assert part.template == "fsaverage5"
    assert part.template_index.tolist() == [9, 7, 3]
    np.testing.assert_array_equal(part.coordinates, mesh().coordinates[[3, 2, 0]])
    alone = mesh().subset([1, 3])
    assert alone.edges.shape == (0, 2)
    assert alone.faces.shape == (0, 3)


def test_it_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        mesh().edges[0] = 0


def test_repr():
    assert repr(mesh()) == "Mesh(4 vertices, 5 edges, of fsaverage5)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give `edges`.* or `faces`"),
        ({"edges": [[0, 1, 2]]}, r"`edges` must be whole numbers of shape \(any, 2\)"),
        ({"edges": [[0.0, 1.0]]}, "`edges` must be whole numbers"),
        ({"faces": [[0, 1]]}, r"`faces` must be whole numbers of shape \(any, 3\)"),
        ({"edges": [[0, 4]]}, "`edges` points at vertex 4, but `values` has 4 columns"),
        ({"edges": [[-1, 2]]}, "`edges` points at vertex -1"),
        ({"faces": [[0, 1, 9]]}, "`faces` points at vertex 9"),
        ({"edges": [[0, 1]], "coordinates": np.ones((3, 3))}, r"`coordinates` has shape \(3, 3\), but there are 4"),
        ({"edges": [[0, 1]], "coordinates": np.ones((4, 2))}, r"`coordinates` has shape \(4, 2\)"),
        ({"edges": [[0, 1]], "template_index": [1, 2]}, r"`template_index` has shape \(2,\)"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(CohortError, match=message):
        Mesh(4, **arguments)


def test_neighbours_never_share_a_colour():
    rng = np.random.default_rng(0)
    tangled = Mesh(60, edges=rng.integers(60, size=(300, 2)))
    for coloured in (mesh(), Mesh.grid(4, 5), tangled, cortex_mesh(("left",))):
        i, j = coloured.edges[coloured.edges[:, 0] != coloured.edges[:, 1]].T
        colours = coloured.colours
        assert (colours[i] != colours[j]).all()
        assert set(colours) == set(range(colours.max() + 1))
        assert colours.max() <= np.bincount(np.r_[i, j]).max()  # greedy: at most one more than the most neighbours
    assert Mesh.grid(4, 5).colours.max() == 1
    assert cortex_mesh(("left",)).colours.max() <= 6


def test_a_grid_has_neighbours_above_below_left_and_right():
    grid = Mesh.grid(3, 4)
    assert grid.n_vertices == 12
    i, j = grid.edges.T
    steps = {(b // 4 - a // 4, b % 4 - a % 4) for a, b in zip(i, j, strict=True)}
    assert steps == {(0, 1), (1, 0)}
    assert len(grid.edges) == 3 * 3 + 2 * 4
