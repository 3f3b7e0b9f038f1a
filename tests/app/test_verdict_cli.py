"""The commands that judge fits."""

import pytest

from neuropyro.cli import app
from neuropyro.data import simulate_reference
from neuropyro.inference import Schedule, fit
from neuropyro.models import VertexClusterMixture
from neuropyro.verdict_cli import load_with_cohort

SHORT = Schedule(max_steps=30, warm_up=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fits")
    cohort = simulate_reference(n_subjects=10, n_vertices=12, seed=2)
    cohort.save(folder / "cohort.npz")
    for guide in ("map", "normal"):
        fit(VertexClusterMixture(2), cohort, guide, schedule=SHORT, progress=False).save(folder / guide)
    return folder


def run(*arguments):
    app([str(argument) for argument in arguments], result_action="return_value")


def test_compare(folder, tmp_path, capsys):
    run("compare", folder / "map", folder / "normal", "--data", folder / "cohort.npz", "--out", tmp_path, "--draws", 40)
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[1:3]] == ["map", "normal"]
    table, _, legend = printed.rpartition("\n\n")
    *shown, more = (line.split() for line in table.splitlines())
    kept = [line.split() for line in (tmp_path / "comparison.txt").read_text().rpartition("\n\n")[0].splitlines()]
    assert [line for line in kept if line in shown] == shown
    assert " ".join(more) == f"({len(kept) - len(shown)} more, of which these fits agree better)"  # the file has all
    assert "log_alpha_mean: mean log speed of people" in legend
    assert (tmp_path / "comparison.png").stat().st_size > 10_000


def test_diagnose(folder, tmp_path, capsys):
    data = folder / "cohort.npz"
    run("diagnose", folder / "normal", "--data", data, "--out", tmp_path, "--draws", 40, "--predictive-draws", 20)
    printed = capsys.readouterr().out
    assert printed.count("not converged") == 1
    assert "more steps: --max-steps, or in Python Schedule(max_steps=...)" in printed
    assert "--restarts 4" in printed
    assert (tmp_path / "diagnosis.png").stat().st_size > 10_000
    assert "try: more steps" in (tmp_path / "diagnosis.txt").read_text()


def test_no_fit_is_said(folder):
    with pytest.raises(ValueError, match="no fit"):
        run("compare", "--data", folder / "cohort.npz")


def test_what_a_missing_fit_should_be_is_said(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such folder; a fit is the folder that .* --out .*away` writes"):
        load_with_cohort(tmp_path / "away")
    with pytest.raises(
        FileNotFoundError, match=r"no fit in it .*; a fit is the folder that `neuropyro dive fit COHORT"
    ):
        load_with_cohort(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"cohort\.npz: no such file; name the cohort .* by --data"):
        load_with_cohort(folder / "map")
