"""Laws of the simulator: what an intervention changes and what it leaves alone; what comes back."""

import warnings

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine

from neuropyro.data import Cohort, CohortError
from neuropyro.data.counter_random import CounterRandom
from neuropyro.models import AnatomySimulator, anatomy_image_abduction, anatomy_importance
from neuropyro.models.anatomy_counterfactual import Counterfactual
from neuropyro.models.anatomy_mechanisms import Function, Gaussian, Linear
from neuropyro.models.anatomy_program import Design, draw_noise
from neuropyro.models.corruption import Blur, Downsample, Identity, Intensity


@pytest.fixture(scope="module", autouse=True)
def _quick():
    """Laws hold for any draws of what is unseen: a small pool of them and a short search do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anatomy_importance, "LEAST_POOL", 256)
        patch.setattr(anatomy_image_abduction, "CANDIDATES", 50)
        patch.setattr(anatomy_image_abduction, "SEARCH_STEPS", 10)
        yield


@pytest.fixture(scope="module")
def sim(small_simulator):
    return small_simulator()


@pytest.fixture(scope="module")
def cohort(sim) -> Cohort:
    return sim.simulate(5, visits=3, seed=2)


@pytest.fixture(scope="module")
def exogenous(sim, cohort):
    return sim.infer_exogenous(cohort, draws=3)


def by_visit(cohort: Cohort, rows: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Rows of a cohort as (subjects, visits, ...), NaN beyond a subject's last."""
    full = np.full((*shape, *rows.shape[1:]), np.nan)
    for i in range(cohort.n_subjects):
        own = np.flatnonzero(cohort.subject_index == i)
        own = own[np.argsort(cohort.time[own])]
        full[i, : len(own)] = rows[own]
    return full


def test_a_null_intervention_returns_the_observation_exactly(sim, cohort, exogenous):
    """Maps, scans and numbers, to the last bit: the residual and the scanner's noise are noise like any other."""
    found = sim.counterfactual(exogenous)
    shape = found.times.shape
    for node, rows in {"thickness": cohort.values, "scan": cohort.images, **cohort.covariates}.items():
        if node == "site":
            continue
        expected = by_visit(cohort, rows, shape)
        there = ~np.isnan(expected)
        drawn = np.broadcast_to(found[node], (3, *expected.shape))
        np.testing.assert_array_equal(drawn[:, there], np.broadcast_to(expected[there], (3, there.sum())), node)
    codes = by_visit(cohort, np.array([["CN", "MCI", "AD"].index(d) for d in cohort.diagnosis]), shape)
    there = ~np.isnan(codes)
    np.testing.assert_array_equal(found["diagnosis"][:, there], np.broadcast_to(codes[there], (3, there.sum())))


def test_there_and_back_is_the_factual(sim, exogenous):
    factual = sim.counterfactual(exogenous)
    sim.counterfactual(exogenous, {"apoe4": 2.0, "site": 0.0})
    back = sim.counterfactual(exogenous, {"apoe4": exogenous["apoe4"][0, :, 0], "site": exogenous["site"][0, :, 0]})
    for node in factual.nodes:
        np.testing.assert_array_equal(back[node], factual[node], node)


def test_a_treatment_changes_nothing_before_its_start(sim, cohort, exogenous):
    years = exogenous.observation.years.numpy()
    factual = sim.counterfactual(exogenous)
    treated = sim.counterfactual(exogenous, {"treatment": 0.3, "treatment_start": 1.5})
    before, after = years <= 1.5, (years > 1.5) & exogenous.observation.there.numpy()
    assert before.any()
    assert after.any()
    for node in ("dps", "adas", "mmse", "diagnosis", "ventricles", "ventricle_volume", "thickness", "image", "scan"):
        np.testing.assert_array_equal(treated[node][:, before], factual[node][:, before], node)
    assert (treated["dps"][:, after] < factual["dps"][:, after]).all()
    assert (treated["scan"][:, after] != factual["scan"][:, after]).any()


def test_a_treatment_bends_the_score_by_the_known_amount():
    plain, treated = (
        AnatomySimulator().simulate(20, 5, do, seed=3, maps=False, images=False)
        for do in ({}, {"treatment": 0.25, "treatment_start": 2.0, "attended": 1.0})
    )
    rows = np.isin(treated.time, plain.time)
    who = treated.subject_index[rows]
    years = treated.time[rows] - treated.truth["entry_age"][who]
    bent = plain.truth["dps"] - 0.75 * treated.truth["alpha"][who] * np.maximum(years - 2, 0)
    np.testing.assert_allclose(treated.truth["dps"][rows], bent, atol=1e-12)


def test_a_treatment_without_a_start_is_refused(sim, exogenous):
    for refused in (
        lambda: sim.simulate(4, do={"treatment": 0.5}),
        lambda: sim.counterfactual(exogenous, {"treatment": 0.5}),
    ):
        with pytest.raises(ValueError, match="never starts; give its start too"):
            refused()


def test_the_treatment_of_somebody_treated_may_be_changed_alone(sim):
    treated = sim.simulate(1, visits=3, seed=4, maps=False, images=False, do={"treatment": 0.5, "treatment_start": 0.0})
    later = {"times": treated.time[:1] + 5}
    stronger = sim.counterfactual(treated, {"treatment": 0.1}, draws=4, **later)
    assert (stronger["dps"] < sim.counterfactual(treated, draws=4, **later)["dps"]).all()


def test_an_intervention_leaves_all_but_descendants_alone(sim):
    plain = sim.simulate(6, visits=2, seed=4).truth
    graph = sim.parts.graph(("thickness", "image", "scan"))
    for node in ("apoe4", "dps", "ventricles", "site", "reserve"):
        moved = sim.simulate(6, visits=2, seed=4, do={node: lambda value: value * 0 + 1}).truth
        below = graph.descendants([node])
        for other in plain:
            if other not in below:
                np.testing.assert_array_equal(moved[other], plain[other], f"{node} -> {other}")
        assert (moved[node] == 1).all()


def test_in_a_counterfactual_too(sim, exogenous):
    factual = sim.counterfactual(exogenous)
    moved = sim.counterfactual(exogenous, {"dps": lambda s: s + 1})
    below = sim.parts.graph(("thickness", "image", "scan")).descendants(["dps"])
    for node in factual.nodes:
        changed = not np.array_equal(moved[node], factual[node])
        assert changed == (node in below), node


def linear() -> AnatomySimulator:
    """dps = beta at 70 years; two tests of it; all normal."""
    return AnatomySimulator(
        entry_age=Function(lambda: torch.tensor(70.0)),
        beta=Gaussian(Linear(0.0, apoe4=0.5), 1.0, "subject"),
        adas=Gaussian(Linear(10.0, dps=4.0), 3.0),
        cortical_thickness=Gaussian(Linear(2.5, dps=-0.1), 0.1),
    )


def test_do_is_conditioning_for_a_root():
    """E[adas | apoe4 = 2] = E[adas | do(apoe4 = 2)] = 10 + 4 * 1: apoe4 has no causes."""
    seen = linear().simulate(60_000, 1, seed=1, maps=False, images=False)
    carriers = np.flatnonzero(seen.truth["apoe4"] == 2)  # some 1,200
    conditioned = seen.truth["adas"][carriers]
    done = linear().simulate(20_000, 1, {"apoe4": 2.0}, seed=2, maps=False, images=False).truth["adas"]
    assert abs(conditioned.mean() - 14) < 4 * 5 / np.sqrt(len(carriers))  # sd of adas is 5
    assert abs(done.mean() - 14) < 4 * 5 / np.sqrt(20_000)


def test_do_differs_from_conditioning_for_a_confounded_pair():
    """Thickness and adas share the score: seeing thickness tells of adas, by Cov / Var; setting it does nothing."""
    sim, n = linear(), 40_000
    seen = sim.simulate(n, 1, {"apoe4": 0.0}, seed=3, maps=False, images=False).truth
    slope = np.polyfit(seen["cortical_thickness"], seen["adas"], 1)[0]
    known = -0.1 * 4 / (0.1**2 + 0.1**2)  # Cov(thickness, adas) / Var(thickness), the score's variance being 1
    assert abs(slope / known - 1) < 0.03  # five standard errors
    worlds = [
        sim.simulate(n, 1, {"apoe4": 0.0, "cortical_thickness": x}, seed=3, maps=False, images=False).truth["adas"]
        for x in (2.4, 2.6)
    ]
    np.testing.assert_array_equal(*worlds)


def test_a_hidden_common_cause_makes_the_difference_that_it_should():
    """Onset and speed share vulnerability: log speed has the slope .25 * .45 / Var(beta) on onset, and do has none."""
    sim, n = AnatomySimulator(), 100_000
    seen = sim.simulate(n, 1, {"apoe4": 0.0, "prs": 0.0, "education": 15.0}, seed=5, maps=False, images=False).truth
    slope = np.polyfit(seen["beta"], np.log(seen["alpha"]), 1)[0]
    assert abs(slope / (0.25 * 0.45 / (0.45**2 + 0.8**2)) - 1) < 0.05
    moved = sim.simulate(50, 1, {"beta": 3.0}, seed=5, maps=False, images=False).truth
    np.testing.assert_array_equal(moved["alpha"], sim.simulate(50, 1, seed=5, maps=False, images=False).truth["alpha"])


def test_a_subject_is_the_same_whoever_else_is_simulated(sim):
    many, one = sim.simulate(12, 3, seed=7), sim.simulate(1, 3, seed=7, first=9)
    same = many.subset(subjects=one.subjects)
    for node in one.truth:
        if node != "image":
            np.testing.assert_array_equal(one.truth[node], same.truth[node], node)
    np.testing.assert_allclose(one.values, same.values, atol=1e-5)  # matrix products round by their shapes
    np.testing.assert_allclose(one.images, same.images, atol=1e-5)
    fewer = sim.simulate(12, 2, seed=7)
    shared = np.isin(many.time, fewer.time)
    np.testing.assert_array_equal(many.truth["dps"][shared], fewer.truth["dps"])


def test_seeds_differ():
    sim = AnatomySimulator()
    one, other = (sim.simulate(5, 1, seed=s, maps=False, images=False).truth["education"] for s in (0, 1))
    assert not np.isclose(one, other).any()


def test_the_simulator_is_a_pyro_program(sim):
    """Pyro's own handlers condition it and intervene on it, with the same result."""
    nodes = ("adas", "thickness")
    design = Design(np.arange(4), torch.arange(3.0, dtype=torch.float64).expand(4, 3), {}, nodes)
    noise = draw_noise(sim.parts.graph(nodes), design, CounterRandom(1))
    conditioned = poutine.condition(sim, data=noise)
    ours = sim.run(Design(design.units, design.years, {"apoe4": 2.0}, nodes), seed=1)
    theirs = poutine.do(conditioned, data={"apoe4": torch.full((4, 1), 2.0, dtype=torch.float64)})(design)
    for node in nodes:
        np.testing.assert_array_equal(ours[node], theirs[node].expand(ours[node].shape))
    with pyro.validation_enabled(True):
        trace = poutine.trace(sim).get_trace(design)
        trace.compute_log_prob()
    sites = {name for name, site in trace.nodes.items() if site["type"] == "sample"}
    assert {"u_beta", "u_adas", "u_thickness_white", "dps", "adas", "thickness"} <= sites
    assert trace.nodes["u_adas"]["value"].shape == (4, 3)
    assert trace.nodes["u_thickness_white"]["value"].shape == (4, 3, 20)


def test_a_mechanism_is_an_argument():
    flat = AnatomySimulator(adas=Gaussian(Linear(3.0), 1e-9))
    assert np.ptp(flat.simulate(9, 2, maps=False, images=False).truth["adas"]) < 1e-6
    cohort = AnatomySimulator(extra={"tau": Gaussian(Linear(1.0, dps=2.0), 0.1)}).simulate(
        200, 1, maps=False, images=False
    )
    np.testing.assert_allclose(cohort.covariates["tau"], 1 + 2 * cohort.truth["dps"], atol=0.5)


def test_new_nodes_are_seen_and_abducted():
    sim = AnatomySimulator(extra={"tau": Gaussian(Linear(1.0, dps=2.0), 0.1)})
    cohort = sim.simulate(3, 1, seed=1, maps=False, images=False)
    found = sim.infer_exogenous(cohort, 500)["dps"][:, :, 0]
    np.testing.assert_allclose(found.mean(0), (cohort.covariates["tau"] - 1) / 2, atol=0.05)
    assert (found.std(0) < 0.07).all()


def test_the_same_brain_in_another_scanner(small_simulator):
    """Harmonisation: only the scan changes, and without noise it is the other scanner's view of the same slice."""
    scanners = {"sharp": Identity(noise=0.02), "blurred": Blur(0.8, noise=0.02)}
    sim = small_simulator(scanners)
    cohort = sim.simulate(6, visits=1, seed=3)
    exogenous = sim.infer_exogenous(cohort, draws=2)
    factual, moved = sim.counterfactual(exogenous), sim.counterfactual(exogenous, {"site": 1.0})
    for node in factual.nodes:
        if node not in ("site", "scan"):
            np.testing.assert_array_equal(moved[node], factual[node], node)
    was_sharp = cohort.truth["site"] == 0
    assert 0 < was_sharp.sum() < 6
    image = torch.as_tensor(factual["image"][:, was_sharp, 0])
    noise = factual["scan"][:, was_sharp, 0] - image.numpy()
    expected = Blur(0.8).A(image.flatten(0, 1)).reshape(image.shape).numpy() + noise
    np.testing.assert_allclose(moved["scan"][:, was_sharp, 0], expected, atol=1e-5)
    np.testing.assert_array_equal(moved["scan"][:, ~was_sharp], factual["scan"][:, ~was_sharp])


def test_visits_at_other_times_keep_what_is_the_subjects_own(sim, cohort, exogenous):
    found = sim.counterfactual(exogenous, times=[60.0, 80.0, 90.0])
    assert found["thickness"].shape == (3, 5, 3, 20)
    assert found["image"].shape == (3, 5, 3, 1, 8, 8)
    np.testing.assert_allclose(found.times, np.tile([60.0, 80.0, 90.0], (5, 1)))
    np.testing.assert_array_equal(found["alpha"], sim.counterfactual(exogenous)["alpha"])
    assert (np.diff(found["dps"], axis=2) > 0).all()
    again = sim.counterfactual(exogenous, times=[60.0, 80.0, 90.0])
    np.testing.assert_array_equal(again["scan"], found["scan"])


def test_a_time_that_is_a_visits_is_that_visit(sim, cohort, exogenous):
    times = exogenous.observation.age.numpy()[:, [1]]
    found = sim.counterfactual(exogenous, times=times)
    visits = sim.counterfactual(exogenous)
    for node in ("adas", "thickness", "scan"):
        np.testing.assert_array_equal(found[node][:, :, 0], visits[node][:, :, 1], node)


def test_missing_maps_and_scans_are_predicted(sim, cohort):
    values, images = cohort.values.copy(), cohort.images.copy()
    values[0], images[0] = np.nan, np.nan
    gap = Cohort(values, cohort.time, cohort.subject, cohort.diagnosis, cohort.mesh, None, cohort.covariates, images)
    found = sim.counterfactual(gap, draws=2)
    assert np.isfinite(found["thickness"]).all()
    assert np.isfinite(found["scan"]).all()
    np.testing.assert_array_equal(found["thickness"][:, 0, 1], np.broadcast_to(values[1], (2, 20)))
    assert np.abs(found["thickness"][:, 0, 0] - cohort.values[0]).max() < 1


def without_maps(cohort: Cohort) -> Cohort:
    tests = np.stack([cohort.covariates[n] for n in ("adas", "mmse")], 1)
    covariates = {n: cohort.covariates[n] for n in ("apoe4", "education", "prs")}
    return Cohort(tests, cohort.time, cohort.subject, feature_names=["adas", "mmse"], covariates=covariates)


def test_maps_tell_of_the_score(sim):
    """Of 20 vertices a visit: the onset is known better with them than without."""
    cohort = sim.simulate(8, visits=2, seed=8, images=False)
    sds = [sim.infer_exogenous(c, 40)["beta"][..., 0].std(0) for c in (cohort, without_maps(cohort))]
    assert np.median(sds[0] / sds[1]) < 0.9


@pytest.mark.slow
def test_posterior_draws_given_maps_are_calibrated(sim):
    cohort = sim.simulate(120, visits=2, seed=9, images=False)
    exogenous = sim.infer_exogenous(cohort, 200)
    for node in ("alpha", "beta", "thickness_offset"):
        rank = (exogenous[node][..., 0] < cohort.truth[node]).mean(0)
        held = ((rank > 0.05) & (rank < 0.95)).mean()
        assert 0.9 - 3.5 * 0.027 < held < 0.9 + 3.5 * 0.027, node  # 120 subjects: a standard error of .027


def test_arrays_and_functions_intervene():
    sim = AnatomySimulator()
    kwargs = {"maps": False, "images": False, "seed": 1}
    assert sim.simulate(3, 1, {"apoe4": [0, 1, 2]}, **kwargs).truth["apoe4"].tolist() == [0, 1, 2]
    plain, moved = sim.simulate(3, 1, **kwargs), sim.simulate(3, 1, {"dps": lambda s: s + 1}, **kwargs)
    np.testing.assert_allclose(moved.truth["dps"] - plain.truth["dps"], 1)


def test_a_study_of_many_is_what_it_was_said_to_be():
    """20,000 subjects: margins of the roots, and the diagnosis at a cut."""
    truth = AnatomySimulator().simulate(20_000, 2, seed=11, maps=False, images=False).truth
    alleles = np.bincount(truth["apoe4"].astype(int), minlength=3) / 20_000
    np.testing.assert_allclose(alleles, [0.86**2, 2 * 0.14 * 0.86, 0.14**2], atol=4 * 0.0031)
    assert abs(truth["education"].mean() - 15) < 4 * 2.8 / np.sqrt(20_000)
    assert abs(truth["sex"].mean() - 0.5) < 4 * 0.5 / np.sqrt(20_000)
    at_cut = np.abs(truth["dps"] - 1.0) < 0.05
    assert abs((truth["diagnosis"][at_cut] == 0).mean() - 0.5) < 4 * 0.5 / np.sqrt(at_cut.sum())


REFUSED = {
    "a field": ({"thickness": 1.0}, "do: 'thickness' is a map or image; intervene on its parents"),
    "no node": ({"height": 1.0}, "do: 'height' is no node; there are"),
    "alleles": ({"apoe4": 5}, "do: apoe4 cannot be 5; give a whole number from 0 to 2"),
    "a speed backwards": (
        {"treatment": -1.0, "treatment_start": 0.0},
        "do: treatment cannot be -1; give a number from 0 on",
    ),
    "a start of nothing": ({"treatment_start": 1.0}, "do: a treatment's start without a treatment"),
    "half an allele": ({"apoe4": [0, 0.5, 1]}, "do: apoe4 cannot be 0.5; give a whole number from 0 to 2"),
    "age": ({"age": 300}, "do: age cannot be 300; give a number from 0 to 120"),
    "age at entry": ({"entry_age": -1}, "do: entry_age cannot be -1; give a number from 0 to 120"),
    "points": ({"mmse": 40.0}, "do: mmse cannot be 40; give a number from -0.5 to 30.5"),
    "no number": ({"prs": float("nan")}, "do: prs cannot be nan; give a number"),
    "another number of subjects": ({"apoe4": [0, 1]}, r"do: apoe4 has shape \(2, 1\); give a number"),
}


@pytest.mark.parametrize(("do", "message"), REFUSED.values(), ids=REFUSED)
def test_interventions_that_make_no_sense_are_refused(do, message):
    with pytest.raises(ValueError, match=message):
        AnatomySimulator().simulate(3, 1, do, maps=False, images=False)


def test_mechanisms_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="no node 'adass' to replace"):
        AnatomySimulator(adass=Gaussian(0.0, 1.0))
    with pytest.raises(ValueError, match="adas has a parent 'hight', which is no node"):
        AnatomySimulator(adas=Gaussian(Linear(0.0, hight=1.0), 1.0))
    with pytest.raises(ValueError, match="nodes cause each other"):
        AnatomySimulator(beta=Gaussian(Linear(0.0, dps=1.0), 1.0))
    with pytest.raises(ValueError, match="'adas' is a node already"):
        AnatomySimulator(extra={"adas": Gaussian(0.0, 1.0)})
    with pytest.raises(ValueError, match="sd must be above 0"):
        Gaussian(0.0, 0.0)


def test_numbers_that_make_no_sense_are_refused():
    for arguments in ({"n": 0}, {"n": 1, "visits": 0}, {"n": 1, "interval": 0.0}, {"n": 1, "first": -1}):
        with pytest.raises(ValueError, match="simulate: n"):
            AnatomySimulator().simulate(**arguments, maps=False, images=False)


def test_cohorts_that_are_no_observation_are_refused(sim, cohort):
    with pytest.raises(CohortError, match="columns are no map of the simulator's 20 vertices"):
        sim.infer_exogenous(Cohort(np.ones((1, 7)), [70.0], ["a"]), 2)
    with pytest.raises(
        CohortError, match=r"values: MMSE are not columns .* which has .*mmse.*`neuropyro simulate anat"
    ):
        sim.infer_exogenous(Cohort(np.ones((1, 1)), [70.0], ["a"], feature_names=["MMSE"]), 2)
    with pytest.raises(CohortError, match="MMSE: written `mmse` in the simulator; rename it"):
        sim.infer_exogenous(Cohort(np.ones((1, 2)), [70.0], ["a"], feature_names=["adas", "MMSE"]), 2)
    named = Cohort(np.ones((1, 20)), [70.0], ["a"], covariates={"APOE-4": [1]})
    with pytest.raises(CohortError, match="APOE-4: written `apoe4` in the simulator"):
        sim.infer_exogenous(named, 2)
    words = Cohort(np.ones((2, 20)), [70.0, 71.0], ["a", "b"], covariates={"sex": ["M", "F"]})
    with pytest.raises(
        CohortError, match="covariate_sex: 'F', 'M', where the simulator has numbers, 0 female and 1 ma"
    ):
        sim.infer_exogenous(words, 2)
    covariates = {**cohort.covariates, "site": np.full(cohort.n_visits, "Z")}
    wrong = Cohort(cohort.values, cohort.time, cohort.subject, covariates=covariates, images=cohort.images)
    with pytest.raises(CohortError, match="covariate_site: no scanner 'Z'; there are A, B, C"):
        sim.infer_exogenous(wrong, 2)
    unknown = Cohort(cohort.values, cohort.time, cohort.subject, images=cohort.images)
    with pytest.raises(ValueError, match=f"the scanner of subject {cohort.subjects[0]} is not known"):
        sim.infer_exogenous(unknown, 2)
    two = Cohort(np.ones((2, 20)), [70.0, 71.0], ["a", "a"], covariates={"apoe4": [0, 1]})
    with pytest.raises(CohortError, match="covariate_apoe4: 0 and 1 for subject a"):
        sim.infer_exogenous(two, 2)
    shrunk = Cohort(
        cohort.values, cohort.time, cohort.subject, covariates=cohort.covariates, images=cohort.images[..., :4]
    )
    with pytest.raises(CohortError, match="images: "):
        sim.infer_exogenous(shrunk, 2)


def test_scanners_that_do_not_go_together_are_refused(small_simulator):
    with pytest.raises(ValueError, match="scans of one cohort are real images of one shape"):
        small_simulator({"whole": Identity(noise=0.1), "half": Downsample(2, noise=0.1)}).simulate(1, 1)
    curved = {"A": Intensity(gamma=1.3, noise=0.02)}
    assert small_simulator(curved).simulate(2, 1).images.shape == (2, 1, 8, 8)


def test_an_interval_may_end_at_never():
    onset = np.concatenate([np.arange(60.0, 70.0), [np.inf] * 10]).reshape(20, 1, 1)
    world = Counterfactual(np.array(["a"]), np.array([[80.0]]), {"onset": onset})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        low, high = world.interval("onset")
        sd = world.sd("onset")
    assert (low.item(), high.item()) == (61.0, np.inf)
    assert np.isnan(sd).all()
