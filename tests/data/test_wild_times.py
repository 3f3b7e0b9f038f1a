"""One time that is no year among those that are is told by its line; times of another unit are told as such."""

import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError
from neuropyro.data.study_table import study_table

OTHERS = {"ages": np.linspace(60, 90, 30), "calendar": np.linspace(2009, 2019, 30), "baseline": np.linspace(0, 6, 30)}


def opened(study, folder, times):
    columns = {"ID": np.arange(len(times)) // 2, "age": times, "MMSE": np.arange(len(times))}
    return Cohort.open(study.write_csv(folder / "t.csv", columns))


@pytest.mark.parametrize(
    ("others", "wild"), [("ages", 780), ("ages", -4), ("ages", 2011), ("calendar", 209.5), ("baseline", 999)]
)
def test_a_wild_time_is_told_by_its_line(study, tmp_path, others, wild):
    times = np.insert(OTHERS[others], 4, wild)
    low, high = OTHERS[others][[0, -1]]
    told = rf"t\.csv line 6: `age` is {wild:g}, where all others lie from {low:g} to {high:g}; correct it or drop"
    with pytest.raises(CohortError, match=told):
        opened(study, tmp_path, times)


def test_several_are_counted(study, tmp_path):
    with pytest.raises(CohortError, match=r"line 2: `age` is 780, .* to 90 \(and 1 more line\); correct it"):
        opened(study, tmp_path, np.r_[780, OTHERS["ages"], 999])


def test_of_maps_too(study, tmp_path):
    with pytest.raises(CohortError, match=r"line 3: `age` is 710, where all others lie from 65 to 80"):
        study_table(study.table(tmp_path, age=[70, 710, 65, 67, 80]))


@pytest.mark.parametrize("times", [OTHERS["ages"] * 12, OTHERS["ages"] * 365.25])
def test_another_unit_is_told_of_all(study, tmp_path, times):
    with pytest.raises(CohortError, match=r"are no years; divide days by 365\.25, months by 12"):
        opened(study, tmp_path, times)


@pytest.mark.parametrize("times", OTHERS.values())
def test_years_are_kept(study, tmp_path, times):
    np.testing.assert_allclose(opened(study, tmp_path, times).time, times)
