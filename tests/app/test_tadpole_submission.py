"""Submissions: months and ages, the file's format, and the evaluation by the nearest month."""

import csv
import dataclasses

import numpy as np
import pandas as pd
import pytest

from neuropyro.data import Cohort, CohortError
from neuropyro.tadpole_submission import Forecast, evaluate_forecast, forecast_months, read_submission

HEADER = [
    "RID", "Forecast Month", "Forecast Date",
    "CN relative probability", "MCI relative probability", "AD relative probability",
    "ADAS13", "ADAS13 50% CI lower", "ADAS13 50% CI upper",
    "Ventricles_ICV", "Ventricles_ICV 50% CI lower", "Ventricles_ICV 50% CI upper",
]  # fmt: skip


@pytest.fixture
def cohort() -> Cohort:
    frame = pd.DataFrame(
        {
            "RID": [2, 2, 31, 40],
            "VISCODE": ["bl", "m12", "bl", "bl"],
            "EXAMDATE": ["2016-01-01", "2017-01-01", "2017-07-02", "2017-07-02"],
            "AGE": [70.0, 70.0, 65.5, 80.0],
            "ADAS13": [10, 11, 20, 30],
            "D2": [1, 1, 1, 0],
        }
    )
    return Cohort.from_tadpole(frame)


def forecast(cohort, months=60) -> Forecast:
    plan = forecast_months(cohort, months=months)
    rng = np.random.default_rng(0)
    adas = 10 + plan.rid / 10 + rng.normal(0, 2, (101, len(plan.rid)))
    ventricles = 0.02 + 0.001 * rng.normal(0, 1, (101, len(plan.rid)))
    return Forecast.from_draws(plan, adas, ventricles, rng.dirichlet(np.ones(3), len(plan.rid)))


def test_months_and_ages(cohort):
    plan = forecast_months(cohort)
    assert plan.rid.tolist() == 60 * [2] + 60 * [31]  # D2 alone
    assert plan.month.tolist() == 2 * list(range(1, 61))
    assert plan.date[[0, 11, 12, 59]].tolist() == ["2018-01", "2018-12", "2019-01", "2022-12"]
    days = (np.datetime64("2018-01-01") - np.datetime64("2016-01-01")).astype(int)
    assert plan.time[0] == pytest.approx(70 + days / 365.25, abs=1e-9)  # RID 2 was 70 on the first day of 2016
    days = (np.datetime64("2020-03-01") - np.datetime64("2017-07-02")).astype(int)
    assert plan.time[60 + 26] == pytest.approx(65.5 + days / 365.25, abs=1e-9)
    assert forecast_months(cohort, [40], "2010-05", 84).date[[0, -1]].tolist() == ["2010-05", "2017-04"]


def test_quartiles_of_draws(cohort):
    plan = forecast_months(cohort, months=2)
    draws = np.arange(101.0)[:, None] + np.zeros(4)
    made = Forecast.from_draws(plan, draws, draws - 60, np.ones((4, 3)))
    assert made.adas13[0].tolist() == [50, 25, 75]
    assert made.ventricles[0].tolist() == [0, 0, 15]  # no volume is negative


def test_the_file_has_the_challenges_format(cohort, tmp_path):
    made = forecast(cohort)
    made.write(tmp_path / "TADPOLE_Submission_Test.csv")
    with (tmp_path / "TADPOLE_Submission_Test.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    assert rows[0] == HEADER
    assert len(rows) == 1 + 120
    assert rows[1][:3] == ["2", "1", "2018-01"]
    read = read_submission(tmp_path / "TADPOLE_Submission_Test.csv")
    for field in dataclasses.fields(Forecast):
        ours, theirs = getattr(read, field.name), getattr(made, field.name)
        if ours.dtype.kind == "f":
            np.testing.assert_allclose(ours, theirs, rtol=1e-8)
        else:
            np.testing.assert_array_equal(ours, theirs)


def truth(**changes) -> pd.DataFrame:
    columns = {
        "RID": [2, 2, 31],
        "CognitiveAssessmentDate": ["2018-01-20", "2019-06-02", "2018-02-10"],
        "Diagnosis": ["CN", "MCI", "AD"],
        "ADAS13": [10.5, np.nan, 14.0],
        "ScanDate": ["2018-02-27", "2019-06-20", ""],
        "Ventricles": [0.021, 0.0195, np.nan],
    }
    return pd.DataFrame(columns | changes)


def test_each_visit_meets_the_nearest_month(cohort):
    made = forecast(cohort)
    scores = evaluate_forecast(made, truth())
    # 20 January is nearer to the first of February (12 days) than to that of January (19); 2 June 2019 to the first
    # of June (month 18), 10 February to that of February; scans: 27 February to March, 20 June 2019 to July.
    at = np.array([1, 17, 60 + 1])
    wanted = made.probabilities[at] / made.probabilities[at].sum(1, keepdims=True)
    order = [wanted[a, a] > wanted[b, a] for a in range(3) for b in range(3) if a != b]
    assert scores["mAUC"] == pytest.approx(np.mean(order))
    assert scores["ADAS13 MAE"] == pytest.approx((abs(made.adas13[1, 0] - 10.5) + abs(made.adas13[61, 0] - 14)) / 2)
    scans = made.ventricles[[2, 18]]
    error = np.abs(scans[:, 0] - [0.021, 0.0195])
    weight = 1 / (scans[:, 2] - scans[:, 1])
    assert scores["Ventricles_ICV WES"] == pytest.approx((weight * error).sum() / weight.sum())
    within = (scans[:, 1] < [0.021, 0.0195]) & (scans[:, 2] > [0.021, 0.0195])
    assert scores["Ventricles_ICV CPA"] == pytest.approx(abs(within.mean() - 0.5))
    assert set(scores) == {"mAUC", "BCA"} | {
        f"{target} {measure}" for target in ("ADAS13", "Ventricles_ICV") for measure in ("MAE", "WES", "CPA")
    }


def test_what_the_truth_does_not_have_is_not_measured(cohort):
    bare = truth(Diagnosis=["CN", "", ""], Ventricles=[np.nan] * 3)
    assert set(evaluate_forecast(forecast(cohort), bare)) == {"ADAS13 MAE", "ADAS13 WES", "ADAS13 CPA"}


def test_refuses(cohort, tmp_path):
    made = forecast(cohort, months=3)
    with pytest.raises(CohortError, match="DataFrame row 2: no forecast of RID 99; forecast every subject"):
        evaluate_forecast(made, truth(RID=[2, 2, 99]))
    with pytest.raises(CohortError, match="DataFrame row 1: `CognitiveAssessmentDate` is missing"):
        evaluate_forecast(made, truth(CognitiveAssessmentDate=["2018-01-20", "", "2018-02-10"]))
    with pytest.raises(CohortError, match="Diagnosis 'ill' is not one of CN, MCI, AD"):
        evaluate_forecast(made, truth(Diagnosis=["CN", "ill", "AD"]))
    with pytest.raises(CohortError, match="subject: 7 is not in this cohort"):
        forecast_months(cohort, [7])
    with pytest.raises(CohortError, match="month: '2018' is not like 2018-01"):
        forecast_months(cohort, start="2018")
    without = dataclasses.replace(cohort, covariates={})
    with pytest.raises(CohortError, match="covariate exam_date: not in the cohort"):
        forecast_months(without)
    with pytest.raises(CohortError, match=r"adas13: draws of shape \(5, 2\) for 6 rows"):
        Forecast.from_draws(forecast_months(cohort, months=3), np.ones((5, 2)), np.ones((5, 6)), np.ones((6, 3)))
    with pytest.raises(CohortError, match="adas13: the best guess of RID 2 in month 1 is outside its interval"):
        dataclasses.replace(made, adas13=np.tile([1.0, 2, 3], (6, 1)))
    made.write(tmp_path / "s.csv")
    (tmp_path / "s.csv").write_text((tmp_path / "s.csv").read_text().replace("ADAS13 50% CI lower", "lower"))
    with pytest.raises(CohortError, match=r"s\.csv: no column `ADAS13 50% CI lower`"):
        read_submission(tmp_path / "s.csv")
