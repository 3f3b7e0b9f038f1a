"""Each term by hand, the posterior where it is known, and the reference's objective to the digit."""

import dataclasses
import math

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine
from scipy.stats import lognorm, multivariate_normal, norm

from neuropyro.inference import Schedule, fit, load_fit, sample
from neuropyro.inference.convergence import CosineSchedule
from neuropyro.inference.simulation import simulate_prior
from neuropyro.models import LatentReconstruction
from neuropyro.models.corruption import CorruptionError, Downsample, Identity, Intensity, Mask, Undersample
from neuropyro.models.corruption_kspace_patterns import Lines
from neuropyro.models.corruption_mask_shapes import Rectangle
from neuropyro.models.reconstruction_source import ImageSource, statistics_of
from neuropyro.models.reconstruction_spread import MeasurementSpread
from neuropyro.models.reconstruction_storage import digest_of_network

QUICK = {"candidates": 20, "starts": 2, "search_steps": 3}
NOISE = 0.3
IMAGES = 3
NARROW = {"residual_prior": (0.35, 0.01)}
COSINES = {"wplus": 2, "w": 1}


def measurements(model, count=IMAGES, seed=1):
    return model.simulate(count, seed)["y"].double()


def site_terms(model, y):
    trace = poutine.trace(model).get_trace(model.prepare(y))
    trace.compute_log_prob()
    sites = {n: s for n, s in trace.nodes.items() if s["type"] == "sample" and n != "image"}
    return {n: s["value"] for n, s in sites.items()}, {n: s["log_prob"] for n, s in sites.items()}


class Features(torch.nn.Module):
    def forward(self, x):
        return torch.cat([x.flatten(1), x.square().flatten(1)], 1)


def law_of_w(generator, rho, layers):
    """Mean and covariance of all of w, flat, as the docstrings state them."""
    found = statistics_of(generator)
    wide = found.covariance.double().detach().numpy()
    shrunk = 0.99 * wide + 0.01 * np.diag(np.diag(wide))
    between = rho + (1 - rho) * np.eye(layers)
    return np.tile(found.mean.detach().numpy(), layers), np.kron(between, shrunk)


@pytest.mark.parametrize("prior", COSINES)
def test_every_term_by_hand(linear_generator, residual, prior):
    generator = linear_generator()
    corruption = Mask(Rectangle(0.5, 0.4))
    settings = {"residual": residual, "features": Features(), "feature_sigma": 0.7, "colinearity": 0.4}
    model = LatentReconstruction(generator, corruption, prior, layer_correlation=0.3, **settings, **QUICK)
    y = measurements(model)
    values, found = site_terms(model, y)
    assert set(found) == {"w", "sigma", "residual_scale", "y", "colinearity", "features"}
    w = values["w"].detach()
    mean, covariance = law_of_w(generator, 0.3, COSINES[prior])
    expected = multivariate_normal.logpdf(w.flatten(1).numpy(), mean, covariance)
    np.testing.assert_allclose(found["w"].detach(), expected, rtol=1e-5)
    whole = w.expand(-1, 2, -1)
    cosine = torch.nn.functional.cosine_similarity(whole[:, 0], whole[:, 1])
    np.testing.assert_allclose(found["colinearity"].detach(), -0.4 * 2 * (1 - cosine), atol=1e-9)
    np.testing.assert_allclose(found["sigma"], lognorm.logpdf(values["sigma"], 0.7, scale=math.exp(-3.5)), rtol=1e-9)
    tau = values["residual_scale"]
    np.testing.assert_allclose(found["residual_scale"], lognorm.logpdf(tau, 0.3, scale=math.exp(0.35)), rtol=1e-9)
    expected = corruption.A(generator.double().synthesis(whole)).detach()
    difference = (Features()(y) - Features()(expected)).numpy()
    np.testing.assert_allclose(found["features"].detach(), norm.logpdf(difference, 0, 0.7).sum(1), rtol=1e-9)
    seen = (corruption.observed(y) != 0).flatten()
    units = torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)
    spread = residual.multiply(units).reshape(64, 64)[seen][:, seen].numpy()
    for i in range(IMAGES):
        total = tau[i].item() ** 2 * spread + values["sigma"][i].item() ** 2 * np.eye(int(seen.sum()))
        v = (y - expected)[i].flatten()[seen].numpy()
        assert float(found["y"][i]) == pytest.approx(multivariate_normal.logpdf(v, cov=total), rel=1e-9)


def test_z_is_standard_normal_and_goes_through_the_mapping(linear_generator):
    generator = linear_generator()
    model = LatentReconstruction(generator, Identity(NOISE), "z", **QUICK)
    y = measurements(model)
    values, found = site_terms(model, y)
    assert set(found) == {"z", "y"}
    z = values["z"].detach()
    np.testing.assert_allclose(found["z"], norm.logpdf(z.numpy()).sum(1), rtol=1e-9)
    made = generator.double().synthesis(generator.mapping(z)).detach()
    np.testing.assert_allclose(found["y"].detach(), norm.logpdf((y - made).numpy(), 0, NOISE).sum((1, 2, 3)), rtol=1e-9)


def reference_objective(generator, corruption, features, y, w, w_avg, s, lambda_c):
    """The BRGM paper's loss of each image, on 0..255, written out."""
    totals = []
    for i in range(len(y)):
        made = corruption.A((generator.synthesis(w[i : i + 1]) + 1) * 127.5)
        target = (y[i : i + 1] + 1) * 127.5
        pixels = ((made - target) ** 2).mean()
        looks = ((features(made / 127.5 - 1) - features(target / 127.5 - 1)) ** 2).mean()
        prior = (((w[i] - w_avg) / s) ** 2).mean()
        angles = sum(
            abs(1 - float(w[i, j] @ w[i, k]) / float(w[i, j].norm() * w[i, k].norm()))
            for j in range(w.shape[1])
            for k in range(w.shape[1])
            if j != k
        )
        totals.append(0.001 * pixels + 1e7 * looks + 100 * prior + lambda_c * angles)
    return torch.stack(totals)


@pytest.mark.parametrize(("factor", "lambda_c"), [(2, 0.1), (4, 0.1)])
def test_preset_is_the_reference_objective(linear_generator, factor, lambda_c):
    generator, features = linear_generator(layers=3), Features()
    corruption = Downsample(factor, antialias=False)
    model = LatentReconstruction(generator, corruption, features=features, preset="brgm")
    y = corruption.A(torch.randn(2, 1, 8, 8, dtype=torch.float64))
    w = torch.randn(2, 2, 3, 3, dtype=torch.float64)  # two points of two images
    found = [model.log_joint({"w": at}, model.prepare(y)) for at in w]
    statistics = statistics_of(generator)
    w_avg, s = statistics.mean.double(), statistics.total_sd
    wide = generator.double()
    expected = [reference_objective(wide, corruption, features, y, at, w_avg, s, lambda_c) for at in w]
    change = (found[0] - found[1]).detach()
    torch.testing.assert_close(change, -(expected[0] - expected[1]).detach(), rtol=1e-6, atol=0)
    start = model.init_values(y)["w"]
    torch.testing.assert_close(start, w_avg.detach().expand(2, 3, 3), rtol=1e-6, atol=1e-7)


def test_preset_weighs_colinearity_tenfold_above_factors_of_16(linear_generator):
    assert LatentReconstruction(linear_generator(), Downsample(16), preset="brgm").colinearity == 0.1
    large = LatentReconstruction(linear_generator(), Downsample(17), preset="brgm")
    assert large.colinearity == 1.0
    assert large.with_corruption(Downsample(2)).colinearity == 0.1


def known_posterior(generator, corruption, y, rho):
    """Mean (B, layers, w_dim) and covariance of w given y, by dense matrices."""
    mean, covariance = law_of_w(generator, rho, generator.num_ws)
    units = torch.eye(len(mean)).reshape(len(mean), generator.num_ws, generator.w_dim)
    with torch.no_grad():
        black = corruption.A(generator.synthesis(torch.zeros_like(units)))
        matrix = (corruption.A(generator.synthesis(units)) - black).flatten(1).T.double().numpy()
        target = (y - black[:1]).flatten(1).double().numpy()
    precision = np.linalg.inv(covariance) + matrix.T @ matrix / NOISE**2
    found = np.linalg.inv(precision)
    return (np.linalg.solve(covariance, mean) + target @ matrix / NOISE**2) @ found, found


@pytest.fixture
def known(linear_generator):
    generator, corruption = linear_generator(), Downsample(2, noise=NOISE)
    model = LatentReconstruction(generator, corruption, residual=None, layer_correlation=0.3, **QUICK)
    y = model.simulate(IMAGES, 4)["y"]
    mean, covariance = known_posterior(generator, corruption, y, 0.3)
    return model, y, mean, np.sqrt(np.diag(covariance))


def test_map_is_the_known_posterior_mean(known):
    model, y, mean, sd = known
    schedule = CosineSchedule(learning_rate=0.1, max_steps=200)
    result = fit(model, y, guide="map", schedule=schedule, dtype=torch.float64, progress=False)
    found = result.posterior(1)["w"][0].reshape(IMAGES, -1)
    assert np.abs((found - mean) / sd).max() < 0.05


def test_full_rank_guide_is_the_known_posterior(known):
    model, y, mean, sd = known
    schedule = Schedule(max_steps=300)
    result = fit(model, y, guide="mvn", schedule=schedule, dtype=torch.float64, progress=False)
    draws = result.posterior(20_000)["w"].reshape(20_000, IMAGES, -1)
    assert np.abs((draws.mean(0) - mean) / sd).max() < 0.05
    assert np.abs(draws.std(0) / sd - 1).max() < 0.05


@pytest.mark.slow
def test_nuts_is_the_known_posterior(known):
    model, y, mean, sd = known
    result = sample(model, y, draws=1200, warm_up=150, chains=1, progress=False)
    draws = result.posterior(1200)["w"].reshape(1200, IMAGES, -1)
    # Standard errors of means and sds of 1,200 nearly independent draws are 3 % and 2 % of an sd; of 18 numbers.
    assert np.abs((draws.mean(0) - mean) / sd).mean() < 0.05
    assert np.abs(draws.std(0) / sd - 1).mean() < 0.05


@pytest.mark.parametrize("guide", ["normal", "lowrank", "structured", "laplace", "flow"])
@pytest.mark.parametrize("prior", ["wplus", "w", "z"])
def test_every_guide_and_prior_runs_and_improves(linear_generator, residual, prior, guide):
    model = LatentReconstruction(linear_generator(), Downsample(2), prior, residual=residual, **QUICK)
    y = model.simulate(2, 3)["y"]
    result = fit(model, y, guide=guide, schedule=Schedule(max_steps=20, warm_up=20, window=10), progress=False)
    drawn = result.predictive(4)
    assert drawn["clean"].shape == (4, 2, 1, 8, 8)
    assert drawn["corrupted"].shape == drawn["y"].shape == (4, 2, 1, 4, 4)
    assert all(np.isfinite(values).all() for values in drawn.values())
    assert np.isfinite(result.losses).all()


def test_vectorised_particles_are_the_mean_of_single_ones(linear_generator, residual):
    model = LatentReconstruction(linear_generator(), Downsample(2, noise=0.1), residual=residual, **QUICK)
    measured = model.prepare(model.simulate(2, 3)["y"])
    w = torch.randn(5, 2, 2, 3)
    scale = torch.rand(5, 2) + 0.5
    together = model.log_joint({"w": w, "residual_scale": scale}, measured)
    each = [model.log_joint({"w": w[i], "residual_scale": scale[i]}, measured) for i in range(5)]
    torch.testing.assert_close(together, torch.stack(each))
    result = fit(model, measured, guide="normal", particles=3, schedule=Schedule(max_steps=4, window=2), progress=False)
    assert np.isfinite(result.losses).all()


@pytest.mark.parametrize("guide", ["map", "normal"])
def test_saved_and_loaded_images_are_bit_equal(linear_generator, residual, guide, tmp_path):
    model = LatentReconstruction(linear_generator(), Downsample(2), residual=residual, **QUICK)
    y = model.simulate(2, 3)["y"]
    result = fit(model, y, guide=guide, schedule=Schedule(max_steps=6, warm_up=4, window=2), progress=False)
    result.save(tmp_path)
    again = LatentReconstruction(linear_generator(), Downsample(2), residual=residual, **QUICK)
    loaded = load_fit(tmp_path, data=y, model=again)
    for name, values in result.predictive(5).items():
        assert np.array_equal(loaded.predictive(5)[name], values)
    assert np.array_equal(again.estimate(loaded), model.estimate(result))


def test_draws_obey_the_measurements_and_differ_where_they_are_silent(linear_generator, residual):
    model = LatentReconstruction(linear_generator(), Mask(Rectangle(0.5, 0.5), noise=0.01), residual=residual, **QUICK)
    simulated = model.simulate(4, 2)
    y, hole = simulated["y"], model.corruption.observed(simulated["y"])[0, 0] == 0
    result = fit(model, y, guide="laplace", schedule=Schedule(max_steps=100, warm_up=200), progress=False)
    drawn = result.predictive(100)
    sd = drawn["clean"].std(0)
    assert sd[..., hole].mean() > 3 * sd[..., ~hole].mean()
    misfit = (drawn["corrupted"] - y.numpy())[..., ~hole].std()
    assert misfit == pytest.approx(0.01, rel=0.1)
    error = np.abs(drawn["clean"].mean(0) - simulated["clean"].numpy())[..., hole]
    assert (error / sd[..., hole]).mean() == pytest.approx(math.sqrt(2 / math.pi), rel=0.35)


def test_estimate_is_the_mean_of_the_draws(linear_generator, residual):
    model = LatentReconstruction(linear_generator(), Downsample(2, noise=0.05), residual=residual, **QUICK)
    y = model.simulate(2, 2)["y"]
    result = fit(model, y, guide="normal", schedule=Schedule(max_steps=20), progress=False)
    drawn = result.predictive(300)["clean"]
    gap = np.abs(drawn.mean(0) - model.estimate(result, 300))
    assert (gap / (drawn.std(0) / math.sqrt(300))).max() < 5


def test_summary_holds_its_share_of_the_draws(linear_generator, residual):
    model = LatentReconstruction(linear_generator(), Downsample(2, noise=0.05), residual=residual, **QUICK)
    result = fit(model, model.simulate(2, 2)["y"], guide="map", schedule=Schedule(max_steps=4), progress=False)
    found, drawn = model.summary(result, 100, 0.8), result.predictive(100)["clean"]
    inside = (drawn >= found["lower"]) & (drawn <= found["upper"])
    np.testing.assert_allclose(inside.mean(0), 0.8, atol=0.021)  # the ends lie between two draws
    np.testing.assert_allclose(found["sd"], drawn.std(0))
    assert np.array_equal(found["mean"], model.estimate(result))
    with pytest.raises(ValueError, match="between 0 and 1, got 90"):
        model.summary(result, level=90)


def test_checks_tell_images_unlike_the_training_and_results_that_contradict_their_input(linear_generator, residual):
    settings = {"residual": residual, "residual_prior": (0.0, 0.3)} | QUICK
    model = LatentReconstruction(linear_generator(), Downsample(2, noise=0.05), **settings)
    y = model.simulate(2, 2)["y"]
    strange = y.clone()
    strange[1] += 3 * torch.tensor([1.0, -1.0]).repeat(2)  # stripes
    schedule = CosineSchedule(learning_rate=0.1, max_steps=100)
    usual, odd = (
        model.checks(fit(model, data, guide="map", schedule=schedule, progress=False)) for data in (y, strange)
    )
    assert all((values < 2.5).all() for values in usual.values())
    assert odd["residual_scale"][1] > 2 * usual["residual_scale"][1]
    assert odd["residual_scale"][0] == pytest.approx(usual["residual_scale"][0], rel=0.05)
    narrow = LatentReconstruction(linear_generator(), Downsample(2, noise=0.05), **(settings | NARROW))
    surprise = narrow.checks(fit(narrow, strange, guide="map", schedule=schedule, progress=False))["surprise"]
    assert surprise[1] > 3
    assert surprise[0] < 1.5
    bare = LatentReconstruction(linear_generator(), Downsample(2, noise=0.05), **(settings | {"residual": None}))
    assert bare.checks(fit(bare, strange, guide="map", schedule=schedule, progress=False))["misfit"][1] > 10


def test_complex_measurements_and_their_prior(linear_generator, residual, tmp_path):
    model = LatentReconstruction(linear_generator(), Undersample(Lines(2.0, 0.2), coils=2), residual=residual, **QUICK)
    y = model.simulate(2, 1)["y"]
    assert y.is_complex()
    result = fit(model, y, guide="map", schedule=Schedule(max_steps=4, window=2), progress=False)
    drawn = result.predictive(3)
    assert drawn["corrupted"].dtype == np.complex64
    assert drawn["y"].shape == (3, 2, 2, 8, 8, 2)
    simulated = simulate_prior(model, y, seed=3)
    assert simulated.data.values.shape == result.data.values.shape
    assert set(simulated.sampled) == {"w", "sigma", "residual_scale"}
    result.to_arviz(draws=10, predictive_draws=10).to_netcdf(tmp_path / "posterior.nc")
    assert model.log_likelihood(result).shape == (1, 2)


def test_simulation_has_the_moments_of_the_story(linear_generator, residual):
    generator = linear_generator()
    model = LatentReconstruction(generator, Identity(0.1), residual=residual, residual_prior=(0.0, 1e-4), **QUICK)
    drawn = model.simulate(3000, 0)
    generated = generator.synthesis(drawn["w"]).detach()
    r = (drawn["clean"] - generated).flatten(1).double()
    expected = residual.multiply(torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)).reshape(64, 64)
    assert (torch.cov(r.T) - expected).abs().max() < 0.16 * expected.diagonal().max()  # 6 standard errors
    noise = (drawn["y"] - drawn["clean"]).flatten()
    assert float(noise.std()) == pytest.approx(0.1, rel=0.02)
    assert abs(float(np.corrcoef(noise, (drawn["clean"] - generated).flatten())[0, 1])) < 0.02


@pytest.mark.parametrize("prior", ["wplus", "w", "z"])
def test_every_density_follows_the_data_in_device(linear_generator, residual, prior):
    settings = {"residual": residual, "features": Features(), "colinearity": 0.1}
    model = LatentReconstruction(linear_generator(), Downsample(2), prior, **settings, **QUICK)
    measured = model.prepare(model.simulate(2, 1)["y"])
    meta = torch.device("meta")
    spread = {name: value.to(meta) for name, value in vars(measured.spread).items()}
    arguments = (model.generator, prior, 0.5, "none", None, meta, torch.float32)
    placed = dataclasses.replace(
        measured,
        values=measured.values.to(meta),
        observed=measured.observed.to(meta),
        features=measured.features.to(meta),
        source=ImageSource.placed(*arguments),
        spread=MeasurementSpread(**spread),
    )
    with pyro.validation_enabled(False):  # checks look at values
        trace = poutine.trace(model).get_trace(placed)
        trace.compute_log_prob()
    sites = {n: s for n, s in trace.nodes.items() if s["type"] == "sample" and n != "image"}
    devices = {name: {site["value"].device.type, site["log_prob"].device.type} for name, site in sites.items()}
    assert devices == {name: {"meta"} for name in devices}
    assert {"y", "sigma", "residual_scale", "colinearity", "features"} < set(devices)


def test_dtypes_follow_the_request(linear_generator, residual):
    model = LatentReconstruction(linear_generator(), Downsample(2), residual=residual, **QUICK)
    y = model.simulate(2, 1)["y"]
    for dtype in (torch.float32, torch.float64):
        measured = model.prepare(y, dtype=dtype)
        trace = poutine.trace(model).get_trace(measured)
        trace.compute_log_prob()
        kinds = {s["value"].dtype for n, s in trace.nodes.items() if s["type"] == "sample" and n != "image"}
        assert kinds == {dtype}
    assert model.prepare(measured) is measured
    assert model.prepare(measured, dtype=torch.float32).values.dtype == torch.float32
    assert model.prepare(y.numpy()).values.dtype == torch.float32


def test_repr_tells_what_the_posterior_hangs_on(linear_generator):
    def described(seed=0, corruption=None, **settings):
        return repr(LatentReconstruction(linear_generator(seed=seed), corruption or Downsample(2), **settings))

    assert described() == described()
    others = [described(1), described(corruption=Downsample(4)), described(sigma=0.1), described(prior="z")]
    assert len({described(), *others}) == 5
    assert digest_of_network(lambda x: x) != digest_of_network(linear_generator())


def test_with_another_corruption_the_generator_is_shared(linear_generator, residual):
    model = LatentReconstruction(linear_generator(), Downsample(2), residual=residual, **QUICK)
    other = model.with_corruption(Mask(Rectangle(), noise=0.2))
    assert other.sigma == 0.2
    assert model.sigma is None
    assert other.prepare(torch.zeros(1, 1, 8, 8)).source is model.prepare(torch.zeros(1, 1, 4, 4)).source
    assert other.with_corruption(Intensity(gamma=2.0)).residual is None


def test_what_hides_is_not_looked_at(linear_generator):
    corruption = Mask(Rectangle(0.5, 0.5), noise=0.1)
    model = LatentReconstruction(linear_generator(), corruption, **QUICK)
    y = model.simulate(1, 0)["y"]
    spoilt = torch.where(corruption.observed(y) != 0, y, math.nan)
    w = {"w": torch.randn(1, 2, 3)}
    assert torch.equal(model.log_joint(w, model.prepare(y)), model.log_joint(w, model.prepare(spoilt)))
    assert np.isnan(model.observed_values(model.prepare(y))["y"]).mean() == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prior": "v"}, "prior must be one of wplus, w, z"),
        ({"sigma": 0.0}, "sigma must be above 0"),
        ({"layer_correlation": 1.0}, "below 1, got 1.0"),
        ({"noise_mode": "random"}, "'none' or 'const'"),
        ({"residual": "learned"}, "ResidualSpread, 'card' or None"),
        ({"preset": "pulse"}, "there is 'brgm'"),
        ({"colinearity": -1.0}, "0 or more"),
        ({"starts": 0}, "1 or more"),
    ],
)
def test_arguments_without_meaning(linear_generator, arguments, message):
    with pytest.raises(ValueError, match=message):
        LatentReconstruction(linear_generator(), Downsample(2), **arguments)


def test_measurements_that_do_not_fit(linear_generator):
    model = LatentReconstruction(linear_generator(), Downsample(2), **QUICK)
    with pytest.raises(CorruptionError, match=r"of images \(1, 10, 10\), the generator makes \(1, 8, 8\)"):
        model.prepare(torch.zeros(2, 1, 5, 5))
    with pytest.raises(CorruptionError, match="not finite"):
        model.prepare(torch.full((1, 1, 4, 4), math.nan))
    with pytest.raises(
        CorruptionError, match=r"measurements reach 255, where a white image gives 1; images are on -1 to 1"
    ):
        model.prepare(torch.full((1, 1, 4, 4), 255.0))
    with pytest.raises(CorruptionError, match=r"must be \(B, \.\.\.\)"):
        model.prepare(torch.zeros(0, 1, 4, 4))
    looks = LatentReconstruction(linear_generator(), Undersample(Lines(2.0, 0.2)), features=Features(), **QUICK)
    with pytest.raises(CorruptionError, match="features are of images"):
        looks.prepare(torch.zeros(1, 1, 8, 8, dtype=torch.complex64))
