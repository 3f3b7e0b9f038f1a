"""Slices: ventricles are as large as they are said to be, the rest of the brain stays who it is."""

import numpy as np
import pytest
import torch

from neuropyro.data.phantoms import BrainPhantoms, PhantomRecipe
from neuropyro.data.ventricle_area import TYPICAL_AREA, ventricle_area, ventricle_region
from neuropyro.generators import load_generator
from neuropyro.generators.readouts import CovariateReadout
from neuropyro.models import AnatomySimulator
from neuropyro.models.anatomy_image_abduction import infer_images
from neuropyro.models.anatomy_images import AMOUNTS, SliceImage, amounts, rising
from neuropyro.models.anatomy_program import Design
from neuropyro.models.anatomy_scanners import Scanners
from neuropyro.models.corruption import Blur, Identity

SCORES = (-1.0, 0.5, 2.0, 3.5)
SUBJECTS = 24


def test_ventricles_have_the_area_that_is_asked_for(small_simulator):
    """Beside which stands what atrophy alone makes of the area: of this linear generator by so much a unit."""
    image = small_simulator().parts.image
    z = torch.randn(7, 5, generator=torch.Generator().manual_seed(1))
    w = image.latent(z)
    ventricles, atrophy = torch.tensor([0.7, 1.0, 2.2]).expand(7, 3), torch.tensor([0.0, 0.5, -0.2]).expand(7, 3)
    made = image.render(image.chart(w), ventricles, atrophy)
    opened = image.measure(image.images(w + image.atrophy)) - image.measure(image.images(w))
    assert opened.abs().min() > 0.1
    expected = ventricles + opened[:, None] * atrophy
    np.testing.assert_allclose(image.measure(made.flatten(0, 1)).reshape(7, 3), expected, rtol=0.006)


def test_an_anatomy_where_it_stands_is_its_own_image(small_simulator):
    image = small_simulator().parts.image
    w = image.latent(torch.randn(4, 5, generator=torch.Generator().manual_seed(2)))
    anatomy = image.chart(w).at(torch.tensor([0.5, 1.0, 2.0, 3.0]), torch.tensor([0.1, 0.0, -0.1, 0.2]))
    made = image.render(anatomy, anatomy.level[:, None], anatomy.atrophy[:, None])
    np.testing.assert_array_equal(made[:, 0], image.images(w))


def test_amounts_invert_what_was_measured():
    areas = rising(torch.tensor([[0.2, 0.5, 1.0, 1.4, 3.0], [0.4, 0.9, 0.8, 1.1, 1.0]]))
    assert (areas.diff(dim=1) > 0).all()
    found = amounts(areas, torch.stack([areas[0, [0, 2, 4]], torch.tensor([0.0, 0.82, 99.0])]))
    np.testing.assert_allclose(found[0], [AMOUNTS[0], 0.0, AMOUNTS[-1]], atol=1e-6)
    assert found[1, 0] == AMOUNTS[0]
    assert found[1, 2] == AMOUNTS[-1]


def test_the_images_draws_make_the_scan_again(small_simulator):
    """scan = A(G(w) + r) + what the scanner added, draw by draw, for each scanner."""
    sim = small_simulator({"A": Identity(noise=0.05), "B": Blur(0.8, noise=0.05)})
    image, scanners = sim.parts.image, sim.parts.scan
    assert isinstance(scanners, Scanners)
    scans = 0.3 * torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(3)) - 0.3
    found = infer_images(image, scanners, scans, torch.tensor([0, 1, 0]), 400, 0, None)
    slices = torch.stack([image.images(w) for w in found.w]) + found.residual
    again = torch.stack([slices[:, 0], Blur(0.8).A(slices[:, 1]), slices[:, 2]], 1) + found.left
    np.testing.assert_allclose(again, scans.expand_as(again), atol=1e-5)


def test_residuals_are_drawn_as_conditioning_has_it(small_simulator, residual):
    """Given w, y - G(w) = r + noise with r ~ Normal(0, tau^2 S): mean and sd of r in closed form."""
    sim = small_simulator({"A": Identity(noise=0.05)})
    scan = -0.3 + 0.2 * torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    found = infer_images(sim.parts.image, sim.parts.scan, scan, torch.zeros(1, dtype=torch.int64), 4000, 0, None)
    units = torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)
    S = np.exp(2 * 0.35) * residual.multiply(units).reshape(64, 64).numpy()
    gain = S @ np.linalg.inv(S + 0.05**2 * np.eye(64))
    deviation = (scan[0] - sim.parts.image.images(found.w[0])[0]).flatten().double().numpy()
    draws = found.residual[:, 0].flatten(1).double().numpy()
    sd = np.sqrt(np.diag(S - gain @ S))
    np.testing.assert_allclose(draws.mean(0), gain @ deviation, atol=5 * sd.max() / np.sqrt(4000))
    np.testing.assert_allclose(draws.std(0), sd, rtol=0.06)  # 4,000 draws: 1.1 %, five times


def test_a_generator_without_directions_is_refused(linear_generator):
    with pytest.raises(ValueError, match="card has no direction `dilation`"):
        SliceImage.of(linear_generator())


@pytest.fixture(scope="module")
def worlds() -> tuple[np.ndarray, torch.Tensor]:
    """Ventricles ``(scores, subjects)`` as the mechanism has them, and slices, of the same people of 70 years."""
    return people_at_scores()


def people_at_scores(**do) -> tuple[np.ndarray, torch.Tensor]:
    years = torch.zeros(SUBJECTS, len(SCORES), dtype=torch.float64)
    do |= {"dps": np.tile(SCORES, (SUBJECTS, 1)), "entry_age": 70.0}
    found = AnatomySimulator().run(Design(np.arange(SUBJECTS), years, do, ("image", "ventricles")), seed=1)
    return found["ventricles"].T.numpy(), found["image"].transpose(0, 1)


def test_ventricles_in_slices_follow_the_score():
    """Monotonically in each subject, and by the mechanism's own amount, where the cortex stays as it is."""
    truth, slices = people_at_scores(atrophy=0.0)
    area = ventricle_area(slices).numpy() / TYPICAL_AREA
    assert (np.diff(area, axis=0) > 0).all()
    slopes = (area[-1] - area[0]) / (truth[-1] - truth[0])
    assert abs(slopes.mean() - 1) < 0.05
    assert np.abs(slopes - 1).max() < 0.15


@pytest.mark.slow
def test_another_measure_sees_the_same_slope(worlds):
    """The linear readout of dilation, learned from phantoms' pixels, which the mechanism has never seen."""
    phantoms = BrainPhantoms(64, recipe=PhantomRecipe(noise=(0.0, 0.0)))
    parts = [phantoms(range(i, i + 100)) for i in range(0, 1500, 100)]
    known = torch.cat([part.covariates["dilation"] * part.covariates["size"] ** 2 for part in parts]).double()
    readout = CovariateReadout.of(torch.cat([part.images for part in parts]), known[:, None], ["area"])
    truth, slices = worlds
    seen = readout(slices.flatten(0, 1))[:, 0].reshape(truth.shape).numpy()
    slope = (seen[-1] - seen[0]).mean() / (truth[-1] - truth[0]).mean()
    assert abs(slope - 1) < 0.15
    assert (np.diff(seen.mean(1)) > 0).all()


def test_identity_is_kept(worlds):
    """Correlation of what is not ventricle, between the least and the most affected world, subject by subject."""
    _, slices = worlds
    outside = ~ventricle_region(64, 64)
    one, other = (slices[k][:, 0, outside] for k in (0, -1))
    brain = ((one > -0.9) | (other > -0.9)).numpy()
    found = [np.corrcoef(a[b], c[b])[0, 1] for a, b, c in zip(one.numpy(), brain, other.numpy(), strict=True)]
    assert min(found) > 0.95, found
    strangers = [
        np.corrcoef(a[b], c[b])[0, 1] for a, b, c in zip(one.numpy(), brain, np.roll(other.numpy(), 1, 0), strict=True)
    ]
    assert np.mean(strangers) < 0.8


@pytest.mark.slow
def test_ages_follow_each_other_without_flicker():
    """From 55 to 90 years: no year's change is much larger than its neighbours', nor undone the year after.

    Some fall ill within few years, and most of the change of 35 years is in these: so neighbours are compared.
    """
    sim = AnatomySimulator()
    ages = torch.arange(0.0, 36.0, dtype=torch.float64).expand(6, -1)
    design = Design(np.arange(6), ages, {"entry_age": 55.0}, ("image",))
    slices = sim.run(design, seed=2)["image"]
    steps = slices.diff(dim=1).flatten(2)
    size = steps.norm(dim=-1)
    neighbours = torch.maximum(size[:, 2:], size[:, :-2])
    assert float((size[:, 1:-1] / neighbours).max()) < 1.6
    along = torch.nn.functional.cosine_similarity(steps[:, 1:], steps[:, :-1], dim=-1)
    assert float(along.min()) > 0.5


@pytest.mark.slow
def test_a_real_scan_comes_back_and_ages():
    """A phantom, made by no generator: its scan is kept exactly, and its counterfactual has larger ventricles."""
    from neuropyro.data import Cohort

    phantoms = BrainPhantoms(64, split="test", recipe=PhantomRecipe(noise=(0.02, 0.02)))
    scans = phantoms([3, 4], dilation=1.0, rotation=0.0, size=1.0).images
    cohort = Cohort(
        np.array([[32.0], [30.0]]),
        [70.0, 71.0],
        ["a", "b"],
        feature_names=["ventricle_volume"],
        covariates={"site": np.array(["A", "A"])},
        images=scans,
    )
    sim = AnatomySimulator(load_generator("brains64"))
    exogenous = sim.infer_exogenous(cohort, draws=2)
    null, ill = sim.counterfactual(exogenous), sim.counterfactual(exogenous, {"ventricles": lambda v: 1.8 * v})
    np.testing.assert_array_equal(null["scan"][:, :, 0], np.broadcast_to(scans, (2, 2, 1, 64, 64)))
    area = [ventricle_area(torch.as_tensor(world["image"][:, :, 0])) for world in (null, ill)]
    np.testing.assert_allclose(area[1] / area[0], 1.8, rtol=0.15)
