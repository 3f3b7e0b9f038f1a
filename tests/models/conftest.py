"""A generator whose images are linear in w, so that posteriors are known; and fits that know the truth."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from neuropyro.data import Cohort, Mesh
from neuropyro.generators.residuals import ResidualSpread
from neuropyro.inference import simulate_prior
from neuropyro.models import AnatomySimulator
from neuropyro.models.anatomy_fields import SmoothField
from neuropyro.models.anatomy_images import SliceImage
from neuropyro.models.anatomy_thickness import Thickness


class LinearGenerator(nn.Module):
    """Grey images of 8 x 8 px: a constant plus the sum over layers of w times a matrix; w is linear in z."""

    img_resolution, img_channels = 8, 1

    def __init__(self, w_dim: int = 3, layers: int = 2, seed: int = 0) -> None:
        super().__init__()
        self.z_dim = self.w_dim = w_dim
        self.num_ws = layers
        rng = torch.Generator().manual_seed(seed)
        self.mix = nn.Parameter(torch.randn(w_dim, w_dim, generator=rng))
        self.shift = nn.Parameter(torch.randn(w_dim, generator=rng))
        self.maps = nn.Parameter(0.2 * torch.randn(layers, w_dim, 64, generator=rng))
        self.constant = nn.Parameter(-0.3 * torch.ones(64))

    def mapping(self, z, labels=None):
        return (z @ self.mix + self.shift).unsqueeze(1).expand(-1, self.num_ws, -1)

    def synthesis(self, w, noise_mode="const"):
        return (self.constant + torch.einsum("bld,ldp->bp", w, self.maps)).reshape(-1, 1, 8, 8)


@pytest.fixture(scope="session")
def linear_generator():
    return LinearGenerator


@pytest.fixture(scope="session")
def residual():
    rng = torch.Generator().manual_seed(5)
    sd = 0.05 + 0.1 * torch.rand(1, 8, 8, generator=rng, dtype=torch.float64)
    return ResidualSpread(sd, torch.linspace(2.0, 0.1, 16, dtype=torch.float64))


@pytest.fixture(scope="session")
def small_simulator(linear_generator, residual):
    """Make anatomy simulators of 20 vertices and 8 x 8 px, whose ventricles are how bright the middle is."""

    def make(scanners=None, **mechanisms):
        rng = np.random.default_rng(0)
        points = np.stack([np.arange(20) * 4.0, np.zeros(20), np.zeros(20)], 1)
        mesh = Mesh(20, edges=np.stack([np.arange(19), np.arange(1, 20)], 1), coordinates=points)
        a, b, c = -rng.uniform(0.2, 0.8, 20), rng.uniform(0.8, 2.5, 20), rng.normal(1, 1, 20)
        arrays = (np.full(20, 2.5), a, b, c, np.full(20, 0.005))
        thickness = Thickness(
            *(torch.tensor(x, dtype=torch.float32) for x in arrays), SmoothField.on_mesh(mesh, 6), mesh=mesh
        )
        generator = linear_generator(w_dim=5)
        middle = torch.zeros(8, 8)
        middle[2:6, 2:6] = 1 / 16
        response = torch.einsum("ldp,p->d", generator.maps.detach(), middle.flatten())
        measure = lambda images: 1.5 + (images[:, 0] * middle).sum((1, 2))  # noqa: E731
        image = SliceImage(
            generator.requires_grad_(False),
            response / response.square().sum(),
            torch.linspace(-1, 1, 5),
            generator.shift.detach(),
            residual,
            psi=0.2,
            measure=measure,
        )
        return AnatomySimulator(image, scanners, thickness, **mechanisms)

    return make


def known_truth(model, seed, design):
    """The truth of a simulation from the prior, as if it had been fitted, and its data as a cohort."""
    simulated = simulate_prior(model, design, seed, dtype=torch.float64)
    truth = simulated.identified(model)
    result = SimpleNamespace(
        data=simulated.data, seed=seed, is_point=True, posterior=lambda _: {k: v[None] for k, v in truth.items()}
    )
    values = simulated.data.values.numpy().T * simulated.data.scale.numpy() + simulated.data.location.numpy()
    return result, truth, Cohort(values, design.time, design.subject, design.diagnosis)


@pytest.fixture
def known():
    return known_truth
