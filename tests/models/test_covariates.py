"""Covariates on speed and stage: against scipy's densities, regressions on true latents, and laws of units."""

from types import SimpleNamespace

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from scipy.stats import multivariate_normal, norm

from neuropyro.data import Cohort, CohortError, simulate_reference
from neuropyro.inference import Schedule, fit, load_fit, simulate_prior, to_arviz
from neuropyro.models import ScorePriors, SubjectProgression, VertexClusterMixture
from neuropyro.models.covariates import code_covariates, reported_effects
from neuropyro.models.scores import fix_gauge, sample_scores
from neuropyro.models.visits import prepare_visits, visits_like

NAMES = ("apoe4", "sex")
MODELS = [VertexClusterMixture(2, covariates=NAMES), SubjectProgression(covariates=NAMES)]


def with_covariates(cohort: Cohort, seed: int = 0, **others) -> Cohort:
    rng = np.random.default_rng(seed)
    apoe4, sex = rng.integers(0, 3, cohort.n_subjects), rng.choice(["F", "M"], cohort.n_subjects)
    of_visit = cohort.subject_index
    columns = {"apoe4": apoe4[of_visit], "sex": sex[of_visit]} | others
    return Cohort(cohort.values, cohort.time, cohort.subject, cohort.diagnosis, covariates=columns)


@pytest.fixture(scope="module")
def cohort():
    return with_covariates(simulate_reference(n_subjects=20, n_vertices=8, n_clusters=2, seed=1))


def drawn(model, visits, seed=0):
    """One draw from the prior: values by site, and the densities of the sites that have one."""
    pyro.set_rng_seed(seed)
    trace = poutine.trace(model).get_trace(visits)
    trace.compute_log_prob(lambda name, site: name.startswith("effect") or name == "place")
    return trace.nodes


def test_log_alpha_and_beta_given_covariates_are_bivariate_normal_about_a_line(cohort):
    visits = prepare_visits(cohort, None, dtype=torch.float64, covariates=NAMES)
    nodes = drawn(lambda v: sample_scores(ScorePriors(), v, pyro.plate("subject", v.n_subjects, dim=-1)), visits)
    g = {name: nodes[name]["value"].numpy() for name in nodes if "value" in nodes[name] and name != "subject"}
    apoe4 = np.array([cohort.covariates["apoe4"][cohort.subject == i][0] for i in cohort.subjects], float)
    male = np.array([cohort.covariates["sex"][cohort.subject == i][0] == "M" for i in cohort.subjects], float)
    x = np.stack([(apoe4 - apoe4.mean()) / apoe4.std(), (male - male.mean()) / male.std()], 1)
    control = cohort.is_control[[np.flatnonzero(cohort.subject == i)[0] for i in cohort.subjects]].astype(float)
    assert 5 <= control.sum() <= 15
    sd_a, sd_b, rho = g["log_alpha_sd"], g["beta_sd"] * g["control_sd"] ** control, g["correlation"]
    covariance = [[[sd_a**2, rho * sd_a * sd], [rho * sd_a * sd, sd**2]] for sd in sd_b]
    mean_a = g["log_alpha_mean"] + x @ g["effect_log_alpha"] + control * g["control_log_alpha"]
    mean_b = g["beta_mean"] + x @ g["effect_beta"] + control * g["control_beta"] * g["beta_sd"]
    means = np.stack([mean_a, mean_b], 1)
    counted = g["beta"] + (1 - g["time_share"]) * g["alpha"] * visits.subject_time.numpy()
    pairs = np.stack([g["log_alpha"], counted], 1)
    by_scipy = [multivariate_normal(m, c).logpdf(p) for m, c, p in zip(means, covariance, pairs, strict=True)]
    # The map from the innovations to places keeps volumes (tests of scores), so that the place has their density.
    np.testing.assert_allclose(
        nodes["place"]["log_prob"].numpy() - np.log(sd_a * sd_b * np.sqrt(1 - rho**2)), by_scipy, rtol=1e-9
    )
    for site, sd in (("effect_log_alpha", 0.3), ("effect_beta", 1.0)):
        by_scipy = norm(0, sd).logpdf(nodes[site]["value"])
        np.testing.assert_allclose(nodes[site]["log_prob"], by_scipy, rtol=1e-9)


@pytest.mark.parametrize("model", MODELS, ids=["clusters", "biomarkers"])
def test_without_effects_it_is_the_model_without_covariates(model, cohort):
    plain = type(model)(**({"n_clusters": 2} if isinstance(model, VertexClusterMixture) else {}))
    visits, bare = model.prepare(cohort, dtype=torch.float64), plain.prepare(cohort, dtype=torch.float64)
    nodes = drawn(model, visits)
    values = {n: s["value"] for n, s in nodes.items() if s["type"] == "sample" and not s["is_observed"]}
    zero = {site: torch.zeros(2, dtype=torch.float64) for site in ("effect_log_alpha", "effect_beta")}
    densities = []
    for program, data in ((model, visits), (plain, bare)):
        given = poutine.block(poutine.condition(program, values | zero), hide=list(zero))
        densities.append(float(poutine.trace(given).get_trace(data).log_prob_sum()))
    assert densities[0] == pytest.approx(densities[1], rel=1e-12)


def test_effects_are_of_the_covariates_own_unit_whatever_the_unit(cohort):
    """Months of education for years: effects per month are a twelfth, and the posterior is the same."""
    years = np.random.default_rng(2).uniform(6, 20, cohort.n_subjects)[cohort.subject_index]
    draws = {"effect_log_alpha": np.array([[0.3], [0.1]]), "effect_beta": np.array([[1.0], [-1.0]])}
    effects, designs = [], []
    for unit in (1.0, 12.0):
        data = with_covariates(cohort, education=unit * years)
        coding = code_covariates(data, ["education"])
        designs.append(coding(data))
        effects.append(reported_effects(coding, draws))
    np.testing.assert_allclose(designs[0], designs[1], rtol=1e-12)
    np.testing.assert_allclose(effects[0].log_alpha, 12 * effects[1].log_alpha)
    np.testing.assert_allclose(effects[0].beta, 12 * effects[1].beta)
    # One sd of the covariate has the effect of the draw.
    sd = np.std([years[cohort.subject == i][0] for i in cohort.subjects])
    np.testing.assert_allclose(effects[0].log_alpha * sd, draws["effect_log_alpha"])


def test_the_gauge_scales_effects_on_stage_and_leaves_those_on_log_speed(cohort):
    visits = MODELS[0].prepare(cohort, dtype=torch.float64)
    nodes = drawn(MODELS[0], visits)
    raw = {n: s["value"].numpy()[None] for n, s in nodes.items() if s["type"] == "sample" and "value" in s}
    fixed = fix_gauge(raw, visits.reference.numpy())
    scale = raw["dps"][:, visits.reference].std()
    np.testing.assert_allclose(fixed["effect_beta"] * scale, raw["effect_beta"])
    np.testing.assert_array_equal(fixed["effect_log_alpha"], raw["effect_log_alpha"])
    for site, effect in (("log_alpha", "effect_log_alpha"), ("beta", "effect_beta")):
        # What is left of the subjects' departures from the line is the same law in either gauge.
        unit = scale if site == "beta" else 1.0
        left = [d[site][0] - d[f"{site}_mean"][0] - visits.covariates.numpy() @ d[effect][0] for d in (raw, fixed)]
        np.testing.assert_allclose(left[0], left[1] * unit, atol=1e-10)


def test_a_subjects_covariate_is_that_of_its_earliest_visit_where_it_is_known():
    time, subject = [72.0, 70.0, 71.0, 60.0, 61.0, 65.0], ["b", "b", "b", "a", "a", "c"]
    data = Cohort(
        np.random.default_rng(0).standard_normal((6, 2)),
        time,
        subject,
        covariates={
            "education": np.array([9.0, np.nan, 12.0, 16.0, 3.0, 8.0]),
            "sex": np.array(["F", "M", "M", "", "F", "M"]),
        },
    )
    coding = code_covariates(data, ["education", "sex"])
    assert coding.terms == ("education", "sex=M")
    np.testing.assert_allclose(coding(data) * coding.scale + coding.centre, [[16, 0], [12, 1], [8, 1]])


def test_tables_objects_are_numbers_or_text(cohort):
    who = cohort.subject_index
    numbers = np.array([None, 1, 2.5, 0, 3] * 4, object)
    numbers[::5] = 4
    text = np.array(["x" if i % 2 else b"y".decode() for i in range(20)], object)
    coding = code_covariates(with_covariates(cohort, n=numbers[who], t=text[who]), ["n", "t"])
    assert coding.terms == ("n", "t=y")


@pytest.mark.parametrize(
    ("columns", "names", "message"),
    [
        ({}, ("weight",), "covariate weight: not in the cohort; there are apoe4, sex"),
        ({}, ("apoe",), r"covariate apoe: not in the cohort; .*; did you mean --covariates apoe4\?"),
        (
            {"apoe4": "lost"},
            NAMES,
            r"covariate apoe4: missing at every visit of subject 3 \(1 of 20 subjects\); give it",
        ),
        ({"sex": "same"}, NAMES, "covariate sex: the same for all 20 subjects; leave it out"),
        ({"twice": "apoe4"}, ("apoe4", "twice"), "covariates: apoe4, twice cannot be told apart in 20 subjects"),
    ],
)
def test_unusable_covariates_are_one_clear_error(cohort, columns, names, message):
    apoe4 = cohort.covariates["apoe4"]
    made = {
        "lost": np.where(cohort.subject == 3, np.nan, apoe4),
        "same": np.full(cohort.n_visits, "F"),
        "apoe4": 2.0 * apoe4,
    }
    data = with_covariates(cohort, **{name: made[kind] for name, kind in columns.items()})
    with pytest.raises(CohortError, match=message):
        VertexClusterMixture(2, covariates=names).prepare(data)


@pytest.mark.parametrize(
    ("given", "message"), [("sex", r'give a tuple of names: \("sex",\)'), (("sex", "sex"), "names one twice")]
)
def test_names_are_checked(given, message):
    for build in (lambda: VertexClusterMixture(2, covariates=given), lambda: SubjectProgression(covariates=given)):
        with pytest.raises(ValueError, match=message):
            build()


def test_new_subjects_get_the_fits_coding_and_need_its_covariates(cohort):
    fitted = MODELS[0].prepare(cohort, dtype=torch.float64)
    someone = cohort.subset(subjects=cohort.subjects[:1])
    design = visits_like(fitted, someone).covariates
    torch.testing.assert_close(design, fitted.covariates[:1])
    with pytest.raises(CohortError, match="covariate apoe4: not in the cohort; there are none"):
        visits_like(fitted, Cohort(someone.values, someone.time, someone.subject))
    other = Cohort(
        someone.values, someone.time, someone.subject, covariates=dict(someone.covariates) | {"sex": ["X"] * 4}
    )
    with pytest.raises(CohortError, match="covariate sex: 'X' was not among the subjects that were fitted"):
        visits_like(fitted, other)


def test_subjects_without_values_are_placed_by_their_covariates(cohort):
    model = MODELS[0]
    simulated = simulate_prior(model, cohort, 4, dtype=torch.float64)
    truth = simulated.identified(model)
    strong = truth | {"effect_log_alpha": np.array([0.8, -0.5]), "effect_beta": np.array([2.0, -1.0])}
    result = SimpleNamespace(
        data=simulated.data, seed=0, is_point=True, posterior=lambda _: {k: v[None] for k, v in strong.items()}
    )
    unseen = Cohort(
        np.full_like(cohort.values, np.nan), cohort.time, cohort.subject, cohort.diagnosis, covariates=cohort.covariates
    )
    placed = model.personalize(result, unseen, draws=4000)
    x, times = simulated.data.covariates.numpy(), simulated.data.subject_time
    share = simulated.data.controls.mean().item()  # of whom nobody asks which they are
    of_controls = truth["control_log_alpha"], truth["control_beta"] * truth["beta_sd"]
    sd_a = np.sqrt(truth["log_alpha_sd"] ** 2 + share * (1 - share) * of_controls[0] ** 2)
    within = truth["beta_sd"] ** 2 * (1 - share + share * truth["control_sd"] ** 2)
    sd_b = np.sqrt(within + share * (1 - share) * of_controls[1] ** 2)
    for i in (0, 3, 7):
        mean = truth["log_alpha_mean"] + x[i] @ strong["effect_log_alpha"] + share * of_controls[0]
        assert np.log(placed.alpha[:, i]).mean() == pytest.approx(mean, abs=5 * sd_a / np.sqrt(4000))
        mean = truth["beta_mean"] + x[i] @ strong["effect_beta"] + share * of_controls[1]
        counted = placed.beta[:, i] + (1 - truth["time_share"]) * placed.alpha[:, i] * float(times[i])
        assert counted.mean() == pytest.approx(mean, abs=5 * sd_b / np.sqrt(4000))


@pytest.mark.parametrize(("model", "guide"), [(MODELS[0], "map"), (MODELS[1], "structured")])
def test_a_fit_has_effects_keeps_them_and_names_them(model, guide, cohort, tmp_path):
    result = fit(model, cohort, guide, schedule=Schedule(max_steps=20, warm_up=10, window=10), progress=False)
    effects = model.covariate_effects(result, 50)
    assert effects.terms == ("apoe4", "sex=M")
    assert effects.log_alpha.shape == effects.beta.shape == (50, 2)
    result.save(tmp_path)
    loaded = load_fit(tmp_path, cohort)
    assert loaded.model == model
    np.testing.assert_array_equal(loaded.model.covariate_effects(loaded, 50).beta, effects.beta)
    posterior = to_arviz(result, draws=10, predictive_draws=0)["posterior"]
    assert posterior["effect_beta"].dims == ("chain", "draw", "covariate")
    assert posterior["covariate"].values.tolist() == ["apoe4", "sex=M"]


def test_a_fit_without_covariates_says_so(cohort):
    model = SubjectProgression()
    result = SimpleNamespace(data=model.prepare(cohort))
    with pytest.raises(ValueError, match="the fit has no covariates"):
        model.covariate_effects(result)


def study(seed: int, n: int = 100, visits: int = 4, biomarkers: int = 30) -> tuple[Cohort, np.ndarray]:
    """Subjects whose speed and stage depend on APOE and sex; and the least-squares effects on their true latents."""
    rng = np.random.default_rng(seed)
    x = np.stack([rng.integers(0, 3, n), rng.integers(0, 2, n)], 1)
    log_alpha = -1.2 + x @ [0.25, -0.3] + 0.3 * rng.standard_normal(n)
    beta = 1 + x @ [0.5, 0.4] + 0.8 * rng.standard_normal(n)
    who = np.repeat(np.arange(n), visits)
    time = np.tile(1.5 * np.arange(visits), n) + rng.uniform(60, 66, n)[who]
    dps = np.exp(log_alpha)[who] * (time - time.mean()) + beta[who]
    onsets = np.linspace(0, 2, biomarkers)
    values = (
        2 - 1.5 / (1 + np.exp(-1.5 * (dps[:, None] - onsets))) + 0.3 * rng.standard_normal((n * visits, biomarkers))
    )
    covariates = {"apoe4": x[who, 0], "sex": np.array(["F", "M"])[x[who, 1]]}
    design = np.column_stack([np.ones(n), x])
    unit = dps[::visits].std()
    slopes = [np.linalg.lstsq(design, y, rcond=None)[0][1:] for y in (log_alpha, beta / unit)]
    return Cohort(values, time, who, covariates=covariates), np.stack(slopes)


@pytest.mark.slow
def test_effects_are_those_on_the_true_latents():
    cohort, slopes = study(0)
    model = SubjectProgression(covariates=NAMES, subject_effect=False)
    result = fit(model, cohort, "structured", schedule=Schedule(max_steps=400), progress=False)
    effects = model.covariate_effects(result, 200)
    for found, true, scatter in ((effects.log_alpha, slopes[0], 0.3), (effects.beta, slopes[1], 0.5)):
        sd = found.std(0)
        # The regression on true latents has itself this error: with the error of measuring them, sds are larger.
        error = scatter / np.sqrt(100 * np.array([2 / 3, 1 / 4]))
        assert (np.abs(found.mean(0) - true) < 2 * sd).all()
        assert (sd > 0.8 * error).all()
        assert (sd < 4 * error).all()
