"""Where columns lie in maps: kept with the cohort, in parts of it and in its files."""

import dataclasses

import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError, Mesh
from neuropyro.data.map_space import filled_maps
from neuropyro.data.nifti_volumes import VolumeSpace
from neuropyro.data.surface_maps import read_surface_map
from neuropyro.data.surface_space import SurfaceSpace, template_space

SPACES = {
    "surface": SurfaceSpace(".mgh", ("lh", "rh"), (4, 3), np.array([0, 2, 5, 6])),
    "volume": VolumeSpace(".nii.gz", (2, 2, 2), np.diag([2.0, 2, 2, 1]), np.array([1, 2, 5, 7])),
}


def cohort(space=None, mesh=None) -> Cohort:
    return Cohort(np.arange(12.0).reshape(3, 4), [1, 2, 3], ["a", "a", "b"], space=space, mesh=mesh)


@pytest.mark.parametrize("kind", SPACES)
def test_it_comes_back_from_a_file_and_is_no_part_of_the_hash(tmp_path, kind):
    own = cohort(SPACES[kind])
    own.save(tmp_path / "c.npz")
    loaded = Cohort.load(tmp_path / "c.npz")
    assert type(loaded.space) is type(SPACES[kind])
    for field in dataclasses.fields(SPACES[kind]):
        np.testing.assert_array_equal(getattr(loaded.space, field.name), getattr(SPACES[kind], field.name))
    assert loaded.hash == own.hash == cohort().hash
    assert repr(own.space) in repr(loaded)


@pytest.mark.parametrize("kind", SPACES)
def test_parts_of_a_cohort_know_their_places(kind):
    part = cohort(SPACES[kind]).subset(vertices=[0, 3], visits=[0, 1])
    assert part.space.index.tolist() == SPACES[kind].index[[0, 3]].tolist()


def test_places_must_be_those_of_the_columns():
    with pytest.raises(CohortError, match="space: 3 places for 4 columns of `values`"):
        cohort(SPACES["surface"].subset(np.array([0, 1, 2])))


def test_a_file_with_another_or_half_a_space(tmp_path):
    arrays = cohort(SPACES["surface"]).arrays()
    np.savez(tmp_path / "c.npz", **arrays | {"space_kind": np.array("tract")})
    with pytest.raises(CohortError, match=r"c\.npz: space_kind: 'tract' is not known; known are surface"):
        Cohort.load(tmp_path / "c.npz")
    np.savez(tmp_path / "c.npz", **{name: a for name, a in arrays.items() if name != "space_sizes"})
    with pytest.raises(CohortError, match=r"c\.npz: space: an array is missing .*sizes"):
        Cohort.load(tmp_path / "c.npz")


def test_what_is_outside():
    filled = filled_maps({"a": [1.0, 2], "b": [3.0, 4]}, np.array([3, 1]), 5, outside=-1)
    assert filled.tolist() == [[-1, 2, -1, 1, -1], [-1, 4, -1, 3, -1]]
    assert filled.dtype == np.float32


def test_a_templates_mesh_has_gifti_maps(tmp_path):
    mesh = Mesh(4, edges=[[0, 1]], template="fsaverage5", template_index=np.array([5, 9, 10242, 20483]))
    written = cohort(mesh=mesh).write_maps({"onset": [1.0, 2, 3, 4]}, tmp_path / "onset", outside=np.nan)
    assert [p.name for p in written] == ["lh.onset.shape.gii", "rh.onset.shape.gii"]
    left, right = (read_surface_map(path)[0] for path in written)
    assert np.flatnonzero(~np.isnan(left)).tolist() == [5, 9]
    assert right[[0, 10241]].tolist() == [3, 4]
    assert (
        cohort(space=SPACES["surface"], mesh=mesh).write_maps({"onset": np.ones(4)}, tmp_path / "a")[0].suffix == ".mgh"
    )
    assert cohort().write_maps({"onset": np.ones(4)}, tmp_path / "none") == []
    assert not list(tmp_path.glob("*none*"))
    with pytest.raises(CohortError, match="mesh: template 'fs_LR' is not known"):
        template_space(Mesh(1, edges=np.empty((0, 2), int), template="fs_LR", template_index=np.array([0])))
    with pytest.raises(CohortError, match="mesh: `template_index` names vertices beyond the 20484 of fsaverage5"):
        template_space(Mesh(1, edges=np.empty((0, 2), int), template="fsaverage5", template_index=np.array([20484])))
