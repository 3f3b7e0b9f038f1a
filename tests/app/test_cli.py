"""The command line, end to end on small data."""

import csv
import json
import subprocess
import sys
from datetime import datetime, timedelta

import nibabel
import numpy as np
import pandas
import pytest

from neuropyro.cli import app, main
from neuropyro.data import Cohort, Mesh, cortex_mesh, simulate_cohort, simulate_reference
from neuropyro.inference import load_fit


def table(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def agrees_with_tables(folder):
    """Whether tables.json has the columns of each table that it has no file of its own for, and no other."""
    said = json.loads((folder / "tables.json").read_text())
    there = {path.name for path in folder.glob("*.csv")} - {"biomarkers.csv"}
    heads = {name: (folder / name).read_text().splitlines()[0].split(",") for name in there}
    return {name: list(columns) for name, columns in said.items()} == heads


@pytest.fixture(scope="module")
def cortex(tmp_path_factory):
    """A few hundred vertices of the cortex, few subjects."""
    mesh = cortex_mesh(("left",))
    cohort = simulate_cohort(n_subjects=24, visits=3, mesh=mesh, seed=3)
    path = tmp_path_factory.mktemp("cli") / "cohort.npz"
    cohort.subset(vertices=np.arange(0, cohort.n_vertices, 40)).save(path)
    return path


@pytest.mark.parametrize("guide", ["map", pytest.param("normal", marks=pytest.mark.slow)])
def test_dive_fit_writes_everything(cortex, tmp_path, guide, capsys):
    app(
        ["dive", "fit", str(cortex), "--guide", guide, "--max-steps", "10", "--out", str(tmp_path)],
        result_action="return_value",
    )
    cohort = Cohort.load(cortex)
    assert str(tmp_path / "report.html") in capsys.readouterr().out
    assert np.load(tmp_path / "assignments.npy").shape == (cohort.n_vertices, 3)
    stages = table(tmp_path / "stages.csv")
    assert [row["subject"] for row in stages] == cohort.subject.tolist()
    assert all((row["dps_5"] == "") == (guide == "map") for row in stages)
    subjects = table(tmp_path / "subjects.csv")
    first = {row["subject"]: row["diagnosis"] for row in reversed(stages)}  # rows are in the order of time
    assert {row["subject"]: row["diagnosis"] for row in subjects} == first
    assert [row["diagnosis"] for row in stages] == cohort.diagnosis.tolist()
    assert list(subjects[0]) == ["subject", "diagnosis", "alpha", "alpha_5", "alpha_95", "beta", "beta_5", "beta_95"]
    trajectories = table(tmp_path / "trajectories.csv")
    assert agrees_with_tables(tmp_path)
    onsets = [float(row["c"]) for row in trajectories]
    assert onsets == sorted(onsets)
    maps = nibabel.load(tmp_path / "lh.clusters.shape.gii").agg_data()
    assert len(maps) == 4
    assert maps[0].shape == (10242,)
    assert np.count_nonzero(maps[0]) == cohort.n_vertices
    own = nibabel.load(tmp_path / "lh.vertices.shape.gii")
    names = [array.meta["Name"] for array in own.darrays]
    assert names[:3] == ["baseline", "baseline 5%", "baseline 95%"]
    said = json.loads((tmp_path / "vertices.json").read_text())
    assert list(said) == names
    assert said["speed 5%"]["Units"] == "mm a year"
    assert said["onset"]["Units"] == "sds of controls"
    assert {"onset", "change", "speed", "years", "entropy of the cluster"} <= set(names)
    onset = dict(zip(names, own.agg_data(), strict=True))["onset"]
    assert (onset[maps[0] > 0] != 0).all()
    said = json.loads((tmp_path / "fit.json").read_text())
    assert said["fingerprint"] == cohort.hash
    assert said["data"] == [str(cortex)]
    assert abs(datetime.now().astimezone() - datetime.fromisoformat(said["when"])) < timedelta(hours=1)
    assert (tmp_path / "posterior.nc").stat().st_size > 0
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 7
    pictures = {"clusters", "entropy", "trajectories", "stages", "recovery", "reliability", "convergence"}
    assert {path.stem for path in tmp_path.glob("*.png")} == pictures
    assert load_fit(tmp_path, data=cohort).guide_name == guide


def test_a_folder_holds_one_fit_alone(cortex, tmp_path, monkeypatch, capsys):
    out = tmp_path / "fit"
    short = ["dive", "fit", str(cortex), "--guide", "map", "--max-steps", "4", "--out", str(out)]
    app(short, result_action="return_value")
    (out / "covariates.csv").touch()  # as a fit with covariates would leave
    (out / "adjustment.npz").touch()
    (out / "my notes.txt").touch()
    with pytest.raises(ValueError, match=r"it holds a fit already; give another --out, or --overwrite to replace it"):
        app(short, result_action="return_value")
    assert (out / "covariates.csv").exists()
    app([*short, "--overwrite"], result_action="return_value")
    assert "the results of an earlier fit are replaced" in capsys.readouterr().err
    assert not (out / "covariates.csv").exists()
    assert not (out / "adjustment.npz").exists()
    assert (out / "my notes.txt").exists()
    assert (out / "report.html").exists()
    own = tmp_path / "own"
    own.mkdir()
    names = np.array(["volume", "test"])
    made = simulate_reference(n_subjects=6, n_vertices=2, seed=1)
    columns = {"ID": made.subject, "age": made.time} | dict(zip(names, made.values.T, strict=True))
    pandas.DataFrame(columns).to_csv(own / "biomarkers.csv", index=False)
    kept = (own / "biomarkers.csv").read_bytes()
    asked = [str(own / "biomarkers.csv"), "--clusters", "2", "--out", str(own)]
    monkeypatch.setattr(sys, "argv", ["neuropyro", "dive", "fit", *asked])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "biomarkers.csv is read, and would be replaced; give another --out" in capsys.readouterr().err
    assert (own / "biomarkers.csv").read_bytes() == kept
    asked = [str(cortex), "--covariates", "apoe", "--out", str(tmp_path / "none")]
    monkeypatch.setattr(sys, "argv", ["neuropyro", "dive", "fit", *asked])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "covariate apoe: not in the cohort" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


REFUSED = {
    "--adjust AGE": "AGE",
    "--site XX": "XX",
    "--device gpu": "device gpu",
    "--max-steps 0": "max-steps",
    "--restarts 0": "restarts",
    "--seed -1": "seed",
}


def test_what_is_refused_leaves_the_earlier_fit(cortex, tmp_path, monkeypatch, capsys):
    out = tmp_path / "fit"
    asked = ["dive", "fit", str(cortex), "--guide", "map", "--overwrite", "--out", str(out)]
    app([*asked, "--max-steps", "4"], result_action="return_value")
    kept = {path.name: path.read_bytes() for path in out.iterdir()}
    for words, named in REFUSED.items():
        with pytest.raises((ValueError, SystemExit)) as refused:  # by the fit, or already by the command line
            app([*asked, *words.split()], result_action="return_value")
        assert named in f"{refused.value} {capsys.readouterr().err}"
        assert {path.name: path.read_bytes() for path in out.iterdir()} == kept, words

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("neuropyro.inference.fit", stopped)
    with pytest.raises((KeyboardInterrupt, SystemExit)):  # which the library of the command line makes of it
        app(asked, result_action="return_value")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == kept


def test_a_demo_replaces_a_demo_and_nobodys_own_fit(tmp_path, monkeypatch):
    reached = []
    monkeypatch.setattr("neuropyro.fit_cli._check_room", lambda out: reached.append(out) or 1 / 0)
    (tmp_path / "fit.json").touch()
    made = simulate_reference(n_subjects=5, n_vertices=7, seed=1)
    Cohort(made.values, made.time, made.subject, made.diagnosis).save(tmp_path / "cohort.npz")
    with pytest.raises(ValueError, match="it holds a fit already"):
        app(["demo", "--out", str(tmp_path)], result_action="return_value")
    assert not reached
    made.save(tmp_path / "cohort.npz")
    with pytest.raises(ZeroDivisionError):  # it would have gone on
        app(["demo", "--out", str(tmp_path)], result_action="return_value")
    assert reached == [tmp_path]


def test_a_run_that_failed_can_be_run_again(cortex, tmp_path, monkeypatch):
    short = ["dive", "fit", str(cortex), "--guide", "map", "--max-steps", "4", "--out", str(tmp_path / "fit")]

    def failing(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr("neuropyro.report.write_report", failing)
        with pytest.raises(OSError, match="disk full"):
            app(short, result_action="return_value")
    assert (tmp_path / "fit" / "fit.json").is_file()
    app(short, result_action="return_value")
    assert (tmp_path / "fit" / "report.html").is_file()
    assert not (tmp_path / "fit" / "unfinished.txt").exists()


@pytest.mark.slow
def test_values_are_reported_in_the_datas_own_unit(tmp_path):
    """Ten times the values and a shift give ten times a, d, sigma, the rest being the same."""
    cohort = simulate_reference(n_subjects=30, n_vertices=40, seed=1)
    tables = []
    for factor, shift in ((1.0, 0.0), (10.0, 100.0)):
        path = tmp_path / f"{factor}.npz"
        Cohort(cohort.values * factor + shift, cohort.time, cohort.subject, cohort.diagnosis).save(path)
        out = tmp_path / f"fit{factor}"
        app(
            ["dive", "fit", str(path), "--guide", "map", "--max-steps", "60", "--out", str(out)],
            result_action="return_value",
        )
        tables.append(table(out / "trajectories.csv"))
    for one, ten in zip(*tables, strict=True):
        # float32 data and a stopping rule of 1e-6 of the loss leave differences of a few parts in a thousand
        assert float(ten["a"]) == pytest.approx(10 * float(one["a"]), rel=0.02)
        assert float(ten["d"]) - 100 == pytest.approx(10 * float(one["d"]), abs=0.5)
        assert float(ten["sigma"]) == pytest.approx(10 * float(one["sigma"]), rel=0.02)
        assert float(ten["c"]) == pytest.approx(float(one["c"]), abs=0.02)


def test_biomarkers_are_told_by_name_and_in_their_own_unit(tmp_path, capsys):
    cohort = simulate_reference(n_subjects=30, n_vertices=4, n_clusters=2, seed=1)
    names = np.array(["volume", "area", "score", "test"])
    values = cohort.values * [1.0, 1000.0, 1.0, 1.0]
    Cohort(values, cohort.time, cohort.subject, cohort.diagnosis, feature_names=names).save(tmp_path / "four.npz")
    fitted, later = str(tmp_path / "fit"), str(tmp_path / "later")
    short = ["--clusters", "2", "--guide", "map", "--max-steps", "60"]
    app(["dive", "fit", str(tmp_path / "four.npz"), *short, "--out", fitted], result_action="return_value")
    rows = table(tmp_path / "fit" / "biomarkers.csv")
    assert [row["biomarker"] for row in rows] == names.tolist()
    described = json.loads((tmp_path / "fit" / "biomarkers.json").read_text())
    assert list(described) == [column for column in rows[0] if column != "biomarker"]
    assert described["speed_95"]["Units"] == "its own unit a year"
    for row, column in zip(rows, values.T, strict=True):
        # From its baseline to its end, a biomarker's own curve stays near what was seen of it.
        ends = float(row["baseline"]), float(row["baseline"]) + float(row["change"])
        assert min(ends) > column.min() - np.ptp(column)
        assert max(ends) < column.max() + np.ptp(column)
        assert float(row["change_5"]) <= float(row["change"]) <= float(row["change_95"])
    for row in table(tmp_path / "fit" / "trajectories.csv"):  # of biomarkers in units a thousandfold apart
        assert row["unit_of_a_d_sigma"] == "sds, each biomarker standardised"
        assert abs(float(row["d"])) < 10
        assert float(row["sigma"]) < 3
    assert sum(int(row["biomarkers"]) for row in table(tmp_path / "fit" / "trajectories.csv")) == 4
    page = (tmp_path / "fit" / "report.html").read_text()
    assert "clusters of biomarkers" in page
    assert "vertices" not in page.partition("<h2>Settings")[0]
    app(["dive", "forecast", fitted, "--years", "1", "--draws", "20", "--out", later], result_action="return_value")
    arrays = np.load(tmp_path / "later" / "forecasts.npz")
    told = [float(row["area"]) for row in table(tmp_path / "later" / "forecasts.csv")]
    np.testing.assert_allclose(told, arrays["mean"][:, 1], rtol=1e-5)
    app(["dive", "forecast", fitted, "--person", "3", "--out", later], result_action="return_value")
    assert {row["subject"] for row in table(tmp_path / "later" / "forecasts.csv")} == {"3"}
    for words, said in {
        ("--person", "nobody"): "subject: 'nobody' is not in this cohort",
        ("--years", "-1"): "--years -1: not after the last visit; give numbers above 0",
        ("--subject", "who"): "how to read a cohort was said, but none was given",
    }.items():
        with pytest.raises(ValueError, match=said):
            app(["dive", "forecast", fitted, *words, "--out", later], result_action="return_value")
    places = []
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        some = Cohort(values[:8, order], cohort.time[:8], cohort.subject[:8], feature_names=names[order])
        some.save(tmp_path / "some.npz")
        line = ["dive", "personalize", fitted, str(tmp_path / "some.npz"), "--out", str(tmp_path / "some.csv")]
        app(line, result_action="return_value")
        places.append((tmp_path / "some.csv").read_text())
    assert places[0] == places[1]
    assert "same unit" not in capsys.readouterr().err
    other = values[:8] - [0, 9e5, 0, 0]
    Cohort(other, cohort.time[:8], cohort.subject[:8], feature_names=names).save(tmp_path / "some.npz")
    app(line, result_action="return_value")
    (told,) = [one for one in capsys.readouterr().err.splitlines() if "same unit" in one]
    assert "some.npz: area: " in told
    Cohort(values[:8, :3], cohort.time[:8], cohort.subject[:8], feature_names=names[:3]).save(tmp_path / "some.npz")
    with pytest.raises(ValueError, match=r"some\.npz: no biomarker 'test', which the fit has"):
        app(line, result_action="return_value")


def test_tables_of_biomarkers_that_are_each_alone_agree(tmp_path):
    """Their own trajectories are the clusters': the tables are of the same draws, and medians both."""
    cohort = simulate_reference(n_subjects=20, n_vertices=3, n_clusters=2, seed=1)
    names = np.array(["volume", "score", "test"])
    Cohort(cohort.values, cohort.time, cohort.subject, cohort.diagnosis, feature_names=names).save(tmp_path / "c.npz")
    line = ["dive", "fit", str(tmp_path / "c.npz"), "--guide", "normal", "--max-steps", "60"]
    app([*line, "--out", str(tmp_path / "fit")], result_action="return_value")
    own, clusters = (table(tmp_path / "fit" / f"{name}.csv") for name in ("biomarkers", "trajectories"))
    by_name = {row["cluster"]: row for row in clusters}
    assert set(by_name) == set(names)
    for row in own:
        for theirs, ours in {"onset": "c", "change": "a", "baseline": "d"}.items():
            for end in ("", "_5", "_95"):
                expected = float(by_name[row["biomarker"]][f"{ours}{end}"])
                assert float(row[f"{theirs}{end}"]) == pytest.approx(expected, rel=1e-4, abs=1e-4), theirs


def test_simulate_writes_a_cohort(tmp_path):
    out = tmp_path / "new" / "reference.npz"
    app(
        ["simulate", "reference", "--out", str(out), "--subjects", "5", "--vertices", "7"], result_action="return_value"
    )
    assert Cohort.load(out).n_vertices == 7


@pytest.mark.parametrize("kind", ["cohort", "reference"])
def test_a_cohort_is_written_under_no_other_formats_name(kind, tmp_path):
    with pytest.raises(ValueError, match=r"c\.csv: a cohort is written as \.npz"):
        app(["simulate", kind, "--out", str(tmp_path / "c.csv")], result_action="return_value")
    assert not list(tmp_path.iterdir())


def test_a_reader_that_has_enough_is_no_error():
    """As ``neuropyro generator info brains64 | head -1`` is."""
    words = [sys.executable, "-m", "neuropyro", "generator", "info", "brains64"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        assert running.stderr.read() == b""
    assert running.returncode == 0


def test_a_users_error_is_one_line_and_status_2(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["neuropyro", "dive", "fit", str(tmp_path / "no.npz"), "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"neuropyro: {tmp_path / 'no.npz'}: no such file or folder; give a cohort: an .npz file (`neuro"
    )
    assert said.count("\n") == 1


def test_a_fit_that_did_not_converge_says_the_remedy_and_keeps_its_results(tmp_path, monkeypatch, capsys):
    simulate_reference(n_subjects=8, n_vertices=7, seed=1).save(tmp_path / "cohort.npz")
    line = ["neuropyro", "dive", "fit", str(tmp_path / "cohort.npz"), "--guide", "map", "--out", str(tmp_path / "fit")]
    monkeypatch.setattr(sys, "argv", [*line, "--max-steps", "10"])
    main()  # status 0
    said = capsys.readouterr()
    assert "converged" not in said.out  # it is told once
    assert said.err.count("not converged") == 1
    told = said.err.splitlines()[-1]
    assert told.startswith(f"neuropyro: {tmp_path / 'fit'}: the fit has not converged: ")
    assert told.endswith("--max-steps 12000")
    assert (tmp_path / "fit" / "stages.csv").exists()


def test_vertices_that_do_not_vary_are_told(tmp_path, monkeypatch, capsys):
    made = simulate_reference(n_subjects=8, n_vertices=16, seed=1, mesh=Mesh.grid(4, 4), labels=[0, 1] * 8)
    values = made.values.copy()
    values[:, [3, 7, 9]] = 0.0
    Cohort(values, made.time, made.subject, made.diagnosis, mesh=made.mesh).save(tmp_path / "cohort.npz")
    line = ["neuropyro", "dive", "fit", str(tmp_path / "cohort.npz"), "--guide", "map", "--out", str(tmp_path / "fit")]
    monkeypatch.setattr(sys, "argv", [*line, "--clusters", "2", "--max-steps", "10", "--ageing", "--json"])
    main()
    said = capsys.readouterr()
    told = "3 of 16 vertices do not vary (medial wall?) and are left out"
    assert told in said.err.splitlines()
    facts = json.loads(said.out)
    assert (facts["left_out"], facts["vertices"]) == (3, 16)
    report = (tmp_path / "fit" / "report.html").read_text()
    assert told in report
    assert "<th>ageing a year</th>" in report
    assert '<body class="unconverged">' in report
    assert (
        "offsets of visits, lasting offsets of subjects at single vertices, ageing beside the progression; without"
        in report
    )
    rows = table(tmp_path / "fit" / "trajectories.csv")
    assert sum(int(row["vertices"]) for row in rows) == 13
    assert all(np.isfinite(float(row["ageing"])) for row in rows)
    assert [float(row["share"]) for row in rows] == pytest.approx([int(row["vertices"]) / 13 for row in rows])


def test_help_needs_no_torch():
    code = "import sys, neuropyro.cli; assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_threads_are_told_to_sleep_where_they_wait_before_torch_is_there(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    code = (
        "import os, sys\nfrom neuropyro.cli import main\nassert 'torch' not in sys.modules\n"
        "sys.argv = ['neuropyro', '--version']\ntry:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules\nassert os.environ['OMP_WAIT_POLICY'] == 'PASSIVE'"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        "dive fit no.csv --out o",
        "dive fit empty.csv --out o",
        "dive fit own.csv --subject Who --out o",
        "dive fit own.csv --clusters 1 --covariates apoe4 --out o",
        "dive select no.csv --out o",
        "dive personalize no own.csv --out o.csv",
        "dive forecast no --out o",
        "diagnose no --out o",
        "compare no no",
        "dive evaluate consistency no.csv --out o.csv",
        "reconstruct no.png --corruption superres:4 --out o",
        "counterfactual no.npz --do apoe4=0 --out o",
    ],
)
def test_errors_of_use_are_told_before_torch_is_imported(tmp_path, words):
    """It takes seconds, and a path may be misspelt more than once."""
    (tmp_path / "empty.csv").touch()
    (tmp_path / "own.csv").write_text("ID,age,MMSE\na,70,30\na,71,29\n")
    code = "import sys, neuropyro.cli as c\ntry: c.main()\nfinally: print('torch' in sys.modules)"
    line = [sys.executable, "-c", code, *words.split()]
    ended = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout.strip()) == (2, "False"), ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.slow
def test_neighbours_can_be_taken_into_account(tmp_path):
    labels = np.repeat([0, 1], 32)
    path = tmp_path / "grid.npz"
    simulate_reference(20, 64, 2, seed=2, mesh=Mesh.grid(8, 8), labels=labels).save(path)
    out = tmp_path / "fit"
    line = ["dive", "fit", str(path), "--spatial", "--clusters", "2", "--guide", "map", "--max-steps", "200"]
    app([*line, "--out", str(out)], result_action="return_value")
    assert json.loads((out / "fit.json").read_text())["model"]["arguments"]["spatial"] == "potts"
    guess = np.load(out / "assignments.npy").argmax(1)
    assert max((guess == labels).mean(), (guess != labels).mean()) > 0.9


def test_effects_of_covariates_are_a_table_in_their_own_unit(tmp_path, capsys):
    plain = simulate_reference(n_subjects=18, n_vertices=20, seed=1)
    columns = {"apoe4": plain.subject % 3, "sex": np.where(plain.subject % 2, "F", "M")}
    Cohort(plain.values, plain.time, plain.subject, plain.diagnosis, covariates=columns).save(tmp_path / "cohort.npz")
    line = ["dive", "fit", str(tmp_path / "cohort.npz"), "--guide", "normal", "--max-steps", "5"]
    named = ["--covariates", "apoe4", "--covariates", "sex"]
    app([*line, *named, "--out", str(tmp_path / "fit")], result_action="return_value")
    rows = table(tmp_path / "fit" / "covariates.csv")
    assert [row["term"] for row in rows] == ["apoe4", "sex=M"]
    assert agrees_with_tables(tmp_path / "fit")
    assert [float(row["mean"]) for row in rows] == [1.0, 0.5]
    for row in rows:
        assert float(row["log_alpha_5"]) < float(row["log_alpha"]) < float(row["log_alpha_95"])
        assert float(row["beta_5"]) < float(row["beta_95"])
        assert float(row["speed_ratio_95"]) == pytest.approx(np.exp(float(row["log_alpha_95"])), rel=1e-5)
    result = load_fit(tmp_path / "fit", data=Cohort.load(tmp_path / "cohort.npz"))
    effects = result.model.covariate_effects(result, 200)
    assert [float(row["beta"]) for row in rows] == pytest.approx(np.median(effects.beta, 0), rel=1e-5)
    page = (tmp_path / "fit" / "report.html").read_text()
    assert "<h2>Covariates</h2>" in page
    assert "sex=M" in page


def test_a_covariate_that_is_not_there_is_one_line(tmp_path, monkeypatch, capsys):
    simulate_reference(n_subjects=5, n_vertices=7, seed=1).save(tmp_path / "cohort.npz")
    line = ["neuropyro", "dive", "fit", str(tmp_path / "cohort.npz"), "--covariates", "apoe4", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit):
        main()
    expected = "neuropyro: covariate apoe4: not in the cohort; there are none"
    assert capsys.readouterr().err.splitlines()[-1] == expected


def test_personalize_places_new_subjects_by_the_fit_and_the_cohort_in_its_folder(tmp_path):
    cohort = simulate_reference(n_subjects=60, n_vertices=60, seed=1)
    fitted, new = cohort.subset(visits=cohort.subject < 40), cohort.subset(visits=cohort.subject >= 40)
    fitted.save(tmp_path / "fitted.npz")
    new.save(tmp_path / "new.npz")
    out, placed = tmp_path / "fit", tmp_path / "placed" / "new.csv"
    arguments = ["dive", "fit", str(tmp_path / "fitted.npz"), "--guide", "map", "--max-steps", "100", "--out", str(out)]
    app(arguments, result_action="return_value")
    app(
        ["dive", "personalize", str(out), str(tmp_path / "new.npz"), "--out", str(placed)], result_action="return_value"
    )
    rows = table(placed)
    assert [row["subject"] for row in rows] == [str(name) for name in new.subject]
    assert all(float(row["dps_5"]) < float(row["dps"]) < float(row["dps_95"]) for row in rows)
    assert all(float(row["alpha_5"]) < float(row["alpha"]) < float(row["alpha_95"]) for row in rows)
    scores = [float(row["dps"]) for row in rows]
    assert np.corrcoef(scores, np.asarray(cohort.truth["dps"])[cohort.subject >= 40])[0, 1] > 0.97


@pytest.mark.slow
def test_forecast_writes_tables_and_maps_in_the_cohorts_format(tmp_path):
    cohort = simulate_reference(n_subjects=30, n_vertices=40, seed=1)
    cohort.save(tmp_path / "cohort.npz")
    out = tmp_path / "fit"
    arguments = ["dive", "fit", str(tmp_path / "cohort.npz"), "--guide", "map", "--max-steps", "200", "--out", str(out)]
    app(arguments, result_action="return_value")
    some = cohort.subset(subjects=cohort.subjects[:3])
    some.save(tmp_path / "some.npz")
    line = ["dive", "forecast", str(out), str(tmp_path / "some.npz"), "--years", "0.5", "--years", "2", "--draws", "30"]
    app([*line, "--out", str(tmp_path / "later")], result_action="return_value")
    rows = table(tmp_path / "later" / "forecasts.csv")
    assert [row["subject"] for row in rows] == ["0", "0", "1", "1", "2", "2"]
    last = [some.time[some.subject == i].max() for i in range(3)]
    assert [float(row["time"]) for row in rows] == pytest.approx(np.add.outer(last, [0.5, 2]).ravel(), abs=1e-4)
    assert all(float(row["dps_5"]) < float(row["dps"]) < float(row["dps_95"]) for row in rows)
    assert all(float(row["p_1"]) + float(row["p_2"]) == pytest.approx(1) for row in rows)
    arrays = np.load(tmp_path / "later" / "forecasts.npz")
    assert arrays["mean"].shape == (6, 40)
    assert (arrays["lower"] < arrays["mean"]).all()
    # Half a year on, maps are about where they were.
    left = arrays["mean"][::2] - np.stack([some.values[some.subject == i].mean(0) for i in range(3)])
    assert np.abs(left).mean() < 0.5
    assert not (tmp_path / "later" / "maps").exists()  # the reference's vertices lie nowhere
