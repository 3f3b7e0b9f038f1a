"""What a fit has found, put into the simulator: its population, its covariates' effects, its maps."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from neuropyro.data import Mesh
from neuropyro.models import AnatomySimulator
from neuropyro.models.anatomy_fitted import fitted_progression, fitted_thickness
from neuropyro.models.covariates import CovariateCoding

MEAN = {"log_alpha_mean": -1.5, "log_alpha_sd": 0.4, "beta_mean": 0.7, "beta_sd": 1.2, "correlation": 0.6}
MEAN |= {"time_share": 0.3}
N = 20_000


def fit_of(coding: CovariateCoding | None = None, **sites: np.ndarray) -> SimpleNamespace:
    posterior = {name: np.full(3, x) for name, x in MEAN.items()} | {k: np.stack([x] * 3) for k, x in sites.items()}
    data = SimpleNamespace(origin=torch.tensor(72.0), coding=coding)
    return SimpleNamespace(data=data, posterior=lambda draws: posterior)


def test_speed_and_onset_have_the_fits_moments():
    sim = AnatomySimulator(**fitted_progression(fit_of()))
    truth = sim.simulate(N, 1, seed=1, maps=False, images=False).truth
    log_alpha, beta = np.log(truth["alpha"]), truth["beta"]
    assert abs(log_alpha.mean() + 1.5) < 4 * 0.4 / np.sqrt(N)
    assert abs(beta.mean() - 0.7) < 4 * 1.2 / np.sqrt(N)
    np.testing.assert_allclose([log_alpha.std(), beta.std()], [0.4, 1.2], rtol=4 / np.sqrt(2 * N))
    assert abs(np.corrcoef(log_alpha, beta)[0, 1] - 0.6) < 4 * (1 - 0.6**2) / np.sqrt(N)


def test_scores_are_counted_from_the_fits_origin_of_time_as_far_as_its_years_count():
    sim = AnatomySimulator(**fitted_progression(fit_of()))
    at_origin, older = (
        sim.simulate(4, 2, {"entry_age": age}, seed=2, maps=False, images=False) for age in (72.0, 82.0)
    )
    first = older.is_first_visit
    np.testing.assert_allclose(at_origin.truth["dps"][at_origin.is_first_visit], at_origin.truth["beta"])
    np.testing.assert_allclose(older.truth["dps"][first], older.truth["beta"] + 0.3 * 10 * older.truth["alpha"])
    followed = (older.time - 82.0) * older.truth["alpha"][older.subject_index]  # within a person all years count
    np.testing.assert_allclose(older.truth["dps"] - older.truth["dps"][first][older.subject_index], followed, atol=1e-5)


def test_covariates_of_the_fit_are_causes():
    """Effects are of one sd in the fit, of the covariate's own unit here; means hold at the covariates' centre."""
    coding = CovariateCoding(("apoe4", "education"), (), ("apoe4", "education"), np.r_[1.0, 14.0], np.r_[0.5, 3.0])
    result = fit_of(coding, effect_log_alpha=np.r_[0.1, -0.06], effect_beta=np.r_[0.4, 0.3])
    sim = AnatomySimulator(**fitted_progression(result))
    numbers = {"seed": 3, "maps": False, "images": False}
    centre, carriers, schooled = (
        sim.simulate(50, 1, {"apoe4": e4, "education": years}, **numbers).truth
        for e4, years in ((1, 14.0), (2, 14.0), (1, 15.0))
    )
    np.testing.assert_allclose(np.log(carriers["alpha"] / centre["alpha"]), 0.1 / 0.5)
    np.testing.assert_allclose(carriers["beta"] - centre["beta"], 0.4 / 0.5)
    np.testing.assert_allclose(np.log(schooled["alpha"] / centre["alpha"]), -0.06 / 3)
    np.testing.assert_allclose(schooled["beta"] - centre["beta"], 0.3 / 3)
    noise = AnatomySimulator(**fitted_progression(fit_of())).simulate(50, 1, **numbers).truth
    np.testing.assert_allclose(centre["alpha"], noise["alpha"])


def test_maps_are_those_of_the_clusters_on_each_vertexs_own_scale():
    coordinates = np.stack([np.arange(6) * 4.0, np.zeros(6), np.zeros(6)], 1)
    mesh = Mesh(6, edges=np.stack([np.arange(5), np.arange(1, 6)], 1), coordinates=coordinates)
    theta = {"a": np.r_[-2.0, -1.0], "b": np.r_[1.0, 2.0], "c": np.r_[0.0, 1.5], "d": np.r_[0.5, -0.5]}
    sds = {"sigma": np.r_[0.6, 0.8], "rho": np.r_[0.3, 0.4]}
    result = fit_of(**theta, **sds)
    location, scale = np.linspace(2, 3, 6), np.linspace(0.1, 0.2, 6)
    result.data.location, result.data.scale = torch.tensor(location), torch.tensor(scale)
    label = np.array([0, 1, 0, 1, 1, 0])
    model = SimpleNamespace(assignments=lambda _: np.eye(2)[label])
    found = fitted_thickness(model, result, mesh)
    given = {"dps": [[-1.0, 0.5, 4.0]], "age": [[60.0, 70.0, 80.0]], "thickness_offset": [[0.0]]}
    maps = found.mean({name: torch.tensor(x) for name, x in given.items()})[0]
    a, b, c, d = (theta[name][label] for name in "abcd")
    s = np.array([-1.0, 0.5, 4.0])[:, None]
    np.testing.assert_allclose(maps, location + scale * (d + a / (1 + np.exp(-b * (s - c)))), rtol=1e-5)
    rate = np.r_[-0.04, 0.02]
    aged = fit_of(**theta, **sds, ageing=rate)
    aged.data = SimpleNamespace(**vars(result.data))
    older = fitted_thickness(model, aged, mesh, ageing=0.003).mean({name: torch.tensor(x) for name, x in given.items()})
    years = np.array([60.0, 70.0, 80.0])[:, None]
    expected = maps.numpy() + scale * rate[label] * (years - 72) - 0.003 * (years - 70)  # 72: the fit's origin of time
    np.testing.assert_allclose(older[0], expected, rtol=1e-5)
    assert found.white_sd == pytest.approx(np.sqrt(((scale * sds["sigma"][label]) ** 2).mean()))
    assert found.subject_sd == pytest.approx(np.sqrt(((scale * sds["rho"][label]) ** 2).mean()))
    with pytest.raises(ValueError, match="mesh: 4 vertices, but the fit has 6"):
        fitted_thickness(model, result, mesh.subset(range(4)))
