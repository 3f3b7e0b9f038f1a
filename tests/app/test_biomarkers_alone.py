"""A table of a few biomarkers, each with a trajectory of its own: what is found again, and what is written."""

import csv
import json

import numpy as np
import pytest
from scipy.special import expit

from neuropyro.cli import app
from neuropyro.data import Cohort
from neuropyro.inference import load_fit
from neuropyro.outputs import Outcome
from neuropyro.plots import plot_trajectories

PEOPLE, VISITS = 60, 3
TRUTH = {  # start, whole change, onset on the scale of the stages, steepness, noise
    "abeta": (1150.0, -630.0, -2.0, 1.3, 70.0),
    "tau": (17.0, 35.0, -1.5, 1.2, 4.0),
    "volume": (7400.0, -2300.0, 1.3, 1.3, 260.0),
    "adas": (8.0, 34.0, 2.0, 1.4, 2.5),
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A folder with table.csv, and fit/ with what `dive fit` left of it; and the true stages."""
    folder, rng = tmp_path_factory.mktemp("clinic"), np.random.default_rng(7)
    first = np.repeat(rng.uniform(-3.5, 3.0, PEOPLE), VISITS)
    years = np.tile(np.arange(VISITS), PEOPLE)
    stage = first + np.repeat(rng.uniform(0.1, 0.6, PEOPLE), VISITS) * years
    age = np.repeat(rng.uniform(60, 80, PEOPLE), VISITS) + years
    values = {
        name: start + change * expit(steepness * (stage - onset)) + rng.normal(0, noise, stage.size)
        for name, (start, change, onset, steepness, noise) in TRUTH.items()
    }
    with (folder / "table.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["ID", "age", "diagnosis", *TRUTH])
        for n in range(stage.size):
            row = [f"{values[name][n]:.4g}" if rng.random() > 0.1 else "" for name in TRUTH]
            writer.writerow([f"s{n // VISITS:02d}", f"{age[n]:.2f}", "CN" if stage[n] < -1 else "AD", *row])
    run("dive", "fit", folder / "table.csv", "--guide", "map", "--out", folder / "fit")
    return folder, stage


def run(*words):
    app([str(word) for word in words], result_action="return_value")


def table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def head(path):
    with path.open(newline="") as stream:
        return next(csv.reader(stream))


def test_each_curve_is_found_again_in_its_own_unit(fitted):
    folder, stage = fitted
    dps = np.array([float(row["dps"]) for row in table(folder / "fit/stages.csv")])
    slope, offset = np.polyfit(stage, dps, 1)
    assert np.corrcoef(stage, dps)[0, 1] > 0.97
    for row in table(folder / "fit/biomarkers.csv"):
        start, change, onset, _, _ = TRUTH[row["biomarker"]]
        assert (float(row["onset"]) - offset) / slope == pytest.approx(onset, abs=0.6), row["biomarker"]
        if row["biomarker"] != "abeta":  # few were seen before it falls: intervals say so
            assert float(row["baseline"]) == pytest.approx(start, abs=0.1 * abs(change)), row["biomarker"]
        if row["biomarker"] in ("tau", "volume"):  # and few after the others have changed
            assert float(row["change"]) == pytest.approx(change, rel=0.15), row["biomarker"]


def test_levels_and_changes_are_within_intervals_that_tell_something(fitted):
    folder, _ = fitted
    run("dive", "fit", folder / "table.csv", "--guide", "laplace", "--out", folder / "laplace")
    for row in table(folder / "laplace/biomarkers.csv"):
        start, change, *_ = TRUTH[row["biomarker"]]
        for name, true in (("baseline", start), ("change", change)):
            low, high = float(row[f"{name}_5"]), float(row[f"{name}_95"])
            assert low <= true <= high, row["biomarker"]
            assert high - low < 1.5 * abs(change), row["biomarker"]


def test_tables_and_report_speak_of_biomarkers(fitted):
    folder = fitted[0] / "fit"
    rows = table(folder / "trajectories.csv")
    assert [row["cluster"] for row in rows] == list(TRUTH)
    assert {row["unit_of_a_d_sigma"] for row in rows} == {"the biomarker's own unit"}
    assert "share" not in rows[0]
    assert "cluster" not in table(folder / "biomarkers.csv")[0]
    report = (folder / "report.html").read_text()
    assert "Disease progression of biomarkers" in report
    assert "each of 4 with a trajectory of its own" in report
    for row in table(folder / "biomarkers.csv"):
        assert f"<td>{float(row['years']):.3g}</td>" in report  # of a point
    assert "years to onset" in report
    assert not (folder / "trajectories.png").exists()


def test_a_point_has_no_intervals_in_tables_and_captions(fitted):
    folder = fitted[0] / "fit"
    for name in ("biomarkers", "trajectories", "stages", "subjects"):
        rows = table(folder / f"{name}.csv")
        ends = {key for key in rows[0] if key.endswith(("_5", "_95"))}
        assert ends
        assert {row[key] for row in rows for key in ends} == {""}, name
    assert "90 % interval" not in (folder / "report.html").read_text()


def test_tables_json_says_what_each_column_is_and_no_other(fitted):
    folder = fitted[0] / "fit"
    said = json.loads((folder / "tables.json").read_text())
    assert set(said) == {"subjects.csv", "stages.csv", "trajectories.csv"}
    assert {name: list(columns) for name, columns in said.items()} == {name: head(folder / name) for name in said}
    assert said["trajectories.csv"]["a"]["Units"] == "the biomarker's own unit"


def test_the_fit_is_read_again_by_the_other_commands(fitted, capsys):
    folder = fitted[0]
    run("dive", "personalize", folder / "fit", folder / "table.csv", "--out", folder / "new.csv")
    ours = np.array([float(row["dps"]) for row in table(folder / "fit/stages.csv")])
    again = np.array([float(row["dps"]) for row in table(folder / "new.csv")])
    assert np.corrcoef(ours, again)[0, 1] > 0.99
    run("dive", "forecast", folder / "fit", "--years", 1, "--out", folder / "later")
    later = table(folder / "later/forecasts.csv")
    assert len(later) == PEOPLE
    assert set(TRUTH) < set(later[0])
    assert f"{PEOPLE} forecasts of the values of {PEOPLE} subjects: " in capsys.readouterr().out
    one = ["--years", 1, "--person", later[0]["subject"]]
    run("dive", "forecast", folder / "fit", *one, "--out", folder / "later_of_one")
    assert f"1 forecast of the values of subject {later[0]['subject']}: " in capsys.readouterr().out


def test_new_tables_are_read_as_the_fits_own_was(fitted, tmp_path):
    rows = table(fitted[0] / "table.csv")
    for row in rows:
        row["lab"] = row.pop("ID")
        row["tau"] = row["tau"] or "-4"
    for name, some in (("old.csv", rows[:60]), ("new.csv", rows[:12])):
        with (tmp_path / name).open("w", newline="") as stream:
            writer = csv.DictWriter(stream, some[0])
            writer.writeheader()
            writer.writerows(some)
    how = ["--subject", "lab", "--missing=-4", "--max-steps", 20, "--guide", "map"]
    run("dive", "fit", tmp_path / "old.csv", *how, "--out", tmp_path / "fit")
    run("dive", "personalize", tmp_path / "fit", tmp_path / "new.csv", "--out", tmp_path / "new")
    assert [row["subject"] for row in table(tmp_path / "new")] == [row["lab"] for row in rows[:12]]
    (tmp_path / "other.csv").write_text((tmp_path / "new.csv").read_text().replace("lab", "ID"))
    run("dive", "personalize", tmp_path / "fit", tmp_path / "other.csv", "--out", tmp_path / "other")
    assert (tmp_path / "other").read_text() == (tmp_path / "new").read_text()
    (tmp_path / "fit/study.json").write_text("{")
    with pytest.raises(ValueError, match=r"study\.json: damaged"):
        run("dive", "personalize", tmp_path / "fit", tmp_path / "new.csv", "--out", tmp_path / "new")


def test_ages_and_dates_do_not_mix(fitted, tmp_path):
    rows = table(fitted[0] / "table.csv")[:12]
    for row in rows:
        row["date"] = f"20{int(float(row.pop('age'))) % 100:02d}-06-30"
    with (tmp_path / "dated.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(ValueError, match=r"dated\.csv: time: 20.*, where the fit's times are .*; ages and dates do"):
        run("dive", "personalize", fitted[0] / "fit", tmp_path / "dated.csv", "--out", tmp_path / "new.csv")


def test_two_clusters_for_four_kinds_are_told_of(fitted, capsys):
    folder = fitted[0]
    run("dive", "fit", folder / "table.csv", "--clusters", 2, "--guide", "map", "--out", folder / "two")
    caution = capsys.readouterr().err
    assert "curves miss the data" in caution
    assert "leave --clusters out" in caution
    assert all(float(row["onset_5"]) < float(row["onset_95"]) for row in table(folder / "two/biomarkers.csv"))
    report = (folder / "two/report.html").read_text()
    assert report.count("90 % interval") == report.count("90 % interval, given its cluster") == 1


@pytest.mark.parametrize(("level", "why"), [("3", "it never changes in 4"), ("", "it has no value in 4")])
def test_one_without_a_trajectory_is_told_before_anything_is_done(tmp_path, level, why):
    path, chosen = tmp_path / "t.csv", ("--biomarkers", "MMSE (of 30),flat")
    path.write_text(f"ID,age,MMSE (of 30),flat\na,70,29,{level}\na,71,27,{level}\nb,66,30,\nb,67,29,{level}\n")
    remedy = r"give more visits, or leave it out: --biomarkers 'MMSE \(of 30\)'$"  # as a shell takes it
    with pytest.raises(ValueError, match=f"flat: {why} visits of 2 people, so that it has no trajectory; {remedy}"):
        run("dive", "fit", path, "--out", tmp_path / "fit", *chosen)
    assert not (tmp_path / "fit").exists()


@pytest.mark.parametrize("command", ["fit", "select --clusters 1:2"])
def test_that_there_is_one_person_is_told_before_what_that_leads_to(tmp_path, command):
    (tmp_path / "two.csv").write_text("ID,age,APOE4,MMSE\na,70,1,29\na,71,1,27\n")
    with pytest.raises(ValueError, match=r"subject: all 2 visits are of one subject \(a\), too few for a course"):
        run("dive", *command.split(), tmp_path / "two.csv", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["fit", "select --clusters 1:2", "fit --clusters 2"])
def test_biomarkers_have_no_neighbours(tmp_path, command):
    (tmp_path / "t.csv").write_text("ID,age,MMSE,tau\na,70,29,3\na,71,27,4\nb,66,30,\nb,67,29,3\n")
    with pytest.raises(ValueError, match="--spatial: biomarkers have no mesh, so no neighbours; leave it out"):
        run("dive", *command.split(), tmp_path / "t.csv", "--spatial", "--out", tmp_path / "fit")
    assert not (tmp_path / "fit").exists()


def test_panels_of_trajectories_are_called_as_the_biomarkers_and_say_their_scores(fitted):
    fit = load_fit(fitted[0] / "fit", Cohort.load(fitted[0] / "fit/cohort.npz"))
    axes = plot_trajectories(Outcome(fit.model, Cohort.load(fitted[0] / "fit/cohort.npz"), fit)).axes
    assert [axis.get_title() for axis in axes] == list(TRUTH)
    assert all(axis.get_xticklabels()[0].get_visible() for axis in axes)
    assert axes[0].get_ylabel().startswith("value")
