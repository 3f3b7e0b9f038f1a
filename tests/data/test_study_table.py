"""The table of a study: which column is what, times from dates, BIDS, repeated visits."""

import numpy as np
import pandas as pd
import pytest

from neuropyro.data import CohortError, study_table


def test_columns_are_found_by_their_usual_names(study, tmp_path):
    table = study_table(study.table(tmp_path))
    assert table.subject.tolist() == list(study.subjects)
    assert table.session.tolist() == list(study.sessions)
    assert table.time.tolist() == study.columns()["age"]
    assert table.diagnosis.tolist() == study.columns()["diagnosis"]
    assert list(table.covariates) == ["sex", "icv"]
    np.testing.assert_array_equal(table.covariates["icv"], [1500, 1501.5, 1600, np.nan, 1450])
    assert table.place(2).endswith("visits.csv line 4")


def test_leaspys_and_named_columns():
    frame = pd.DataFrame({"ID": ["a", "b"], "TIME": [1.0, 2.0], "AGE": [70, 71], "who": ["x", "y"], "DX": [1, 2]})
    table = study_table(frame)
    assert table.time.tolist() == [1, 2]  # TIME goes before AGE, which is a covariate then
    assert table.diagnosis.tolist() == [1, 2]
    assert set(table.covariates) == {"AGE", "who"}
    named = study_table(frame, subject="who", time="AGE", covariates=())
    assert named.subject.tolist() == ["x", "y"]
    assert named.time.tolist() == [70, 71]
    assert named.covariates == {}
    assert study_table(named) is named


def test_two_sessions_on_one_day_are_allowed(study, tmp_path):
    table = study_table(study.table(tmp_path, age=[70, 70, 65, 66, 80]))
    assert table.time.tolist() == [70, 70, 65, 66, 80]


def test_subjects_keep_their_zeros(study, tmp_path):
    table = study_table(study.write_csv(tmp_path / "t.csv", {"subject": ["007", "010"], "age": [1, 2]}))
    assert table.subject.tolist() == ["007", "010"]


def test_freesurfers_longitudinal_table(tmp_path):
    path = tmp_path / "long.qdec.table.dat"
    path.write_text("fsid fsid-base years sex\nbert_1 bert 0 F\nbert_2 bert 1.5 F\n")
    table = study_table(path)
    assert table.subject.tolist() == ["bert", "bert"]
    assert table.session.tolist() == ["bert_1", "bert_2"]
    assert table.time.tolist() == [0, 1.5]


def test_years_since_the_first_of_a_subjects_dates(study, tmp_path):
    dates = ["2010-01-01", "2011-01-01", "2012-06-01", "2012-05-02", "2010-01-01"]
    table = study_table(study.table(tmp_path, age=None, acq_time=dates))
    np.testing.assert_allclose(table.time, [0, 365 / 365.25, 30 / 365.25, 0, 0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"age": [70, "seventy", 65, 67, 80]}, "line 3: `age` is 'seventy', not a number"),
        ({"age": [70, 71, "", 67, 80]}, "line 4: `age` is missing or infinite"),
        ({"age": [70, 71, "inf", 67, 80]}, "line 4: `age` is missing or infinite"),
        ({"subject": ["s1", "", "s2", "s2", "s3"]}, "line 3: `subject` is empty"),
        (
            {"session": ["m00", "m00", "m00", "m24", "m00"]},
            r"line 3: session m00 of subject s1 is there twice \(first: ",
        ),
        ({"age": [70, 70, 65, 65, 80]}, "`age` is the same at all sessions of every subject; give the age at each"),
        ({"age": None}, "no column for the time; call one time, age"),
        ({"subject": None}, "no column for the subject; call one subject"),
    ],
)
def test_refuses(study, tmp_path, changes, message):
    with pytest.raises(CohortError, match=rf"visits\.csv.*{message}"):
        study_table(study.table(tmp_path, **changes))


@pytest.fixture
def bids(study, tmp_path):
    """Two participants; the first has two dated sessions, the second one."""
    people = {"participant_id": ["sub-1", "sub-2"], "age": [70, 65.5], "sex": ["F", "M"], "diagnosis": ["CN", "AD"]}
    study.write_csv(tmp_path / "participants.tsv", people, "\t")
    sessions = {
        "sub-1": {"session_id": ["ses-1", "ses-2"], "acq_time": ["2010-01-01T10:00:00", "2011-01-01T10:00:00"]},
        "sub-2": {"session_id": ["ses-1"], "acq_time": ["2010-05-01T10:00:00"], "diagnosis": ["MCI"]},
    }
    for name, table in sessions.items():
        (tmp_path / name).mkdir()
        study.write_csv(tmp_path / name / f"{name}_sessions.tsv", table, "\t")
    return tmp_path


def test_bids_sessions_inherit_from_their_participants(bids):
    for path in (bids, bids / "participants.tsv"):
        table = study_table(path)
        assert table.subject.tolist() == ["sub-1", "sub-1", "sub-2"]
        assert table.session.tolist() == ["ses-1", "ses-2", "ses-1"]
        np.testing.assert_allclose(table.time, [70, 70 + 365 / 365.25, 65.5])  # the participant's age is that at entry
        assert table.diagnosis.tolist() == ["CN", "CN", "MCI"]
        assert table.covariates["sex"].tolist() == ["F", "F", "M"]
    assert table.place(1).endswith("sub-1_sessions.tsv line 3")


def test_bids_sessions_with_ages_of_their_own(study, bids):
    for name, ages in (("sub-1", [70, 71.5]), ("sub-2", [65.5])):
        sessions = {"session_id": [f"ses-{i + 1}" for i in range(len(ages))], "age": ages}
        study.write_csv(bids / name / f"{name}_sessions.tsv", sessions, "\t")
    assert study_table(bids).time.tolist() == [70, 71.5, 65.5]


def test_bids_without_sessions(study, tmp_path):
    study.write_csv(tmp_path / "participants.tsv", {"participant_id": ["sub-1"], "age": [70]}, "\t")
    table = study_table(tmp_path)
    assert table.session is None
    assert table.time.tolist() == [70]


def test_bids_errors(study, bids):
    sessions = bids / "sub-1" / "sub-1_sessions.tsv"
    study.write_csv(sessions, {"session_id": ["ses-1", "ses-2"]}, "\t")
    with pytest.raises(CohortError, match=r"sub-1_sessions\.tsv: neither `age` nor `acq_time` tells its 2 sessions"):
        study_table(bids)
    study.write_csv(sessions, {"session": ["ses-1"]}, "\t")
    with pytest.raises(CohortError, match=r"sub-1_sessions\.tsv: no column `session_id`"):
        study_table(bids)
    sessions.unlink()
    with pytest.raises(CohortError, match=r"sub-1_sessions\.tsv: no such file, but .*participants\.tsv line 2"):
        study_table(bids)
    people = {"participant_id": ["sub-1", "sub-1"], "age": [70, 71]}
    study.write_csv(bids / "participants.tsv", people, "\t")
    with pytest.raises(CohortError, match=r"participants\.tsv line 3: participant sub-1 is there twice"):
        study_table(bids)
