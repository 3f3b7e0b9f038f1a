"""TADPOLE's tables: ages, diagnoses and volumes as the challenge means them."""

import numpy as np
import pandas as pd
import pytest

from neuropyro.data import Cohort, CohortError


def table(**changes) -> pd.DataFrame:
    columns = {
        "RID": [2, 2, 2, 31, 31],
        "VISCODE": ["m06", "bl", "m12", "bl", "m24"],  # in any order
        "EXAMDATE": ["2006-03-06", "2005-09-08", "2006-09-12", "2010-01-01", None],
        "AGE": [74.3, 74.3, 74.3, 60.0, 60.0],
        "DX": ["NL", "NL", "NL to MCI", "MCI to Dementia", None],
        "DX_bl": ["CN", "CN", "CN", "LMCI", "LMCI"],
        "ADAS13": [18.67, 19.0, -4, 21, 33],
        "Ventricles": [118233.0, 120000, -4, 84599, 88000],
        "ICV": [1984660.0, 1990000, 1990000, -4, 1900000],
        "ICV_bl": [1990000.0, 1990000, 1990000, 1920691, 1920691],
        "Hippocampus": [8336, 8400, -4, 5319, 5000],
        "PTGENDER": ["Male", "Male", "Male", "Female", "Female"],
        "PTEDUCAT": [16, 16, 16, 18, 18],
        "APOE4": [0, 0, 0, 2, 2],
        "D2": [1, 1, 1, 0, 0],
    }
    return pd.DataFrame(columns | changes)


def days(a: str, b: str) -> float:
    return (np.datetime64(b) - np.datetime64(a)).astype(int) / 365.25


def test_ages_diagnoses_and_volumes():
    cohort = Cohort.from_tadpole(table())
    assert cohort.feature_names.tolist() == ["ADAS13", "Ventricles_ICV", "Hippocampus_ICV"]
    assert cohort.subject.tolist() == [2, 2, 31, 31]  # a visit without any feature is left out
    first = "2005-09-08"
    np.testing.assert_allclose(cohort.time, [74.3 + days(first, "2006-03-06"), 74.3, 60, 62])  # by date, else VISCODE
    assert cohort.diagnosis.tolist() == ["CN", "CN", "AD", ""]
    np.testing.assert_array_equal(cohort.values[:, 0], [18.67, 19, 21, 33])
    # The visit's own ICV; the baseline's where it is missing.
    np.testing.assert_allclose(
        cohort.values[:, 1], [118233 / 1984660, 120000 / 1990000, 84599 / 1920691, 88000 / 1900000]
    )
    assert cohort.covariates["sex"].tolist() == ["Male", "Male", "Female", "Female"]
    assert cohort.covariates["apoe4"].tolist() == [0, 0, 2, 2]
    assert cohort.covariates["D2"].tolist() == [1, 1, 0, 0]
    np.testing.assert_allclose(cohort.covariates["exam_date"][1], 1970 + days("1970-01-01", first))


def test_a_file_gives_the_same(tmp_path):
    table().to_csv(tmp_path / "TADPOLE_D1_D2.csv", index=False, na_rep="-4")
    assert Cohort.from_tadpole(tmp_path / "TADPOLE_D1_D2.csv").hash == Cohort.from_tadpole(table()).hash


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"DX": ["CN", "CN", "MCI", "Dementia", ""]}, ["CN", "CN", "AD", ""]),
        ({"DX": None, "DXCHANGE": [7, 1, 4, 5, 8]}, ["CN", "CN", "AD", "MCI"]),
        ({"DX": None}, ["CN", "CN", "MCI", "MCI"]),  # that at baseline
        ({"DX": None, "DX_bl": ["SMC", "SMC", "SMC", "EMCI", "AD"]}, ["CN", "CN", "MCI", "AD"]),
    ],
)
def test_diagnoses_in_every_column(columns, expected):
    frame = table(**columns)
    frame = frame.drop(columns=[name for name, cells in columns.items() if cells is None])
    assert Cohort.from_tadpole(frame).diagnosis.tolist() == expected


def test_features_by_name():
    cohort = Cohort.from_tadpole(table(MMSE=[30, 29, 28, 20, 18]), ["MMSE", "Ventricles", "Hippocampus_ICV"])
    assert cohort.feature_names.tolist() == ["MMSE", "Ventricles", "Hippocampus_ICV"]
    assert cohort.n_visits == 5
    np.testing.assert_array_equal(cohort.values[:, 1], [118233, 120000, np.nan, 84599, 88000])


def test_d3_has_one_visit_a_subject_and_no_baseline():
    last = table().iloc[[2, 4]].assign(ADAS13=[20, 33], EXAMDATE=["2006-09-12", "2012-01-01"])
    np.testing.assert_allclose(Cohort.from_tadpole(last).time, [75.3, 62])  # by the months of VISCODE


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"AGE": [74.3, None, 74.3, 60, 60]}, "row 1: `AGE` is missing"),
        ({"AGE": ["74.3", "old", "74.3", "60", "60"]}, "row 1: `AGE` is 'old', not a number"),
        ({"VISCODE": ["m06", "bl", "m12", "bl", "v09"]}, r"row 4: neither `EXAMDATE` nor `VISCODE` \('v09'\)"),
        ({"VISCODE": ["bl", "bl", "m12", "bl", "m24"]}, "row 1: visit bl of RID 2 is at DataFrame row 0 too"),
        (
            {"EXAMDATE": ["8/9/05", "2005-09-08", "2006-09-12", "2010-01-01", ""]},
            "row 0: `EXAMDATE` is '8/9/05', not a",
        ),
        ({"DX": ["NL", "NL", "NL", "ill", ""]}, "row 3: the diagnosis 'ill' is not known"),
        ({"ICV": [0.0, 1, 1, 1, 1]}, "row 0: `ICV` is 0; correct it"),
        ({"RID": [2, 2, 2, 31.5, 31]}, "row 3: `RID` must be a whole number"),
        ({"ADAS13": ["x", "19", "", "21", "33"]}, "row 0: `ADAS13` is 'x', not a number"),
    ],
)
def test_refuses(changes, message):
    with pytest.raises(CohortError, match=f"DataFrame {message}"):
        Cohort.from_tadpole(table(**changes))


def test_tables_that_are_not_tadpoles():
    with pytest.raises(CohortError, match="DataFrame: no column `VISCODE`"):
        Cohort.from_tadpole(table().drop(columns="VISCODE"))
    with pytest.raises(CohortError, match="no visit has any of FDG"):
        Cohort.from_tadpole(table(FDG=5 * [-4]), ["FDG"])
    with pytest.raises(CohortError, match="DataFrame: `Ventricles_ICV` needs a column ICV or ICV_bl"):
        Cohort.from_tadpole(table().drop(columns=["ICV", "ICV_bl"]), ["Ventricles_ICV"])
    with pytest.raises(CohortError, match="DataFrame: none of ADAS13, "):
        Cohort.from_tadpole(table()[["RID", "VISCODE", "AGE"]])
