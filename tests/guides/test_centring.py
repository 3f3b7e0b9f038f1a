"""Sites centred as far as data know them: the change of variables, and a posterior that is known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from neuropyro.data import simulate_reference
from neuropyro.guides import find_latents
from neuropyro.guides.centring import share_known
from neuropyro.inference import Schedule, fit, load_fit
from neuropyro.inference.joint_density import JointDensity
from neuropyro.models import SubjectProgression, VertexClusterMixture

KNOWN, VAGUE = 0.05, 3.0  # sds of the measurements, that of the population being 1


@pytest.mark.parametrize("model", [VertexClusterMixture(2, covariates=("sex",)), SubjectProgression()])
def test_what_guides_see_has_an_inverse_and_a_volume(model):
    visits, plain, flat, share = case(model)
    sampled = plain.values(flat)
    centred = plain.centred(share, flat)
    moved = plain.moved(flat, centred.frame)
    for site, value in centred.values(moved).items():
        torch.testing.assert_close(value, sampled[site])
    free = replace(plain, centring=None)  # as they are sampled
    jacobian = torch.autograd.functional.jacobian(lambda y: free_of(free, centred.values(y)), moved)
    changed = sum(volume.sum() for volume in centred.changed(moved)[1].values())
    own = sum(volume.sum() for volume in free.changed(free_of(free, sampled))[1].values())
    torch.testing.assert_close(changed - own, torch.linalg.slogdet(jacobian)[1])
    several = torch.stack([moved, centred.start])
    density = JointDensity(model, visits, centred)
    torch.testing.assert_close(density.at_once(several), density.one_by_one(several))
    for site, value in centred.constrain(several).items():
        torch.testing.assert_close(value[0], sampled[site])


def case(model):
    """Twelve visited subjects, the sites as guides first see them, a point near the start, and shares at random."""
    cohort = simulate_reference(n_subjects=12, n_vertices=20, n_clusters=2, seed=1)
    sex = {"sex": (cohort.subject_index % 2).astype(float)}
    visits = model.prepare(replace(cohort, covariates=sex), "cpu", torch.float64)
    plain = find_latents(model, visits, {})
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(12, 2, generator=generator, dtype=torch.float64)
    return visits, plain, plain.start + 0.3 * torch.randn(plain.size, generator=generator, dtype=torch.float64), share


def free_of(latents, values):
    """Return the unconstrained numbers of sampled values."""
    return torch.cat([site.transform.inv(values[site.name]).reshape(-1) for site in latents.sites])


@pytest.mark.parametrize("model", [VertexClusterMixture(2, covariates=("sex",)), SubjectProgression()])
def test_data_say_nothing_of_the_unit_of_scores(model):
    """Where guides see scores in units of the population, its own mean and sd move no prediction."""
    visits, plain, flat, share = case(model)
    centred = plain.centred(share, flat)
    moved = plain.moved(flat, centred.frame)
    other = moved.clone()
    other[centred.places(["beta_mean", "beta_sd"])] += 0.7
    label = {"Z": torch.arange(20) % 2}
    traces = [
        poutine.trace(poutine.condition(model, centred.values(y) | label)).get_trace(visits) for y in (moved, other)
    ]
    first, second = (trace.nodes["V"]["fn"].log_prob(visits.values) for trace in traces)
    torch.testing.assert_close(first, second)
    assert not torch.allclose(centred.values(moved)["c"], centred.values(other)["c"])


class Measured:
    """Elements mean + z of a population, measured well or badly."""

    default_guide = "normal"

    def __call__(self, data):
        mean = pyro.sample("mean", dist.Normal(data.y.new_zeros(()), 10.0))
        with pyro.plate("element", len(data.y)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(data.y), 1.0))
            pyro.sample("y", dist.Normal(mean + z, data.sd), obs=data.y)

    def centring(self, data):
        def frame(values, share):
            return {"share": share}

        def centred(values, frame):
            return {"z": frame["share"] * values["mean"] + values["z"]}

        def sampled(values, frame):
            return {"z": values["z"] - frame["share"] * values["mean"]}, {"z": torch.zeros_like(values["z"])}

        return SimpleNamespace(site="z", frame=frame, centred=centred, sampled=sampled)


def test_what_cannot_be_centred_is_refused():
    class Wrong(Measured):
        def centring(self, data):
            return SimpleNamespace(site="y")

    with pytest.raises(ValueError, match="centring: site 'y' is no latent site of the real line"):
        find_latents(Wrong(), SimpleNamespace(y=torch.zeros(2), sd=torch.ones(2)), {})


def test_nothing_is_centred_where_the_density_is_undefined():
    curvature = torch.tensor([torch.nan, torch.inf, -3.0, 1.0, 4.0])
    assert share_known(curvature).tolist() == [0.0, 1.0, 0.0, 0.0, 0.75]


def test_a_population_is_known_as_well_as_it_is(tmp_path):
    """Centred as far as they are known, elements say nothing of the mean: independent Normals are the posterior."""
    sd = torch.tensor([KNOWN, VAGUE]).repeat_interleave(40)
    y = 2 + torch.randn(80, generator=torch.Generator().manual_seed(1)) * (1 + sd**2).sqrt()
    data = SimpleNamespace(y=y, sd=sd)
    result = fit(Measured(), data, schedule=Schedule(max_steps=600), seed=0, progress=False)
    torch.testing.assert_close(result.guide.latents.frame["share"], 1 - 1 / (1 + sd**-2), rtol=1e-3, atol=1e-4)
    precision = 0.01 + (1 / (1 + sd**2)).sum()
    exact = float((y / (1 + sd**2)).sum() / precision), float(precision**-0.5)
    mean = result.posterior(4000)["mean"]
    assert mean.mean() == pytest.approx(exact[0], abs=0.1 * exact[1])
    assert mean.std() == pytest.approx(exact[1], rel=0.06)  # without: 1 / sqrt(sum of sd^-2), a hundredth of that
    z = result.posterior(4000)["z"]
    assert np.corrcoef(mean, z[:, 0])[0, 1] == pytest.approx(-1, abs=0.1)  # a well measured one moves along
    result.save(tmp_path)
    again = load_fit(tmp_path, data, model=Measured())
    np.testing.assert_array_equal(again.posterior(10)["z"], result.posterior(10)["z"])
