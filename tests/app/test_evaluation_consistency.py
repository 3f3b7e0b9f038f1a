"""Folds of subjects give the same clusters and scores."""

import csv

import numpy as np
import pytest

from neuropyro.cli import app
from neuropyro.data import simulate_reference
from neuropyro.evaluation_consistency import evaluate_consistency
from neuropyro.inference import Schedule
from neuropyro.models import VertexClusterMixture


def test_clear_clusters_are_the_same_in_every_fold():
    cohort = simulate_reference(n_subjects=45, n_vertices=40, n_clusters=2, interval=4.0, seed=0)
    schedule = Schedule(max_steps=30, warm_up=10)
    ours, k_means = evaluate_consistency(
        cohort, VertexClusterMixture(2), 3, schedule=schedule, guide="map", progress=False
    )
    assert (ours.method, k_means.method) == ("clusters", "k-means")
    assert ours.clusters.dice > 0.95
    assert ours.clusters.rand > 0.9
    assert 0.98 < ours.scores <= 1
    assert np.isnan(k_means.scores)


@pytest.mark.slow
def test_each_evaluation_is_one_command(tmp_path):
    cohort = tmp_path / "cohort.npz"
    from dataclasses import replace

    made = simulate_reference(n_subjects=40, n_vertices=30, n_clusters=2, seed=0)
    replace(made, covariates={"mmse": 30 - np.asarray(made.truth["dps"])}).save(cohort)
    np.save(tmp_path / "atlas.npy", np.arange(30) // 10)
    rest = ["--clusters", "2", "--max-steps", "80"]
    lines = {
        "consistency": [str(cohort), "--folds", "2"],
        "staging": [str(cohort), "--folds", "2", "--regions", str(tmp_path / "atlas.npy")],
        "forecasts": [str(cohort), "--regions", str(tmp_path / "atlas.npy")],
        "patterns": [str(cohort), str(cohort), "--splits", "1"],
    }
    rows = {}
    for name, line in lines.items():
        out = tmp_path / f"{name}.csv"
        app(["dive", "evaluate", name, *line, *rest, "--out", str(out)], result_action="return_value")
        with out.open(newline="") as stream:
            rows[name] = list(csv.DictReader(stream))
    assert [row["method"] for row in rows["consistency"]] == ["clusters", "k-means"]
    assert float(rows["staging"][0]["pearson"]) < -0.95
    assert {row["years"] for row in rows["forecasts"]} == {"all", "1", "2"}
    assert [row["method"] for row in rows["forecasts"]][:5] == [
        "clusters",
        "fixed regions",
        "no staging",
        "linear mixed model",
        "last value",
    ]
    assert [row["measure"] for row in rows["patterns"]][::2] == ["clusters", "onset", "change"]
