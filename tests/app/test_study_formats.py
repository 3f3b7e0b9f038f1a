"""A study in the files of the field: the same fit as from the arrays, and results in the format that came in."""

import csv
import html

import nibabel
import numpy as np
import pytest
from nibabel.cifti2 import BrainModelAxis, Cifti2Image, ScalarAxis

from neuropyro.adjustment import load_adjustment
from neuropyro.cli import app
from neuropyro.data import Cohort, CohortError, simulate_reference
from neuropyro.data.surface_maps import read_surface_map, write_surface_map
from neuropyro.hemisphere_levels import load_hemisphere_levels
from neuropyro.inference import Schedule, fit, load_fit
from neuropyro.models import VertexClusterMixture

SIZES = {"lh": 25, "rh": 20}
WALL = [0, 7, 30, 44]  # of both hemispheres' 45 vertices
KEPT = np.setdiff1d(np.arange(45), WALL)


@pytest.fixture(scope="module")
def arrays() -> Cohort:
    made = simulate_reference(n_subjects=24, n_vertices=len(KEPT), n_clusters=2, seed=1)
    values = (3 + 0.1 * made.values).astype(np.float32)
    subject = np.array([f"sub-{s}" for s in made.subject])
    return Cohort(values, made.time, subject, np.where(made.is_control, "CN", "AD"))


@pytest.fixture(scope="module")
def whole(arrays) -> dict[str, np.ndarray]:
    maps = np.zeros((arrays.n_visits, 45), np.float32)
    maps[:, KEPT] = arrays.values
    return {"lh": maps[:, :25], "rh": maps[:, 25:]}


def table(arrays, path):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["subject", "session", "age", "diagnosis"])
        for row in range(arrays.n_visits):
            writer.writerow([arrays.subject[row], f"v{row}", repr(float(arrays.time[row])), arrays.diagnosis[row]])
    return path


def write_freesurfer(arrays, whole, folder):
    for row, subject in enumerate(arrays.subject):
        surf = folder / f"{subject}_v{row}.long.{subject}" / "surf"
        surf.mkdir(parents=True)
        for h, maps in whole.items():
            write_surface_map(surf / f"{h}.thickness.own.mgh", maps[row : row + 1], ["thickness"], h)
    return Cohort.from_freesurfer(folder, table(arrays, folder / "visits.csv"), space="own")


def write_gifti(arrays, whole, folder):
    for h, maps in whole.items():
        write_surface_map(folder / f"{h}.all.func.gii", maps, [f"v{row}" for row in range(len(maps))], h)
    return Cohort.from_gifti(folder, table(arrays, folder / "visits.csv"), "{hemisphere}.all.func.gii")


def write_cifti(arrays, whole, folder):
    left, right = (np.isin(np.arange(45), KEPT)[part] for part in (slice(25), slice(25, None)))
    axis = BrainModelAxis.from_mask(left, name="CORTEX_LEFT") + BrainModelAxis.from_mask(right, name="CORTEX_RIGHT")
    for row in range(arrays.n_visits):
        image = Cifti2Image(arrays.values[row : row + 1], header=(ScalarAxis(["thickness"]), axis))
        image.nifti_header.set_intent("NIFTI_INTENT_CONNECTIVITY_DENSE_SCALARS")
        nibabel.save(image, folder / f"{arrays.subject[row]}_v{row}.dscalar.nii")
    return Cohort.from_cifti(folder, table(arrays, folder / "visits.csv"), "{subject}_{session}.dscalar.nii")


def fitted(cohort):
    result = fit(VertexClusterMixture(2), cohort, guide="map", seed=0, schedule=Schedule(max_steps=25), progress=False)
    return result.posterior(1)


@pytest.fixture(scope="module")
def posterior(arrays):
    return fitted(arrays)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nibabel leaves files open
@pytest.mark.parametrize("write", [write_freesurfer, write_gifti, write_cifti])
def test_the_fit_is_that_of_the_arrays(arrays, whole, posterior, tmp_path, write):
    cohort = write(arrays, whole, tmp_path)
    assert cohort.hash == arrays.hash
    for site, draws in fitted(cohort).items():
        np.testing.assert_array_equal(draws, posterior[site], err_msg=site)


def run(*arguments):
    app(["dive", "fit", *map(str, arguments)], result_action="return_value")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_command_line_reads_a_subjects_folder_and_writes_its_format(arrays, whole, tmp_path, capsys):
    study, out = tmp_path / "study", tmp_path / "out"
    study.mkdir()
    write_freesurfer(arrays, whole, study)
    steps = ["--level-hemispheres", "--adjust", "age"]
    run(study, "--space", "own", "--clusters", 2, "--guide", "map", "--max-steps", 5, *steps, "--out", out)
    assignments = np.load(out / "assignments.npy")
    maps = np.concatenate([read_surface_map(out / f"{h}.clusters.mgh") for h in SIZES], 1)
    np.testing.assert_array_equal(maps[0, KEPT], assignments.argmax(1) + 1)
    np.testing.assert_array_equal(maps[1:, KEPT], assignments.T.astype(np.float32))
    assert (maps[:, WALL] == 0).all()
    assert (out / "clusters.frames.txt").read_text().splitlines()[0] == "cluster"
    assert load_fit(out, data=Cohort.load(out / "cohort.npz")).guide_name == "map"  # the adjusted cohort is the fit's
    told = capsys.readouterr().err
    out_of = f"{len(WALL):,} of {maps.shape[1]:,} vertices of the maps are left out: what is 0 or missing at"
    assert told.count(out_of) == 1
    assert (out / "report.html").read_text().count(out_of) == 1
    for done in (load_hemisphere_levels(out / "hemispheres.npz"), load_adjustment(out / "adjustment.npz")):
        assert done.lines()[0] in told
        assert html.escape(done.lines()[0]) in (out / "report.html").read_text()


def test_a_missing_map_stops_the_command_line_before_any_work(arrays, whole, tmp_path):
    study = tmp_path / "study"
    study.mkdir()
    write_freesurfer(arrays, whole, study)
    lost = study / f"{arrays.subject[3]}_v3.long.{arrays.subject[3]}" / "surf" / "rh.thickness.own.mgh"
    lost.unlink()
    with pytest.raises(CohortError, match=r"rh\.thickness\.own\.mgh: no such file, but .*visits\.csv line 5 asks"):
        run(study, "--space", "own", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
