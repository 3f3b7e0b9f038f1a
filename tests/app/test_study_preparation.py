"""The order of what is done before a fit, and what is kept of it."""

import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from neuropyro.adjustment import fit_adjustment
from neuropyro.data import Cohort, CohortError
from neuropyro.study_preparation import check_clusters, prepare_study, remarks


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


def test_nothing_is_done_where_nothing_is_named(cohort, tmp_path):
    same, notes = prepare_study(cohort, tmp_path / "out")
    assert same is cohort
    assert notes == ()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("clusters", [0, 4])
def test_more_clusters_than_columns_are_refused_and_the_columns_named(cohort, clusters):
    expected = f"--clusters {clusters}: give a number from 1 to 3, for the cohort has 3 "
    with pytest.raises(CohortError, match=f"{expected}vertices"):
        check_clusters(cohort, clusters)
    with pytest.raises(CohortError, match=f"{expected}biomarkers"):
        check_clusters(replace(cohort, feature_names=np.array(["a", "b", "c"])), clusters)


def test_that_nobody_is_a_control_is_said_where_it_matters(cohort):
    cohort = replace(cohort, subject=np.arange(40) // 2)
    assert remarks(cohort, "controls") == []
    nobody = replace(cohort, diagnosis=np.where(cohort.is_control, "well", "ill"))
    assert "diagnoses are ill, well: none is a control's" in remarks(nobody, "controls")[0]
    assert remarks(nobody, "all") == remarks(replace(cohort, diagnosis=None), "controls") == []


def test_a_diagnosis_among_covariates_a_slip_and_two_visits_at_once_are_said():
    rng = np.random.default_rng(2)
    values = rng.normal(7000, 500, (40, 2))
    values[7, 0] = 7e6
    time = rng.uniform(60, 80, 40)
    time[21] = time[20]
    words = np.array(["CN", "AD", "MCI", ""])[np.arange(40) // 2 % 4]
    who, names = np.arange(40) // 2, np.array(["hippocampus", "ventricles"])
    cohort = Cohort(values, time, who, feature_names=names, covariates={"DX_bl": words, "sex": words == "CN"})
    diagnosis, slip, twice = remarks(cohort, "controls")
    assert diagnosis.startswith("DX_bl looks like a diagnosis; name it by --diagnosis DX_bl")
    assert slip.startswith("hippocampus: 7e+06 lies far from all others")
    assert twice == f"subject 10 has two visits at {time[20]:g}; both are used"


def test_what_looks_like_a_code_is_said():
    rng = np.random.default_rng(1)
    code, high, change, score = rng.uniform(10, 20, (4, 40))
    code[:3], high[5], change[:20] = -4, 999, -change[:20]
    score[0], names = 88, np.array(["code", "high", "change", "score"])
    values = np.stack([code, high, change, score + 40], 1)
    cohort = Cohort(values, rng.uniform(60, 80, 40), np.arange(40) // 2, feature_names=names)
    said = remarks(cohort, "all")
    assert [line.split(":")[0] for line in said] == ["code", "high"]
    assert "3 values are -4, unlike all others" in said[0]
    assert said[0].endswith("give --missing=-4")
    assert said[1].endswith("give --missing=999")


def test_sites_first_then_covariates(cohort, tmp_path, monkeypatch):
    library, transductive = types.ModuleType("combatlearn"), types.ModuleType("combatlearn.transductive")
    library.ComBat = transductive.TransductiveComBat = SiteMeansOut
    monkeypatch.setitem(sys.modules, "combatlearn", library)
    monkeypatch.setitem(sys.modules, "combatlearn.transductive", transductive)
    made, notes = prepare_study(cohort, tmp_path, adjust=["age"], site="site")
    assert [note.split()[0] for note in notes] == ["Sites", "Sd", "Values", "age:"]
    assert Cohort.load(tmp_path / "cohort.npz").hash == made.hash
    # After the sites' means are out, age has no effect left among controls.
    assert abs(fit_adjustment(made, ["age"]).effects).max() < 1e-12
    expected = SiteMeansOut(cohort.covariates["site"]).fit_transform(np.asarray(cohort.values))
    shift = expected - made.values
    slope = np.linalg.lstsq(np.c_[np.ones(40), cohort.time], shift, rcond=None)
    np.testing.assert_allclose(slope[1], 0, atol=1e-20)  # the rest is a line in age alone


def test_a_biomarker_that_never_changes_is_named():
    values = np.array([[1.0, 0, 5], [2.0, 0, 5], [1.5, 2, np.nan], [2.5, 2, 5], [3.0, 1, 5]])
    names = np.array(["tau", "apoe4", "icv"])
    cohort = Cohort(values, [70, 71, 64, 65, 80], ["a", "a", "b", "b", "c"], feature_names=names)
    (said,) = remarks(cohort, "all")
    assert said.startswith("apoe4, icv: never changes within a subject")
    assert remarks(replace(cohort, feature_names=None), "all") == []
    (once,) = remarks(cohort.subset(visits=np.array([True, False, True, False, True])), "all")
    assert once == "every subject has one visit, which says nothing of speeds: they are the prior's"
