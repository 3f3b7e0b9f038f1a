"""Progression scores: the bivariate Normal behind the change of variables, and the gauge."""

import dataclasses

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from scipy.special import expit
from scipy.stats import multivariate_normal

from neuropyro.data import Cohort
from neuropyro.models import ScorePriors
from neuropyro.models.scores import SCORE_GLOBALS, fix_gauge, sample_scores
from neuropyro.models.subject_place import Hyper, SubjectPlace
from neuropyro.models.visits import Visits, prepare_visits

HYPER = {"log_alpha_mean": -1.0, "log_alpha_sd": 0.4, "beta_mean": 0.7, "beta_sd": 1.3, "correlation": 0.6}
HYPER |= {"time_share": 0.3}


def cohort(n_subjects: int) -> Cohort:
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(n_subjects), 2)
    time = np.repeat(rng.uniform(50, 90, n_subjects), 2) + np.tile([0, 1.5], n_subjects)
    return Cohort(rng.standard_normal((2 * n_subjects, 1)), time, subject)


def program(visits: Visits) -> torch.Tensor:
    return sample_scores(ScorePriors(), visits, pyro.plate("subject", visits.n_subjects, dim=-1))


def drawn(visits: Visits, **values: float) -> dict[str, torch.Tensor]:
    fixed = {name: torch.tensor(v, dtype=torch.float64) for name, v in (HYPER | values).items()}
    nodes = poutine.trace(poutine.condition(program, fixed)).get_trace(visits).nodes
    return {name: s["value"] for name, s in nodes.items() if s["type"] == "sample"}


@pytest.mark.parametrize("share", [1.0, 0.3, 0.0])
def test_log_alpha_and_beta_are_bivariate_normal(share):
    """Beta as far as the years between subjects count: with all of them it is the score at the cohort's mean time."""
    n = 40_000
    visits = prepare_visits(cohort(n), None, dtype=torch.float64)
    sites = drawn(visits, time_share=share)
    beta = sites["beta"] + (1 - share) * sites["alpha"] * visits.subject_time
    pair = torch.stack([sites["log_alpha"], beta])
    sd_a, sd_b, rho = HYPER["log_alpha_sd"], HYPER["beta_sd"], HYPER["correlation"]
    covariance = torch.tensor([[sd_a**2, rho * sd_a * sd_b], [rho * sd_a * sd_b, sd_b**2]], dtype=torch.float64)
    sd = covariance.diagonal().sqrt()
    mean = torch.tensor([HYPER["log_alpha_mean"], HYPER["beta_mean"]], dtype=torch.float64)
    # Five standard errors.
    assert ((pair.mean(1) - mean).abs() < 5 * sd / n**0.5).all()
    assert ((pair.cov() - covariance).abs() < 5 * 2**0.5 * torch.outer(sd, sd) / n**0.5).all()


def test_the_change_of_variables_keeps_the_density():
    """Density of (log alpha, beta*) by scipy = that of the places over the Jacobian of the map between them."""
    visits = prepare_visits(cohort(5), None, dtype=torch.float64)
    sites = drawn(visits)
    sd_a, sd_b, rho = HYPER["log_alpha_sd"], HYPER["beta_sd"], HYPER["correlation"]
    normal = multivariate_normal(
        [HYPER["log_alpha_mean"], HYPER["beta_mean"]],
        [[sd_a**2, rho * sd_a * sd_b], [rho * sd_a * sd_b, sd_b**2]],
    )
    counted = HYPER["time_share"] * visits.subject_time
    slow = normal.logpdf(torch.stack([sites["log_alpha"], sites["stage"] - sites["alpha"] * counted], -1).numpy())
    law = place_law(visits)

    def log_alpha_and_beta(place: torch.Tensor) -> torch.Tensor:
        log_alpha, stage = law.log_alpha_and_stage(place)
        return torch.stack([log_alpha, stage - log_alpha.exp() * counted], -1)

    jacobian = torch.autograd.functional.jacobian(log_alpha_and_beta, sites["place"])
    volume = torch.linalg.slogdet(torch.stack([jacobian[i, :, i] for i in range(5)])).logabsdet
    np.testing.assert_allclose((law.log_prob(sites["place"]) - volume).numpy(), slow, rtol=1e-10)
    of_z = torch.distributions.Normal(0.0, 1.0).log_prob(law.innovations(sites["place"])).sum(-1)
    np.testing.assert_allclose(of_z.numpy() - np.log(sd_a * sd_b * np.sqrt(1 - rho**2)), slow, rtol=1e-10)


def test_speed_and_stage_come_back_from_their_place():
    visits = prepare_visits(cohort(5), None, dtype=torch.float64)
    sites = drawn(visits)
    law = place_law(visits)
    torch.testing.assert_close(law.place(sites["log_alpha"], sites["stage"]), sites["place"])
    torch.testing.assert_close(law.expand([3, 5]).log_prob(sites["place"]), law.log_prob(sites["place"]).expand(3, 5))


def test_what_is_known_of_the_stage_leaves_the_speed_standard_normal():
    """To first order: here of short follow-ups at one age, where the stage is Normal, exactly."""
    n = 40_000
    visits = prepare_visits(cohort(n), None, dtype=torch.float64)
    same_age = dataclasses.replace(visits, subject_time=torch.zeros(n, dtype=torch.float64))
    place = drawn(same_age)["place"]
    assert (place.T.cov() - torch.eye(2)).abs().max() < 5 * 2**0.5 / n**0.5  # five standard errors
    assert place.mean(0).abs().max() < 5 / n**0.5


def place_law(visits: Visits) -> SubjectPlace:
    hyper = Hyper(*(torch.tensor(HYPER[name], dtype=torch.float64) for name in SCORE_GLOBALS))
    return SubjectPlace(hyper, visits.subject_time)


def test_scores_are_alpha_times_time_plus_beta():
    data = cohort(20)
    visits = prepare_visits(data, None, dtype=torch.float64)
    sites = drawn(visits)
    alpha, beta = (sites[name].numpy()[data.subject_index] for name in ("alpha", "beta"))
    np.testing.assert_allclose(sites["dps"], alpha * (data.time - data.time.mean()) + beta, rtol=0, atol=1e-12)
    torch.testing.assert_close(sites["alpha"], sites["log_alpha"].exp())
    own_mean_time = data.time.reshape(-1, 2).mean(1) - data.time.mean()
    stage = sites["alpha"].numpy() * own_mean_time + sites["beta"].numpy()
    np.testing.assert_allclose(sites["stage"], stage, atol=1e-12)


def test_a_perfect_correlation_is_never_drawn_and_the_sites_are_those_documented():
    visits = prepare_visits(cohort(3), None)
    nodes = poutine.trace(program).get_trace(visits).nodes
    sampled = {n: tuple(s["value"].shape) for n, s in nodes.items() if s["type"] == "sample" and n != "subject"}
    scalars = dict.fromkeys(HYPER, ())
    subjects = dict.fromkeys(["log_alpha", "alpha", "stage", "beta"], (3,)) | {"place": (3, 2)}
    assert sampled == scalars | subjects | {"dps": (6,)}
    rho = torch.stack([poutine.trace(program).get_trace(visits).nodes["correlation"]["value"] for _ in range(200)])
    assert (rho.abs() < 1).all()
    assert (rho > 0).any()
    assert (rho < 0).any()


def random_draws(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    n_draws, n_subjects, n_visits, K = 4, 3, 6, 2
    draws = {
        "alpha": rng.lognormal(size=(n_draws, n_subjects)),
        "beta": rng.normal(size=(n_draws, n_subjects)),
        "stage": rng.normal(size=(n_draws, n_subjects)),
        "dps": rng.normal(2, 3, (n_draws, n_visits)),
        "a": rng.normal(size=(n_draws, K)),
        "b": rng.lognormal(size=(n_draws, K)),
        "c": rng.normal(size=(n_draws, K)),
        "d": rng.normal(size=(n_draws, K)),
        "scatter_c": rng.lognormal(size=(n_draws, K)),
        "log_alpha_mean": rng.normal(size=n_draws),
        "beta_mean": rng.normal(size=n_draws),
        "beta_sd": rng.lognormal(size=n_draws),
        "correlation": rng.uniform(-1, 1, n_draws),
    }
    return draws | {"log_alpha": np.log(draws["alpha"])}


def curve(draws):
    a, b, c, d = (draws[name][..., None] for name in "abcd")
    return d + a * expit(b * (draws["dps"][:, None] - c))


def test_gauge_sets_the_reference_and_leaves_every_trajectory():
    raw = random_draws()
    reference = np.array([0, 2, 5])
    fixed = fix_gauge(raw, reference)
    np.testing.assert_allclose(fixed["dps"][:, reference].mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(fixed["dps"][:, reference].std(1), 1, rtol=1e-12)
    np.testing.assert_allclose(curve(fixed), curve(raw), rtol=1e-10)


def test_gauge_is_one_affine_map_of_all_that_is_measured_in_scores():
    raw = random_draws()
    fixed = fix_gauge(raw, np.array([1, 3, 4]))
    shift, scale = raw["dps"][:, [1, 3, 4]].mean(1), raw["dps"][:, [1, 3, 4]].std(1)
    for name in ("beta", "stage", "c"):
        np.testing.assert_allclose(fixed[name], (raw[name] - shift[:, None]) / scale[:, None], err_msg=name)
    np.testing.assert_allclose(fixed["beta_mean"], (raw["beta_mean"] - shift) / scale)
    np.testing.assert_allclose(fixed["beta_sd"], raw["beta_sd"] / scale)
    np.testing.assert_allclose(fixed["scatter_c"], raw["scatter_c"] / scale[:, None])
    np.testing.assert_allclose(fixed["alpha"], raw["alpha"] / scale[:, None])
    np.testing.assert_allclose(np.exp(fixed["log_alpha"]), fixed["alpha"])
    np.testing.assert_allclose(fixed["log_alpha_mean"], raw["log_alpha_mean"] - np.log(scale))
    for name in ("a", "d", "correlation"):
        np.testing.assert_array_equal(fixed[name], raw[name], err_msg=name)


def test_gauge_is_idempotent_and_leaves_its_input():
    raw = random_draws()
    before = {name: x.copy() for name, x in raw.items()}
    once = fix_gauge(raw, np.array([0, 1, 2]))
    twice = fix_gauge(once, np.array([0, 1, 2]))
    for name in raw:
        np.testing.assert_array_equal(raw[name], before[name])
        np.testing.assert_allclose(twice[name], once[name], atol=1e-12, err_msg=name)


@pytest.mark.parametrize("reference", [[0], [0, 1]])
def test_gauge_of_one_score_alone_only_shifts(reference):
    raw = random_draws()
    raw["dps"][:, :2] = 5.0
    fixed = fix_gauge(raw, np.array(reference))
    np.testing.assert_allclose(fixed["dps"], raw["dps"] - 5)
    np.testing.assert_array_equal(fixed["b"], raw["b"])
