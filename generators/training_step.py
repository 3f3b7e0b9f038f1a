"""One step of training: what a batch does to the generator, the discriminator and the average.

The generator descends its non-saturating loss, the discriminator its logistic loss; every so many steps the one is
regularised by path lengths, the other by R1 (lazy regularisation: weights scaled up by the interval, Adam's settings
corrected for the additional steps).  See :mod:`neuropyro.generators.losses` for the losses and their sources.
"""

from typing import Any

import torch
from torch import Tensor, nn

from neuropyro.generators.augmentation import adapted_probability, augment
from neuropyro.generators.codes import code_loss
from neuropyro.generators.distributed import World
from neuropyro.generators.losses import (
    discriminator_loss,
    generator_loss,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)
from neuropyro.generators.spread import SpreadLoss
from neuropyro.generators.training_config import TrainingConfig
from neuropyro.generators.training_state import TrainingState

__all__ = ["train_step"]


def train_step(
    state: TrainingState,
    real: Tensor,
    config: TrainingConfig,
    world: World,
    spread: SpreadLoss | None = None,
    codes: Tensor | None = None,
) -> dict[str, Tensor]:
    """Show one batch to both networks, and move the average.

    Parameters
    ----------
    state
        Changed in place.
    real
        This process's share of the batch, (B, C, H, W) in [-1, 1].
    config, world
        How, and among whom.
    spread
        The generator's loss of diversity, if it is to have one.
    codes
        The z of each real image, (B, z_dim), where it is known: the generator's images are then made of these.

    Returns
    -------
    dict
        Scalars by name, on the device: losses, penalties where they acted, signs of logits.

    Examples
    --------
    >>> from neuropyro.generators.config import DiscriminatorConfig, GeneratorConfig
    >>> from neuropyro.generators.training_state import new_state
    >>> networks = GeneratorConfig(8, z_dim=4, w_dim=4, channels=(4, 4)), DiscriminatorConfig(8, channels=(4, 4))
    >>> config = TrainingConfig(batch=4, path_weight=0.0)
    >>> state = new_state(*networks, config.adam(), seed=0, device=torch.device("cpu"))
    >>> sorted(train_step(state, torch.zeros(4, 1, 8, 8), config, World()))
    ['discriminator_loss', 'fake_sign', 'generator_loss', 'r1', 'real_sign']
    >>> state.images, state.step
    (4, 1)
    """
    rng = state.rng(config.seed, world.rank)
    if config.mirror:
        turned = torch.rand(len(real), 1, 1, 1, generator=rng, device=real.device) < 0.5
        real = torch.where(turned, real.flip(3), real)
    figures, fake_logits = _improve_generator(state, real, config, world, rng, spread, codes)
    if config.path_weight > 0 and state.step % config.path_interval == 0:
        figures |= _regularise_generator(state, len(real), config, world, rng)
    if fake_logits is not None:
        figures |= _improve_discriminator(state, real, fake_logits, config, world, rng)
        if state.step % config.r1_interval == 0:
            figures |= _regularise_discriminator(state, real, config, world, rng)
    state.images += config.batch
    state.step += 1
    _move_average(state, config)
    return figures


def _improve_generator(
    state: TrainingState,
    real: Tensor,
    config: TrainingConfig,
    world: World,
    rng: torch.Generator,
    spread: SpreadLoss | None,
    codes: Tensor | None,
) -> tuple[dict[str, Tensor], Tensor | None]:
    """Descend the generator's losses; return figures, and the logits of its images where the discriminator judged."""
    w = (
        _styles(state.generator, len(real), config.style_mixing, rng)
        if codes is None
        else state.generator.mapping(codes)
    )
    state.generator.mapping.update_average(w[:, 0])
    judged = state.images >= config.adversarial_from
    images = _synthesise(state.generator, w, config, rng, None if judged else config.code_resolution)
    losses: dict[str, tuple[Tensor, float]] = {}
    logits = None
    if judged:
        # With codes what lies beyond the ends is right or is drawn back: the discriminator need not notice it.
        logits = _judge(state, images if codes is None else images.clamp(-1, 1), config, rng)
        losses["generator_loss"] = generator_loss(logits), 1.0
    if codes is not None:
        losses["code_loss"] = code_loss(images, real, config.code_resolution), config.code_weight
    if spread is not None:
        losses["spread_loss"] = spread(images, real, rng, paired=codes is not None), config.spread_weight
    loss = torch.stack([value * weight for value, weight in losses.values()]).sum()
    _descend(loss, state.generator, state.generator_optimiser, world, keep=logits is not None)
    figures = {name: value.detach() for name, (value, _) in losses.items()}
    return figures | ({} if logits is None else {"fake_sign": logits.detach().sign().mean()}), logits


def _regularise_generator(
    state: TrainingState, count: int, config: TrainingConfig, world: World, rng: torch.Generator
) -> dict[str, Tensor]:
    w = _styles(state.generator, max(count // config.path_batch_shrink, 1), config.style_mixing, rng)
    images = _synthesise(state.generator, w, config, rng)
    noise = torch.randn(images.shape, generator=rng, device=images.device)
    lengths = path_lengths(images, w, noise)
    penalty, mean = path_length_penalty(lengths, state.path_mean)
    state.path_mean.copy_(world.mean(mean))
    loss = penalty * (config.path_weight * config.path_interval)
    _descend(loss, state.generator, state.generator_optimiser, world)
    return {"path_penalty": penalty.detach(), "path_length": lengths.detach().mean()}


def _improve_discriminator(
    state: TrainingState, real: Tensor, fake_logits: Tensor, config: TrainingConfig, world: World, rng: torch.Generator
) -> dict[str, Tensor]:
    real_logits = _judge(state, real, config, rng)
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


def _synthesise(
    generator: nn.Module, w: Tensor, config: TrainingConfig, rng: torch.Generator, resolution: int | None = None
) -> Tensor:
    G: Any = generator
    with _autocast(w, config):
        mode = "random" if config.noise else "none"
        return G.synthesis(w, noise_mode=mode, rng=rng, resolution=resolution).float()  # type: ignore[no-any-return]


def _judge(state: TrainingState, images: Tensor, config: TrainingConfig, rng: torch.Generator) -> Tensor:
    seen = images if config.augmentation is None else augment(images, state.augmentation, rng)
    with _autocast(seen, config):
        logits: Tensor = state.discriminator(seen.contiguous(memory_format=torch.channels_last))
    return logits.float()


def _autocast(x: Tensor, config: TrainingConfig) -> torch.autocast:
    return torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=config.precision == "bfloat16")


def _descend(loss: Tensor, network: nn.Module, optimiser: torch.optim.Adam, world: World, keep: bool = False) -> None:
    """Step down a loss in one network alone; ``keep`` what others need to differentiate the same images."""
    parameters = list(network.parameters())
    optimiser.zero_grad(set_to_none=True)
    loss.backward(inputs=parameters, retain_graph=keep)  # type: ignore[no-untyped-call]
    world.average_gradients(parameters)
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
