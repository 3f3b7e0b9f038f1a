"""Dates: the order of day and month that a whole column tells, and what tables make of them."""

import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError, StudyOptions
from neuropyro.data.biomarkers_table import biomarkers_table
from neuropyro.data.dates import order_of_dates, years_of_dates
from neuropyro.data.open_study import NO_OPTIONS
from neuropyro.data.study_table import study_table

DAYS = np.array(["2010-07-20", "2011-02-03", "2040-02-25"], "datetime64[D]")
WRITTEN = {
    "year-month-day": ["2010-07-20", "2011-02-03T10:15:00", "2040-02-25 09:00"],
    "day/month/year": ["20/07/2010", "03/02/2011", "25/02/2040"],
    "month/day/year": ["7/20/2010", "2/3/2011", "2/25/2040"],
}


def years(days):
    return (days - np.datetime64("1970-01-01")).astype(int) / 365.25


@pytest.mark.parametrize("order", WRITTEN)
def test_the_whole_column_tells_the_order(order):
    cells = [*WRITTEN[order], ""]
    assert order_of_dates(cells, "seen", str) == order
    np.testing.assert_allclose(years_of_dates(cells, "seen", str), [*years(DAYS), np.nan])


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (["03/04/2010", "05/06/2011"], "0: `seen` is '03/04/2010', and no date of the column tells its day from its"),
        (
            ["2010-01-01", "2011-13-01"],
            r"1: `seen` is '2011-13-01', a day that there is not \(year-month-day\);",
        ),
        (
            ["28.02.2016", "31.02.2016"],
            r"1: `seen` is '31.02.2016', a day that there is not \(day/month/year\);",
        ),
        (["28.02.2016", "in 2016"], "1: `seen` is 'in 2016', not a date like 2017-06-30; correct it"),
        (["25/02/2010", "26/02/2010", "02/27/2010"], r"2: `seen` .*, not a date like .* \(day/month/year, as others"),
    ],
)
def test_what_is_in_doubt_is_refused(cells, told):
    with pytest.raises(CohortError, match=told):
        years_of_dates(cells, "seen", str)


def test_the_same_day_and_month_leave_no_doubt():
    np.testing.assert_allclose(years_of_dates(["01.01.1970", "2.2.1970"], "seen", str), [0, 32 / 365.25])


@pytest.mark.parametrize("name", ["ExamDate", "visit_date", "date", "age", "Untersuchung"])
@pytest.mark.parametrize("order", WRITTEN)
def test_a_table_of_biomarkers_may_have_dates(study, tmp_path, name, order):
    columns = {"ID": ["a", "a", "b"], name: WRITTEN[order], "MMSE": [30, 28, 25]}
    path = study.write_csv(tmp_path / "t.csv", columns)
    cohort = Cohort.open(path, StudyOptions(time=name) if name == "Untersuchung" else NO_OPTIONS)
    np.testing.assert_allclose(cohort.time, 1970 + years(DAYS))
    assert cohort.feature_names.tolist() == ["MMSE"]


def test_how_dates_were_read_is_said(study, tmp_path):
    columns = {"ID": ["a", "a", "b"], "ExamDate": WRITTEN["day/month/year"], "MMSE": [30, 28, 25]}
    (said,) = biomarkers_table(study.write_csv(tmp_path / "t.csv", columns), NO_OPTIONS).remarks()
    assert said.startswith("ExamDate: dates, read as day/month/year, are taken as years of the calendar: 20/07/2010 is")
    ages = columns | {"age": [70, 71, 65]}
    assert biomarkers_table(study.write_csv(tmp_path / "t.csv", ages), NO_OPTIONS).remarks() == []


def test_a_table_of_maps_counts_from_the_first_of_a_subjects_dates(study, tmp_path):
    dates = ["1/13/2010", "1/13/2011", "6/1/2012", "5/2/2012", "1/1/2010"]
    for columns, options in (({"acq_time": dates}, {}), ({"seen": dates}, {"time": "seen"})):
        table = study_table(study.table(tmp_path, age=None, **columns), **options)
        np.testing.assert_allclose(table.time, [0, 365 / 365.25, 30 / 365.25, 0, 0])
