"""Moves against scipy's, their gradients, and a pose that is found where the generator knows only one."""

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform
from scipy.stats import norm

from neuropyro.inference import fit
from neuropyro.inference.convergence import CosineSchedule
from neuropyro.models import LatentReconstruction
from neuropyro.models.corruption import Downsample, Identity
from neuropyro.models.reconstruction_pose import PoseNormal, PosePrior, moved
from neuropyro.models.reconstruction_storage import load_reconstruction, save_reconstruction

POSE = torch.tensor([[1.5, -2.0, 7.0, 0.08], [-0.4, 3.0, -12.0, -0.05]], dtype=torch.float64)
QUICK = {"candidates": 20, "starts": 1, "search_steps": 5, "residual": None}


def blobs(size=(24, 24)):
    """Smooth pictures that are black at the border."""
    y, x = np.indices(size) - (np.array(size) - 1).reshape(2, 1, 1) / 2
    first = np.exp(-((y - 2) ** 2 / 20 + (x + 3) ** 2 / 9))
    return torch.from_numpy(np.stack([first, first + 0.5 * np.exp(-((y + 4) ** 2 + x**2) / 12)]))[:, None]


def by_scipy(picture, pose):
    """The same by scipy: q = R(-theta) (p - t) / s about the middle, rows before columns."""
    down, across, turn, size = pose.tolist()
    angle, middle = np.deg2rad(turn), (np.array(picture.shape) - 1) / 2
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / np.exp(size)
    offset = middle - matrix @ (middle + np.array([down, across]))
    return affine_transform(picture.numpy(), matrix, offset, order=3, mode="nearest")


@pytest.mark.parametrize("size", [(24, 24), (20, 30)])
def test_moves_are_those_of_scipy(size):
    images = blobs(size)
    found = moved(images, POSE)
    for i in range(2):
        # Splines and convolution differ by some .015 where the picture bends most; a wrong turn by .5.
        np.testing.assert_allclose(found[i, 0], by_scipy(images[i, 0], POSE[i]), atol=0.02)


def test_a_shift_down_moves_down_and_a_turn_is_clockwise():
    point = torch.zeros(1, 1, 21, 21)
    point[0, 0, 10, 15] = 1.0  # right of the middle
    shifted = moved(point, torch.tensor([[3.0, 0.0, 0.0, 0.0]]))
    assert divmod(int(shifted.argmax()), 21) == (13, 15)
    turned = moved(point, torch.tensor([[0.0, 0.0, 90.0, 0.0]]))
    assert divmod(int(turned.argmax()), 21) == (15, 10)  # below it
    larger = moved(point, torch.tensor([[0.0, 0.0, 0.0, float(np.log(1.6))]]))
    assert divmod(int(larger.argmax()), 21) == (10, 18)


def test_no_move_leaves_images_as_they_are_and_leading_dimensions_are_draws():
    images = blobs()
    torch.testing.assert_close(moved(images, torch.zeros(2, 4).double()), images)
    several = moved(images.expand(3, -1, -1, -1, -1), POSE.expand(3, -1, -1))
    torch.testing.assert_close(several[2], moved(images, POSE))


def test_gradients_are_finite_differences():
    assert torch.autograd.gradcheck(lambda p: moved(blobs((8, 8)), p), (POSE.clone().requires_grad_(),), atol=1e-4)


def test_density_and_whitening():
    law = PosePrior(1.0, 2.0, 3.0, 0.05).law(torch.zeros((), dtype=torch.float64)).expand([2])
    expected = norm.logpdf(POSE.numpy(), 0, [1.0, 2.0, 3.0, 0.05]).sum(1)
    np.testing.assert_allclose(law.log_prob(POSE), expected)
    free = torch.distributions.biject_to(law.support).inv(POSE)
    np.testing.assert_allclose(free, POSE / torch.tensor([1.0, 2.0, 3.0, 0.05]))
    assert isinstance(law, PoseNormal)
    with pytest.raises(ValueError, match="above 0"):
        PosePrior(turn=0.0)


class Blob(torch.nn.Module):
    """A head of one shape, as bright as its latent."""

    z_dim = w_dim = 1
    num_ws, img_resolution, img_channels = 1, 24, 1

    def mapping(self, z, labels=None):
        return z.unsqueeze(1)

    def synthesis(self, w, noise_mode="const"):
        return (2 + 0.2 * w[:, 0]).reshape(-1, 1, 1, 1) * blobs()[1:].to(w) - 1


def test_the_pose_is_found_together_with_the_latent():
    model = LatentReconstruction(Blob(), Downsample(2, noise=0.01), pose=PosePrior(2.0, 2.0, 8.0, 0.1), **QUICK)
    drawn = model.simulate(4, seed=3)
    schedule = CosineSchedule(learning_rate=0.1, max_steps=200)
    result = fit(model, drawn["y"], guide="map", schedule=schedule, progress=False)
    found = result.posterior(1)["pose"][0]
    assert np.abs(found - drawn["pose"].numpy())[:, :2].max() < 0.1  # px
    assert np.abs(found - drawn["pose"].numpy())[:, 2].max() < 2.0  # degrees
    images = torch.as_tensor(model.estimate(result))
    still = LatentReconstruction(Blob(), Downsample(2, noise=0.01), **QUICK)
    unmoved = still.estimate(fit(still, drawn["y"], guide="map", schedule=schedule, progress=False))
    assert (images - drawn["clean"]).std() < 0.2 * (torch.as_tensor(unmoved) - drawn["clean"]).std()


def test_it_is_saved_and_told(tmp_path):
    model = LatentReconstruction(Blob(), Identity(0.1), pose=PosePrior(turn=5.0), **QUICK)
    save_reconstruction(model, tmp_path, "blob")
    again = load_reconstruction(tmp_path, Blob())
    assert again.pose == model.pose
    assert repr(again) == repr(model) != repr(LatentReconstruction(Blob(), Identity(0.1), **QUICK))
