"""Maps: their density against dense algebra, the spline against the sigmoid, what lasts against conditioning."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from neuropyro.data import Mesh
from neuropyro.models.anatomy_curves import Curves
from neuropyro.models.anatomy_fields import SmoothField
from neuropyro.models.anatomy_map_evidence import draw_lasting, map_evidence
from neuropyro.models.anatomy_thickness import ORIGIN, Thickness

L, T = 30, 3


def strip(n: int) -> Mesh:
    coordinates = np.stack([np.arange(n) * 4.0, np.zeros(n), np.zeros(n)], 1)
    return Mesh(n, edges=np.stack([np.arange(n - 1), np.arange(1, n)], 1), coordinates=coordinates)


@pytest.fixture
def thickness() -> Thickness:
    rng = np.random.default_rng(0)
    field = SmoothField.on_mesh(strip(L), knots=8, fwhm=20.0)
    a, b, c = -rng.uniform(0.2, 0.8, L), rng.uniform(0.8, 2.5, L), rng.normal(1, 1, L)
    tensors = (torch.tensor(x, dtype=torch.float32) for x in (np.full(L, 2.5), a, b, c, rng.uniform(0, 0.01, L)))
    return Thickness(*tensors, field, subject_sd=0.1, visit_sd=0.07, white_sd=0.05)


def covariance(thickness: Thickness, visits: int) -> np.ndarray:
    """Of a subject's maps, one after the other."""
    smooth = (thickness.field.basis @ thickness.field.basis.T).double().numpy()
    own = thickness.visit_sd**2 * smooth + thickness.white_sd**2 * np.eye(len(smooth))
    lasting = thickness.subject_sd**2 * smooth
    return np.kron(np.ones((visits, visits)), lasting) + np.kron(np.eye(visits), own)


def parents(seed: int = 1) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(seed)
    years = torch.arange(float(T))
    return {
        "dps": torch.tensor(rng.normal(0.5, 1, (2, 1))) + 0.4 * years,
        "age": torch.tensor([[68.0], [81.0]]) + years,
        "thickness_offset": torch.tensor([[0.1], [-0.05]]),
    }


def test_fields_have_variance_one_and_fall_off_with_distance():
    field = SmoothField.on_mesh(strip(200), knots=60, fwhm=20.0)
    kernel = (field.basis @ field.basis.T).numpy()
    np.testing.assert_allclose(np.diag(kernel), 1, rtol=1e-5)
    assert kernel[100, 101] > 0.9
    assert kernel[100, 105] > kernel[100, 110] > kernel[100, 130]
    assert abs(kernel[100, 130]) < 0.05


def test_the_spline_is_the_sigmoid(thickness):
    s = torch.linspace(-12, 14, 1001, dtype=torch.float64)
    exact = thickness.a * torch.sigmoid(thickness.b * (s.unsqueeze(-1) - thickness.c))
    assert (thickness.curves(s) - exact).abs().max() < 2e-4  # mm, of changes of up to .8


def test_a_spline_meets_its_knots_and_is_flat_beyond_them():
    values = np.random.default_rng(0).normal(size=(9, 2))
    curves = Curves.through(1.0, 0.5, values)
    np.testing.assert_allclose(curves(1 + 0.5 * torch.arange(9.0, dtype=torch.float64)), values, atol=1e-12)
    np.testing.assert_allclose(curves(torch.tensor([-3.0, 99.0], dtype=torch.float64)), values[[0, -1]], atol=1e-12)


def test_the_density_of_maps_is_that_of_dense_algebra(thickness):
    given, rng = parents(), np.random.default_rng(3)
    mean = thickness.mean(given).double().numpy()
    maps = mean + rng.multivariate_normal(np.zeros(T * L), covariance(thickness, T), 2).reshape(2, T, L)
    evidence = map_evidence(thickness, torch.tensor(maps), given["age"])
    found = evidence.log_density(given["dps"], given["thickness_offset"])[:, 0]
    exact = [
        multivariate_normal.logpdf(m.ravel(), e.ravel(), covariance(thickness, T))
        for m, e in zip(maps, mean, strict=True)
    ]
    np.testing.assert_allclose(found, exact, atol=0.02)  # of the spline, over 90 numbers


def test_missing_maps_and_vertices_do_not_count(thickness):
    given, rng = parents(), np.random.default_rng(4)
    maps = thickness.mean(given).double().numpy() + 0.1 * rng.standard_normal((2, T, L))
    maps[0, 1] = np.nan
    maps[1, 2, [4, 17]] = np.nan
    found = map_evidence(thickness, torch.tensor(maps), given["age"]).log_density(
        given["dps"], given["thickness_offset"]
    )
    mean = thickness.mean(given).double().numpy()
    left = (maps - mean)[0, [0, 2]].ravel()
    assert abs(float(found[0, 0]) - multivariate_normal.logpdf(left, cov=covariance(thickness, 2))) < 0.02
    keep = np.tile(np.isin(np.arange(L), [4, 17], invert=True), T)
    left, matrix = (maps - mean)[1].ravel()[keep], covariance(thickness, T)[np.ix_(keep, keep)]
    assert abs(float(found[1, 0]) - multivariate_normal.logpdf(left, cov=matrix)) < 0.02


def test_a_subject_without_maps_says_nothing(thickness):
    given = parents()
    maps = torch.full((2, T, L), torch.nan)
    np.testing.assert_array_equal(
        map_evidence(thickness, maps, given["age"]).log_density(given["dps"], given["thickness_offset"]), 0
    )


def test_what_lasts_has_the_moments_of_conditioning(thickness):
    rng = np.random.default_rng(5)
    residual = rng.multivariate_normal(np.zeros(T * L), covariance(thickness, T)).reshape(T, L)
    fresh = torch.tensor(rng.standard_normal((40_000, thickness.field.size)))
    fields = thickness.field(draw_lasting(thickness, torch.tensor(residual).expand(40_000, T, L), fresh)).numpy()
    smooth = (thickness.field.basis @ thickness.field.basis.T).double().numpy()
    cross = thickness.subject_sd * np.kron(np.ones((1, T)), smooth)
    gain = np.linalg.solve(covariance(thickness, T), cross.T).T
    exact_sd = np.sqrt(np.diag(smooth - gain @ cross.T))
    # 40,000 draws: means within 5 standard errors, sds within 2 %.
    np.testing.assert_allclose(fields.mean(0), gain @ residual.ravel(), atol=5 * exact_sd.max() / 200)
    np.testing.assert_allclose(fields.std(0), exact_sd, rtol=0.02)


def test_maps_have_the_variances_of_their_noise(thickness):
    n = 4000
    given = {name: value[:1].expand(n, value.shape[1]) for name, value in parents().items()}
    rng = torch.Generator().manual_seed(0)
    shape = {"subject": (n, 1, 8), "visit": (n, T, 8), "white": (n, T, L)}
    maps = thickness.value({k: torch.randn(s, generator=rng) for k, s in shape.items()}, given)
    centred = (maps - thickness.mean(given)).flatten(1).double().numpy()
    np.testing.assert_allclose(np.cov(centred.T), covariance(thickness, T), atol=6 * 0.018 / np.sqrt(n))


def test_some_of_the_vertices_have_the_maps_of_the_whole(thickness):
    keep, rng = np.array([3, 17, 18, 5]), torch.Generator().manual_seed(1)
    shape = {"subject": (2, 1, 8), "visit": (2, T, 8), "white": (2, T, L)}
    noise = {part: torch.randn(s, generator=rng) for part, s in shape.items()}
    own = noise | {"white": noise["white"][..., keep]}
    np.testing.assert_allclose(
        thickness.subset(keep).value(own, parents()), thickness.value(noise, parents())[..., keep], atol=1e-6
    )


def test_ageing_thins_and_the_origin_is_where_it_does_nothing(thickness):
    given = parents() | {"age": torch.full((2, T), ORIGIN)}
    older = thickness.mean(given | {"age": torch.full((2, T), ORIGIN + 10)})
    np.testing.assert_allclose(thickness.mean(given) - older, (10 * thickness.ageing).expand(2, T, L), atol=1e-5)


def test_arguments_that_make_no_sense_are_refused(thickness):
    arrays = (thickness.baseline, thickness.a, thickness.b, thickness.c, thickness.ageing, thickness.field)
    with pytest.raises(ValueError, match="vertices"):
        Thickness(thickness.baseline[:-1], *arrays[1:])
    with pytest.raises(ValueError, match="above 0"):
        Thickness(*arrays, white_sd=0.0)
