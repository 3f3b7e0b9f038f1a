"""A single file of results: a folder or a file that is read is refused, another is replaced with a word."""

import tempfile

import numpy as np
import pytest

from neuropyro.cli import app
from neuropyro.data import simulate_reference
from neuropyro.inference import Schedule, fit
from neuropyro.models import VertexClusterMixture
from neuropyro.result_file import check_file
from neuropyro.result_folder import refuse_file


def run(*words):
    app([str(word) for word in words], result_action="return_value")


@pytest.fixture
def study(tmp_path):
    """A fit, its folder, and the visits of others."""
    made = simulate_reference(6, 12, 1, seed=0)
    folder = tmp_path / "fit"
    folder.mkdir()
    made.save(folder / "cohort.npz")
    made.save(tmp_path / "new.npz")
    short = Schedule(max_steps=2, warm_up=0, window=2)
    fit(VertexClusterMixture(1), made, "map", schedule=short, progress=False).save(folder)
    return folder


def test_personalize_says_what_it_replaces_and_keeps_what_it_reads(study, tmp_path, capsys):
    new, out = tmp_path / "new.npz", tmp_path / "placed.csv"
    run("dive", "personalize", study, new, "--out", out)
    assert "is replaced" not in capsys.readouterr().err
    out.write_text("mine")
    run("dive", "personalize", study, new, "--out", out)
    assert f"{out}: the earlier file of that name is replaced" in capsys.readouterr().err
    assert out.read_text().startswith("subject,time,dps")
    for kept in (new, study / "cohort.npz"):
        before = kept.read_bytes()
        with pytest.raises(ValueError, match=r"npz: is read, and would be replaced; give another --out"):
            run("dive", "personalize", study, new, "--out", kept)
        assert kept.read_bytes() == before
    with pytest.raises(ValueError, match="a folder, where --out names a file for the results"):
        run("dive", "personalize", study, new, "--out", study)
    with pytest.raises(ValueError, match=r"new\.npz: a file, where --out has a folder"):
        run("dive", "personalize", study, new, "--out", new / "placed.csv")


@pytest.mark.parametrize("check", [check_file, refuse_file])
def test_a_folder_in_which_no_file_can_be_made_is_refused_before_work(check, tmp_path, monkeypatch):
    """The mode of /proc grants root to write, and so do those of some shares."""

    def refused(**_):
        raise FileNotFoundError(2, "No such file or directory")

    check(tmp_path / "later" / "placed.csv")
    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    with pytest.raises(ValueError, match=f"^{tmp_path}: may not be written to; give another --out, or the right"):
        check(tmp_path / "later" / "placed.csv")


def test_simulated_cohorts_are_replaced_with_a_word(tmp_path, capsys):
    line = ["simulate", "reference", "--subjects", "5", "--vertices", "7", "--out", tmp_path / "reference.npz"]
    run(*line)
    assert "is replaced" not in capsys.readouterr().err
    run(*line)
    assert "reference.npz: the earlier file of that name is replaced" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["consistency", "staging", "forecasts", "patterns"])
def test_evaluations_keep_what_they_read(command, tmp_path):
    np.save(tmp_path / "regions.npy", np.zeros(3, np.int64))
    cohort = tmp_path / "cohort.npz"
    cohort.write_text("mine")
    both = [cohort, cohort] if command == "patterns" else [cohort]
    with pytest.raises(ValueError, match=r"cohort\.npz: is read, and would be replaced"):
        run("dive", "evaluate", command, *both, "--out", cohort)
    if command in ("staging", "forecasts"):
        regions = tmp_path / "regions.npy"
        with pytest.raises(ValueError, match=r"regions\.npy: is read, and would be replaced"):
            run("dive", "evaluate", command, cohort, "--regions", regions, "--out", regions)
    assert cohort.read_text() == "mine"
