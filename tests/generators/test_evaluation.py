import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import norm

from neuropyro.generators.config import GeneratorConfig
from neuropyro.generators.evaluation import (
    PrincipalComponents,
    inversion_psnr,
    measure_fidelity,
    nearest_distances,
    precision_recall,
    two_sample_accuracy,
)
from neuropyro.generators.stylegan2 import Generator


def points(seed: int, count: int = 60, dim: int = 3, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)) + shift


def test_two_sample_accuracy_against_brute_force():
    first, second = points(0, 20), points(1, 20, shift=0.5)
    both, label = torch.cat([first, second]).numpy(), np.repeat([0, 1], 20)
    right = 0
    for i in range(40):
        others = [j for j in range(40) if j != i]
        nearest = min(others, key=lambda j: np.linalg.norm(both[i] - both[j]))
        right += label[nearest] == label[i]
    assert two_sample_accuracy(first, second) == right / 40


def test_two_sample_accuracy_of_alike_and_apart():
    # 1,200 coin flips have a standard error of .014; neighbours depend on one another, hence four of them.
    assert abs(two_sample_accuracy(points(0, 600), points(1, 600)) - 0.5) < 0.06
    assert two_sample_accuracy(points(0), points(1, shift=100.0)) == 1.0


def test_precision_recall_against_brute_force():
    real, fake = points(0, 25), points(1, 25, shift=1.0)
    for k in (1, 3):
        expected = []
        for inside, reference in ((fake, real), (real, fake)):
            radii = np.sort(cdist(reference, reference), axis=1)[:, k]
            expected.append((cdist(inside, reference) <= radii).any(axis=1).mean())
        assert precision_recall(real, fake, k) == pytest.approx(tuple(expected))


def test_missing_modes_cost_recall_and_not_precision():
    real = torch.cat([points(0, 100), points(1, 100, shift=20.0)])
    precision, recall = precision_recall(real, points(2, 200))
    assert precision > 0.8
    assert recall < 0.55


def test_principal_components_keep_distances():
    low = points(0, 50, 5)
    frame, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 5)))
    images = (low @ torch.from_numpy(frame.T).float() + 3).reshape(50, 1, 8, 8)
    project = PrincipalComponents.of(images, 5)
    torch.testing.assert_close(torch.cdist(project(images), project(images)), torch.cdist(low, low), atol=2e-3, rtol=0)
    torch.testing.assert_close(project.axes.T @ project.axes, torch.eye(5), atol=1e-5, rtol=0)


def test_nearest_distances():
    reference = torch.tensor([[0.0], [10.0]])
    assert nearest_distances(torch.tensor([[1.0], [8.0]]), reference).tolist() == [1, 2]


def test_fidelity_of_train_images_is_the_yardstick():
    sets = [points(s, 80, 16).reshape(80, 1, 4, 4) for s in range(3)]
    fidelity = measure_fidelity(sets[0], sets[1], sets[2], components=4)
    same = measure_fidelity(sets[1], sets[1], sets[2], components=4)
    assert same.two_sample_accuracy == same.train_accuracy == fidelity.train_accuracy
    assert (same.precision, same.recall) == (same.train_precision, same.train_recall)
    assert same.distance_to_train == pytest.approx(0, abs=1e-2)
    with pytest.raises(ValueError, match="as many"):
        measure_fidelity(sets[0][:70], sets[1], sets[2], components=4)


def test_inversion_finds_the_images_of_the_generator_itself():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        G = Generator(GeneratorConfig(img_resolution=8, z_dim=8, w_dim=8, channels=(16, 16), mapping_layers=2))
    with torch.no_grad():
        own = G.synthesis(G.mapping(points(3, 3, 8)), noise_mode="none")
    own_psnr = inversion_psnr(G.freeze(), own, steps=150)
    noise = own + own.std() * torch.from_numpy(norm.rvs(size=own.shape, random_state=0)).float()
    assert own_psnr.shape == (3,)
    assert (own_psnr > inversion_psnr(G.freeze(), noise, steps=150) + 3).all()
