"""One door to every format: what a path and the options say."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError, StudyOptions
from neuropyro.data.study_table import study_table
from neuropyro.data.surface_maps import write_surface_map


def write_maps(study, folder, pattern):
    maps = study.maps()
    for row, (subject, session) in enumerate(zip(study.subjects, study.sessions, strict=True)):
        for h in study.sizes:
            path = folder / pattern.format(subject=subject, session=session, hemisphere=h)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_surface_map(path, maps[h][row : row + 1], ["thickness"], h)


def test_an_npz_file(study, tmp_path):
    study.expected().save(tmp_path / "c.npz")
    assert Cohort.open(tmp_path / "c.npz").hash == study.expected().hash
    with pytest.raises(CohortError, match="nowhere: no such file"):
        Cohort.open(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["visits.xlsx", "visits.XLS"])
def test_a_spreadsheet_is_told_to_be_saved_as_csv(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(CohortError, match=rf"{name}: a spreadsheet, which is not read; save it as CSV"):
        Cohort.open(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("brain.nii.gz", r"brain\.nii\.gz: a map, not a cohort; give a table \(\.csv or \.tsv\) of subject, time and"),
        ("lh.area.mgh", r"lh\.area\.mgh: a map, not a cohort; .* in the column `file`, such maps"),
        ("notes.txt", r"notes\.txt: not a cohort that can be read; give an \.npz file \(Cohort\.save\), a table \("),
        ("study.npz", r"study\.npz: not an \.npz file, or cut short; write it by numpy\.savez or Cohort\.save"),
    ],
)
def test_files_of_other_kinds_are_told_what_is_read(tmp_path, name, told):
    (tmp_path / name).write_bytes(b"some")
    with pytest.raises(CohortError, match=told):
        Cohort.open(tmp_path / name)


def test_a_subjects_folder_with_its_own_table(study, tmp_path):
    write_maps(study, tmp_path, "{subject}_{session}.long.{subject}/surf/{hemisphere}.area.fwhm5.strip.mgh")
    options = StudyOptions(measure="area", fwhm=5, space="strip")
    with pytest.raises(CohortError, match=r"no table of visits in it \(participants\.tsv, visits\.csv"):
        Cohort.open(tmp_path, options)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert Cohort.open(tmp_path, StudyOptions(**vars(options) | {"table": study.table(elsewhere)})).n_visits == 5
    study.table(tmp_path)
    cohort = Cohort.open(tmp_path, options)
    assert cohort.hash == study.expected().hash
    assert cohort.unit == "mm²"


def test_freesurfers_longitudinal_table_in_its_folder(study, tmp_path):
    write_maps(study, tmp_path, "{subject}{session}.long.{subject}/surf/{hemisphere}.thickness.strip.mgh")
    rows = "".join(f"{s}{t} {s} {i}\n" for i, (s, t) in enumerate(zip(study.subjects, study.sessions, strict=True)))
    (tmp_path / "long.qdec.table.dat").write_text("fsid fsid-base years\n" + rows)
    for path in (tmp_path, tmp_path / "long.qdec.table.dat"):
        cohort = Cohort.open(path, StudyOptions(space="strip"))
        np.testing.assert_array_equal(cohort.values, study.expected().values)


def test_a_folder_and_a_pattern(study, tmp_path):
    pattern = "maps/{hemisphere}.{subject}.{session}.func.gii"
    write_maps(study, tmp_path, pattern)
    study.table(tmp_path)
    cohort = Cohort.open(tmp_path, StudyOptions(pattern=pattern))
    assert cohort.hash == study.expected().hash
    assert cohort.unit_in_words == "the data's unit"
    assert Cohort.open(tmp_path, StudyOptions(pattern=pattern, unit="mm")).unit_in_words == "mm"
    with pytest.raises(CohortError, match="not the name of a map; known are"):
        Cohort.open(tmp_path, StudyOptions(pattern="{subject}.txt"))


def test_a_table_that_names_maps(study, tmp_path):
    write_maps(study, tmp_path, "{hemisphere}.{subject}.{session}.shape.gii")
    files = [f"{{hemisphere}}.{s}.{t}.shape.gii" for s, t in zip(study.subjects, study.sessions, strict=True)]
    assert Cohort.open(study.table(tmp_path, file=files)).hash == study.expected().hash


def test_a_table_that_names_volumes(study, tmp_path):
    values = np.random.default_rng(0).random((5, 2, 2, 2), dtype=np.float32)
    for row in range(5):
        nibabel.save(nibabel.Nifti1Image(values[row], np.eye(4)), tmp_path / f"{row}.nii")
    nibabel.save(nibabel.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4)), tmp_path / "mask.nii")
    table = study.table(tmp_path, file=[f"{row}.nii" for row in range(5)])
    with pytest.raises(CohortError, match="volumes need a mask; give one by --mask"):
        Cohort.open(table)
    np.testing.assert_array_equal(
        Cohort.open(table, StudyOptions(mask=tmp_path / "mask.nii")).values, values.reshape(5, 8)
    )


def test_a_table_of_biomarkers(study, tmp_path):
    columns = {
        "ID": ["a", "a", "b"],
        "TIME": [1, 2, 1],
        "DX": ["CN", "AD", "CN"],
        "MMSE": [30, 25, 29],
        "sex": list("FFM"),
        "visit": [1, 2, 1],  # a number, and no biomarker
        "age": [71, 72, 68],
    }
    cohort = Cohort.open(study.write_csv(tmp_path / "t.csv", columns))
    assert cohort.feature_names.tolist() == ["MMSE"]
    assert cohort.diagnosis.tolist() == ["CN", "AD", "CN"]
    assert set(cohort.covariates) == {"sex", "visit", "age"}
    with pytest.raises(CohortError, match=r"u\.csv: no column for the subject; call one subject, subject_id"):
        Cohort.open(study.write_csv(tmp_path / "u.csv", {"x": [1]}))
    with pytest.raises(CohortError, match=r"u\.csv: no column for the time in years; call one time, age"):
        Cohort.open(study.write_csv(tmp_path / "u.csv", {"ID": [1], "x": [1]}))


def test_columns_are_known_however_their_words_are_joined(study, tmp_path):
    columns = {"PatientID": ["a", "a", "b"], "AgeAtScan": [71, 72, 68], "Visit": [1, 2, 1], "MMSE": [30, 25, 29]}
    cohort = Cohort.open(study.write_csv(tmp_path / "t.csv", columns))
    assert cohort.subject.tolist() == ["a", "a", "b"]
    assert cohort.time.tolist() == [71, 72, 68]
    assert cohort.feature_names.tolist() == ["MMSE"]


def test_all_missing_columns_are_told_at_once_with_those_that_are_there(study, tmp_path):
    path = study.write_csv(tmp_path / "t.csv", {"who": ["a"], "when": [71], "MMSE": [30]})
    told = (
        r"no column for the subject; call one .*; and no column for the time.* \(its columns are who, when, MMSE\)"
        r"; or name it by --subject COLUMN and --time COLUMN"
    )
    with pytest.raises(CohortError, match=told):
        Cohort.open(path)
    with pytest.raises(CohortError, match=told):
        study_table(path)


def test_subject_and_time_can_be_named(study, tmp_path):
    columns = {"Code": [7, 7, 8], "RID": [1, 1, 2], "Jahre": [71, 72, 68], "age": [1, 1, 1], "MMSE": [30, 25, 29]}
    path = study.write_csv(tmp_path / "t.csv", columns)
    cohort = Cohort.open(path, StudyOptions(subject="Code", time="Jahre"))
    assert cohort.subject.tolist() == ["7", "7", "8"]
    assert cohort.time.tolist() == [71, 72, 68]
    assert cohort.feature_names.tolist() == ["MMSE"]  # another number of the subject is no biomarker
    with pytest.raises(CohortError, match=r"t\.csv: no column `who`; there are Code, RID"):
        Cohort.open(path, StudyOptions(subject="who"))
    for read in (Cohort.open, lambda table, options: study_table(table, subject=options.subject, time=options.time)):
        with pytest.raises(CohortError, match=r"no column `code`; .*; did you mean --subject Code\?"):
            read(path, StudyOptions(subject="code"))
        with pytest.raises(CohortError, match=r"no column `jahr`; .*; did you mean --time Jahre\?"):
            read(path, StudyOptions(subject="Code", time="jahr"))


@pytest.mark.parametrize("name", ["Diag.", "Diag", "Dx.", "diagnosis_group", "Clinical_Dx", "DIAGNOSIS GROUP"])
def test_the_diagnosis_is_known_by_its_usual_names(study, tmp_path, name):
    columns = {"ID": ["a", "b"], "age": [71, 68], name: ["CN", "AD"], "MMSE": [30, 25]}
    assert Cohort.open(study.write_csv(tmp_path / "t.csv", columns)).is_control.tolist() == [True, False]
    columns[name] = [2, 1]  # numbers of a diagnosis are no biomarker
    cohort = Cohort.open(study.write_csv(tmp_path / "t.csv", columns))
    assert cohort.is_control.tolist() == [False, True]
    assert cohort.feature_names.tolist() == ["MMSE"]


def test_the_diagnosis_can_be_named(study, tmp_path):
    columns = {"ID": ["a", "b"], "age": [71, 68], "clinical": ["CN", "AD"], "MMSE": [30, 25]}
    path = study.write_csv(tmp_path / "t.csv", columns)
    cohort = Cohort.open(path, StudyOptions(diagnosis="clinical"))
    assert cohort.is_control.tolist() == [True, False]
    assert not cohort.covariates
    with pytest.raises(CohortError, match=r"no column `Clinical`; .*; did you mean --diagnosis clinical\?"):
        Cohort.open(path, StudyOptions(diagnosis="Clinical"))


@pytest.mark.parametrize("times", [[25915, 26280, 24820], [0, 1534, 365], [852, 864, 800]])
def test_times_that_are_no_years_are_refused(study, tmp_path, times):
    path = study.write_csv(tmp_path / "t.csv", {"ID": ["a", "a", "b"], "age": times, "MMSE": [30, 28, 25]})
    with pytest.raises(CohortError, match=r"t\.csv: time: .* are no years; divide days by 365\.25, months by 12"):
        Cohort.open(path)


def test_years_of_the_calendar_are_years(study, tmp_path):
    path = study.write_csv(tmp_path / "t.csv", {"ID": ["a", "a"], "time": [2009.5, 2011.25], "MMSE": [30, 28]})
    assert Cohort.open(path).time.tolist() == [2009.5, 2011.25]


def test_decimal_commas_between_commas_are_named(study, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('ID,age,tau\na,71,"1,5"\na,72,"1,75"\nb,65,2\n')
    with pytest.raises(
        CohortError, match=r"t\.csv line 2: `tau` is '1,5', with a decimal comma \(and 1 more line\); write"
    ):
        Cohort.open(path)


def test_codes_for_missing_values_can_be_named(study, tmp_path):
    columns = {"ID": ["a", "b", "c"], "age": [71, 68, 70], "MMSE": [30, -4, 25], "tau": ["999.0", "-4", "12"]}
    path = study.write_csv(tmp_path / "t.csv", columns)
    values = Cohort.open(path, StudyOptions(missing=("-4,999",))).values
    np.testing.assert_array_equal(values, [[30, np.nan], [np.nan, np.nan], [25, 12]])
    assert not np.isnan(Cohort.open(path).values).any()


def test_a_stray_word_among_numbers_is_no_reason_to_leave_a_biomarker_out(study, tmp_path):
    columns = {
        "ID": np.arange(30),
        "age": np.arange(60, 90),
        "tau": [*np.arange(27.0), ">9", "<8", ""],
        "MMSE": np.arange(30),
    }
    path = study.write_csv(tmp_path / "t.csv", columns)
    with pytest.raises(
        CohortError, match=r"line 29: `tau` is '>9', not a number as elsewhere \(and 1 more line\); cor"
    ):
        Cohort.open(path)
    assert Cohort.open(path, StudyOptions(biomarkers=("MMSE",))).covariates["tau"].dtype.kind == "U"


def test_the_subject_of_maps_can_be_named(study, tmp_path):
    write_maps(study, tmp_path, "{hemisphere}.{subject}.{session}.shape.gii")
    files = [f"{{hemisphere}}.{s}.{t}.shape.gii" for s, t in zip(study.subjects, study.sessions, strict=True)]
    path = study.table(tmp_path, file=files)
    header, rest = path.read_text().split("\n", 1)
    path.write_text(header.replace("subject", "Code") + "\n" + rest)
    assert Cohort.open(path, StudyOptions(subject="Code")).hash == study.expected().hash


def test_biomarkers_and_controls_can_be_named(study, tmp_path):
    columns = {"ID": ["a", "a", "b"], "TIME": [1, 2, 1], "DX": ["SCD", "AD", "scd"], "MMSE": [30, 25, 29]}
    columns |= {"volume": [3.0, 2.5, 3.1], "education": [12, 12, 16]}
    path = study.write_csv(tmp_path / "t.csv", columns)
    plain = Cohort.open(path)
    assert plain.feature_names.tolist() == ["MMSE", "volume", "education"]
    assert not plain.is_control.any()
    named = Cohort.open(path, StudyOptions(biomarkers=("volume, MMSE",), control="SCD"))
    assert named.feature_names.tolist() == ["volume", "MMSE"]
    assert named.values.tolist() == [[3.0, 30.0], [2.5, 25.0], [3.1, 29.0]]
    assert set(named.covariates) == {"education"}
    assert named.is_control.tolist() == [True, False, True]
    assert named.diagnosis.tolist() == ["SCD (control)", "AD", "SCD (control)"]  # the study's own word
    with pytest.raises(CohortError, match=r"t\.csv: no column `MoCA`; there are ID, TIME"):
        Cohort.open(path, StudyOptions(biomarkers=("MoCA",)))
    with pytest.raises(CohortError, match=r"no column `volumes`; .*; did you mean --biomarkers volume\?"):
        Cohort.open(path, StudyOptions(biomarkers=("MMSE,volumes",)))
    with pytest.raises(CohortError, match=r"t\.csv: no diagnosis is 'NL'; name one of AD, SCD, scd by --control"):
        Cohort.open(path, StudyOptions(control="NL"))


def test_a_number_that_means_a_control_makes_the_other_numbers_patients(study, tmp_path):
    made = Cohort(np.ones((4, 2)), [1, 2, 1, 2], ["a", "a", "b", "c"], diagnosis=[0, 0, 1, -1])
    made.save(tmp_path / "c.npz")
    assert Cohort.open(tmp_path / "c.npz").is_control.tolist() == [False, False, True, False]
    assert Cohort.open(tmp_path / "c.npz", StudyOptions(control="0")).is_control.tolist() == [True, True, False, False]
    Cohort(np.ones((2, 2)), [1, 2], ["a", "a"]).save(tmp_path / "none.npz")
    with pytest.raises(CohortError, match=r"none\.npz: no diagnosis, of which --control could name one"):
        Cohort.open(tmp_path / "none.npz", StudyOptions(control="0"))


def test_tadpoles_table(study, tmp_path):
    columns = {"RID": [2, 2], "VISCODE": ["bl", "m06"], "AGE": [70, 70], "ADAS13": [10, 12]}
    cohort = Cohort.open(study.write_csv(tmp_path / "d1d2.csv", columns))
    assert cohort.time.tolist() == [70, 70.5]


def test_a_visits_code_that_is_no_number_is_no_mistake(study, tmp_path):
    columns = {"ID": np.arange(30), "age": np.arange(60, 90), "visit": [*range(1, 30), "bl"], "MMSE": np.arange(30)}
    cohort = Cohort.open(study.write_csv(tmp_path / "t.csv", columns))
    assert cohort.feature_names.tolist() == ["MMSE"]
    assert cohort.covariates["visit"][-1] == "bl"


@pytest.mark.parametrize(("name", "value"), [("fwhm", 5), ("memory_map", Path("a.npy")), ("hemispheres", ("L", "R"))])
def test_what_says_nothing_of_a_kind_of_study_is_refused(study, tmp_path, name, value):
    table = study.write_csv(tmp_path / "t.csv", {"ID": [7, 7], "age": [71, 72], "MMSE": [30, 25]})
    options, told = StudyOptions(**{name: value}), f"--{name.replace('_', '-')} says nothing of"
    with pytest.raises(CohortError, match=rf"t\.csv: {told} a table of biomarkers; leave it out"):
        Cohort.open(table, options)
    study.expected().save(tmp_path / "c.npz")
    with pytest.raises(CohortError, match=rf"c\.npz: {told} a cohort's own file; leave it out"):
        Cohort.open(tmp_path / "c.npz", options)


def test_a_table_needs_no_table(study, tmp_path):
    table = study.write_csv(tmp_path / "t.csv", {"ID": [7, 7], "age": [71, 72], "MMSE": [30, 25]})
    with pytest.raises(CohortError, match=r"t\.csv: --table goes with a folder"):
        Cohort.open(table, StudyOptions(table=tmp_path / "other.csv"))


@pytest.mark.parametrize(("codes", "remedy"), [([0, 1, 2], "--control 0 or --control 1"), ([0, 2, 2], "--control 0")])
def test_which_number_is_a_controls_is_asked_where_one_is_zero(codes, remedy, study, tmp_path):
    columns = {"ID": ["a", "b", "c"], "age": [71, 68, 70], "diagnosis": codes, "MMSE": [30, 25, 21]}
    path = study.write_csv(tmp_path / "t.csv", columns)
    with pytest.raises(CohortError, match=rf"t\.csv: diagnoses are 0, .*{remedy}$"):
        Cohort.open(path)
    assert Cohort.open(path, StudyOptions(control="0")).is_control.tolist() == [True, False, False]
    study.write_csv(path, columns | {"diagnosis": [1, 2, 3]})
    assert Cohort.open(path).is_control.tolist() == [True, False, False]
