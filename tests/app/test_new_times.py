"""New subjects' times that count from elsewhere than a fit's are refused; others, younger or older, are not."""

import csv

import numpy as np
import pytest

from neuropyro.cli import app
from neuropyro.data import CohortError
from neuropyro.new_times import check_times

AGES = np.linspace(58, 92, 200)
SINCE = np.linspace(0, 5, 200)


@pytest.mark.parametrize(
    ("new", "fitted"),
    [
        ([-12.9, 2.0, 18.4], AGES),  # ages less 70
        ([0.0, 1.0, 2.0], AGES),  # since the first visit
        ([0.0, 12.0, 30.0], AGES),  # ages less 60
        ([58.0, 75.0, 92.0], SINCE),
        ([58.0, 75.0, 92.0], AGES - 72),
        ([700.0, 800.0, 900.0], AGES),  # months
        ([2010.5, 2012.0], AGES),
        ([71.0, 72.0], 1940 + AGES),
    ],
)
def test_times_from_elsewhere_are_refused(new, fitted):
    with pytest.raises(CohortError, match=rf"^time.*: {new[0]:.4g} to {new[-1]:.4g}, where the fit's times are"):
        check_times(np.array(new), fitted)


@pytest.mark.parametrize(
    ("new", "fitted", "told"),
    [
        ([50.0, 57.0], AGES, True),
        ([20.0, 30.0], AGES, True),  # young, but ages
        ([93.0, 99.0], AGES, True),
        ([56.0, 57.0, 60.0], AGES, False),
        ([17.0, 60.0], AGES, False),
        ([6.0, 9.0], SINCE, True),
        ([45.0, 60.0], np.linspace(16, 40, 50), True),  # older than children and adults
        ([2020.0, 2024.0], np.linspace(2005, 2008, 50), True),
        ([70.0], np.full(3, 70.0), False),
        ([75.0], np.full(3, 70.0), True),
    ],
)
def test_younger_and_older_people_are_placed(new, fitted, told):
    assert bool(check_times(np.array(new), fitted)) is told


def write(path, time):
    rng = np.random.default_rng(0)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["ID", "AGE", "MMSE", "volume"])
        writer.writerows([f"s{n // 2}", f"{when:.2f}", *rng.normal(28, 1, 2).round(2)] for n, when in enumerate(time))


@pytest.mark.parametrize("command", ["personalize", "forecast"])
def test_commands_name_file_and_column_and_warn_of_little_overlap(tmp_path, capsys, command):
    ages = np.random.default_rng(1).uniform(60, 90, 10).repeat(2) + np.tile([0, 1], 10)
    write(tmp_path / "old.csv", ages)
    fit = str(tmp_path / "fit")
    how = ["--guide", "map", "--max-steps", "2", "--out", fit]
    app(["dive", "fit", str(tmp_path / "old.csv"), *how], result_action="return_value")
    line = ["dive", command, fit, str(tmp_path / "new.csv"), "--draws", "2", "--out", str(tmp_path / "placed")]
    write(tmp_path / "new.csv", [-9, -8, 3, 4])
    with pytest.raises(CohortError, match=r"new\.csv: time \(column `AGE`\): -9 to 4, where .* ages; give .* --time"):
        app(line, result_action="return_value")
    assert not (tmp_path / "placed").exists()
    write(tmp_path / "new.csv", [50, 51, 52, 53])
    capsys.readouterr()
    app(line, result_action="return_value")
    assert "new.csv: time: 50 to 53, where the fit's times are" in capsys.readouterr().err
