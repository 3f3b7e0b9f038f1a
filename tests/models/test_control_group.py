"""Controls as a group of their own: moments against draws, starts that keep what was found, scores in their unit."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neuropyro.data import Cohort, simulate_reference
from neuropyro.inference import fit, interval_coverage
from neuropyro.models import VertexClusterMixture
from neuropyro.models.control_group import CONTROL_SITES, ControlGroup
from neuropyro.models.population import population_of
from neuropyro.models.scores import SCORE_GLOBALS, place_law
from neuropyro.models.starting_controls import told_apart
from neuropyro.models.subject_place import Hyper, SubjectPlace
from neuropyro.models.visits import prepare_visits
from neuropyro.study_defaults import clusters_of, kind_of_columns

OTHERS = Hyper(*torch.tensor([-1.2, 0.4, 1.5, 1.1, 0.3, 0.4], dtype=torch.float64))
GROUP = ControlGroup(*torch.tensor([-0.5, -1.8, 0.5], dtype=torch.float64))
# Level before, whole change, steepness, middle, noise, sd of people's own lasting level.
BIOMARKERS = {
    "MMSE": (29.3, -15.3, 1.8, 1.0, 1.0, 0.5),
    "hippocampus": (7200, -2500, 1.5, 0.4, 150, 350),
    "amyloid": (1050, -570, 2.2, -0.9, 70, 60),
    "tau": (18, 28, 1.6, -0.3, 3, 3),
    "FDG": (1.32, -0.4, 1.6, 0.2, 0.05, 0.04),
}


def test_moments_over_both_groups_are_those_of_draws():
    rng, n, share = np.random.default_rng(0), 400_000, 0.3
    control = rng.random(n) < share
    o, g = torch.stack(list(OTHERS)).numpy(), torch.stack(list(GROUP)).numpy()
    z = rng.normal(size=(2, n))
    log_alpha = o[0] + g[0] * control + o[1] * z[0]
    sd_b = o[3] * np.where(control, g[2], 1)
    beta = o[2] + g[1] * o[3] * control + sd_b * (o[4] * z[0] + np.sqrt(1 - o[4] ** 2) * z[1])
    drawn = [log_alpha.mean(), log_alpha.std(), beta.mean(), beta.std(), np.corrcoef(log_alpha, beta)[0, 1], o[5]]
    np.testing.assert_allclose(torch.stack(list(GROUP.marginal(OTHERS, share))), drawn, atol=0.01)  # 4 standard errors


def test_a_start_keeps_speeds_stages_and_moments():
    rng = np.random.default_rng(1)
    controls = torch.tensor(rng.random(60) < 0.4, dtype=torch.float64)
    time, people = torch.tensor(rng.normal(0, 6, 60)), GROUP.marginal(OTHERS, controls.mean())
    place = SubjectPlace(GROUP.of(OTHERS, controls), time).sample()
    before = SubjectPlace(GROUP.of(OTHERS, controls), time).log_alpha_and_stage(place)
    alike = SubjectPlace(people, time).place(*before)
    others, group, after = told_apart(people, alike, time, controls)
    torch.testing.assert_close(SubjectPlace(group.of(others, controls), time).log_alpha_and_stage(after), before)
    torch.testing.assert_close(group.marginal(others, controls.mean()), people)
    assert float(group.beta) < -1


@pytest.mark.parametrize(
    ("diagnosis", "told"), [(["CN"] * 30, False), (["CN"] * 4 + ["AD"] * 26, False), (["CN"] * 9 + ["AD"] * 21, True)]
)
def test_groups_are_told_apart_where_both_have_enough_people(diagnosis, told):
    cohort = replace(simulate_reference(30, 6, 1, seed=0), diagnosis=np.repeat(diagnosis, 4))
    visits = prepare_visits(cohort, "all")
    assert (visits.controls is not None) is told
    values = VertexClusterMixture(1).init_values(visits)
    assert set(CONTROL_SITES).issubset(values) is told


def test_fitted_people_in_units_of_everybody_are_where_they_were():
    cohort = simulate_reference(30, 6, 1, seed=0)
    visits = prepare_visits(cohort, "all", dtype=torch.float64)
    assert visits.controls is not None
    draw = {name: value.to(torch.float64) for name, value in VertexClusterMixture(1).init_values(visits).items()}
    population, own = population_of(draw, None, visits)
    mean_a, sd_a, mean_b, sd_b, rho, share = population.scores
    log_alpha = mean_a + sd_a * own[:, 0]
    beta = mean_b + sd_b * (rho * own[:, 0] + (1 - rho**2).sqrt() * own[:, 1])
    stage = beta + log_alpha.exp() * share * visits.subject_time
    torch.testing.assert_close((log_alpha, stage), place_law(draw, visits).log_alpha_and_stage(draw["place"]))
    assert set(SCORE_GLOBALS).isdisjoint(CONTROL_SITES)


def clinic(seed: int) -> tuple[Cohort, np.ndarray]:
    """70 people, 36 % of them controls most of whom nothing has begun to change in; and the true scores."""
    rng, rows, scores = np.random.default_rng(seed), [], []
    for person in range(70):
        control = person < 25
        stage = rng.normal(-1.4, 0.45) if control else rng.normal(0.35, 0.8)
        speed, age = np.exp(rng.normal(np.log(0.15 if control else 0.3), 0.35)), rng.uniform(60, 82)
        own = {name: rng.normal(0, shape[5]) for name, shape in BIOMARKERS.items()}
        for year in range(rng.integers(2, 6)):
            scores.append(stage + speed * year)
            seen = [
                d + a / (1 + np.exp(-b * (scores[-1] - c))) + own[name] + rng.normal(0, noise)
                for name, (d, a, b, c, noise, _) in BIOMARKERS.items()
            ]
            rows.append((f"p{person}", age + year, "CN" if control else "AD", seen))
    who, when, what, values = zip(*rows, strict=True)
    return Cohort(values, when, who, what, feature_names=list(BIOMARKERS)), np.array(scores)


@pytest.mark.slow
def test_scores_hold_in_the_unit_of_controls_in_whom_nothing_has_begun():
    """By one law for all people 90 % intervals held .34, .30 and .28 of the scores, and no steepness."""
    held, curves = [], []
    for seed in (1, 2, 3):
        cohort, truth = clinic(seed)
        model = VertexClusterMixture(**clusters_of(cohort, None), **kind_of_columns(cohort, None, None))
        posterior = fit(model, cohort, "structured", seed=0, progress=False).posterior(400)
        reference = truth[cohort.is_reference]
        in_sds = (truth - reference.mean()) / reference.std()
        held.append(interval_coverage(posterior["dps"], in_sds, [0.9])[0])
        steep = np.array([shape[2] for shape in BIOMARKERS.values()]) * reference.std()
        low, high = np.quantile(posterior["b"], [0.05, 0.95], axis=0)
        curves.append((low < steep) & (steep < high))
        assert np.corrcoef(np.median(posterior["dps"], 0), truth)[0, 1] > 0.97
    assert np.mean(held) > 0.8
    assert np.mean(curves) > 0.7
