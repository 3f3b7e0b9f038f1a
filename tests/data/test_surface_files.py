"""Surfaces and masks in files."""

import nibabel
import numpy as np
import pytest

from neuropyro.data import CohortError, mesh_of_surfaces
from neuropyro.data.surface_files import read_label, read_surface, surface_mask
from neuropyro.data.surface_maps import write_surface_map


def write_gifti_surface(path, points, faces):
    arrays = [
        nibabel.gifti.GiftiDataArray(points.astype(np.float32), intent="NIFTI_INTENT_POINTSET"),
        nibabel.gifti.GiftiDataArray(faces.astype(np.int32), intent="NIFTI_INTENT_TRIANGLE"),
    ]
    nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), path)
    return path


def write_freesurfer_surface(path, points, faces):
    nibabel.freesurfer.write_geometry(path, points, faces)
    return path


@pytest.mark.parametrize(
    ("name", "write"), [("lh.white.surf.gii", write_gifti_surface), ("lh.white", write_freesurfer_surface)]
)
def test_surfaces_come_back(study, tmp_path, name, write):
    points, faces = study.strip(9)
    path = write(tmp_path / name, points, faces)
    read = read_surface(path)
    np.testing.assert_array_equal(read[0], points)
    np.testing.assert_array_equal(read[1], faces)
    assert read[0].dtype == np.float32
    assert read[0].dtype.isnative
    mesh = mesh_of_surfaces([path, path])
    assert mesh.n_vertices == 18
    np.testing.assert_array_equal(mesh.faces, np.concatenate([faces, faces + 9]))
    assert mesh.adjacency[:9, 9:].nnz == 0  # hemispheres do not touch
    path.write_bytes(path.read_bytes()[:70])
    with pytest.raises(CohortError, match=rf"{name}: damaged, or not a surface"):
        read_surface(path)


def test_a_map_is_no_surface(tmp_path):
    write_surface_map(tmp_path / "lh.a.func.gii", np.ones((1, 4), np.float32), ["a"], "lh")
    with pytest.raises(CohortError, match=r"lh\.a\.func\.gii: no surface"):
        read_surface(tmp_path / "lh.a.func.gii")


def test_a_triangle_beyond_the_vertices(study, tmp_path):
    points, faces = study.strip(9)
    path = write_gifti_surface(tmp_path / "lh.surf.gii", points[:6], faces)
    with pytest.raises(CohortError, match=r"lh\.surf\.gii: a triangle points at vertex 8 of 6"):
        mesh_of_surfaces([path])


def write_label(path, vertices):
    lines = [f"#!ascii label\n{len(vertices)}\n", *(f"{v} 0.0 0.0 0.0 0.0\n" for v in vertices)]
    path.write_text("".join(lines))
    return path


def test_masks_in_every_form(tmp_path):
    keep = np.array([True, False, True, True, False, True, True])
    write_label(tmp_path / "lh.cortex.label", [0, 2, 3])
    assert read_label(tmp_path / "lh.cortex.label").tolist() == [0, 2, 3]
    write_surface_map(tmp_path / "rh.cortex.mgh", np.array([[0, 1, 1]], np.float32), ["m"], "rh")
    files = {"lh": tmp_path / "lh.cortex.label", "rh": tmp_path / "rh.cortex.mgh"}
    for mask in (keep, keep.astype(int), [0, 2, 3, 5, 6], files):
        assert surface_mask(mask, ("lh", "rh"), (4, 3)).tolist() == keep.tolist()
    write_label(tmp_path / "rh.cortex.label", [1, 2])
    pattern = tmp_path / "{hemisphere}.cortex.label"
    assert surface_mask(pattern, ("lh", "rh"), (4, 3)).tolist() == keep.tolist()


def test_masks_refused(tmp_path):
    with pytest.raises(CohortError, match="mask: it has 3 entries, but the maps have 7 vertices"):
        surface_mask([True, False, True], ("lh", "rh"), (4, 3))
    with pytest.raises(CohortError, match=r"cortex\.label: put \{hemisphere\} into the masks' name"):
        surface_mask(tmp_path / "cortex.label", ("lh", "rh"), (4, 3))
    with pytest.raises(CohortError, match="mask: it names vertices beyond the maps' 7"):
        surface_mask([8], ("lh", "rh"), (4, 3))
    with pytest.raises(CohortError, match="mask: it names vertices beyond the maps' 7"):
        surface_mask([-1], ("lh", "rh"), (4, 3))
    with pytest.raises(CohortError, match=r"mask: vertices are whole numbers, .*, not float64"):
        surface_mask([0.5], ("lh", "rh"), (4, 3))
    with pytest.raises(CohortError, match="mask: it keeps no vertex"):
        surface_mask(np.zeros(7, bool), ("lh", "rh"), (4, 3))
    label = write_label(tmp_path / "lh.cortex.label", [9])
    with pytest.raises(CohortError, match=r"lh\.cortex\.label: it names vertices beyond the maps' 4"):
        surface_mask({"lh": label}, ("lh",), (4,))
    with pytest.raises(CohortError, match="mask: none for hemisphere rh"):
        surface_mask({"lh": label}, ("lh", "rh"), (4, 3))
    write_surface_map(tmp_path / "lh.m.mgh", np.ones((1, 5), np.float32), ["m"], "lh")
    with pytest.raises(CohortError, match=r"lh\.m\.mgh: it has 5 values, but the maps have 4 vertices"):
        surface_mask({"lh": tmp_path / "lh.m.mgh"}, ("lh",), (4,))
    label.write_text("no label")
    with pytest.raises(CohortError, match=r"lh\.cortex\.label: damaged, or not a FreeSurfer label"):
        read_label(label)
