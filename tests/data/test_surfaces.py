"""The bundled cortex, and the smoothness and variance of noise on it."""

import numpy as np
import pytest

from neuropyro.data import CohortError, Mesh, cortex_mesh
from neuropyro.data.surfaces import cortical_thickness, smooth_noise, smoothing_steps, template_surface


@pytest.fixture(scope="module")
def left() -> Mesh:
    return cortex_mesh(("left",))


def grid(side: int, spacing: float = 1.0) -> Mesh:
    """A triangulated square, ``spacing`` mm between neighbours along the axes."""
    row, column = (x.ravel() for x in np.mgrid[:side, :side])
    corner = (np.arange(side**2).reshape(side, side)[:-1, :-1]).ravel()
    faces = np.concatenate(
        [
            np.stack([corner, corner + 1, corner + side], 1),
            np.stack([corner + 1, corner + side + 1, corner + side], 1),
        ]
    )
    return Mesh(side**2, faces=faces, coordinates=spacing * np.stack([row, column, 0 * row], 1))


def measured_fwhm(mesh: Mesh, maps: np.ndarray) -> float:
    """FWHM in mm from the correlation of neighbours, as FSL's smoothest and FreeSurfer's mris_fwhm do.

    White noise smoothed by a Gaussian of variance v has correlation exp(-r^2 / 4 v) at distance r.
    """
    i, j = mesh.edges.T
    r = np.linalg.norm(mesh.coordinates[i] - mesh.coordinates[j], axis=1)
    correlation = (maps[:, i] * maps[:, j]).mean() / maps.var()
    variance = -(r**2).mean() / (4 * np.log(correlation))
    return float(np.sqrt(8 * np.log(2) * variance))


def test_the_cortex_leaves_the_medial_wall_out():
    mesh = cortex_mesh()
    assert mesh.template == "fsaverage5"
    thickness = cortical_thickness()
    assert thickness.shape == (20484,)
    assert (thickness[mesh.template_index] > 0.1).all()
    left_out = np.setdiff1d(np.arange(20484), mesh.template_index)
    assert (thickness[left_out] <= 0.1).all()
    assert 0.03 < len(left_out) / 20484 < 0.1  # the wall is some 5 % of a hemisphere


def test_hemispheres_do_not_touch(left):
    both, right = cortex_mesh(), cortex_mesh(("right",))
    assert both.n_vertices == left.n_vertices + right.n_vertices
    assert len(both.edges) == len(left.edges) + len(right.edges)
    assert (left.template_index < 10242).all()
    assert (right.template_index >= 10242).all()
    assert left.coordinates[:, 0].mean() < 0 < right.coordinates[:, 0].mean()


def test_coordinates_are_those_of_the_white_surface(left):
    coordinates, faces = template_surface("white_matter", "left")
    assert coordinates.shape == (10242, 3)
    assert faces.shape == (20480, 3)
    np.testing.assert_array_equal(left.coordinates, coordinates[left.template_index])


def test_another_template_is_refused():
    with pytest.raises(CohortError, match="mesh: template 'fsaverage6' is not bundled; only fsaverage5 is"):
        template_surface("pial", "left", "fsaverage6")


@pytest.mark.parametrize("fwhm", [8.0, 12.0])
def test_fwhm_on_the_cortex(left, fwhm):
    maps = smooth_noise(left, 60, fwhm, np.random.default_rng(0))
    assert measured_fwhm(left, maps) == pytest.approx(fwhm, rel=0.15)


def test_fwhm_on_a_grid():
    plane = grid(60)
    maps = smooth_noise(plane, 40, 8.0, np.random.default_rng(0))
    assert measured_fwhm(plane, maps) == pytest.approx(8.0, rel=0.15)


def test_variance_is_one_at_every_vertex():
    plane = grid(12)  # with corners and edges, where a kernel is cut off
    maps = smooth_noise(plane, 6000, 4.0, np.random.default_rng(1))
    assert maps.shape == (6000, 144)
    # Relative standard error of a variance over 6000 draws: sqrt(2 / 6000) = .018; the largest of 144 within five.
    np.testing.assert_allclose(maps.var(0), 1, atol=0.09)
    np.testing.assert_allclose(maps.mean(0), 0, atol=5 / 6000**0.5)


def test_no_smoothing_is_white_noise():
    maps = smooth_noise(grid(20), 500, 0, np.random.default_rng(0))
    i, j = grid(20).edges.T
    assert abs((maps[:, i] * maps[:, j]).mean()) < 0.02
    assert maps.var() == pytest.approx(1, abs=0.02)
    assert smooth_noise(grid(20), 0, 5.0, np.random.default_rng(0)).shape == (0, 400)


def test_steps_grow_with_the_square_of_the_width():
    plane = grid(30)
    assert smoothing_steps(plane, 20.0) == pytest.approx(4 * smoothing_steps(plane, 10.0), abs=2)
    assert smoothing_steps(grid(30, spacing=2.0), 20.0) == smoothing_steps(plane, 10.0)
    assert smoothing_steps(plane, 0.01) == 1


def test_smoothing_needs_coordinates():
    with pytest.raises(CohortError, match="mesh: smooth noise needs `coordinates` in mm"):
        smooth_noise(Mesh(2, edges=[[0, 1]]), 1, 5.0, np.random.default_rng(0))
    with pytest.raises(CohortError, match="mesh: `coordinates` are the same at all vertices"):
        smoothing_steps(Mesh(2, edges=[[0, 1]], coordinates=np.ones((2, 3))), 5.0)
