"""Regions that are fixed in advance."""

from dataclasses import replace

import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError, Mesh
from neuropyro.fixed_regions import compact_regions, read_regions, with_regions
from neuropyro.models import VertexClusterMixture


def on_grid(side=8):
    flat = np.stack([*np.divmod(np.arange(side * side), side), np.zeros(side * side)], 1).astype(float)
    mesh = replace(Mesh.grid(side, side), coordinates=flat)
    values = np.random.default_rng(0).standard_normal((6, side * side))
    return Cohort(values, [0, 1, 2, 0, 1, 2], list("aaabbb"), mesh=mesh)


def test_pieces_of_a_mesh_are_compact():
    cohort = on_grid()
    regions = compact_regions(cohort, 4)
    assert sorted(set(regions)) == [0, 1, 2, 3]
    own, whole = cohort.mesh.coordinates, cohort.mesh.coordinates.var(0).sum()
    within = sum(own[regions == r].var(0).sum() * (regions == r).mean() for r in range(4))
    assert within < 0.4 * whole  # four quarters have a quarter of it


def test_without_coordinates_there_are_none():
    assert compact_regions(Cohort(np.eye(4), [0, 1, 0, 1], list("aabb"))) is None


def test_regions_of_a_file_are_numbered_from_0_and_become_clusters(tmp_path):
    cohort = on_grid()
    np.save(tmp_path / "atlas.npy", np.repeat([1007, 1001, -1, 1007], 16))
    regions = read_regions(tmp_path / "atlas.npy", cohort)
    assert regions[[0, 16, 32, 48]].tolist() == [2, 1, 0, 2]
    model = with_regions(VertexClusterMixture(5, visit_effect=True, spatial="potts"), regions)
    assert (model.n_clusters, model.visit_effect, model.spatial) == (3, True, None)
    assert model.labels == tuple(regions)


@pytest.mark.parametrize("array", [np.zeros(3, int), np.zeros(64)])
def test_other_arrays_are_refused_by_name(tmp_path, array):
    np.save(tmp_path / "atlas.npy", array)
    with pytest.raises(CohortError, match=r"atlas\.npy: .* give one whole number for each of 64 vertices"):
        read_regions(tmp_path / "atlas.npy", on_grid())


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "atlas.npy").write_text("region\n1\n")
    with pytest.raises(CohortError, match=r"atlas\.npy: not an \.npy array"):
        read_regions(tmp_path / "atlas.npy", on_grid())
