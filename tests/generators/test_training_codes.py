"""Training where the z of each real image is known."""

import signal
import subprocess
import sys

import pytest
import torch

from neuropyro.generators.checkpoints import Checkpoint
from neuropyro.generators.codes import code_loss, teach_mapping
from neuropyro.generators.config import DiscriminatorConfig, GeneratorConfig
from neuropyro.generators.training import train_generator
from neuropyro.generators.training_config import TrainingConfig
from neuropyro.generators.training_state import new_state

GENERATOR = GeneratorConfig(img_resolution=8, z_dim=8, w_dim=8, channels=(8, 8), mapping_layers=2)
DISCRIMINATOR = DiscriminatorConfig(img_resolution=8, channels=(8, 8))
CODED = {"batch": 4, "r1_interval": 3, "log_images": 8, "state_images": 8, "mirror": False, "style_mixing": 0.0}
CODED |= {"code_weight": 10.0, "path_weight": 0.0}


def blobs(indices: torch.Tensor) -> torch.Tensor:
    """Squares at places that depend on the index alone."""
    images = torch.full((len(indices), 1, 8, 8), -1.0)
    for image, i in zip(images, indices.tolist(), strict=True):
        row, column = (i * 7919) % 4, (i * 104729) % 4
        image[:, row : row + 4, column : column + 4] = 0.8
    return images


class Places:
    """Codes of :func:`blobs`: place of the square in the first two coordinates, nothing in the others."""

    scales = torch.tensor([1.0, 1.0, *[0.1] * 6])

    def __call__(self, indices: torch.Tensor) -> torch.Tensor:
        others = torch.stack([torch.randn(8, generator=torch.Generator().manual_seed(int(i))) for i in indices])
        places = torch.stack([(indices * 7919) % 4, (indices * 104729) % 4], dim=1) - 1.5
        return torch.cat([places.float(), others[:, 2:]], dim=1)


def train(folder, images: int, dataset=blobs, codes=None, **settings):
    config = TrainingConfig(images=images, **(CODED | settings))
    return train_generator(dataset, folder, GENERATOR, DISCRIMINATOR, config, codes=codes or Places())


def test_codes_alone_teach_the_generator_and_leave_the_discriminator(tmp_path):
    settings = {"momentum": 0.9, "adversarial_from": 10_000, "learning_rate": 0.01, "average_images": 50}
    wide = GeneratorConfig(img_resolution=8, z_dim=8, w_dim=8, channels=(16, 16), mapping_layers=2)
    config = TrainingConfig(images=3_200, **(CODED | settings | {"batch": 16, "state_images": 3_200}))
    before = new_state(wide, DISCRIMINATOR, config.adam(), 0, torch.device("cpu")).discriminator.state_dict()
    state = train_generator(blobs, tmp_path / "run", wide, DISCRIMINATOR, config, codes=Places())
    assert all(torch.equal(v, before[k]) for k, v in state.discriminator.state_dict().items())
    # Of images that were not shown, and whose other coordinates are new: all but a tenth of the variance is explained.
    fresh = torch.arange(50_000, 50_200)
    with torch.no_grad():
        made = state.average.synthesis(state.average.mapping(Places()(fresh)), noise_mode="none")
    real = blobs(fresh)
    assert (made - real).square().mean() < 0.1 * (real - real.mean(0)).square().mean()


def test_the_discriminator_joins_when_it_is_time(tmp_path):
    early = train(tmp_path, 16, adversarial_from=16)
    before = early.discriminator.b4.out.weight.clone()
    late = train(tmp_path, 24, adversarial_from=16)
    assert not torch.equal(late.discriminator.b4.out.weight, before)
    log = (tmp_path / "log.jsonl").read_text().splitlines()
    assert ["discriminator_loss" in line for line in log] == [False, False, True]
    assert all("code_loss" in line for line in log)


def test_the_mapping_alone_learns_what_codes_mean():
    wide = GeneratorConfig(img_resolution=8, z_dim=8, w_dim=16, channels=(8, 8), mapping_layers=2, lr_multiplier=1.0)
    state = new_state(wide, DISCRIMINATOR, TrainingConfig().adam(), 0, torch.device("cpu"))
    mapping = state.generator.mapping
    explained = teach_mapping(mapping, Places(), blobs, images=400, components=16, epochs=25, batch=16)
    assert explained > 0.9
    # What it says holds of images that are neither taught nor kept aside, by least squares of their pixels on w.
    fresh, others = torch.arange(20_000, 20_300), torch.arange(30_000, 30_100)
    with torch.no_grad():
        w, v = (torch.cat([mapping.single(Places()(i)), torch.ones(len(i), 1)], 1) for i in (fresh, others))
    pixels = torch.linalg.lstsq(w, blobs(fresh).flatten(1)).solution
    real = blobs(others).flatten(1)
    assert (v @ pixels - real).square().mean() < 0.15 * (real - real.mean(0)).square().mean()


def test_scales_are_those_of_the_first_layers_columns(tmp_path):
    still = {"learning_rate": 0.0, "discriminator_learning_rate": 0.0}
    scaled = train(tmp_path / "1", 4, **still)
    config = TrainingConfig(images=4, **(CODED | still | {"code_weight": 0.0}))
    plain = train_generator(blobs, tmp_path / "2", GENERATOR, DISCRIMINATOR, config)
    ratio = scaled.generator.mapping.fc0.weight / plain.generator.mapping.fc0.weight
    expected = Places.scales / Places.scales.square().mean().sqrt()
    torch.testing.assert_close(ratio, expected.expand_as(ratio))
    # Neither when the run resumes nor when another begins with its weights: not a second time.
    begun = Checkpoint(tmp_path / "g.safetensors", "safetensors", scaled.average, None, scaled.discriminator, None)
    other = train_generator(blobs, tmp_path / "3", GENERATOR, DISCRIMINATOR, config, codes=Places(), start=begun)
    torch.testing.assert_close(other.generator.mapping.fc0.weight, scaled.generator.mapping.fc0.weight)
    resumed = train(tmp_path / "1", 8, **still)
    torch.testing.assert_close(resumed.generator.mapping.fc0.weight, scaled.generator.mapping.fc0.weight)


def interrupted(indices: torch.Tensor) -> torch.Tensor:
    if int(indices.max()) >= 28:  # 4 images past the last state, at 24
        raise KeyboardInterrupt
    return blobs(indices)


@pytest.mark.parametrize("begin", [0, 20, 100])
def test_resume_after_a_kill_is_bit_equal(tmp_path, begin):
    whole = train(tmp_path / "whole", 40, adversarial_from=begin)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", 40, interrupted, adversarial_from=begin)
    resumed = train(tmp_path / "killed", 40, adversarial_from=begin)
    for name, tensor in whole.tensors().items():
        assert torch.equal(resumed.tensors()[name], tensor), name


# On one thread, as tests are: sums that more of them share out have other last bits.
KILLED = """
import os, runpy, signal, torch
torch.set_num_threads(1)
tests = runpy.run_path({tests!r})
blobs, train = tests["blobs"], tests["train"]

def dataset(indices):
    if int(indices.max()) >= 28:
        os.kill(os.getpid(), signal.SIGKILL)
    return blobs(indices)

train({folder!r}, 40, dataset)
"""


def test_resume_after_sigkill_is_bit_equal(tmp_path):
    script = KILLED.format(tests=__file__, folder=str(tmp_path / "killed"))
    killed = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, timeout=300)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    resumed, whole = train(tmp_path / "killed", 40), train(tmp_path / "whole", 40)
    assert resumed.images == 40
    for name, tensor in whole.tensors().items():
        assert torch.equal(resumed.tensors()[name], tensor), name


def test_resuming_with_other_threads_is_said_to_change_the_last_bits(tmp_path):
    train(tmp_path, 4)
    torch.set_num_threads(2)
    with pytest.warns(UserWarning, match="had 1 threads so far and has 2 now"):
        state = train(tmp_path, 8)
    assert [(entry["images"], entry["threads"]) for entry in state.history] == [(0, 1), (4, 2)]


def test_large_forms_are_learned_without_the_layers_above(tmp_path):
    state = train(tmp_path, 40, adversarial_from=10_000, code_resolution=4)
    untouched = new_state(GENERATOR, DISCRIMINATOR, TrainingConfig().adam(), 0, torch.device("cpu")).generator
    for name, p in untouched.synthesis.named_parameters():
        assert torch.equal(state.generator.get_parameter(f"synthesis.{name}"), p) == name.startswith("b8."), name


def test_of_forms_alone_codes_leave_the_fine_detail_to_the_discriminator():
    x = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    checkered = x + torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).tile(4, 4)  # of which 2 x 2 pixels' means know nothing
    assert code_loss(checkered, x, None) == pytest.approx(1.0, rel=1e-6)
    assert code_loss(checkered, x, 4) < 1e-12
    assert code_loss(x + 0.5, x, 4) == pytest.approx(0.25, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"mirror": True}, "mirror=False"),
        ({"code_weight": 0.0, "adversarial_from": 8}, "nothing to learn"),
        ({"code_resolution": 8, "spread_weight": 1.0, "adversarial_from": 8}, "whole images"),
    ],
)
def test_what_cannot_be_learned_is_refused(tmp_path, settings, said):
    with pytest.raises(ValueError, match=said):
        train(tmp_path, 8, **settings)


def test_codes_belong_to_networks_of_their_size(tmp_path):
    class Short(Places):
        scales = torch.ones(3)

    with pytest.raises(ValueError, match="3 coordinates, the generator's z has 8"):
        train(tmp_path, 8, codes=Short())


def test_beyond_the_ends_of_the_range_nothing_is_wrong_where_the_image_ends_too():
    real = torch.tensor([-1.0, -1.0, 1.0, 0.5, -0.5]).expand(1, 1, 1, 5)
    made = torch.tensor([-1.04, -0.9, 1.02, 1.5, -1.5])[None, None, None].requires_grad_()
    found = code_loss(made.expand(1, 1, 5, 5), real.expand(1, 1, 5, 5))
    found.backward()
    assert found.item() == pytest.approx((0.1**2 + 1 + 1) / 5, rel=1e-6)
    assert (made.grad.flatten() == 0).tolist() == [True, False, True, False, False]
    far = torch.full((1, 1, 2, 2), -1.25)
    assert code_loss(far, torch.full_like(far, -1.0)).item() == pytest.approx(0.2**2, rel=1e-5)
