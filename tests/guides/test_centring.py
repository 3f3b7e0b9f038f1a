"""Sites centred as far as data know them: the change of variables, and a posterior that is known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch

from neuropyro.data import simulate_reference
from neuropyro.guides import find_latents
from neuropyro.guides.centring import share_known
from neuropyro.inference import Schedule, fit, load_fit
from neuropyro.inference.joint_density import JointDensity
from neuropyro.models import SubjectProgression, VertexClusterMixture

KNOWN, VAGUE = 0.05, 3.0  # sds of the measurements, that of the population being 1


@pytest.mark.parametrize("model", [VertexClusterMixture(2, covariates=("sex",)), SubjectProgression()])
def test_places_have_an_inverse_and_a_volume(model):
    cohort = simulate_reference(n_subjects=12, n_vertices=20, n_clusters=2, seed=1)
    sex = {"sex": (cohort.subject_index % 2).astype(float)}
    visits = model.prepare(replace(cohort, covariates=sex), "cpu", torch.float64)
    plain = find_latents(model, visits, {})
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(12, 2, generator=generator, dtype=torch.float64)
    flat = plain.start + 0.3 * torch.randn(plain.size, generator=generator, dtype=torch.float64)
    centred, moved = plain.centred(share), plain.moved(flat, share)
    for site, value in centred.values(moved).items():
        torch.testing.assert_close(value, plain.values(flat)[site])
    jacobian = torch.autograd.functional.jacobian(lambda y: centred.values(y)["place"].reshape(-1), moved)
    volume = torch.linalg.slogdet(jacobian[:, centred.centred_site.slice])[1]
    torch.testing.assert_close(centred.changed(moved)[1]["place"].sum(), volume)
    several = torch.stack([moved, centred.start])
    density = JointDensity(model, visits, centred)
    torch.testing.assert_close(density.at_once(several), density.one_by_one(several))
    for site, value in centred.constrain(several).items():
        torch.testing.assert_close(value[0], plain.values(flat)[site])


class Measured:
    """Elements mean + z of a population, measured well or badly."""

    default_guide = "normal"

    def __call__(self, data):
        mean = pyro.sample("mean", dist.Normal(data.y.new_zeros(()), 10.0))
        with pyro.plate("element", len(data.y)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(data.y), 1.0))
            pyro.sample("y", dist.Normal(mean + z, data.sd), obs=data.y)

    def centring(self, data):
        def centred(values, share):
            return share * values["mean"] + values["z"]

        def sampled(values, share):
            return values["z"] - share * values["mean"], torch.zeros_like(values["z"])

        return SimpleNamespace(site="z", centred=centred, sampled=sampled)


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
    torch.testing.assert_close(result.guide.share, 1 - 1 / (1 + sd**-2), rtol=1e-3, atol=1e-4)
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
