"""GIFTI maps and stacked files: the cohort of the arrays, and back."""

import nibabel
import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError
from neuropyro.data.surface_maps import read_surface_map, write_surface_map

PATTERN = "{subject}/{session}/{hemisphere}.thickness.func.gii"


def write_maps(study, folder, pattern=PATTERN):
    maps = study.maps()
    for row, (subject, session) in enumerate(zip(study.subjects, study.sessions, strict=True)):
        for h in study.sizes:
            path = folder / pattern.format(subject=subject, session=session, hemisphere=h)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_surface_map(path, maps[h][row : row + 1], ["thickness"], h)


def write_surfaces(study, folder):
    for h, n in study.sizes.items():
        points, faces = study.strip(n)
        arrays = [
            nibabel.gifti.GiftiDataArray(points, intent="NIFTI_INTENT_POINTSET"),
            nibabel.gifti.GiftiDataArray(faces.astype(np.int32), intent="NIFTI_INTENT_TRIANGLE"),
        ]
        nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), folder / f"{h}.white.surf.gii")
    return {h: folder / f"{h}.white.surf.gii" for h in study.sizes}


@pytest.mark.parametrize("suffix", [".func.gii", ".shape.gii"])
def test_the_cohort_is_that_of_the_arrays(study, tmp_path, suffix):
    pattern = PATTERN.replace(".func.gii", suffix)
    write_maps(study, tmp_path, pattern)
    surfaces = write_surfaces(study, tmp_path)
    cohort = Cohort.from_gifti(tmp_path, study.table(tmp_path), pattern, surfaces=surfaces)
    assert cohort.hash == study.expected(mesh=study.mesh()).hash
    written = cohort.space.write({"onset": np.arange(24.0) + 1}, tmp_path / "result")
    assert [p.name for p in written] == [f"lh.result{suffix}", f"rh.result{suffix}"]
    back = np.concatenate([nibabel.load(path).agg_data() for path in written])
    np.testing.assert_array_equal(back[cohort.space.index], np.arange(24) + 1)
    assert (np.delete(back, cohort.space.index) == 0).all()
    assert nibabel.load(written[1]).meta["AnatomicalStructurePrimary"] == "CortexRight"


def test_nilearn_opens_results_on_the_surface_that_came(study, tmp_path):
    from nilearn.surface import SurfaceImage

    write_maps(study, tmp_path)
    surfaces = write_surfaces(study, tmp_path)
    cohort = Cohort.from_gifti(tmp_path, study.table(tmp_path), PATTERN, surfaces=surfaces)
    cohort.space.write({"onset": np.arange(24.0) + 1}, tmp_path / "result")
    image = SurfaceImage(
        mesh={"left": surfaces["lh"], "right": surfaces["rh"]},
        data={"left": tmp_path / "lh.result.func.gii", "right": tmp_path / "rh.result.func.gii"},
    )
    assert image.shape[0] == 27
    assert sorted(np.concatenate([np.ravel(p) for p in image.data.parts.values()])) == [0, 0, 0, *range(1, 25)]


def test_a_column_of_files_and_wildcards(study, tmp_path):
    write_maps(study, tmp_path)
    files = [f"{s}/{t}/{{hemisphere}}.thick*.gii" for s, t in zip(study.subjects, study.sessions, strict=True)]
    cohort = Cohort.from_gifti(tmp_path, study.table(tmp_path, file=files))
    np.testing.assert_array_equal(cohort.values, study.expected().values)
    (tmp_path / "s1" / "m12" / "lh.thick2.gii").write_text("")
    with pytest.raises(CohortError, match=r"lh\.thick\*\.gii: 2 files match, but .*line 3 asks for one"):
        Cohort.from_gifti(tmp_path, tmp_path / "visits.csv")


@pytest.mark.parametrize("suffix", [".func.gii", ".mgh", ".mgz"])
def test_all_visits_in_one_file(study, tmp_path, suffix):
    for h, maps in study.maps().items():
        write_surface_map(tmp_path / f"{h}.all{suffix}", maps, [f"visit {i}" for i in range(5)], h)
    files = {h: tmp_path / f"{h}.all{suffix}" for h in study.sizes}
    table = study.table(tmp_path)
    for cohort in (
        Cohort.from_mgh(files, table),
        Cohort.from_gifti(tmp_path, table, "{hemisphere}.all" + suffix),
    ):
        assert cohort.hash == study.expected().hash
    back = cohort.space.write({"a": np.ones(24)}, tmp_path / "back")
    assert read_surface_map(back[0]).shape == (1, 12)
    write_surface_map(files["rh"], study.maps()["rh"][:4], list("abcd"), "rh")
    with pytest.raises(CohortError, match=rf"rh\.all{suffix}: it has 4 frames for the 5 visits of .*visits\.csv"):
        Cohort.from_mgh(files, table)


def test_mistakes_are_named(study, tmp_path):
    write_maps(study, tmp_path)
    table = study.table(tmp_path)
    surfaces = write_surfaces(study, tmp_path)
    with pytest.raises(CohortError, match=r"visits\.csv: no column `file`; add one, or give `pattern`"):
        Cohort.from_gifti(tmp_path, table)
    with pytest.raises(CohortError, match=r"\{hemi\} in .* is not known; known are subject, session, hemisphere"):
        Cohort.from_gifti(tmp_path, table, "{subject}/{hemi}.gii")
    with pytest.raises(CohortError, match=r"both hemispheres are this file; put \{hemisphere\}"):
        Cohort.from_gifti(tmp_path, table, "{subject}/{session}/lh.thickness.func.gii")
    with pytest.raises(CohortError, match=r"lh\.thickness\.func\.gii: .*line 2 and .*line 3 share it; drop one"):
        Cohort.from_gifti(tmp_path, table, "{subject}/m00/{hemisphere}.thickness.func.gii")
    with pytest.raises(CohortError, match=r"lh\.white\.surf\.gii: it has 12 vertices, but the maps of rh have 15"):
        Cohort.from_gifti(tmp_path, table, PATTERN, surfaces={"lh": surfaces["lh"], "rh": surfaces["lh"]})
    with pytest.raises(CohortError, match="surfaces: none for hemisphere rh"):
        Cohort.from_gifti(tmp_path, table, PATTERN, surfaces={"lh": surfaces["lh"]})
    with pytest.raises(
        CohortError, match="fsaverage5: its hemispheres have 10242 vertices, but the maps of lh have 12"
    ):
        Cohort.from_gifti(tmp_path, table, PATTERN, template="fsaverage5")


def test_a_damaged_gifti_file_is_one_error_that_names_it(study, tmp_path):
    write_maps(study, tmp_path)
    path = tmp_path / "s2" / "m24" / "rh.thickness.func.gii"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CohortError, match=r"s2/m24/rh\.thickness\.func\.gii: damaged, or not a GIFTI map"):
        Cohort.from_gifti(tmp_path, study.table(tmp_path), PATTERN)


def test_nothing_anywhere(study, tmp_path):
    for h, maps in study.maps().items():
        write_surface_map(tmp_path / f"{h}.all.mgh", 0 * np.nan_to_num(maps), list("abcde"), h)
    with pytest.raises(CohortError, match=r"lh\.all\.mgh: every map is 0 or missing everywhere"):
        Cohort.from_mgh({h: tmp_path / f"{h}.all.mgh" for h in study.sizes}, study.table(tmp_path))
