"""Every model x guide: it runs, improves its ELBO, gives finite draws, saves, and reloads to the same draws.

The first model is written by the contract alone, and unknown to the library.
"""

import sys
import warnings

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from neuropyro.data import simulate_reference
from neuropyro.guides import GUIDES
from neuropyro.inference import Schedule, diagnose, fit, load_fit, sample
from neuropyro.inference.arviz_versions import group_names
from neuropyro.inference.fit import build_guide
from neuropyro.inference.objective import choose_elbo
from neuropyro.models import SubjectProgression, VertexClusterMixture

SHORT = Schedule(max_steps=20, warm_up=20, window=10)
WHITENING = Schedule(max_steps=200, warm_up=100)  # before NUTS
GENTLE = Schedule(max_steps=40, warm_up=60, window=20, learning_rate=0.01)  # for data of 200 numbers
DRAWS = 20


def learning(data):
    """Children practise: each has a skill of its own, some guess, and scores grow with practice.

    Global sites, one of them positive; a plate of children with two sites each; an enumerated site; observed scores.
    """
    practice, scores = data
    like = practice.new_zeros(())
    gain = pyro.sample("gain", dist.Normal(like, 1.0))
    noise = pyro.sample("noise", dist.LogNormal(like - 1, 0.5))
    share = pyro.sample("share", dist.Beta(like + 2, like + 2))
    with pyro.plate("child", len(scores), dim=-1):
        skill = pyro.sample("skill", dist.Normal(like, 1.0))
        speed = pyro.sample("speed", dist.LogNormal(like, 0.3))
        guesses = pyro.sample("guesses", dist.Bernoulli(share), infer={"enumerate": "parallel"})
        knows = skill.unsqueeze(-1) + (gain * speed).unsqueeze(-1) * practice
        line = torch.where(guesses.unsqueeze(-1) > 0, torch.zeros_like(knows), knows)
        pyro.sample("score", dist.Normal(line, noise.unsqueeze(-1)).to_event(1), obs=scores)


def scores():
    generator = torch.Generator().manual_seed(3)
    practice = torch.linspace(0, 2, 5)
    knows = torch.randn(8, 1, generator=generator) + 0.8 * practice
    knows[:2] = 0.0
    return practice, knows + 0.3 * torch.randn(8, 5, generator=generator)


def first_loss(model, data, guide, init):
    """The mean loss of the guide as it is first built."""
    with pyro.settings.context(module_local_params=True), torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        built = build_guide(model, data, guide, init)
        elbo = choose_elbo(model, data)
        return np.mean([float(elbo.loss(model, built, data)) for _ in range(20)])


def check_draws(result, data, folder, **options):
    draws = result.posterior(DRAWS)
    assert all(np.isfinite(values).all() and len(values) == DRAWS for values in draws.values())
    result.save(folder)
    loaded = load_fit(folder, data, device=result_device(result), **options)
    assert loaded.posterior(DRAWS).keys() == draws.keys()
    for site, values in loaded.posterior(DRAWS).items():
        np.testing.assert_array_equal(values, draws[site])
    assert loaded.verdict == result.verdict


def result_device(result):
    return next(x.device for x in (*result.guide.parameters(), *result.guide.buffers()))


@pytest.fixture(scope="module")
def fits(device):
    made = {}

    def of(guide):
        if guide not in made and guide == "nuts":
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys.modules[sample.__module__], "WHITENING", WHITENING)
                made[guide] = sample(learning, scores(), draws=DRAWS, warm_up=10, device=device, progress=False)
        elif guide not in made:
            made[guide] = fit(learning, scores(), guide, restarts=2, schedule=SHORT, device=device, progress=False)
        return made[guide]

    return of


@pytest.mark.parametrize("guide", [*GUIDES, "nuts"])
def test_a_model_by_the_contract_alone_is_fitted_kept_and_read(fits, guide, tmp_path):
    result = fits(guide)
    assert set(result.posterior(DRAWS)) == {"gain", "noise", "share", "skill", "speed"}
    assert len(result.runs) == 2
    if guide != "nuts":
        assert -result.elbo < first_loss(learning, result.data, guide, {})
    check_draws(result, scores(), tmp_path, model=learning)


@pytest.mark.parametrize("guide", [*GUIDES, "nuts"])
def test_a_model_by_the_contract_alone_is_judged(fits, guide):
    result = fits(guide)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ArviZ: few draws
        groups = set(group_names(result.to_arviz(DRAWS, predictive_draws=10)))
        found = diagnose(result, DRAWS, predictive_draws=10)
    assert groups == {"posterior", "sample_stats", "prior", "prior_predictive", "posterior_predictive", "observed_data"}
    assert len(found.findings) == 5
    assert (found.weights is None) == (guide in ("map", "nuts"))
    assert found.agreement is not None
    assert {check.site for check in found.checks} == {"score"}


MODELS = [VertexClusterMixture(2), VertexClusterMixture(2, visit_effect=True), SubjectProgression()]
PAIRS = [
    pytest.param(model, guide, marks=() if guide == "map" or (guide == "structured" and i == 0) else pytest.mark.slow)
    for i, model in enumerate(MODELS)
    for guide in GUIDES
]


def searched_once(model, patch):
    """Let a model keep its starting values: what a fit began with, for the loss that it began with."""
    search, found = type(model).init_values, {}

    def init_values(model, data, seed=0):
        if seed not in found:
            found[seed] = search(model, data, seed)
        return found[seed]

    patch.setattr(type(model), "init_values", init_values)


@pytest.mark.parametrize(("model", "guide"), PAIRS)
def test_models_of_the_library(model, guide, tmp_path, device, monkeypatch):
    searched_once(model, monkeypatch)
    cohort = simulate_reference(n_subjects=8, n_vertices=6, seed=2)
    result = fit(model, cohort, guide, schedule=GENTLE, device=device, progress=False)
    assert -result.elbo < first_loss(model, result.data, guide, model.init_values(result.data, 0))
    check_draws(result, cohort, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("model", [MODELS[0], MODELS[2]])
def test_nuts_on_models_of_the_library(model, tmp_path, device):
    cohort = simulate_reference(n_subjects=8, n_vertices=6, seed=2)
    result = sample(model, cohort, draws=DRAWS, warm_up=10, chains=1, device=device, progress=False)
    check_draws(result, cohort, tmp_path)
