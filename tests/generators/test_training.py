import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from neuropyro.generators.checkpoints import Checkpoint
from neuropyro.generators.config import DiscriminatorConfig, GeneratorConfig
from neuropyro.generators.distributed import World
from neuropyro.generators.sample_grids import draw_samples, tile
from neuropyro.generators.stylegan2 import Generator
from neuropyro.generators.training import train_generator
from neuropyro.generators.training_config import TrainingConfig
from neuropyro.generators.training_state import new_state, take_weights
from neuropyro.generators.training_step import _move_average, _styles, train_step

GENERATOR = GeneratorConfig(img_resolution=8, z_dim=8, w_dim=8, channels=(8, 8), mapping_layers=2)
DISCRIMINATOR = DiscriminatorConfig(img_resolution=8, channels=(8, 8))
SMALL = {"batch": 4, "r1_interval": 3, "path_interval": 2, "log_images": 8, "sample_images": 16, "state_images": 8}
SPREAD = {"spread_weight": 5.0, "spread_images": 20}


def blobs(indices: torch.Tensor) -> torch.Tensor:
    """Squares at places that depend on the index alone."""
    images = torch.full((len(indices), 1, 8, 8), -1.0)
    for image, i in zip(images, indices.tolist(), strict=True):
        row, column = (i * 7919) % 4, (i * 104729) % 4
        image[:, row : row + 4, column : column + 4] = 0.8
    return images


class KillError(Exception):
    """Stands for a kill."""


def killed_at(index: int):
    def dataset(indices: torch.Tensor) -> torch.Tensor:
        if int(indices.max()) >= index:
            raise KillError
        return blobs(indices)

    return dataset


def train(folder, images: int, dataset=blobs, **settings):
    config = TrainingConfig(images=images, **(SMALL | settings))
    return train_generator(dataset, folder, GENERATOR, DISCRIMINATOR, config)


@pytest.mark.parametrize("settings", [{}, {"augmentation": 0.3}, {"precision": "bfloat16"}, SPREAD, {"muon": True}])
def test_resume_after_a_kill_is_bit_equal(tmp_path, settings):
    whole = train(tmp_path / "whole", 40, **settings)
    with pytest.raises(KillError):
        train(tmp_path / "killed", 40, killed_at(28), **settings)  # 4 images past the last state, at 24.
    resumed = train(tmp_path / "killed", 40, **settings)
    assert (resumed.images, resumed.step) == (whole.images, whole.step) == (40, 10)
    for name, tensor in whole.tensors().items():
        assert torch.equal(resumed.tensors()[name], tensor), name


def test_same_seed_same_bits_other_seed_other_weights(tmp_path):
    states = [train(tmp_path / str(i), 8, seed=seed).tensors() for i, seed in enumerate((0, 0, 1))]
    name = "generator.synthesis.b8.conv1.weight"
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])
    assert not torch.equal(states[0][name], states[2][name])


def test_global_randomness_is_left_alone(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(tmp_path, 8)
    assert torch.equal(torch.rand(3), expected)


def test_the_folder_tells_the_run(tmp_path):
    train(tmp_path, 32, augmentation=0.6)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["images"] for line in lines] == [8, 16, 24, 32]
    assert {"generator_loss", "discriminator_loss", "r1", "path_length", "images_per_second"} <= set(lines[-1])
    assert sorted(p.name for p in tmp_path.glob("samples*")) == ["samples-00000016.png", "samples-00000032.png"]
    assert not list(tmp_path.glob("*.partial"))


def test_measures_are_logged_with_samples(tmp_path):
    config = TrainingConfig(images=16, **SMALL)
    train_generator(
        blobs, tmp_path, GENERATOR, DISCRIMINATOR, config, measure=lambda state: {"twice": 2.0 * state.images}
    )
    assert '"twice": 32.0' in (tmp_path / "log.jsonl").read_text()


def test_changed_settings_are_kept_in_the_history(tmp_path):
    train(tmp_path, 8)
    state = train(tmp_path, 16, r1_weight=1.0)
    assert [(h["images"], h["config"]["r1_weight"]) for h in state.history] == [(0, 0.1), (8, 1.0)]


def test_settings_that_showed_no_image_leave_no_trace(tmp_path):
    train(tmp_path, 8)
    train(tmp_path, 16, r1_weight=1.0)
    train(tmp_path, 8)  # over long ago
    state = train(tmp_path, 24, r1_weight=1.0)
    assert [(h["images"], h["config"]["r1_weight"]) for h in state.history] == [(0, 0.1), (8, 1.0), (16, 1.0)]


def test_other_networks_are_refused_by_field(tmp_path):
    train(tmp_path, 8)
    wider = GeneratorConfig(img_resolution=8, z_dim=8, w_dim=8, channels=(8, 16), mapping_layers=2)
    with pytest.raises(ValueError, match=r"state\.safetensors: its generator has channels"):
        train_generator(blobs, tmp_path, wider, DISCRIMINATOR, TrainingConfig(images=16, **SMALL))


def test_damaged_and_foreign_states_are_refused(tmp_path):
    path = tmp_path / "state.safetensors"
    path.write_bytes(b"not a state")
    with pytest.raises(ValueError, match=r"state\.safetensors: damaged"):
        train(tmp_path, 8)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="no state of a training run"):
        train(tmp_path, 8)


def test_images_that_do_not_fit_are_refused_before_any_work(tmp_path):
    with pytest.raises(ValueError, match=r"\(1, 4, 4\), the generator makes \(1, 8, 8\)"):
        train(tmp_path, 8, lambda indices: torch.zeros(len(indices), 1, 4, 4))


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "float16"},
        {"batch": 0},
        {"r1_interval": 0},
        {"sample_images": 0},
        {"style_mixing": 1.5},
        {"learning_rate": -0.1},
    ],
)
def test_wrong_settings_are_named(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        TrainingConfig(**settings)


def test_states_are_plain_safetensors(tmp_path):
    state = train(tmp_path, 8)
    stored = load_file(tmp_path / "state.safetensors")
    assert torch.equal(stored["average.synthesis.b4.const"], state.average.synthesis.b4.const)
    assert "generator_adam.exp_avg_sq.synthesis.b4.const" in stored


def test_average_is_exponential_with_the_half_life():
    config = TrainingConfig(batch=10, average_images=20, average_rampup=None)
    state = new_state(GENERATOR, DISCRIMINATOR, config.adam(), 0, torch.device("cpu"))
    with torch.no_grad():
        for p in state.generator.parameters():
            p.copy_(torch.ones_like(p))
        for p in state.average.parameters():
            p.zero_()
    for expected in (1 - 0.5**0.5, 0.5, 1 - 0.5**1.5):
        _move_average(state, config)
        assert next(state.average.parameters()).flatten()[0].item() == pytest.approx(expected)


def test_average_ramps_up_with_the_images_shown():
    config = TrainingConfig(batch=10, average_images=1000, average_rampup=0.05)
    state = new_state(GENERATOR, DISCRIMINATOR, config.adam(), 0, torch.device("cpu"))
    state.images = 200  # A half-life of 10 images, one batch.
    before, value = (next(net.parameters()).clone() for net in (state.average, state.generator))
    next(iter(state.generator.parameters())).data += 1
    _move_average(state, config)
    torch.testing.assert_close(next(state.average.parameters()), (before + value + 1) / 2)


def test_styles_mix_two_latents_from_a_layer_on():
    config = TrainingConfig()
    state = new_state(GENERATOR, DISCRIMINATOR, config.adam(), 0, torch.device("cpu"))
    plain = _styles(state.generator, 200, 0.0, torch.Generator().manual_seed(0))
    assert (plain == plain[:, :1]).all()
    mixed = _styles(state.generator, 200, 0.5, torch.Generator().manual_seed(0))
    changes = (mixed[:, 1:] != mixed[:, :-1]).any(dim=2).sum(dim=1)
    assert changes.max() == 1
    assert abs(changes.float().mean().item() - 0.5) < 0.12  # Three standard errors of 200 flips.


def test_a_step_changes_each_network_by_its_own_loss_alone():
    config = TrainingConfig(batch=4, path_weight=0.0, discriminator_learning_rate=0.0)
    state = new_state(GENERATOR, DISCRIMINATOR, config.adam(), 0, torch.device("cpu"))
    before = {k: v.clone() for k, v in state.tensors().items()}
    train_step(state, blobs(torch.arange(4)), config, World())
    after = state.tensors()
    assert all(torch.equal(after[k], before[k]) for k in after if k.startswith("discriminator."))
    assert not torch.equal(after["generator.synthesis.b8.conv1.weight"], before["generator.synthesis.b8.conv1.weight"])
    assert all(p.requires_grad for p in state.discriminator.parameters())


def test_a_run_begins_with_the_weights_of_a_checkpoint(tmp_path):
    before = train(tmp_path / "first", 8)
    networks = copy.deepcopy(before.average), before.discriminator
    start = Checkpoint(tmp_path / "g.safetensors", "safetensors", networks[0], None, networks[1], None)
    config = TrainingConfig(images=4, **SMALL, learning_rate=0.0, discriminator_learning_rate=0.0)
    after = train_generator(blobs, tmp_path / "second", GENERATOR, DISCRIMINATOR, config, start=start)
    expected = dict(networks[0].named_parameters())
    assert all(torch.equal(p, expected[name]) for name, p in after.generator.named_parameters())
    assert all(torch.equal(p, expected[name]) for name, p in after.average.named_parameters())
    assert torch.equal(after.discriminator.b4.out.weight, before.discriminator.b4.out.weight)
    assert (after.images, after.step) == (4, 1)


def test_without_noise_its_strength_is_zero_and_stays(tmp_path):
    def strengths(state):
        return [layer.noise_strength.item() for layer in state.generator.synthesis.layers]

    assert any(strengths(train(tmp_path, 8)))
    state = train(tmp_path, 16, noise=False)
    assert not any(strengths(state))
    assert not any(layer.noise_strength.item() for layer in state.average.synthesis.layers)


def test_weights_fit_whatever_way_the_widths_were_said(tmp_path):
    state = new_state(GENERATOR, DISCRIMINATOR, TrainingConfig().adam(), 0, torch.device("cpu"))
    alike = GeneratorConfig(img_resolution=8, z_dim=8, w_dim=8, channel_base=64, channel_max=8, mapping_layers=2)
    given = Generator(alike)
    take_weights(state, Checkpoint(tmp_path / "g.pkl", "nvidia", given, None, None, None))
    assert torch.equal(state.generator.synthesis.b4.const, given.synthesis.b4.const)


def test_weights_of_other_networks_are_refused(tmp_path):
    state = new_state(GENERATOR, DISCRIMINATOR, TrainingConfig().adam(), 0, torch.device("cpu"))
    wider = Generator(GeneratorConfig(img_resolution=8, z_dim=8, w_dim=8, channels=(8, 16), mapping_layers=2))
    with pytest.raises(ValueError, match=r"g\.pkl: its generator has channels"):
        take_weights(state, Checkpoint(tmp_path / "g.pkl", "nvidia", wider, None, None, None))


def discs(indices: torch.Tensor) -> torch.Tensor:
    """Soft discs of random place and size."""
    x, y, size = torch.stack([torch.rand(3, generator=torch.Generator().manual_seed(int(i))) for i in indices]).T
    line = torch.linspace(-1, 1, 8)
    across = (line - x[:, None] + 0.5) / (0.3 + 0.2 * size[:, None])
    down = (line - y[:, None] + 0.5) / (0.3 + 0.2 * size[:, None])
    return 2 * torch.exp(-(across[:, None, None, :] ** 2) - down[:, None, :, None] ** 2) - 1


def test_training_approaches_the_data():
    wide = {"channels": (16, 16), "img_resolution": 8}
    generator = GeneratorConfig(z_dim=8, w_dim=8, mapping_layers=2, **wide)
    config = TrainingConfig(batch=16, path_weight=0.0, average_images=100)
    state = new_state(generator, DiscriminatorConfig(**wide), config.adam(), 0, torch.device("cpu"))
    real = discs(torch.arange(10_000, 10_100)).flatten(1)

    def distance() -> float:
        return torch.cdist(draw_samples(state.average, 50).flatten(1), real).amin(dim=1).mean().item()

    before = distance()
    for i in range(250):
        train_step(state, discs(torch.arange(16 * i, 16 * i + 16)), config, World())
    assert distance() < 0.4 * before


TWO_PROCESSES = """
import hashlib, sys, time, torch
sys.path.insert(0, {tests!r})
from test_training import blobs, DISCRIMINATOR, GENERATOR, SMALL
from neuropyro.generators import training
from neuropyro.generators.training import train_generator
from neuropyro.generators.training_config import TrainingConfig
import torch.distributed as dist
torch.set_num_threads(1)
save = training.save_state
training.save_state = lambda *state: (time.sleep(1), save(*state))  # the other process must not run ahead of it
for name, images in [("whole", 24), ("halves", 16), ("halves", 24)]:
    config = TrainingConfig(images=images, **SMALL)
    state = train_generator(blobs, {folder!r} + "/" + name, GENERATOR, DISCRIMINATOR, config)
    bits = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in state.generator.parameters())).hexdigest()
    open({folder!r} + f"/{{name}}{{images}}rank{{dist.get_rank()}}", "w").write(bits)
dist.destroy_process_group()
"""


@pytest.mark.slow
def test_two_processes_hold_the_same_weights_and_resume(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(TWO_PROCESSES.format(tests=str(Path(__file__).parent), folder=str(tmp_path)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    ends = {(tmp_path / f"{run}24rank{rank}").read_text() for run in ("whole", "halves") for rank in (0, 1)}
    assert len(ends) == 1
    assert (tmp_path / "halves16rank0").read_text() not in ends


def test_tile_places_images_row_by_row():
    grid = tile(torch.arange(3.0)[:, None, None, None].expand(3, 1, 2, 2), columns=2)
    assert grid.shape == (1, 4, 4)
    assert grid[0, ::2, ::2].tolist() == [[0, 1], [2, -1]]
