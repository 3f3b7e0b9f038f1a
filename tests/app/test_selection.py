"""The number of clusters: rules and sentences on made-up numbers, and a small study end to end."""

import csv
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from neuropyro.cli import app
from neuropyro.data import simulate_reference
from neuropyro.inference import Schedule, fit
from neuropyro.inference.reproducibility import Reproducibility
from neuropyro.models import VertexClusterMixture
from neuropyro.selection import Candidate, Selection, select
from neuropyro.selection_cli import numbers
from neuropyro.started import Started, start_of

BASE = np.random.default_rng(0).normal(-100, 10, 50)


def candidate(k, held_out, loo, bic, icl):
    agreement = Reproducibility(0.9, 0.8)
    return Candidate(k, BASE + held_out, BASE + loo, bic, icl, 0.1, agreement, True, SimpleNamespace())


def made_up(noise=0.0, bic=(30.0, 10.0, 20.0)):
    """Three clusters are best; four differ from them by noise alone."""
    wobble = noise * np.random.default_rng(1).standard_normal(50)
    gains = [np.full(50, -3.0), np.zeros(50), wobble]
    return Selection(tuple(candidate(k, g, g, b, b) for k, g, b in zip((2, 3, 4), gains, bic, strict=True)), folds=5)


def test_all_agree():
    found = made_up(noise=0.1)
    assert found.clusters == 3
    assert found.sentence == "Held-out likelihood, leave-one-out, BIC and ICL all choose 3 clusters."


def test_the_smaller_number_wins_within_the_standard_error_only():
    found = made_up(noise=0.5)
    noisy, best = found.candidates[2], max(found.candidates[1:], key=lambda c: c.held_out.sum())
    difference, error = found.deficit(found.candidates[1], "held_out")
    by_hand = best.held_out - found.candidates[1].held_out
    assert difference == pytest.approx(by_hand.sum())
    assert error == pytest.approx(by_hand.std() * np.sqrt(50))
    assert found.chosen("held_out") == 3
    better = Selection((*found.candidates[:2], candidate(4, np.full(50, 0.2), 0.0, 1.0, 2.0)), 5)
    assert better.chosen("held_out") == 4
    assert noisy.clusters == 4


def test_a_sentence_says_where_they_disagree():
    said = made_up(noise=0.1, bic=(30.0, 20.0, 10.0)).sentence
    assert said.startswith("The criteria disagree: held-out likelihood 3, leave-one-out 3, BIC 4, ICL 4.")
    assert "Fewer predict new subjects as well, for each vertex's own course" in said
    assert said.endswith("Chosen: 4, by ICL.")  # none overlap


def test_more_clusters_that_overlap_are_not_chosen():
    """Those that predict new subjects better by 10 nats, where ICL finds three told apart."""
    gains, bic, icl = (np.full(50, -3.0), np.zeros(50), np.full(50, 0.2)), (30.0, 20.0, 10.0), (40.0, 20.0, 25.0)
    rows = zip((2, 3, 4), gains, bic, icl, strict=True)
    found = Selection(tuple(candidate(k, g, g, b, c) for k, g, b, c in rows), folds=5)
    assert found.clusters == 3
    assert "More clusters predict new subjects better by 10 ± 0 nats, but overlap" in found.sentence
    assert "BIC counts clusters that overlap, too." in found.sentence
    assert found.sentence.endswith("Chosen: 3, by ICL, whose clusters are told apart.")


def test_clusters_that_are_told_apart_are_not_said_to_overlap():
    """ICL is BIC where no label is uncertain: what it has against more clusters is that they explain too little."""
    gains, bic = (np.full(50, -3.0), np.zeros(50), np.full(50, 0.2)), (30.0, 20.0, 25.0)
    rows = [candidate(k, g, g, b, b) for k, g, b in zip((2, 3, 4), gains, bic, strict=True)]
    said = Selection(tuple(rows), 5, "biomarkers").sentence
    assert "More clusters predict new subjects better by 10 ± 0 nats, and are told apart as well" in said
    assert "overlap" not in said
    assert said.endswith("Chosen: 3, by ICL.")


def test_biomarkers_are_called_so():
    found = replace(made_up(noise=0.1, bic=(30.0, 20.0, 10.0)), kind="biomarkers")
    assert "each biomarker's own course" in found.sentence
    assert "vert" not in found.sentence


@pytest.mark.parametrize(("text", "expected"), [("2:4", [2, 3, 4]), ("3:3", [3]), ("2,5", [2, 5]), ("4", [4])])
def test_numbers_are_read_with_both_ends(text, expected):
    assert numbers(text) == expected


@pytest.mark.parametrize("text", ["", "two", "4:2", "0:3", "2-4"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="--clusters: "):
        numbers(text)


def test_a_part_starts_from_its_own_rows_of_the_whole():
    cohort = simulate_reference(n_subjects=8, n_vertices=10, n_clusters=2, seed=0)
    model = VertexClusterMixture(2, visit_effect=True)
    result = fit(model, cohort, "map", schedule=Schedule(max_steps=2), progress=False)
    train = cohort.subset(subjects=cohort.subjects[[1, 4, 6]])
    values = start_of(result, cohort, train)
    draw = result.posterior(1)
    np.testing.assert_array_equal(values["place"], draw["place"][0, [1, 4, 6]])
    np.testing.assert_array_equal(values["u_scaled"], draw["u_scaled"][0, [1, 4, 6]])
    np.testing.assert_array_equal(values["level"], draw["level"][0].reshape(8, 4, 2)[[1, 4, 6]].reshape(12, 2))
    np.testing.assert_array_equal(values["c"], draw["c"][0])
    part = fit(Started(model, values), train, "map", schedule=Schedule(max_steps=1, window=2), progress=False)
    # One step from there is near it, in the part's own gauge.
    assert np.corrcoef(part.posterior(1)["dps"][0], draw["dps"][0].reshape(8, 4)[[1, 4, 6]].ravel())[0, 1] > 0.99


def test_nothing_to_select_is_refused():
    cohort = simulate_reference(n_subjects=8, n_vertices=10, n_clusters=2, seed=0)
    with pytest.raises(ValueError, match="no number of clusters"):
        select(cohort, [])
    with pytest.raises(ValueError, match="labels are known"):
        select(cohort, [2], VertexClusterMixture(2, labels=[0, 1] * 5))


def test_what_is_stopped_keeps_the_numbers_that_were_done(tmp_path, monkeypatch):
    simulate_reference(n_subjects=8, n_vertices=12, n_clusters=2, seed=0).save(tmp_path / "cohort.npz")

    def stopped_at_two(model, *args, **options):
        if getattr(model, "n_clusters", 1) == 2:
            raise KeyboardInterrupt
        return fit(model, *args, **options | {"schedule": Schedule(max_steps=2, warm_up=0, window=2)})

    monkeypatch.setattr("neuropyro.selection.fit", stopped_at_two)
    line = ["dive", "select", str(tmp_path / "cohort.npz"), "--clusters", "1:2", "--folds", "2"]
    with pytest.raises(SystemExit, match="130"):
        app([*line, "--out", str(tmp_path / "out")], result_action="return_value")
    with (tmp_path / "out" / "selection.csv").open(newline="") as stream:
        assert [row["clusters"] for row in csv.DictReader(stream)] == ["1"]
    assert (tmp_path / "out" / "selection.txt").read_text().startswith("So far, with 1 of 1:2: ")


@pytest.fixture(scope="module")
def selected(tmp_path_factory):
    """The folder and rows of a comparison of 1 to 3 clusters, where there are 2."""
    folder = tmp_path_factory.mktemp("selected")
    simulate_reference(n_subjects=60, n_vertices=150, n_clusters=2, interval=3.0, seed=0).save(folder / "cohort.npz")
    line = ["dive", "select", str(folder / "cohort.npz"), "--clusters", "1:3", "--folds", "3", "--max-steps", "600"]
    app([*line, "--out", str(folder / "out")], result_action="return_value")
    with (folder / "out" / "selection.csv").open(newline="") as stream:
        return folder / "out", list(csv.DictReader(stream))


@pytest.mark.slow
def test_held_out_people_tell_one_cluster_from_two(selected):
    """One wide cluster predicts people worse, by 8 standard errors, though vertices' own courses are known."""
    _, rows = selected
    assert float(rows[0]["held_out_below_best"]) > 5 * float(rows[0]["held_out_error"])


@pytest.mark.slow
def test_the_true_number_is_found_and_everything_is_written(selected):
    out, rows = selected
    assert [row["clusters"] for row in rows] == ["1", "2", "3"]
    assert float(rows[0]["held_out_below_best"]) > 2 * float(rows[0]["held_out_error"])
    assert float(rows[0]["bic"]) - float(rows[1]["bic"]) > 100
    assert min(rows, key=lambda row: float(row["bic"]))["clusters"] == "2"
    assert float(rows[1]["dice"]) > 0.95
    assert "2" in (out / "selection.txt").read_text()
    assert (out / "selection.png").stat().st_size > 10_000
