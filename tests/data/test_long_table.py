"""Long tables of biomarkers."""

import numpy as np
import pandas as pd
import pytest

from neuropyro.data import Cohort, CohortError

FRAME = pd.DataFrame(
    {
        "ID": ["a", "a", "b", "b"],
        "TIME": [70.0, 71.5, 65.0, 66.0],
        "MMSE": [29, 27, np.nan, 30],
        "ventricles": [31000.5, 33000.0, 20000.0, 20500.0],
        "sex": ["F", "F", "M", "M"],
        "dx": ["CN", "AD", "CN", None],
    }
)


def read(frame=FRAME, **options) -> Cohort:
    return Cohort.from_dataframe(frame, **{"diagnosis": "dx", "covariates": ["sex"]} | options)


def test_all_other_columns_are_biomarkers():
    cohort = read()
    assert cohort.feature_names.tolist() == ["MMSE", "ventricles"]
    np.testing.assert_array_equal(cohort.values, FRAME[["MMSE", "ventricles"]].to_numpy())
    assert cohort.values.dtype == np.float64
    assert cohort.time.tolist() == FRAME["TIME"].tolist()
    assert cohort.subject.tolist() == ["a", "a", "b", "b"]
    assert cohort.diagnosis.tolist() == ["CN", "AD", "CN", ""]
    assert cohort.covariates["sex"].tolist() == ["F", "F", "M", "M"]


def test_index_levels_are_columns_as_in_leaspy():
    cohort = Cohort.from_dataframe(FRAME.set_index(["ID", "TIME"])[["MMSE", "ventricles"]])
    assert cohort.hash == Cohort.from_dataframe(FRAME[["ID", "TIME", "MMSE", "ventricles"]]).hash


def test_a_file_is_as_good_as_a_frame(tmp_path):
    FRAME.to_csv(tmp_path / "t.csv", index=False)
    assert read(tmp_path / "t.csv").hash == read().hash


def test_whole_numbers_as_subjects_and_other_names():
    frame = FRAME.rename(columns={"ID": "who", "TIME": "when"}).assign(who=[7, 7, 3, 3])
    cohort = read(frame, subject="who", time="when", biomarkers=["ventricles"])
    assert cohort.subjects.tolist() == [3, 7]
    assert cohort.feature_names.tolist() == ["ventricles"]


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (FRAME, {"covariates": []}, r"DataFrame row 0: `sex` is 'F', not a number \(and 3 more rows\); correct"),
        (FRAME, {"biomarkers": ["weight"]}, "DataFrame: no column `weight`; there are ID, TIME"),
        (
            FRAME,
            {"subject": "RID"},
            'DataFrame: no column `RID`; there are ID, TIME, .*; pass subject="ID" as an argument',
        ),
        (
            FRAME.rename(columns={"ID": "RID", "TIME": "Age"}),
            {},
            'no column `ID` or `TIME`; there are RID, Age, .*; pass subject="RID", time="Age" as an argument',
        ),
        (FRAME.rename(columns={"TIME": "when"}), {}, 'no column `TIME`; .*; pass time="COLUMN" as an argument'),
        (FRAME.assign(TIME=[70, 71, None, 66]), {}, "DataFrame row 2: `TIME` is missing or infinite"),
        (FRAME.assign(TIME=["70", "71", "old", "66"]), {}, "DataFrame row 2: `TIME` is 'old', not a number"),
        (FRAME.assign(ID=["a", None, "b", "b"]), {}, "DataFrame row 1: `ID` is empty; fill it in or drop"),
        (FRAME.assign(MMSE=[29, 27, np.inf, 30]), {}, "DataFrame: values: infinite for subject b at 65 years"),
        (
            FRAME.iloc[[0, 0, 1]],
            {},
            "DataFrame: values: there are two rows with the same values for subject a at 70 years; drop one of them",
        ),
        (FRAME[["ID", "TIME"]], {"diagnosis": None, "covariates": []}, "no column is left for the biomarkers"),
    ],
)
def test_refuses(frame, options, message):
    with pytest.raises(CohortError, match=message):
        read(frame, **options)


def test_one_visit_twice_in_a_file_is_told_by_its_lines(tmp_path):
    FRAME.iloc[[0, 1, 0, 2]].to_csv(tmp_path / "t.csv", index=False)
    told = (
        r"t\.csv: values: line 2 and line 4 are rows with the same values for subject a at 70 years; drop one of them"
    )
    with pytest.raises(CohortError, match=told):
        read(tmp_path / "t.csv")


def test_a_subject_without_a_name_is_told_by_its_line(tmp_path):
    FRAME.assign(ID=["a", "a", "", "b"]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(CohortError, match=r"t\.csv line 4: `ID` is empty; fill it in or drop the visit"):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"ID": ["a", "", "", "b"]}, r"line 3: `ID` is empty \(and 1 more line\); fill it in or drop the visit"),
        ({"TIME": [70, "", "", ""]}, r"line 3: `TIME` is missing or infinite \(and 2 more lines\); give it or drop"),
        ({"TIME": ["?", 71, "?", 66]}, r"line 2: `TIME` is '\?', not a number \(and 1 more line\); correct it or drop"),
        ({"MMSE": [29, "<8", ">28", "x"]}, r"line 3: `MMSE` is '<8', not a number \(and 2 more lines\); correct it or"),
    ],
)
def test_more_lines_with_the_same_fault_are_counted(tmp_path, changed, told):
    FRAME.assign(**changed).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(CohortError, match=rf"t\.csv {told}"):
        read(tmp_path / "t.csv")


def test_a_table_of_visits_without_biomarkers_may_be_one_of_maps(tmp_path):
    path = tmp_path / "visits.csv"
    path.write_text("subject,session,age\na,m00,70\n")
    with pytest.raises(
        CohortError, match=r"in a FreeSurfer folder, give that first, as SUBJECTS_DIR --table .*visits\.csv"
    ):
        Cohort.open(path)
    with pytest.raises(CohortError, match=r"in Python `biomarkers`$"):
        read(FRAME[["ID", "TIME"]], diagnosis=None, covariates=[])


def test_ages_in_months_in_a_frame_are_refused():
    months = [697, 709, 860, 872, 1028, 1040]
    frame = pd.DataFrame({"ID": list("aabbcc"), "TIME": months, "MMSE": [29, 28, 27, 24, 30, 29]})
    with pytest.raises(CohortError, match=r"time: 697 to 1040 are no years; divide days"):
        Cohort.from_dataframe(frame)
