"""Training of a StyleGAN2 generator.

Each step shows a batch to both networks: the generator descends its non-saturating loss, the discriminator its
logistic loss; every so many steps the one is regularised by path lengths, the other by R1 (lazy regularisation, the
weights scaled up accordingly and Adam's settings down).  A moving average of the generator is what is kept.  See
:mod:`neuropyro.generators.losses` for the losses and their sources.

Data come through a callable (:mod:`neuropyro.generators.datasets`).  A run is a folder: ``state.safetensors``, from
which it resumes, ``log.jsonl``, a line for every interval, and ``samples-<images>.png``.
"""

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuropyro.generators.augmentation import adapted_probability, augment
from neuropyro.generators.config import DiscriminatorConfig, GeneratorConfig
from neuropyro.generators.datasets import Dataset
from neuropyro.generators.distributed import World, join_world
from neuropyro.generators.losses import (
    discriminator_loss,
    generator_loss,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)
from neuropyro.generators.sample_grids import draw_samples, save_grid
from neuropyro.generators.training_state import TrainingState, load_state, new_state, save_state

__all__ = ["TrainingConfig", "train_generator"]

Measure = Callable[["TrainingState"], dict[str, float]]


@dataclass(frozen=True)
class TrainingConfig:
    """Settings of a run.

    Parameters
    ----------
    images
        How many real images to show, in all.
    batch
        Images a step, over all processes.
    learning_rate, discriminator_learning_rate
        Adam's, its betas being (0, .99).
    r1_weight, r1_interval
        Gamma of R1, and every how many steps it acts.
    path_weight, path_interval, path_batch_shrink
        Of the path-length penalty; it looks at batch / shrink images.  A weight of 0 turns it off.
    style_mixing
        Probability with which an image's layers take their w from two z.
    average_images, average_rampup
        Half-life of the moving average in images, at most ``rampup`` times the images shown so far.
    mirror
        Whether half of the real images are mirrored left to right.
    augmentation
        Mean sign of real logits that adaptive augmentation aims at (.6 for few images); None turns it off.
    precision
        ``"float32"``, or ``"bfloat16"`` for the convolutions (weights, mapping and losses stay in float32).
    log_images, sample_images, state_images
        After how many images a line is logged, samples are drawn, and the state is written.
    seed
        Of everything random.
    """

    images: int = 1_000_000
    batch: int = 32
    learning_rate: float = 0.0025
    discriminator_learning_rate: float = 0.0025
    r1_weight: float = 0.1
    r1_interval: int = 16
    path_weight: float = 2.0
    path_interval: int = 8
    path_batch_shrink: int = 2
    style_mixing: float = 0.9
    average_images: int = 10_000
    average_rampup: float | None = 0.05
    mirror: bool = True
    augmentation: float | None = None
    precision: str = "float32"
    log_images: int = 1_600
    sample_images: int = 16_000
    state_images: int = 8_000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(f"precision must be 'float32' or 'bfloat16', not {self.precision!r}")
        for name in ("batch", "r1_interval", "path_interval", "path_batch_shrink", "log_images", "state_images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    def adam(self) -> dict[str, dict[str, Any]]:
        """Return Adam's settings for each network, corrected for lazy regularisation."""
        path_interval = self.path_interval if self.path_weight > 0 else 0
        return {
            "generator": _lazy_adam(self.learning_rate, path_interval),
            "discriminator": _lazy_adam(self.discriminator_learning_rate, self.r1_interval),
        }


def train_generator(
    dataset: Dataset,
    folder: str | Path,
    generator: GeneratorConfig,
    discriminator: DiscriminatorConfig,
    config: TrainingConfig | None = None,
    *,
    device: torch.device | str = "cpu",
    measure: Measure | None = None,
) -> TrainingState:
    """Train a generator, from the folder's last state where it has one.

    Parameters
    ----------
    dataset
        ``dataset(indices)`` (B,) to images (B, C, H, W) in [-1, 1]; asked for each index once.
    folder
        Of the run; made where it is missing.
    generator, discriminator
        What to train.
    config
        How; :class:`TrainingConfig` as it stands if None.  It may differ from that of the run so far, which is kept in
        the state's history.
    device
        Where; under ``torchrun``, ``"cuda"`` gives each process a GPU.
    measure
        Figures to log beside the losses whenever samples are drawn.

    Returns
    -------
    TrainingState
        At the end of the run.

    Raises
    ------
    ValueError
        The folder holds a run of other networks, the batch does not suit the processes, or the dataset gives images
        of another shape.
    """
    config, world, folder = config or TrainingConfig(), join_world(device), Path(folder)
    _check_shares(config, world)
    folder.mkdir(parents=True, exist_ok=True)
    state = new_state(generator, discriminator, config.adam(), config.seed, world.device)
    if (folder / "state.safetensors").exists():
        load_state(state, folder / "state.safetensors")
    _check_images(dataset(torch.arange(1)), generator)
    _note_config(state, config)
    diary = _Diary(folder, config, state, measure) if world.rank == 0 else None
    while state.images < config.images:
        figures = train_step(state, _real_images(dataset, state, config, world), config, world)
        if diary is not None:
            diary.record(figures)
    if diary is not None:
        save_state(state, folder / "state.safetensors")
    return state


def train_step(state: TrainingState, real: Tensor, config: TrainingConfig, world: World) -> dict[str, Tensor]:
    """Show one batch to both networks, and move the average.

    Parameters
    ----------
    state
        Changed in place.
    real
        This process's share of the batch, (B, C, H, W) in [-1, 1].
    config, world
        How, and among whom.

    Returns
    -------
    dict
        Scalars by name, on the device: losses, penalties where they acted, signs of logits.
    """
    rng = state.rng(config.seed, world.rank)
    if config.mirror:
        turned = torch.rand(len(real), 1, 1, 1, generator=rng, device=real.device) < 0.5
        real = torch.where(turned, real.flip(3), real)
    with _without_gradients(state.discriminator):
        figures = _improve_generator(state, len(real), config, world, rng)
        if config.path_weight > 0 and state.step % config.path_interval == 0:
            figures |= _regularise_generator(state, len(real), config, world, rng)
    figures |= _improve_discriminator(state, real, config, world, rng)
    if state.step % config.r1_interval == 0:
        figures |= _regularise_discriminator(state, real, config, world, rng)
    state.images += config.batch
    state.step += 1
    _move_average(state, config)
    return figures


def _improve_generator(
    state: TrainingState, count: int, config: TrainingConfig, world: World, rng: torch.Generator
) -> dict[str, Tensor]:
    w = _styles(state.generator, count, config.style_mixing, rng)
    state.generator.mapping.update_average(w[:, 0])
    logits = _judge(state, _synthesise(state.generator, w, config, rng), config, rng)
    loss = generator_loss(logits)
    _descend(loss, state.generator, state.generator_optimiser, world)
    return {"generator_loss": loss.detach(), "fake_sign": logits.detach().sign().mean()}


def _regularise_generator(
    state: TrainingState, count: int, config: TrainingConfig, world: World, rng: torch.Generator
) -> dict[str, Tensor]:
    w = _styles(state.generator, max(count // config.path_batch_shrink, 1), config.style_mixing, rng)
    images = _synthesise(state.generator, w, config, rng)
    noise = torch.randn(images.shape, generator=rng, device=images.device)
    lengths = path_lengths(images, w, noise)
    penalty, mean = path_length_penalty(lengths, state.path_mean)
    state.path_mean.copy_(world.mean(mean))
    _descend(penalty * config.path_weight * config.path_interval, state.generator, state.generator_optimiser, world)
    return {"path_penalty": penalty.detach(), "path_length": lengths.detach().mean()}


def _improve_discriminator(
    state: TrainingState, real: Tensor, config: TrainingConfig, world: World, rng: torch.Generator
) -> dict[str, Tensor]:
    with torch.no_grad():
        w = _styles(state.generator, len(real), config.style_mixing, rng)
        fake = _synthesise(state.generator, w, config, rng)
    real_logits, fake_logits = (_judge(state, images, config, rng) for images in (real, fake))
    loss = discriminator_loss(real_logits, fake_logits)
    _descend(loss, state.discriminator, state.discriminator_optimiser, world)
    sign = world.mean(real_logits.detach().sign().mean())
    if config.augmentation is not None:
        adapted = adapted_probability(state.augmentation, sign, config.augmentation, config.batch)
        state.augmentation.copy_(adapted)
    return {"discriminator_loss": loss.detach(), "real_sign": sign}


def _regularise_discriminator(
    state: TrainingState, real: Tensor, config: TrainingConfig, world: World, rng: torch.Generator
) -> dict[str, Tensor]:
    images = real.detach().requires_grad_()
    penalty = r1_penalty(_judge(state, images, config, rng), images)
    loss = penalty * (config.r1_weight / 2 * config.r1_interval)
    _descend(loss, state.discriminator, state.discriminator_optimiser, world)
    return {"r1": penalty.detach()}


def _styles(generator: nn.Module, count: int, mixing: float, rng: torch.Generator) -> Tensor:
    """Return w (B, num_ws, w_dim) of new z, the layers from a random one on taking theirs from a second z."""
    G: Any = generator
    z = torch.randn(2, count, G.z_dim, generator=rng, device=rng.device)
    if mixing <= 0:
        return G.mapping(z[0])  # type: ignore[no-any-return]
    first, second = G.mapping(z.flatten(0, 1)).unflatten(0, (2, count))
    cutoff = torch.randint(1, G.num_ws, (count, 1, 1), generator=rng, device=rng.device)
    mixed = torch.rand(count, 1, 1, generator=rng, device=rng.device) < mixing
    own = ~mixed | (torch.arange(G.num_ws, device=rng.device)[:, None] < cutoff)
    return torch.where(own, first, second)


def _synthesise(generator: nn.Module, w: Tensor, config: TrainingConfig, rng: torch.Generator) -> Tensor:
    G: Any = generator
    with _autocast(w, config):
        return G.synthesis(w, noise_mode="random", rng=rng).float()  # type: ignore[no-any-return]


def _judge(state: TrainingState, images: Tensor, config: TrainingConfig, rng: torch.Generator) -> Tensor:
    seen = images if config.augmentation is None else augment(images, state.augmentation, rng)
    with _autocast(seen, config):
        logits: Tensor = state.discriminator(seen.contiguous(memory_format=torch.channels_last))
    return logits.float()


def _autocast(x: Tensor, config: TrainingConfig) -> torch.autocast:
    return torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=config.precision == "bfloat16")


def _descend(loss: Tensor, network: nn.Module, optimiser: torch.optim.Adam, world: World) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    world.average_gradients(network.parameters())
    optimiser.step()


@torch.no_grad()
def _move_average(state: TrainingState, config: TrainingConfig) -> None:
    half_life = float(config.average_images)
    if config.average_rampup is not None:
        half_life = min(half_life, config.average_rampup * state.images)
    weight = 1 - 0.5 ** (config.batch / max(half_life, 1e-8))
    for mean, value in zip(state.average.parameters(), state.generator.parameters(), strict=True):
        mean.lerp_(value, weight)
    for kept, buffer in zip(state.average.buffers(), state.generator.buffers(), strict=True):
        kept.copy_(buffer)


@contextmanager
def _without_gradients(network: nn.Module) -> Iterator[None]:
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def _real_images(dataset: Dataset, state: TrainingState, config: TrainingConfig, world: World) -> Tensor:
    share = config.batch // world.size
    indices = state.images + world.rank * share + torch.arange(share)
    return dataset(indices).to(world.device).contiguous(memory_format=torch.channels_last)


def _lazy_adam(learning_rate: float, interval: int) -> dict[str, Any]:
    ratio = interval / (interval + 1) if interval else 1.0
    return {"lr": learning_rate * ratio, "betas": (0.0, 0.99**ratio), "eps": 1e-8}


def _check_shares(config: TrainingConfig, world: World) -> None:
    if config.batch % world.size:
        raise ValueError(f"a batch of {config.batch} does not divide among {world.size} processes")


def _check_images(images: Tensor, generator: GeneratorConfig) -> None:
    wanted = (generator.img_channels, generator.img_resolution, generator.img_resolution)
    if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
        raise ValueError(f"the dataset gives images of shape {tuple(images.shape[1:])}, the generator makes {wanted}")


def _note_config(state: TrainingState, config: TrainingConfig) -> None:
    settings = dataclasses.asdict(config)
    if not state.history or state.history[-1]["config"] != settings:
        state.history.append({"images": state.images, "config": settings})


class _Diary:
    """Log, samples and states of a run, kept by the first process."""

    def __init__(self, folder: Path, config: TrainingConfig, state: TrainingState, measure: Measure | None) -> None:
        self.folder, self.config, self.state, self.measure = folder, config, state, measure
        self.begun, self.seen = time.monotonic(), state.images
        self.sums: dict[str, tuple[Tensor, int]] = {}

    def record(self, figures: dict[str, Tensor]) -> None:
        """Take in the figures of one step; log, draw and save when it is time."""
        for name, value in figures.items():
            total, count = self.sums.get(name, (torch.zeros_like(value), 0))
            self.sums[name] = (total + value, count + 1)
        if self._due(self.config.log_images):
            self._log()
        if self._due(self.config.sample_images):
            self._draw()
        if self._due(self.config.state_images):
            save_state(self.state, self.folder / "state.safetensors")

    def _due(self, interval: int) -> bool:
        return self.state.images // interval > (self.state.images - self.config.batch) // interval

    def _log(self) -> None:
        means = {name: round(float(total) / count, 5) for name, (total, count) in self.sums.items()}
        seconds, shown = time.monotonic() - self.begun, self.state.images - self.seen
        speed = {"images": self.state.images, "images_per_second": round(shown / seconds, 2)}
        self._write(speed | means | {"augmentation": float(self.state.augmentation)})
        self.begun, self.seen, self.sums = time.monotonic(), self.state.images, {}

    def _draw(self) -> None:
        save_grid(draw_samples(self.state.average, 40), self.folder / f"samples-{self.state.images:08d}.png")
        if self.measure is not None:
            self._write({"images": self.state.images} | self.measure(self.state))

    def _write(self, entry: dict[str, Any]) -> None:
        with (self.folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(entry) + "\n")
