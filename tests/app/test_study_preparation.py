"""The order of what is done before a fit, and what is kept of it."""

import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from neuropyro.adjustment import fit_adjustment
from neuropyro.data import Cohort, CohortError
from neuropyro.study_checks import check_clusters
from neuropyro.study_preparation import prepare_study


@pytest.fixture
def cohort() -> Cohort:
    rng = np.random.default_rng(0)
    time, site = rng.uniform(60, 80, 40), np.array(["a", "b"])[np.arange(40) % 2]
    values = rng.normal(2.5, 0.1, (40, 3)) - 0.02 * (time - 70)[:, None] + 0.5 * (site == "b")[:, None]
    return Cohort(values, time, np.arange(40), np.where(np.arange(40) < 30, "CN", "AD"), covariates={"site": site})


class SiteMeansOut:
    """Stands for the library's class."""

    def __init__(self, batch, **options):
        self.batch = np.asarray(batch)

    def fit_transform(self, values):
        return values - np.array([values[self.batch == s].mean(0) for s in self.batch]) + 2.5


def test_nothing_is_done_where_nothing_is_named(cohort):
    prepared = prepare_study(cohort)
    assert prepared.cohort is cohort
    assert prepared.notes == ()
    assert not prepared.steps


@pytest.mark.parametrize("clusters", [0, 4])
def test_more_clusters_than_columns_are_refused_and_the_columns_named(cohort, clusters):
    expected = f"--clusters {clusters}: give a number from 1 to 3, for the cohort has 3 "
    with pytest.raises(CohortError, match=f"{expected}vertices"):
        check_clusters(cohort, clusters)
    with pytest.raises(CohortError, match=f"{expected}biomarkers"):
        check_clusters(replace(cohort, feature_names=np.array(["a", "b", "c"])), clusters)


def test_sites_first_then_covariates(cohort, tmp_path, monkeypatch):
    library, transductive = types.ModuleType("combatlearn"), types.ModuleType("combatlearn.transductive")
    library.ComBat = transductive.TransductiveComBat = SiteMeansOut
    monkeypatch.setitem(sys.modules, "combatlearn", library)
    monkeypatch.setitem(sys.modules, "combatlearn.transductive", transductive)
    prepared = prepare_study(cohort, adjust=["age"], site="site")
    made = prepared.cohort
    prepared.save(tmp_path)
    assert [note.split()[0] for note in prepared.notes] == ["Sites", "Sd", "Values", "age:"]
    assert Cohort.load(tmp_path / "cohort.npz").hash == made.hash
    # After the sites' means are out, age has no effect left among controls.
    assert abs(fit_adjustment(made, ["age"]).effects).max() < 1e-12
    expected = SiteMeansOut(cohort.covariates["site"]).fit_transform(np.asarray(cohort.values))
    shift = expected - made.values
    slope = np.linalg.lstsq(np.c_[np.ones(40), cohort.time], shift, rcond=None)
    np.testing.assert_allclose(slope[1], 0, atol=1e-20)  # the rest is a line in age alone
