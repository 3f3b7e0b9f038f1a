"""Harmonisation over sites: what ComBat is given, and, where it is installed, what it takes out and leaves."""

import dataclasses
import sys
import types
from typing import ClassVar

import numpy as np
import pytest

from neuropyro.data import Cohort, CohortError
from neuropyro.site_harmonisation import harmonise_sites

L = 40


def study(visits: int, n_subjects: int = 60) -> tuple[Cohort, np.ndarray]:
    """A cohort of three sites with shifts and scales, and its values without them."""
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(n_subjects), visits)
    site = subject % 3
    patient = rng.random(n_subjects)[subject] < np.array([0.3, 0.5, 0.7])[site]
    time = np.repeat(rng.uniform(60, 80, n_subjects), visits) + np.tile(np.arange(visits), n_subjects)
    clean = 2.5 - 0.02 * (time - 70)[:, None] - np.where(patient, 0.5, 0)[:, None] * np.linspace(0, 1, L)
    clean = clean + np.repeat(rng.normal(0, 0.15, (n_subjects, L)), visits, 0)
    noise = rng.normal(0, 0.1, (len(subject), L))
    shift = np.array([0.0, 0.3, -0.2])[site][:, None] + rng.normal(0, 0.05, (3, L))[site]
    values = clean + shift + noise * np.array([1.0, 1.5, 0.7])[site][:, None]
    diagnosis = np.where(patient, "AD", "CN")
    return Cohort(values, time, subject, diagnosis, covariates={"site": np.array(list("abc"))[site]}), clean + noise


@pytest.mark.parametrize(("visits", "method"), [(1, "fortin"), (3, "longitudinal")])
def test_sites_go_and_the_disease_stays(visits, method):
    pytest.importorskip("combatlearn")
    cohort, clean = study(visits)
    made, done = harmonise_sites(cohort)
    assert done.method == method
    assert done.sites == {"a": 20 * visits, "b": 20 * visits, "c": 20 * visits}
    assert done.protected == ("age", "diagnosis")
    assert done.site_sd_before == pytest.approx(np.std([0, 0.3, -0.2]), rel=0.3)
    before, after = (np.sqrt(np.mean((c.values - clean - (c.values - clean).mean(0)) ** 2)) for c in (cohort, made))
    assert after < 0.5 * before
    patient = cohort.diagnosis == "AD"
    effect = made.values[patient].mean(0) - made.values[~patient].mean(0)
    expected = clean[patient].mean(0) - clean[~patient].mean(0)
    # The disease's effect differs from that of the clean values by the sampling of site means alone.
    assert np.abs(effect - expected).mean() < 0.06
    assert made.time.tolist() == cohort.time.tolist()


class Recorded:
    """Stands for the library's class; takes the mean of each batch out."""

    calls: ClassVar[list[dict]] = []

    def __init__(self, batch, **options):
        self.batch = np.asarray(batch)
        Recorded.calls.append({"batch": self.batch, **options})

    def fit_transform(self, values):
        made = np.array(values)
        for site in np.unique(self.batch):
            made[self.batch == site] -= made[self.batch == site].mean(0)
        return made


@pytest.fixture
def recorded(monkeypatch):
    library, transductive = types.ModuleType("combatlearn"), types.ModuleType("combatlearn.transductive")
    library.ComBat = transductive.TransductiveComBat = Recorded
    monkeypatch.setitem(sys.modules, "combatlearn", library)
    monkeypatch.setitem(sys.modules, "combatlearn.transductive", transductive)
    monkeypatch.setattr(Recorded, "calls", [])
    return Recorded.calls


def test_what_the_library_is_given(recorded):
    cohort, _ = study(3)
    values = cohort.values.copy()
    values[4] = np.nan  # a visit without any value
    values[:, 7] = 1.0  # a column that never varies
    values[4, 7] = np.nan
    made, done = harmonise_sites(dataclasses.replace(cohort, values=values))
    call = recorded[0]
    rows = np.arange(len(values)) != 4
    assert call["batch"].tolist() == cohort.covariates["site"][rows].tolist()
    assert call["subject_id"].tolist() == [str(s) for s in cohort.subject[rows]]
    assert call["discrete_covariates"]["diagnosis"].tolist() == cohort.diagnosis[rows].tolist()
    assert call["continuous_covariates"]["age"].tolist() == cohort.time[rows].tolist()
    assert np.isnan(made.values[4]).all()
    assert (made.values[rows, 7] == 1).all()
    moving = np.arange(L) != 7
    assert abs(made.values[rows][:, moving][cohort.covariates["site"][rows] == "b"].mean()) < 1e-12
    assert done.site_sd_after < 1e-12 < done.site_sd_before
    assert done.lines()[0].startswith("Sites harmonised by longitudinal ComBat, keeping the effects of age, diagnosis")


def test_an_unknown_diagnosis_is_a_level_of_its_own(recorded):
    cohort, _ = study(1)
    harmonise_sites(dataclasses.replace(cohort, diagnosis=np.where(np.arange(60) < 5, "", cohort.diagnosis)))
    given = recorded[0]["discrete_covariates"]["diagnosis"].tolist()
    assert given == ["unknown"] * 5 + cohort.diagnosis[5:].tolist()


def test_one_visit_a_subject_is_plain_combat(recorded):
    cohort, _ = study(1)
    _, done = harmonise_sites(cohort, protect=())
    assert recorded[0]["method"] == "fortin"
    assert recorded[0]["discrete_covariates"] is None
    assert done.lines()[0].startswith("Sites harmonised by ComBat. Visits of each site: a (20), b (20), c (20)")


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "combatlearn", None)
    with pytest.raises(CohortError, match=r"sites: ComBat needs combatlearn .*pip install 'neuropyro\[combat\]'"):
        harmonise_sites(study(1)[0])


def test_refuses(recorded):
    cohort, _ = study(1)
    with pytest.raises(CohortError, match="covariate scanner: not in the cohort; there are diagnosis, age, site"):
        harmonise_sites(cohort, "scanner")
    sites = np.array(cohort.covariates["site"])
    for changed, message in [
        (np.full(60, "a"), "all visits are of one site"),
        (np.r_[["d"], sites[1:]], "site d has one visit"),
        (np.r_[[""], sites[1:]], rf"covariate site: missing for subject {cohort.subject[0]} at [\d.]+ years; give"),
    ]:
        with pytest.raises(CohortError, match=message):
            harmonise_sites(dataclasses.replace(cohort, covariates={"site": changed}))
    values = cohort.values.copy()
    values[3, 5] = np.nan
    with pytest.raises(CohortError, match=rf"column 5 is missing for subject {cohort.subject[3]} at .* years; ComBat"):
        harmonise_sites(dataclasses.replace(cohort, values=values))
