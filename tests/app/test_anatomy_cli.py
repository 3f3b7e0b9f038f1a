"""The anatomy simulator's commands: a study on disk, by one process or several, and a subject's other worlds."""

import csv
import json

import nibabel
import numpy as np
import pytest
from PIL import Image

from neuropyro.anatomy_arguments import parse_do, parse_times
from neuropyro.anatomy_files import Study, write_study
from neuropyro.cli import app
from neuropyro.data import Cohort
from neuropyro.data.open_study import StudyOptions
from neuropyro.models import AnatomySimulator, anatomy_image_abduction

SETTINGS = {"subjects": 3, "visits": 2, "seed": 4, "shard": 2}


def run(*arguments):
    app([str(argument) for argument in arguments], result_action="return_value")


def table(path):
    with path.open() as stream:
        return list(csv.DictReader(stream, delimiter="\t" if path.suffix == ".tsv" else ","))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    out = tmp_path_factory.mktemp("study")
    run("simulate", "anatomy", "--out", out, *(x for k, v in SETTINGS.items() for x in (f"--{k}", v)))
    return out


@pytest.fixture(scope="module")
def shards(study):
    return [Cohort.load(study / "shards" / f"shard-0000{k}.npz") for k in range(2)]


@pytest.fixture(scope="module")
def simulator():
    return AnatomySimulator()


def test_shards_are_the_cohort(study, shards, simulator):
    whole = simulator.simulate(3, 2, seed=4, images=False)
    assert [s.n_subjects for s in shards] == [2, 1]
    assert np.concatenate([s.subject for s in shards]).tolist() == whole.subject.tolist()
    np.testing.assert_array_equal(np.concatenate([s.truth["dps"] for s in shards]), whole.truth["dps"])
    np.testing.assert_allclose(np.concatenate([s.values for s in shards]), whole.values, atol=1e-5)
    assert sorted(p.name for p in (study / "shards").iterdir()) == ["shard-00000.npz", "shard-00001.npz"]


def test_tables_are_the_cohorts(study, shards):
    visits = table(study / "visits.tsv")
    for name in ("adas", "mmse", "apoe4", "education"):
        expected = np.concatenate([s.covariates[name] for s in shards])
        np.testing.assert_allclose([float(row[name]) for row in visits], expected, rtol=1e-6, err_msg=name)
    assert [row["diagnosis"] for row in visits] == np.concatenate([s.diagnosis for s in shards]).tolist()
    assert [row["participant_id"] for row in table(study / "participants.tsv")] == [f"sub-00000{k}" for k in (1, 2, 3)]
    truth = table(study / "truth.tsv")
    for name in ("dps", "beta", "vulnerability", "ventricles"):
        rows = [s.truth[name] if len(s.truth[name]) == s.n_visits else s.truth[name][s.subject_index] for s in shards]
        np.testing.assert_allclose([float(row[name]) for row in truth], np.concatenate(rows), rtol=1e-6, err_msg=name)


def test_every_column_of_a_table_is_described(study):
    for name in ("participants", "visits", "truth"):
        columns = list(table(study / f"{name}.tsv")[0])
        assert list(json.loads((study / f"{name}.json").read_text())) == columns, name
    sessions = next(study.glob("sub-*/*_sessions.tsv"))
    assert list(json.loads((study / "sessions.json").read_text())) == list(table(sessions)[0])
    coded = json.loads((study / "truth.json").read_text())
    assert coded["diagnosis"]["Levels"] == {"0": "CN", "1": "MCI", "2": "AD"}
    assert coded["dps"]["Units"] == "sds of controls' first visits"
    assert "Levels" not in json.loads((study / "visits.json").read_text())["diagnosis"]


def test_maps_in_gifti_are_read_back_by_the_table(study, shards):
    found = Cohort.open(study / "visits.tsv", StudyOptions(space="fsaverage5", hemispheres=("L", "R")))
    mesh = shards[0].mesh
    values = np.concatenate([s.values for s in shards])
    place = np.searchsorted(found.mesh.template_index, mesh.template_index)
    np.testing.assert_array_equal(found.mesh.template_index[place], mesh.template_index)
    np.testing.assert_allclose(found.values[:, place], values, rtol=1e-6)


def test_slices_lie_as_the_brain_does(study, shards):
    """Voxel (i, 0, k) of the volume is k from below and i from the left; the picture is its mirror in grey."""
    stem = study / "sub-000001" / "ses-01" / "anat" / "sub-000001_ses-01_T1w"
    image = shards[0].images[0, 0]
    volume = nibabel.load(f"{stem}.nii.gz")
    assert volume.shape == (64, 1, 64)
    np.testing.assert_allclose(volume.get_fdata()[:, 0, ::-1].T, image, atol=1e-6)
    ends = nibabel.affines.apply_affine(volume.affine, [[0, 0, 0], [63, 0, 63]])
    np.testing.assert_allclose(ends[:, [0, 2]], [[-88, -83], [88, 93]])  # phantoms lie about MNI's (0, y, 5)
    assert volume.header.get_xyzt_units()[0] == "mm"
    grey = np.asarray(Image.open(f"{stem}.png"), float)
    np.testing.assert_allclose(grey / 127.5 - 1, image.clip(-1, 1), atol=1 / 127)


def test_any_number_of_processes_writes_the_same_bytes(study, simulator, tmp_path):
    for rank in (1, 0):
        write_study(simulator, Study(**SETTINGS), tmp_path, rank, 2, progress=False)
    files = {p.relative_to(study): p.read_bytes() for p in study.rglob("*") if p.is_file()}
    again = {p.relative_to(tmp_path): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert files.keys() == again.keys()
    assert [str(name) for name in files if files[name] != again[name]] == []


def test_of_several_processes_the_first_says_where_the_study_is(tmp_path, capsys, monkeypatch):
    for rank, told in (("1", ""), ("0", f"study: {tmp_path}\n")):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        run("simulate", "anatomy", "--out", tmp_path, "--subjects", 2, "--shard", 1, "--no-maps", "--no-images")
        assert capsys.readouterr().out == told


@pytest.mark.slow
def test_counterfactual_writes_every_world(study, shards, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(anatomy_image_abduction, "CANDIDATES", 20)  # what is written does not hang on the search
    monkeypatch.setattr(anatomy_image_abduction, "SEARCH_STEPS", 2)
    shard = study / "shards" / "shard-00000.npz"
    elsewhere = f"site={('ABC'.index(shards[0].covariates['site'][0]) + 1) % 3}"
    run("counterfactual", shard, "--do", "apoe4=2", elsewhere, "--draws", 3, "--guide", "mode", "--out", tmp_path)
    told = capsys.readouterr()
    assert str(tmp_path / "counterfactual.png") in told.out
    assert "every world keeps the visits' noise" in told.err
    first, second = shards[0].subjects
    assert f"subject {first}, the first of 2; --subject takes another: {second}\n" in told.err
    assert "worlds: 100%" in told.err
    seen = shards[0].subset(subjects=shards[0].subjects[:1])
    scans = np.load(tmp_path / "as_it_is" / "scan.npy")
    np.testing.assert_array_equal(scans, np.broadcast_to(seen.images, scans.shape))
    factual, carrier = (table(tmp_path / name / "nodes.csv") for name in ("as_it_is", "apoe4=2"))
    np.testing.assert_allclose([float(row["age"]) for row in factual], seen.time, rtol=1e-6)
    np.testing.assert_allclose([float(row["adas"]) for row in factual], seen.covariates["adas"], rtol=1e-6)
    assert all(float(a["dps"]) < float(b["dps"]) for a, b in zip(factual, carrier, strict=True))
    assert all(float(row["dps_5"]) <= float(row["dps"]) <= float(row["dps_95"]) for row in carrier)
    assert np.load(tmp_path / elsewhere / "image.npy").shape == (3, seen.n_visits, 1, 64, 64)
    assert not np.array_equal(np.load(tmp_path / elsewhere / "scan.npy"), scans)
    assert (tmp_path / "counterfactual.png").stat().st_size > 20_000


def test_numbers_alone_have_a_figure_and_a_dictionary(tmp_path, capsys):
    study, out = tmp_path / "study", tmp_path / "worlds"
    run("simulate", "anatomy", "--out", study, "--subjects", 1, "--visits", 2, "--no-maps", "--no-images")
    shard = study / "shards" / "shard-00000.npz"
    run("counterfactual", shard, "--do", "apoe4=2", "--draws", 5, "--guide", "mode", "--out", out)
    told = capsys.readouterr()
    assert told.out.endswith(f"figure: {out / 'courses.png'}\n")
    assert "slices" not in told.err
    assert sorted(path.name for path in out.iterdir()) == ["apoe4=2", "as_it_is", "courses.png", "nodes.json"]
    said = json.loads((out / "nodes.json").read_text())
    assert sorted(said) == sorted(table(out / "as_it_is" / "nodes.csv")[0])
    assert said["mmse_95"] == {
        "Description": "Mini-Mental State Examination: 0 to 30 (best): 95 % quantile of the draws"
    }


def test_a_world_in_which_all_is_as_it_is_is_told(tmp_path, capsys):
    study, out = tmp_path / "study", tmp_path / "worlds"
    run("simulate", "anatomy", "--out", study, "--subjects", 1, "--visits", 2, "--no-maps", "--no-images")
    given = (
        "--do",
        "treatment=1,treatment_start=0",
        "treatment=.5,treatment_start=0",
        "--draws",
        5,
        "--guide",
        "mode",
        "--out",
        out,
    )
    run("counterfactual", study / "shards" / "shard-00000.npz", *given)
    (told,) = [line for line in capsys.readouterr().err.splitlines() if "the same world" in line]
    assert told == "treatment=1,treatment_start=0: the same world as it is, since this is so already or does nothing"


@pytest.mark.parametrize("times", ["50:inf:1", "50:60:nan", "old", "60,nan"])
def test_ages_that_are_no_numbers_are_refused(times):
    with pytest.raises(ValueError, match=f"times: '{times}' is not ages"):
        parse_times(times)


def test_ages_and_interventions_are_read():
    assert parse_do("apoe4=2, treatment=.5") == {"apoe4": 2.0, "treatment": 0.5}
    assert parse_do("") == {}
    assert parse_times("55:90:5") == [55, 60, 65, 70, 75, 80, 85, 90]
    assert parse_times("70,72.5") == [70, 72.5]


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (parse_do, "apoe4", "do: 'apoe4' is not a node and a number, such as apoe4=2"),
        (parse_do, "apoe4=two", "do: 'apoe4=two' is not a node and a number"),
        (parse_times, "young", "times: 'young' is not ages"),
        (parse_times, "55:90", "times: '55:90' is not first:last:step"),
        (parse_times, "90:55:5", "times: '90:55:5' is not first:last:step"),
    ],
)
def test_what_cannot_be_read_is_said(read, text, message):
    with pytest.raises(ValueError, match=message):
        read(text)


def test_a_world_of_no_node_is_refused_before_anything_is_written(study, tmp_path):
    shard = study / "shards" / "shard-00000.npz"
    with pytest.raises(ValueError, match="do: 'height' is no node"):
        run("counterfactual", shard, "--do", "height=2", "--out", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_cohort_that_is_none_of_the_simulators_is_named(tmp_path, capsys):
    other = tmp_path / "clinic.npz"
    with pytest.raises(FileNotFoundError, match=r"clinic\.npz: no such file; give a cohort \(\.npz\), such as a shard"):
        run("counterfactual", other, "--do", "apoe4=0", "--out", tmp_path / "none")
    Cohort([[28.0, 3.1]], [70.0], ["a"], feature_names=["MMSE", "volume"], covariates={"sex": ["F"]}).save(other)
    with pytest.raises(
        ValueError, match=r"clinic\.npz: values: MMSE, volume are not columns of the simulator's, which"
    ):
        run("counterfactual", other, "--do", "apoe4=0", "--out", tmp_path / "none")
    assert capsys.readouterr().err == ""  # nothing is said to be inferred from it


def test_a_study_of_nobody_is_refused():
    with pytest.raises(ValueError, match=r"study: subjects \(0\) must be 1 or more"):
        Study(0)


def test_an_intervention_may_be_a_word_of_the_tables():
    assert parse_do("site=A,apoe4=1") == {"site": 0.0, "apoe4": 1.0}
    with pytest.raises(ValueError, match="do: 'site=D' is not a node and one of A, B, C"):
        parse_do("site=D")
