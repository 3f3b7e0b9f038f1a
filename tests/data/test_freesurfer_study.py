"""A FreeSurfer subjects folder: whose folder is whose, maps as they were, one error for whatever is wrong."""

import nibabel
import numpy as np
import pytest
from nilearn.surface import load_surf_data

from neuropyro.data import Cohort, CohortError, simulate_cohort
from neuropyro.data.missing_maps import MissingMapsWarning
from neuropyro.data.surface_maps import read_surface_map, write_surface_map


def write_subjects(study, folder, name="{subject}_{session}.long.{subject}", fwhm="", suffix=".mgh"):
    """The study's maps of the template "strip" as recon-all leaves them."""
    maps = study.maps()
    for row, (subject, session) in enumerate(zip(study.subjects, study.sessions, strict=True)):
        surf = folder / name.format(subject=subject, session=session) / "surf"
        surf.mkdir(parents=True)
        for h in study.sizes:
            write_surface_map(surf / f"{h}.thickness{fwhm}.strip{suffix}", maps[h][row : row + 1], ["thickness"], h)


def write_template(study, folder):
    """Surfaces and cortex labels of the template, as FreeSurfer links them into the folder."""
    for part in ("surf", "label"):
        (folder / "strip" / part).mkdir(parents=True)
    for h, n in study.sizes.items():
        nibabel.freesurfer.write_geometry(folder / "strip" / "surf" / f"{h}.white", *study.strip(n))
        cortex = np.setdiff1d(np.arange(n), study.wall[h])
        lines = [f"#!ascii label\n{len(cortex)}\n", *(f"{v} 0.0 0.0 0.0 0.0\n" for v in cortex)]
        (folder / "strip" / "label" / f"{h}.cortex.label").write_text("".join(lines))


@pytest.fixture
def subjects(study, tmp_path):
    write_subjects(study, tmp_path)
    return tmp_path


def read(folder, table, **options) -> Cohort:
    return Cohort.from_freesurfer(folder, table, **{"space": "strip"} | options)


@pytest.mark.parametrize(
    ("name", "fwhm", "suffix"),
    [
        ("{subject}_{session}.long.{subject}", "", ".mgh"),
        ("{subject}_{session}.long.{subject}_base", ".fwhm10", ".mgz"),
        ("{subject}_{session}", ".fwhm2.5", ".mgh"),
        ("sub-{subject}_ses-{session}.long.sub-{subject}", "", ".mgz"),
    ],
)
def test_the_cohort_is_that_of_the_arrays(study, tmp_path, name, fwhm, suffix):
    write_subjects(study, tmp_path, name, fwhm, suffix)
    write_template(study, tmp_path)
    cohort = read(tmp_path, study.table(tmp_path), fwhm=float(fwhm[5:]) if fwhm else None)
    assert cohort.hash == study.expected(mesh=study.mesh()).hash
    assert cohort.space.suffix == suffix
    assert cohort.values.dtype.isnative


def test_without_a_template_the_vertices_of_any_map_are_kept(study, subjects):
    cohort = read(subjects, study.table(subjects))
    assert cohort.mesh is None
    np.testing.assert_array_equal(cohort.values, study.expected().values)


def test_freesurfers_own_table_names_the_folders(study, tmp_path):
    write_subjects(study, tmp_path, "{subject}{session}.long.{subject}")
    rows = "".join(f"{s}{t} {s} {i}\n" for i, (s, t) in enumerate(zip(study.subjects, study.sessions, strict=True)))
    (tmp_path / "long.qdec.table.dat").write_text("fsid fsid-base years\n" + rows)
    cohort = read(tmp_path, tmp_path / "long.qdec.table.dat")
    np.testing.assert_array_equal(cohort.values, study.expected().values)
    assert cohort.time.tolist() == [0, 1, 2, 3, 4]


def test_a_column_names_the_folders(study, tmp_path):
    write_subjects(study, tmp_path, "x{subject}{session}")
    folders = [f"x{s}{t}" for s, t in zip(study.subjects, study.sessions, strict=True)]
    table = study.table(tmp_path, folder=folders)
    np.testing.assert_array_equal(read(tmp_path, table).values, study.expected().values)
    study.table(tmp_path, folder=[*folders[:4], "elsewhere"])
    with pytest.raises(CohortError, match=r"elsewhere: no such folder, but .*visits\.csv line 6 asks for it"):
        read(tmp_path, table)


def test_how_many_visits_lack_the_same_is_told(study, subjects, tmp_path):
    table = study.table(subjects, session=["a", "b", "a", "b", "a"])
    asks = r"line 2 asks for it \(and so with 4 more visits: lines 3, 4, 5, 6\)"
    with pytest.raises(
        CohortError, match=rf"\(nor s1_a; there: s1_m00\.long\.s1, s1_m12.*\), but .*{asks}; correct its"
    ):
        read(subjects, table)
    with pytest.raises(CohortError, match=r"hemispheres \(there: lh\.thickness\.strip\.mgh, rh\.thick.*\)") as caught:
        read(subjects, study.table(subjects), hemispheres=["left", "right"])
    assert "line 2 asks for it (and so with 4 more visits: lines 3, 4, 5, 6); make it" in str(caught.value)
    with pytest.raises(
        CohortError, match=r"line 3 asks for it \(and so with 1 more visit: line 5\); correct the table"
    ):
        read(subjects, study.table(subjects, folder=["s1_m00.long.s1", "x", "s2_m00.long.s2", "y", "s3_m00.long.s3"]))
    session = [study.sessions[0], "x", *study.sessions[2:4], "x"]
    with pytest.raises(
        CohortError, match=r"asks for it \(and so with 1 more visit: line 6\) and other visits have theirs"
    ):
        read(subjects, study.table(subjects, session=session))


def test_visits_that_lack_either_hemisphere_are_told_at_once(study, subjects):
    folders = [f"{s}_{t}.long.{s}" for s, t in zip(study.subjects, study.sessions, strict=True)]
    (subjects / folders[1] / "surf" / "rh.thickness.strip.mgh").unlink()
    (subjects / folders[3] / "surf" / "lh.thickness.strip.mgh").unlink()
    said = (
        r"surf/rh\.thickness\.strip\.mgh: no such file, but .*line 3 asks for it \(and so with 1 more visit: line 5\)"
    )
    with pytest.raises(CohortError, match=said):
        read(subjects, study.table(subjects))


def test_visits_without_a_folder_and_visits_without_a_map_are_told_at_once(study, subjects):
    folders = [f"{s}_{t}.long.{s}" for s, t in zip(study.subjects, study.sessions, strict=True)]
    (subjects / folders[1]).rename(subjects / "elsewhere")
    (subjects / folders[4] / "surf" / "lh.thickness.strip.mgh").unlink()
    no_folder = r"s1_m12\.long\.s1: no such folder, but .*line 3 asks for it and other visits .* drop that visit"
    no_file = r"surf/lh\.thickness\.strip\.mgh: no such file, but .*line 6 asks for it; make it"
    with pytest.raises(CohortError, match=rf"{no_folder}\. And .*{no_file}"):
        read(subjects, study.table(subjects))


def test_longitudinal_folders_go_before_cross_sectional_ones(study, subjects):
    other = subjects / "s1_m00" / "surf"
    other.mkdir(parents=True)
    write_surface_map(other / "lh.thickness.strip.mgh", np.ones((1, 12), np.float32), ["x"], "lh")
    assert not (read(subjects, study.table(subjects)).values == 1).any()
    (subjects / "s2_m24.long.s2").rename(subjects / "s2_m24")  # cross-sectional alone
    with pytest.raises(CohortError, match=r"s2_m24\.long\.s2: no such folder, but .*line 5 .* run the longitudinal"):
        read(subjects, study.table(subjects))


def test_another_subjects_folder_is_never_taken(study, subjects):
    (subjects / "s2_m24.long.s2").rename(subjects / "m24.long.s9")
    with pytest.raises(CohortError, match=r"s2_m24\.long\.s2: no such folder"):
        read(subjects, study.table(subjects))


def test_one_hemisphere_and_a_mask_of_ones_own(study, subjects):
    cohort = read(subjects, study.table(subjects), hemispheres=("rh",), mask=[2, 5, 6])
    np.testing.assert_array_equal(cohort.values, study.maps()["rh"][:, [2, 5, 6]])


def test_a_study_larger_than_memory_is_memory_mapped(study, subjects, tmp_path):
    cohort = read(subjects, study.table(subjects), memory_map=tmp_path / "values.npy")
    assert isinstance(cohort.values, np.memmap)
    np.testing.assert_array_equal(cohort.values, study.expected().values)
    assert not cohort.values.flags.writeable
    np.testing.assert_array_equal(np.load(tmp_path / "values.npy"), cohort.values)


@pytest.mark.parametrize("suffix", [".mgh", ".mgz"])
def test_results_go_back_in_the_format_that_came(study, tmp_path, suffix):
    write_subjects(study, tmp_path, suffix=suffix)
    cohort = read(tmp_path, study.table(tmp_path))
    onset, cluster = np.linspace(1, 2, cohort.n_vertices), np.arange(cohort.n_vertices) % 3 + 1
    written = cohort.space.write({"onset": onset, "cluster": cluster}, tmp_path / "result", outside=-1)
    assert [p.name for p in written] == [f"lh.result{suffix}", f"rh.result{suffix}", "result.frames.txt"]
    assert written[2].read_text() == "onset\ncluster\n"
    back = np.concatenate([read_surface_map(path) for path in written[:2]], 1)
    np.testing.assert_array_equal(back[:, cohort.space.index], np.stack([onset, cluster]).astype(np.float32))
    if suffix == ".mgz":  # of the two, what nilearn reads
        np.testing.assert_array_equal(load_surf_data(str(written[1])).T, back[:, 12:])
    wall = [0, 3, 12 + 14]
    np.testing.assert_array_equal(np.delete(back, cohort.space.index, 1), np.full((2, 3), -1))
    np.testing.assert_array_equal(np.setdiff1d(np.arange(27), cohort.space.index), wall)
    # A part of the cohort writes the same maps with more of them left out.
    part = cohort.subset(vertices=[1, 20])
    part.space.write({"onset": onset[[1, 20]]}, tmp_path / "part")
    whole = np.concatenate([read_surface_map(tmp_path / f"{h}.part{suffix}") for h in ("lh", "rh")], 1)[0]
    assert np.flatnonzero(whole).tolist() == cohort.space.index[[1, 20]].tolist()


def test_maps_of_another_size_are_refused_on_writing(study, subjects):
    cohort = read(subjects, study.table(subjects))
    with pytest.raises(CohortError, match=r"maps: `onset` has shape \(3,\), but the cohort has 24 columns"):
        cohort.space.write({"onset": np.ones(3)}, subjects / "result")


MAP = "s1_m12.long.s1/surf/rh.thickness.strip.mgh"


def missing(path):
    path.unlink()


def truncated(path):
    path.write_bytes(path.read_bytes()[:300])


def other_size(path):
    write_surface_map(path, np.ones((1, 14), np.float32), ["x"], "rh")


def two_frames(path):
    write_surface_map(path, np.ones((2, 15), np.float32), ["x", "y"], "rh")


def other_format(path):
    path.write_text("thickness")


def empty_map(path):
    write_surface_map(path, np.zeros((1, 15), np.float32), ["x"], "rh")


def infinite(path):
    write_surface_map(path, np.full((1, 15), np.inf, np.float32), ["x"], "rh")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (missing, "no such file, but .*visits.csv line 3 asks for it; .* drop that visit"),
        (truncated, "damaged, or not an MGH map .*; write it again"),
        (other_size, r"it has 14 values, not 15, as rh\.thickness\.strip\.mgh of .*line 2; give maps of one space"),
        (two_frames, "it has 2 maps, not one map; give maps of one space, one a visit"),
        (other_format, "damaged, or not an MGH map"),
        (empty_map, "0 throughout the mask; make that map again or drop the visit"),
        (infinite, "infinite values; mark missing values by NaN"),
    ],
)
def test_a_bad_map_is_one_error_that_names_it(study, subjects, damage, message):
    damage(subjects / MAP)
    with pytest.raises(CohortError, match=rf"{MAP}: {message}") as caught:
        read(subjects, study.table(subjects), mask=np.arange(12, 27))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subject": ["s1", "s1", "s2", "s2", "s9"]}, r"s9_m00\.long\.s9: no such folder, .*line 6"),
        ({"session": ["m00", "m00", "m00", "m24", "m00"]}, "line 3: session m00 of subject s1 is there twice"),
        ({"age": [70, "?", 65, 67, 80]}, r"visits\.csv line 3: `age` is '\?', not a number"),
    ],
)
def test_a_bad_table_is_one_error_that_names_it(study, subjects, changes, message):
    with pytest.raises(CohortError, match=message):
        read(subjects, study.table(subjects, **changes))


def test_other_mistakes(study, subjects):
    table = study.table(subjects)
    with pytest.raises(CohortError, match=r"lh\.area\.strip\.mgh: no such file.*\(there: none\)"):
        read(subjects, table, measure="area")
    with pytest.raises(CohortError, match=r"\(there: lh\.thickness\.strip\.mgh\)"):
        read(subjects, table, fwhm=10)
    with pytest.raises(CohortError, match=r"nowhere: no such folder; give FreeSurfer's SUBJECTS_DIR"):
        read(subjects / "nowhere", table)
    (subjects / "s1_m00.long.other").mkdir()
    (subjects / "s1_m00.long.s1").rename(subjects / "s1_m00.long.another")
    with pytest.raises(CohortError, match=r"both fit .*line 2; name one in a column `folder`"):
        read(subjects, table)


def test_a_table_without_sessions_cannot_have_two_visits_of_a_subject(study, tmp_path):
    write_subjects(study, tmp_path, "{subject}_{session}")
    for subject in set(study.subjects):
        (tmp_path / f"{subject}_m00").rename(tmp_path / subject)
    with pytest.raises(CohortError, match=r"s1: .*line 2 and .*line 3 are both this folder; .*column for the session"):
        read(tmp_path, study.table(tmp_path, session=None))


def test_a_table_without_sessions_whose_folders_have_them_is_told_how_to_name_them(study, tmp_path):
    write_subjects(study, tmp_path, "{subject}_{session}")
    with pytest.raises(CohortError, match=r"no such folder .* column for the session to the table, called one of sess"):
        read(tmp_path, study.table(tmp_path, session=None))


@pytest.fixture(scope="module")
def simulated():
    return simulate_cohort(n_subjects=4, visits=2, missing_visits=0, smooth_fwhm=0, seed=3)


def test_a_simulated_cortex_comes_back(simulated, study, tmp_path):
    """On fsaverage5 mesh and medial wall are known without any file of the template."""
    n = 10242
    whole = np.zeros((simulated.n_visits, 2 * n), np.float32)
    whole[:, simulated.mesh.template_index] = simulated.values
    for row, subject in enumerate(simulated.subject):
        surf = tmp_path / f"{subject}_v{row}" / "surf"
        surf.mkdir(parents=True)
        for h, part in (("lh", whole[row, :n]), ("rh", whole[row, n:])):
            write_surface_map(surf / f"{h}.thickness.fsaverage5.mgh", part[None], ["thickness"], h)
    table = {
        "subject": simulated.subject,
        "session": [f"v{row}" for row in range(simulated.n_visits)],
        "age": [repr(float(t)) for t in simulated.time],
        "diagnosis": simulated.diagnosis,
    }
    cohort = Cohort.from_freesurfer(tmp_path, study.write_csv(tmp_path / "t.csv", table))
    assert cohort.hash == simulated.hash
    right = Cohort.from_freesurfer(tmp_path, tmp_path / "t.csv", hemispheres=("rh",))
    in_right = simulated.mesh.template_index >= n
    np.testing.assert_array_equal(right.mesh.template_index, simulated.mesh.template_index[in_right])
    np.testing.assert_array_equal(right.values, simulated.values[:, in_right])
    for row, subject in enumerate(simulated.subject):  # of the cortex, too, some may be 0 in all maps
        path = tmp_path / f"{subject}_v{row}" / "surf" / "rh.thickness.fsaverage5.mgh"
        part = whole[row, n:].copy()
        part[np.flatnonzero(part)[:5]] = 0
        write_surface_map(path, part[None], ["thickness"], "rh")
    less = Cohort.from_freesurfer(tmp_path, tmp_path / "t.csv", hemispheres=("rh",))
    np.testing.assert_array_equal(less.mesh.template_index, right.mesh.template_index[5:])
    other = tmp_path / f"{simulated.subject[0]}_v0" / "surf" / "lh.thickness.fsaverage5.mgh"
    write_surface_map(other, np.ones((1, 2562), np.float32), ["x"], "lh")
    with pytest.raises(
        CohortError, match="fsaverage5: its hemispheres have 10242 vertices, but the maps of lh have 2562"
    ):
        Cohort.from_freesurfer(tmp_path, tmp_path / "t.csv")


def test_maps_that_hold_nothing_are_named(study, subjects):
    whole = read(subjects, study.table(subjects)).values
    files = sorted(subjects.glob("*/surf/lh.thickness.strip.mgh"))
    for count, told in ((1, f"{files[0]}: NaN throughout"), (4, f"{files[2]} and 1 more: NaN throughout")):
        for path in files[:count]:
            empty = np.full_like(read_surface_map(path), np.nan)
            write_surface_map(path, empty, ["thickness"], "lh")
        with pytest.warns(MissingMapsWarning) as caught:
            cohort = read(subjects, study.table(subjects))
        assert len(caught) == 1
        assert told in str(caught[0].message)
        missing = np.isnan(cohort.values) & ~np.isnan(whole)
        assert missing.any(1).sum() == count  # the rest of these visits is there, and so are the others
        assert not missing.all(1).any()
