"""CIFTI dense scalars: cortex and voxels in one cohort, and back."""

import nibabel
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, ScalarAxis, SeriesAxis

from neuropyro.data import Cohort, CohortError
from neuropyro.data.missing_maps import MissingMapsWarning

PATTERN = "{subject}.{session}.thickness.dscalar.nii"
AFFINE = np.diag([2.0, 2, 2, 1])
PUTAMEN = np.array([[0, 0, 0], [0, 0, 1], [2, 2, 2]])


def brain_models(study, voxels=True):
    """Axis of both cortices without their wall and, below them, three voxels."""
    axis = None
    for h, name in (("lh", "CORTEX_LEFT"), ("rh", "CORTEX_RIGHT")):
        cortex = np.isin(np.arange(study.sizes[h]), study.wall[h], invert=True)
        part = BrainModelAxis.from_mask(cortex, name=name)
        axis = part if axis is None else axis + part
    if not voxels:
        return axis
    grid = np.zeros((3, 3, 3), bool)
    grid[tuple(PUTAMEN.T)] = True
    return axis + BrainModelAxis.from_mask(grid, name="PUTAMEN_LEFT", affine=AFFINE)


def save(path, values, axis):
    image = Cifti2Image(
        np.asarray(values, np.float32), header=(ScalarAxis([f"map {i}" for i in range(len(values))]), axis)
    )
    image.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_SCALARS")
    nibabel.save(image, path)


@pytest.fixture
def values(study, tmp_path):
    """Values (visits, points), which lie in a folder with their table."""
    cortex = study.expected().values
    made = np.concatenate([cortex, np.random.default_rng(2).normal(1, 0.1, (5, 3)).astype(np.float32)], 1)
    for row, (subject, session) in enumerate(zip(study.subjects, study.sessions, strict=True)):
        save(tmp_path / PATTERN.format(subject=subject, session=session), made[row : row + 1], brain_models(study))
    study.table(tmp_path)
    return made


def surfaces(study, folder):
    for h, n in study.sizes.items():
        points, faces = study.strip(n)
        arrays = [
            nibabel.gifti.GiftiDataArray(points, intent="NIFTI_INTENT_POINTSET"),
            nibabel.gifti.GiftiDataArray(faces.astype(np.int32), intent="NIFTI_INTENT_TRIANGLE"),
        ]
        nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), folder / f"{h}.surf.gii")
    return {h: folder / f"{h}.surf.gii" for h in study.sizes}


def read(folder, pattern=PATTERN, **options) -> Cohort:
    return Cohort.from_cifti(folder, folder / "visits.csv", pattern, **options)


def test_cortex_and_voxels_are_columns(study, values, tmp_path):
    cohort = read(tmp_path, surfaces=surfaces(study, tmp_path))
    np.testing.assert_array_equal(cohort.values, values)
    assert repr(cohort.space) == ".dscalar.nii maps of cortex_left, cortex_right, putamen_left"
    strip = study.mesh()
    np.testing.assert_array_equal(cohort.mesh.edges[:-1], strip.edges)
    assert cohort.mesh.edges[-1].tolist() == [24, 25]  # the two voxels that share a face
    np.testing.assert_array_equal(cohort.mesh.coordinates, np.concatenate([strip.coordinates, 2 * PUTAMEN]))


def test_a_cortex_alone_is_the_cohort_of_the_arrays(study, tmp_path):
    for row, (subject, session) in enumerate(zip(study.subjects, study.sessions, strict=True)):
        path = tmp_path / PATTERN.format(subject=subject, session=session)
        save(path, study.expected().values[row : row + 1], brain_models(study, voxels=False))
    study.table(tmp_path)
    cohort = read(tmp_path, surfaces=surfaces(study, tmp_path))
    ours = study.expected(mesh=study.mesh())
    np.testing.assert_array_equal(cohort.values, ours.values)
    np.testing.assert_array_equal(cohort.mesh.edges, ours.mesh.edges)
    assert read(tmp_path).hash == study.expected().hash


def test_results_come_back_in_nibabel_and_nilearn(study, values, tmp_path):
    from nilearn.image import load_img

    cohort = read(tmp_path)
    onset = np.linspace(1, 2, 27)
    path = cohort.space.write({"onset": onset, "speed": -onset}, tmp_path / "result")[0]
    assert path.name == "result.dscalar.nii"
    image = nibabel.load(path)
    assert isinstance(image, Cifti2Image)
    assert image.nifti_header.get_intent()[0] == "ConnDenseScalar"
    assert image.header.get_axis(0).name.tolist() == ["onset", "speed"]
    assert image.header.get_axis(1) == brain_models(study)
    np.testing.assert_allclose(image.get_fdata(), np.stack([onset, -onset]), rtol=1e-6)
    assert load_img(path).shape == (2, 27)
    # What the cohort has no column for stays in the file, and says so.
    part = cohort.subset(vertices=[0, 26])
    part.space.write({"onset": [1.0, 2.0]}, tmp_path / "part", outside=-1)
    assert nibabel.load(tmp_path / "part.dscalar.nii").get_fdata()[0].tolist() == [1, *(25 * [-1]), 2]


def test_a_space_comes_back_from_an_npz_file(study, values, tmp_path):
    read(tmp_path).save(tmp_path / "c.npz")
    loaded = Cohort.load(tmp_path / "c.npz")
    assert loaded.space.axis() == brain_models(study)
    assert loaded.hash == read(tmp_path).hash


def test_all_visits_in_one_file_and_a_mask(study, values, tmp_path):
    save(tmp_path / "all.dscalar.nii", values, brain_models(study))
    cohort = read(tmp_path, "all.dscalar.nii", mask=np.arange(27) < 24)
    np.testing.assert_array_equal(cohort.values, values[:, :24])
    save(tmp_path / "mask.dscalar.nii", np.arange(27)[None] < 3, brain_models(study))
    few = read(tmp_path, "all.dscalar.nii", mask=tmp_path / "mask.dscalar.nii")
    np.testing.assert_array_equal(few.values, values[:, :3])
    with pytest.raises(CohortError, match="mask: it has 4 entries, but the maps have 27"):
        read(tmp_path, "all.dscalar.nii", mask=np.ones(4, bool))


def test_errors_name_the_file(study, values, tmp_path):
    path = tmp_path / "s2.m24.thickness.dscalar.nii"
    save(path, values[:1, :24], brain_models(study, voxels=False))
    with pytest.raises(
        CohortError, match=r"s2\.m24\.thickness\.dscalar\.nii: its brain models are not those of .*s1\.m00"
    ):
        read(tmp_path)
    save(path, values[:2], brain_models(study))
    with pytest.raises(CohortError, match=r"s2\.m24\.thickness\.dscalar\.nii: it has 2 maps, not one map"):
        read(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:700])
    with pytest.raises(CohortError, match=r"s2\.m24\.thickness\.dscalar\.nii: damaged, or not a CIFTI file"):
        read(tmp_path)
    path.write_bytes(content[:-40])
    with pytest.raises(CohortError, match=r"s2\.m24\.thickness\.dscalar\.nii: damaged, or not a CIFTI file"):
        read(tmp_path)
    nibabel.save(nibabel.Nifti1Image(np.zeros((2, 2, 2)), np.eye(4)), tmp_path / "volume.nii")
    with pytest.raises(CohortError, match=r"volume\.nii: not a CIFTI file; give \.dscalar\.nii"):
        read(tmp_path, "volume.nii")
    swapped = Cifti2Image(np.zeros((27, 2), np.float32), header=(brain_models(study), SeriesAxis(0, 1, 2)))
    nibabel.save(swapped, tmp_path / "swapped.dscalar.nii")
    with pytest.raises(CohortError, match=r"swapped.*: its axes are BrainModelAxis x SeriesAxis, not maps x brain"):
        read(tmp_path, "swapped.dscalar.nii")


def test_surfaces_must_be_those_of_the_maps(study, values, tmp_path):
    files = surfaces(study, tmp_path)
    with pytest.raises(CohortError, match="surfaces: none for CIFTI_STRUCTURE_CORTEX_RIGHT"):
        read(tmp_path, surfaces={"L": files["lh"]})
    with pytest.raises(
        CohortError, match=r"rh\.surf\.gii: it has 15 vertices, but CIFTI_STRUCTURE_CORTEX_LEFT .* has 12"
    ):
        read(tmp_path, surfaces={"L": files["rh"]})


def test_a_hemisphere_that_holds_nothing_is_named(study, values, tmp_path):
    axis = brain_models(study)
    left = axis.name == "CIFTI_STRUCTURE_CORTEX_LEFT"
    path = tmp_path / PATTERN.format(subject=study.subjects[2], session=study.sessions[2])
    save(path, np.where(left, np.nan, values[2])[None], axis)
    with pytest.warns(MissingMapsWarning) as caught:
        read(tmp_path)
    assert str(caught[0].message).startswith(f"{path} (left hemisphere): NaN throughout, and taken as missing")
    save(path, np.full((1, len(left)), np.nan), axis)
    with pytest.warns(MissingMapsWarning) as caught:
        read(tmp_path)
    assert str(caught[0].message).startswith(f"{path}: NaN throughout")
