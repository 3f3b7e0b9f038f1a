"""Adjustment by regression on controls, against scikit-learn and against what was put in."""

import dataclasses

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from neuropyro.adjustment import fit_adjustment, load_adjustment
from neuropyro.data import Cohort, CohortError

L = 5
EFFECTS = {"age": np.linspace(-0.02, 0.01, L), "icv": np.linspace(0.001, 0.002, L), "sex": np.linspace(-0.3, 0.3, L)}


def study(noise: float, missing: float = 0.0, n_subjects: int = 60) -> tuple[Cohort, np.ndarray]:
    """A cohort with known effects of covariates, and what the disease did to it."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 5, n_subjects)
    subject = np.repeat(np.arange(n_subjects), counts)
    age = rng.uniform(55, 85, n_subjects)[subject] + rng.uniform(0, 3, len(subject))
    icv = rng.normal(1500, 100, n_subjects)[subject]
    male = (rng.random(n_subjects) < 0.5)[subject]
    patient = np.arange(n_subjects)[subject] % 3 == 0
    disease = np.where(patient, -1.0, 0.0)[:, None] * np.arange(1, L + 1)
    values = 2.5 + np.outer(age - 70, EFFECTS["age"]) + np.outer(icv - 1500, EFFECTS["icv"])
    values += np.outer(male, EFFECTS["sex"]) + disease + noise * rng.standard_normal((len(subject), L))
    values[rng.random(values.shape) < missing] = np.nan
    covariates = {"sex": np.where(male, "M", "F"), "icv": icv}
    return Cohort(values, age, subject, np.where(patient, "AD", "CN"), covariates=covariates), disease


def test_known_effects_are_taken_out_and_the_disease_stays():
    cohort, disease = study(noise=0)
    adjustment = fit_adjustment(cohort, ["age", "sex", "icv"])
    assert adjustment.terms == ("age", "sex=M", "icv")
    expected = np.stack([EFFECTS["age"], EFFECTS["sex"], EFFECTS["icv"]])
    np.testing.assert_allclose(adjustment.effects, expected, atol=1e-9)
    np.testing.assert_allclose(adjustment.explained, 1, atol=1e-9)
    adjusted = adjustment(cohort).values
    healthy = adjusted - disease
    np.testing.assert_allclose(healthy, np.broadcast_to(healthy[0], healthy.shape), atol=1e-9)  # one level for all
    # Values keep their level: what a subject with the controls' mean covariates has.
    mean_age = adjustment.centre[0]
    assert abs(healthy[0, 0] - (2.5 + EFFECTS["age"][0] * (mean_age - 70))) < 0.2


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_it_is_weighted_least_squares_at_each_vertex(missing):
    cohort, _ = study(noise=0.2, missing=missing)
    adjustment = fit_adjustment(cohort, ["age", "sex", "icv"])
    control = cohort.is_control
    design = np.stack([cohort.time, cohort.covariates["sex"] == "M", cohort.covariates["icv"]], 1)[control]
    counts = {s: int((cohort.subject[control] == s).sum()) for s in cohort.subject[control].tolist()}
    weight = np.array([1 / counts[s] for s in cohort.subject[control].tolist()])
    for vertex in range(L):
        y = cohort.values[control, vertex]
        seen = ~np.isnan(y)
        theirs = LinearRegression().fit(design[seen], y[seen], weight[seen])
        np.testing.assert_allclose(adjustment.effects[:, vertex], theirs.coef_, rtol=1e-6)
        score = theirs.score(design[seen], y[seen], weight[seen])
        assert adjustment.explained[vertex] == pytest.approx(score, abs=1e-9)
    shift = cohort.values - adjustment(cohort).values
    whole = np.stack([cohort.time, cohort.covariates["sex"] == "M", cohort.covariates["icv"]], 1)
    expected = (whole - np.average(design, 0, weight)) @ adjustment.effects
    np.testing.assert_allclose(shift, np.where(np.isnan(shift), np.nan, expected), atol=1e-9)


def test_a_subject_with_many_visits_counts_once():
    rng = np.random.default_rng(1)
    subject = np.array([0] * 50 + list(range(1, 20)))
    age = rng.uniform(60, 80, 20)[subject]
    values = np.where(subject == 0, 10.0, 0.02 * age)[:, None] + 1e-3 * rng.standard_normal((len(subject), 1))
    cohort = Cohort(values, age, subject, np.full(len(subject), "CN"))
    once = cohort.subset(visits=[*np.flatnonzero(subject != 0).tolist(), 0])
    # One visit instead of fifty of the odd subject changes the effect by its own scatter alone.
    effects = [fit_adjustment(c, ["age"]).effects[0, 0] for c in (cohort, once)]
    assert effects[0] == pytest.approx(effects[1], abs=1e-3)


def test_new_subjects_are_adjusted_by_the_same_effects(tmp_path):
    cohort, _ = study(noise=0.1)
    adjustment = fit_adjustment(cohort, ["age", "sex"])
    adjustment.save(tmp_path / "adjustment.npz")
    loaded = load_adjustment(tmp_path / "adjustment.npz")
    assert loaded.lines() == adjustment.lines()
    new = cohort.subset(visits=~cohort.is_control)
    np.testing.assert_array_equal(loaded(new).values, adjustment(cohort).subset(visits=~cohort.is_control).values)
    np.savez(tmp_path / "other.npz", a=np.ones(2))
    with pytest.raises(CohortError, match=r"other\.npz: not an adjustment"):
        load_adjustment(tmp_path / "other.npz")


def test_a_covariate_called_age_goes_before_time():
    cohort, _ = study(noise=0)
    since_entry = dataclasses.replace(
        cohort, time=cohort.time - 50, covariates={**cohort.covariates, "age": cohort.time}
    )
    np.testing.assert_allclose(fit_adjustment(since_entry, ["age"]).centre, fit_adjustment(cohort, ["age"]).centre)


def test_float32_stays_and_lines_say_what_was_done():
    cohort, _ = study(noise=0.1)
    single = dataclasses.replace(cohort, values=cohort.values.astype(np.float32))
    adjustment = fit_adjustment(single, ["age", "sex"])
    assert adjustment(single).values.dtype == np.float32
    lines = adjustment.lines()
    assert lines[0].startswith("Values adjusted for age, sex by regression on ")
    assert f"{int(cohort.is_control.sum())} visits of 40 controls" in lines[0]
    assert lines[1].startswith("age: mean effect ")


def test_biomarkers_effects_are_told_one_by_one_and_remembered(tmp_path):
    cohort, _ = study(noise=0)
    adjustment = fit_adjustment(
        dataclasses.replace(cohort, feature_names=np.array(list("abcde"))), ["age", "icv", "sex"]
    )
    assert adjustment.names == tuple("abcde")
    said = adjustment.lines()[1]
    assert said.startswith(
        "age: effect per unit a -0.02, b -0.0125, c -0.005, d 0.0025, e 0.01 (each biomarker in its "
    )
    assert said.endswith(f"own), relative to {adjustment.centre[0]:.4g}")
    assert "vertices" not in "".join(adjustment.lines())
    adjustment.save(tmp_path / "adjustment.npz")
    assert load_adjustment(tmp_path / "adjustment.npz").lines() == adjustment.lines()


def test_refuses():
    cohort, _ = study(noise=0.1)
    control = cohort.is_control

    def changed(**covariates):
        return dataclasses.replace(cohort, covariates={**cohort.covariates, **covariates})

    n = cohort.n_visits
    few = np.flatnonzero(control & cohort.is_first_visit)[:3].tolist()
    for made, names, message in [
        (cohort, [], "adjustment: no covariates"),
        (cohort, ["weight"], "covariate weight: not in the cohort; there are age, sex, icv"),
        (dataclasses.replace(cohort, diagnosis=None), ["age"], "diagnosis: no controls in the cohort"),
        (changed(icv=np.r_[np.nan, np.ones(n - 1)]), ["icv"], r"covariate icv: missing for subject 0 at [\d.]+ years"),
        (changed(icv=np.ones(n)), ["icv"], "adjustment: icv is the same in all controls"),
        (changed(sex=np.full(n, "F")), ["sex"], "adjustment: sex is the same in all controls"),
        (changed(twice=2 * cohort.time), ["age", "twice"], "adjustment: age, twice cannot be told apart"),
        (changed(sex=np.where(control, cohort.covariates["sex"], "?")), ["sex"], "'?' was not among the controls"),
        (cohort.subset(visits=few), ["age", "icv"], "age, icv cannot be told apart in 3 visits of controls"),
    ]:  # fmt: skip
        with pytest.raises(CohortError, match=message.replace("?", r"\?")):
            fit_adjustment(made, names)
    adjustment = fit_adjustment(cohort, ["sex"])
    with pytest.raises(CohortError, match="it is of 5 vertices, but the cohort has 2"):
        adjustment(cohort.subset(vertices=[0, 1]))
    values = cohort.values.copy()
    values[4:, 2] = np.nan
    with pytest.raises(CohortError, match=r"values: column 2 was seen at .* too few for 2 terms"):
        fit_adjustment(dataclasses.replace(cohort, values=values), ["age", "sex"])
