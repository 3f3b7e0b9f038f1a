"""NIfTI volumes within a mask: the cohort of the arrays, and back."""

import nibabel
import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError

SHAPE = (4, 3, 5)
AFFINE = np.array([[-2.0, 0, 0, 10], [0, 2, 0, -20], [0, 0, 2.5, -30], [0, 0, 0, 1]])
PATTERN = "{subject}_{session}.nii.gz"


def save(path, array, affine=AFFINE):
    nibabel.save(nibabel.Nifti1Image(np.asarray(array), affine), path)
    return path


@pytest.fixture
def volumes(study, tmp_path):
    """Volumes (visits, x, y, z), which lie in a folder with their table and mask."""
    rng = np.random.default_rng(1)
    made = rng.normal(1, 0.2, (5, *SHAPE)).astype(np.float32)
    mask = rng.random(SHAPE) < 0.6
    for row, (subject, session) in enumerate(zip(study.subjects, study.sessions, strict=True)):
        save(tmp_path / PATTERN.format(subject=subject, session=session), made[row])
    save(tmp_path / "mask.nii.gz", mask.astype(np.uint8))
    study.table(tmp_path)
    return made, mask


def read(folder, pattern=PATTERN, **options) -> Cohort:
    return Cohort.from_nifti(folder, folder / "visits.csv", folder / "mask.nii.gz", pattern, **options)


def test_the_voxels_of_the_mask_are_the_columns(study, volumes, tmp_path):
    made, mask = volumes
    cohort = read(tmp_path)
    np.testing.assert_array_equal(cohort.values, made[:, mask])
    np.testing.assert_array_equal(cohort.time, study.columns()["age"])
    voxels = np.argwhere(mask)
    np.testing.assert_allclose(cohort.mesh.coordinates, nibabel.affines.apply_affine(AFFINE, voxels), atol=1e-5)
    i, j = cohort.mesh.edges.T
    assert (np.abs(voxels[i] - voxels[j]).sum(1) == 1).all()


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_all_visits_in_one_file_memory_mapped(volumes, tmp_path, suffix):
    made, mask = volumes
    save(tmp_path / f"all{suffix}", np.moveaxis(made, 0, -1))
    cohort = read(tmp_path, f"all{suffix}", memory_map=tmp_path / "values.npy")
    np.testing.assert_array_equal(cohort.values, made[:, mask])
    assert isinstance(cohort.values, np.memmap)
    assert cohort.space.suffix == suffix


def test_scaled_integers_are_read_in_their_unit(study, volumes, tmp_path):
    made, mask = volumes
    image = nibabel.Nifti1Image(made[0], AFFINE)
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "s1_m00.nii.gz")
    np.testing.assert_allclose(read(tmp_path).values[0], made[0][mask], atol=2e-5)  # a half step of int16


def test_results_go_back_on_the_same_grid(volumes, tmp_path):
    from nilearn.image import load_img
    from nilearn.masking import apply_mask

    _, mask = volumes
    cohort = read(tmp_path)
    onset = np.linspace(1, 2, cohort.n_vertices)
    written = cohort.space.write({"onset": onset, "speed": -onset}, tmp_path / "result", outside=np.nan)
    assert [p.name for p in written] == ["result.nii.gz", "result.frames.txt"]
    image = load_img(written[0])
    assert image.shape == (*SHAPE, 2)
    np.testing.assert_array_equal(image.affine, AFFINE)
    data = image.get_fdata()
    np.testing.assert_allclose(data[mask], np.stack([onset, -onset], 1), rtol=1e-6)
    assert np.isnan(data[~mask]).all()
    zeros = cohort.space.write({"onset": onset}, tmp_path / "zeros")[0]
    np.testing.assert_allclose(apply_mask(str(zeros), str(tmp_path / "mask.nii.gz"))[0], onset, rtol=1e-6)


def test_errors_name_the_file(volumes, tmp_path):
    made, _ = volumes
    path = tmp_path / "s2_m24.nii.gz"
    save(path, made[0][:3])
    with pytest.raises(CohortError, match=r"s2_m24\.nii\.gz: a grid of \(3, 3, 5\) voxels that is not the mask's"):
        read(tmp_path)
    save(path, made[0], np.diag([2, 2, 2, 1]))
    with pytest.raises(CohortError, match=r"s2_m24\.nii\.gz: a grid .* resample one to the other"):
        read(tmp_path)
    save(path, made[0])
    path.write_bytes(path.read_bytes()[:80])
    with pytest.raises(CohortError, match=r"s2_m24\.nii\.gz: damaged, or not a NIfTI volume"):
        read(tmp_path)
    path.unlink()
    with pytest.raises(CohortError, match=r"s2_m24\.nii\.gz: no such file, but .*visits\.csv line 5"):
        read(tmp_path)
    save(path, made[0])
    save(tmp_path / "mask.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(CohortError, match=r"mask\.nii\.gz: a mask is one volume that is above 0"):
        read(tmp_path)
