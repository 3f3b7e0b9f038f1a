"""Trials: power against the normal formula, dropout, enrichment; effects by common random numbers."""

import numpy as np
import pytest
import torch
from scipy.stats import norm, ttest_ind

from neuropyro.models import AnatomySimulator
from neuropyro.models.anatomy_mechanisms import Discrete, Function, Gaussian, Linear
from neuropyro.models.anatomy_trials import Trial, TrialData, change, slope, stage_between

SPEED, SPEED_SD, TEST_SD = 0.3, 0.1, 0.5
EVERYONE = Discrete(lambda dps: torch.stack([torch.zeros_like(dps), torch.ones_like(dps)], -1), "visit")


def linear() -> AnatomySimulator:
    """A test that is linear in the score, whose speed is normal; nobody misses a visit."""
    return AnatomySimulator(
        entry_age=Function(lambda: torch.tensor(70.0, dtype=torch.float64)),
        beta=Gaussian(0.0, 1.0, "subject"),
        alpha=Gaussian(SPEED, SPEED_SD, "subject"),
        adas=Gaussian(Linear(0.0, dps=1.0), TEST_SD),
        attended=EVERYONE,
    )


def test_power_agrees_with_the_normal_formula():
    """Change over T years: mean speed T f, variance (sd T f)^2 + 2 sigma^2, where a treatment makes speed f times."""
    years, factor, per_arm, trials = 2.0, 0.5, 100, 600
    trial = Trial({"placebo": {}, "drug": {"treatment": factor}}, "adas", per_arm, years, 2, dropout=0.0)
    found = trial.power(linear(), trials=trials, seed=1)
    sds = [np.sqrt((SPEED_SD * years * f) ** 2 + 2 * TEST_SD**2) for f in (1, factor)]
    # The last visit's time scatters by 5 %, which adds little: (.3 * .1)^2 to a variance of .54.
    sds = [np.sqrt(sd**2 + (SPEED * f * 0.05 * years) ** 2) for sd, f in zip(sds, (1, factor), strict=True)]
    error = np.sqrt(sum(sd**2 for sd in sds) / per_arm)
    difference = -SPEED * years * (1 - factor)
    exact = norm.cdf(abs(difference) / error - norm.isf(0.025)) + norm.cdf(-abs(difference) / error - norm.isf(0.025))
    assert 0.5 < exact < 0.9
    assert abs(found.power - exact) < 3.5 * np.sqrt(exact * (1 - exact) / trials)
    assert found.low < exact < found.high
    assert abs(found.difference - difference) < 3.5 * error / np.sqrt(trials)
    assert abs(found.standard_error / error - 1) < 3.5 / np.sqrt(2 * trials)


def test_without_an_effect_the_power_is_the_level():
    trial = Trial({"placebo": {}, "drug": {"treatment": 1.0}}, "adas", 50, 1.0, 2)
    found = trial.power(linear(), trials=600, level=0.1, seed=2)
    assert abs(found.power - 0.1) < 3.5 * np.sqrt(0.1 * 0.9 / 600)


def test_a_treatment_acts_from_its_start():
    trial = Trial({"placebo": {}, "drug": {"treatment": 0.0}}, "dps", 200, 3.0, 4, start=1.5, dropout=0.0)
    data = trial.simulate(linear(), seed=3)
    drug = data.arm == "drug"
    early = (data.outcome[:, 1] - data.outcome[:, 0]) / data.years[:, 1]
    assert abs(early[drug].mean() - early[~drug].mean()) < 4 * SPEED_SD * np.sqrt(2 / 200)
    late = data.outcome[:, 3] - data.outcome[:, 2]
    assert np.abs(late[drug]).max() < 1e-9
    assert (late[~drug] > 0).mean() > 0.95


def test_dropout_is_exponential_and_first_visits_stay():
    trial = Trial({"a": {}, "b": {}}, "dps", 4000, 2.0, 3, dropout=0.3)
    seen = ~np.isnan(trial.simulate(linear(), seed=4).outcome)
    assert seen[:, 0].all()
    assert abs(seen[:, 2].mean() - np.exp(-0.6)) < 4 * 0.5 / np.sqrt(8000)
    assert not (seen[:, 2] & ~seen[:, 1]).any()


def test_arms_are_of_equal_size_and_at_random():
    data = Trial({"a": {}, "b": {}, "c": {}}, "dps", 300, 1.0, 2).simulate(linear(), seed=5)
    assert np.unique(data.arm, return_counts=True)[1].tolist() == [300, 300, 300]
    assert abs(np.corrcoef(data.units, data.arm == "a")[0, 1]) < 4 / np.sqrt(900)


def test_comparisons_are_welchs():
    trial = Trial({"a": {}, "b": {"treatment": 0.5}}, "adas", 60, 2.0, 3)
    data = trial.simulate(linear(), seed=6)
    found = trial.compare(data, "b")
    numbers = change(data.years, data.outcome)
    one, other = (numbers[(data.arm == k) & ~np.isnan(numbers)] for k in "ba")
    expected = ttest_ind(one, other, equal_var=False)
    assert found.counted == (len(one), len(other))
    assert abs(found.p - expected.pvalue) < 1e-12
    assert abs(found.difference / found.standard_error - expected.statistic) < 1e-9


def test_slopes_are_those_of_least_squares_over_what_was_seen():
    rng = np.random.default_rng(0)
    years, outcome = np.sort(rng.uniform(0, 3, (5, 4)), 1), rng.normal(size=(5, 4))
    outcome[0, 1], outcome[1, 2:], outcome[2, 1:] = np.nan, np.nan, np.nan
    found = slope(years, outcome)
    for i in (0, 1, 3, 4):
        seen = ~np.isnan(outcome[i])
        assert abs(found[i] - np.polyfit(years[i, seen], outcome[i, seen], 1)[0]) < 1e-9
    assert np.isnan(found[2])


def test_enrichment_recruits_by_predicted_stage():
    """Those predicted to be far along are, and a trial of them needs more candidates than subjects."""
    sim = AnatomySimulator()
    trial = Trial({"a": {}, "b": {}}, "adas", 15, 1.0, 2, eligible=stage_between(1.0, 3.0))
    data = trial.simulate(sim, seed=7)
    assert data.screened > 30
    truth = sim.simulate(int(data.units.max()) + 1, 1, seed=7, maps=False, images=False).truth["dps"]
    assert (truth[data.units] > 0.5).mean() > 0.8
    assert truth[data.units].mean() > truth.mean() + 1
    with pytest.raises(ValueError, match="candidates are eligible; widen the criteria"):
        Trial({"a": {}, "b": {}}, per_arm=2, eligible=lambda _, cohort: np.zeros(cohort.n_subjects, bool)).simulate(sim)


def test_predicted_stages_are_near_the_truth():
    sim = AnatomySimulator()
    cohort = sim.simulate(150, 1, seed=8, maps=False, images=False)
    order = np.argsort(cohort.subject_index)
    assert np.corrcoef(sim.predicted_stage(cohort), cohort.truth["dps"][order])[0, 1] > 0.93


def test_trials_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="1 arm; give two or more"):
        Trial({"placebo": {}})
    with pytest.raises(ValueError, match="per_arm and visits"):
        Trial({"a": {}, "b": {}}, visits=1)
    trial = Trial({"a": {}, "b": {}}, "dps", 2, 1.0, 2)
    data = trial.simulate(linear())
    with pytest.raises(ValueError, match="'a' is no arm to compare with 'a'"):
        trial.compare(data, "a")
    nobody = TrialData(data.arm, data.years, np.full_like(data.outcome, np.nan), data.units, 4)
    with pytest.raises(ValueError, match="fewer than two subjects of an arm"):
        trial.compare(nobody, "b")


def test_an_average_effect_is_known_where_mechanisms_are_linear():
    """Two alleles move the score by 2 * .5 for each and every subject, the test by as much: no noise is left."""
    sim = AnatomySimulator(
        beta=Gaussian(Linear(0.0, apoe4=0.5), 1.0, "subject"),
        alpha=Gaussian(0.2, 0.05, "subject"),
        adas=Gaussian(Linear(0.0, dps=3.0), 5.0),
    )
    found = sim.ate({"apoe4": 2.0}, {"apoe4": 0.0}, "adas", n=50)
    assert abs(float(found.mean) - 3.0) < 1e-9
    assert float(found.sd) < 1e-9


def test_common_random_numbers_give_honest_and_narrow_intervals():
    sim = AnatomySimulator()
    many = float(sim.ate({"apoe4": 1.0}, {"apoe4": 0.0}, "mmse", n=40_000, seed=100).mean)
    intervals = [sim.ate({"apoe4": 1.0}, {"apoe4": 0.0}, "mmse", n=200, seed=s).interval(0.9) for s in range(40)]
    held = sum(low < many < high for low, high in intervals)
    assert held >= 31  # of 40 at 90 %: 31 or more in 99 of 100
    apart = sim.simulate(400, 1, seed=1, maps=False, images=False).truth["mmse"].std() * np.sqrt(2 / 200)
    assert np.mean([high - low for low, high in intervals]) / (2 * 1.645) < apart / 3


def test_effects_on_maps_are_maps(small_simulator):
    sim = small_simulator()
    found = sim.ate({"dps": 2.0}, {"dps": 0.0}, "thickness", n=5)
    thickness = sim.parts.thickness
    s = torch.tensor([[2.0], [0.0]])
    course = thickness.a * torch.sigmoid(thickness.b * (s - thickness.c))
    np.testing.assert_allclose(found.mean, course[0] - course[1], atol=1e-5)
    with pytest.raises(ValueError, match="0 subjects; give 2 or more"):
        sim.ate({"dps": 2.0}, n=0)
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        found.interval(1.0)
