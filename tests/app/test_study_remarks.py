"""What is said of a study before its fit."""

from dataclasses import replace

import numpy as np
import pytest

from neuropyro.data import Cohort
from neuropyro.data.surface_space import SurfaceSpace
from neuropyro.study_remarks import missing_hemispheres, remarks


def test_that_nobody_is_a_control_is_said_where_it_matters():
    rng = np.random.default_rng(0)
    diagnosis = np.where(np.arange(40) < 30, "CN", "AD")
    cohort = Cohort(rng.normal(2.5, 0.1, (40, 3)), rng.uniform(60, 80, 40), np.arange(40) // 2, diagnosis)
    assert remarks(cohort, "controls") == []
    nobody = replace(cohort, diagnosis=np.where(cohort.is_control, "well", "ill"))
    assert "diagnoses are ill, well: none is a control's" in remarks(nobody, "controls")[0]
    assert remarks(nobody, "all") == remarks(replace(cohort, diagnosis=None), "all") == []
    some = replace(nobody, diagnosis=np.where(cohort.is_control, "", np.where(cohort.time > 70, "AD dementia", "MCI")))
    assert "diagnoses are MCI, AD dementia: none is a control's" in remarks(some, "controls")[0]


def test_that_there_is_no_diagnosis_is_said_always():
    rng = np.random.default_rng(0)
    cohort = Cohort(rng.normal(2.5, 0.1, (40, 3)), rng.uniform(60, 80, 40), np.arange(40) // 2)
    for none in (cohort, replace(cohort, diagnosis=np.full(40, ""))):
        (said,) = remarks(none, "controls")
        assert said.startswith("no diagnosis, so no controls: all subjects' first visits set the scales; name its")


def test_a_diagnosis_among_covariates_a_slip_and_two_visits_at_once_are_said():
    rng = np.random.default_rng(2)
    values = rng.normal(7000, 500, (40, 2))
    values[7, 0] = 7e6
    time = rng.uniform(60, 80, 40)
    time[21] = time[20]
    words = np.array(["CN", "AD", "MCI", ""])[np.arange(40) // 2 % 4]
    who, names = np.arange(40) // 2, np.array(["hippocampus", "ventricles"])
    cohort = Cohort(values, time, who, feature_names=names, covariates={"DX_bl": words, "sex": words == "CN"})
    diagnosis, slip, twice = remarks(cohort, "controls")
    assert diagnosis.startswith(
        "DX_bl looks like a diagnosis; name it by --diagnosis DX_bl, if it is (no diagnosis, so"
    )
    assert slip.startswith(f"hippocampus: 7e+06 (subject 3 at {time[7]:.6g} years) lies far from all others")
    assert twice == f"two visits are both of subject 10 at {time[20]:.6g} years; all are used as they are"
    _, slip, twice = remarks(cohort, "controls", [f"line {row + 2}" for row in range(40)])
    assert twice == f"line 22 and line 23 are both of subject 10 at {time[20]:.6g} years; all are used as they are"
    assert slip.startswith("hippocampus: 7e+06 (line 9) lies far from all others")


@pytest.mark.parametrize(
    ("pairs", "told"), [(1, ""), (2, "; 1 more visit has the time"), (4, "; 3 more visits have the time")]
)
def test_visits_at_one_time_are_counted(pairs, told):
    rng = np.random.default_rng(2)
    time = rng.uniform(60, 80, 40)
    time[1 : 2 * pairs : 2] = time[: 2 * pairs : 2]
    (said,) = remarks(Cohort(rng.normal(size=(40, 2)), time, np.arange(40) // 2, np.full(40, "CN")), "all")
    rest = " of another of the same subject, too" if told else ""
    assert said == f"two visits are both of subject 0 at {time[0]:.6g} years{told}{rest}; all are used as they are"


def test_what_looks_like_a_code_is_said():
    rng = np.random.default_rng(1)
    code, high, change, score = rng.uniform(10, 20, (4, 40))
    code[:3], high[5], change[:20] = -4, 999, -change[:20]
    score[0], names = 88, np.array(["code", "high", "change", "score"])
    values = np.stack([code, high, change, score + 40], 1)
    cohort = Cohort(values, rng.uniform(60, 80, 40), np.arange(40) // 2, feature_names=names)
    said = remarks(cohort, "all")
    assert [line.split(":")[0] for line in said] == ["code", "high"]
    assert "3 values are -4, unlike all others" in said[0]
    assert said[0].endswith("give --missing=-4")
    assert "high: 1 value is 999, unlike" in said[1]
    assert said[1].endswith("give --missing=999")


def test_a_biomarker_that_never_changes_is_named():
    values = np.array([[1.0, 0, 5], [2.0, 0, 5], [1.5, 2, np.nan], [2.5, 2, 5], [3.0, 1, 5]])
    names = np.array(["tau", "apoe4", "icv"])
    cohort = Cohort(values, [70, 71, 64, 65, 80], ["a", "a", "b", "b", "c"], feature_names=names)
    (said,) = remarks(cohort, "all")
    assert said.startswith("apoe4, icv: never change within a subject, so that they say nothing")
    assert remarks(replace(cohort, feature_names=None), "all") == []
    (once,) = remarks(cohort.subset(visits=np.array([True, False, True, False, True])), "all")
    assert once == "every subject has one visit, which says nothing of speeds: they are the prior's"


@pytest.mark.parametrize(("low", "high", "ageing", "told"), [(55, 85, False, True), (55, 85, True, False)])
def test_ages_are_told_where_the_model_has_no_ageing(low, high, ageing, told):
    rng = np.random.default_rng(4)
    time = np.linspace(low, high, 40)
    cohort = Cohort(rng.normal(size=(40, 2)), time, np.arange(40) // 2, np.full(40, "CN"))
    said = remarks(cohort, "all", ageing=ageing)
    assert (
        said
        == [
            "times look like ages (55 to 85): where healthy people's values change with age, they seem to "
            "progress; --ageing tells the two apart"
        ]
        * told
    )


@pytest.mark.parametrize(("low", "high", "told"), [(2001, 2061, True), (2001, 2021, False)])
def test_years_of_the_calendar_are_told_where_people_were_followed(low, high, told):
    rng = np.random.default_rng(4)
    time = np.linspace(low, high, 40)  # two visits in a row are a person's, half a year apart or a year and a half
    cohort = Cohort(rng.normal(size=(40, 2)), time, np.arange(40) // 2, np.full(40, "CN"))
    said = remarks(cohort, "all", ageing=False)
    assert [line.split(":")[0] for line in said] == [f"times look like years of the calendar ({low} to {high})"] * told


@pytest.mark.parametrize(("low", "high"), [(0, 6), (70, 76), (2001, 2021), (5, 60)])
def test_times_since_entry_years_of_the_calendar_and_ages_alike_are_no_ages(low, high):
    rng = np.random.default_rng(4)
    cohort = Cohort(rng.normal(size=(40, 2)), np.linspace(low, high, 40), np.arange(40) // 2, np.full(40, "CN"))
    assert remarks(cohort, "all", ageing=False) == []


def test_visits_without_a_hemisphere_are_named():
    values = np.random.default_rng(0).normal(2.5, 0.1, (6, 5))
    space = SurfaceSpace(".mgh", ("lh", "rh"), sizes=(3, 2), index=np.arange(5))
    cohort = Cohort(values, np.arange(70, 76), list("aabbcc"), space=space)
    assert missing_hemispheres(cohort) == []
    values[1, 3:] = values[2] = values[4, :2] = np.nan  # the right one; a visit; part of the left one
    (said,) = missing_hemispheres(replace(cohort, values=values))
    assert said.startswith("subject a at 71 years (right hemisphere), subject b at 72 years: NaN throughout")
    assert missing_hemispheres(replace(cohort, values=values, space=None)) == []


def of_numbers(column):
    column = np.asarray(column, float)
    rows = np.arange(len(column))
    values = np.stack([column, 20 + rows % 7], 1)
    return Cohort(values, 70 + rows % 3, rows // 3, np.array(["CN", "AD"])[rows // 3 % 2], feature_names=["x", "y"])


@pytest.mark.parametrize("code", [-999999, 999999, -1000, 123456])
def test_a_far_value_that_comes_again_is_taken_for_a_code(code):
    column = 20 + np.random.default_rng(0).normal(size=120)
    column[::15] = code
    said = [line for line in remarks(of_numbers(column), "controls") if line.startswith("x")]
    assert said == [
        f"x: 8 values are {code:g}, unlike all others; if that stands for a missing value, give --missing={code:g}"
    ]
    column[::15] = 20
    column[5] = code
    (line,) = [line for line in remarks(of_numbers(column), "controls") if line.startswith("x")]
    assert "lies far from all others" in line


@pytest.mark.parametrize("factor", [1000, 10, 28.35])
def test_two_units_in_a_column_are_told(factor):
    column = 900 * np.exp(0.1 * np.random.default_rng(1).normal(size=120))
    column[1::2] /= factor
    (line,) = [line for line in remarks(of_numbers(column), "controls") if line.startswith("x")]
    assert line.startswith("x: 60 values lie about ")
    assert "60 about 9" in line
    assert "with none between; if they are in two units, bring them to one" in line


@pytest.mark.parametrize("kind", ["lognormal", "two groups", "slips", "signed"])
def test_what_is_of_one_unit_is_left_alone(kind):
    random = np.random.default_rng(2)
    column = np.exp(1.2 * random.normal(size=240))
    if kind == "two groups":  # as amyloid: patients have three times as much
        column = np.where(np.arange(240) // 3 % 2, 300, 100) * np.exp(0.15 * random.normal(size=240))
    if kind == "slips":
        column = 100 + random.normal(size=240)
        column[7] = 1
    if kind == "signed":
        column = random.normal(size=240)
    assert not [line for line in remarks(of_numbers(column), "controls") if "two units" in line]


def test_names_that_differ_by_case_and_months_are_told():
    who = ["P1", "p1", "P2", "p2", "P3", "P3"]
    (line,) = [line for line in remarks(Cohort(np.ones((6, 2)), np.arange(6), who), "none") if "by case" in line]
    assert line.startswith("P1 and p1 (and 1 more pairs) are taken for two people")
    months = Cohort(np.ones((4, 2)), [0, 36, 0, 70], ["a", "a", "b", "b"])
    assert "subject b was followed for 70 years by the time; divide it by 12 if it is months" in remarks(months, "none")


def test_a_few_values_of_another_unit_are_told():
    column = 6000 + 800 * np.random.default_rng(3).normal(size=240)
    column[30:34] /= 1000
    (line,) = [line for line in remarks(of_numbers(column), "controls") if line.startswith("x")]
    assert line.startswith("x: 4 values lie about ")


def test_a_code_hides_neither_a_slip_nor_a_second_unit():
    column = 20 + np.random.default_rng(0).normal(size=120)
    column[::15], column[5] = -4, 5000
    said = [line for line in remarks(of_numbers(column), "controls") if line.startswith("x")]
    assert [line.split(" ")[1:4] for line in said] == [["8", "values", "are"], ["5000", "(subject", "1"]]
    column = 900 * np.exp(0.1 * np.random.default_rng(1).normal(size=120))
    column[1::2] /= 1000
    column[::15] = -4
    said = [line for line in remarks(of_numbers(column), "controls") if line.startswith("x")]
    assert "--missing=-4" in said[0]
    assert "if they are in two units" in said[1]
