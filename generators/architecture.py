"""Networks from their tensors: what can be read from names and shapes is not asked of a file's own settings.

Names are those of the modules here, which are NVIDIA's: ``synthesis.b8.conv0.weight``.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from neuropyro.generators.config import DiscriminatorConfig, GeneratorConfig
from neuropyro.generators.discriminator import Discriminator
from neuropyro.generators.errors import CheckpointError
from neuropyro.generators.resampling import TAPS
from neuropyro.generators.stylegan2 import Generator

__all__ = ["build_discriminator", "build_generator", "check_filter", "fill"]

State = Mapping[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)


def build_generator(state: State, **settings: Any) -> Generator:
    """Build the generator whose tensors are ``state``.

    Parameters
    ----------
    state
        Tensors by name.
    settings
        Fields of :class:`neuropyro.generators.config.GeneratorConfig` that no tensor shows: ``conv_clamp``,
        ``half_resolutions``, ``lr_multiplier``.

    Raises
    ------
    CheckpointError
        Where tensors are missing, left over, or do not fit each other.

    Examples
    --------
    >>> config = GeneratorConfig(8, z_dim=4, w_dim=4, mapping_layers=2, mapping_width=4, channels=(4, 4))
    >>> state = Generator(config).state_dict()
    >>> build_generator(state).config == config  # read off names and shapes
    True
    >>> del state["mapping.fc0.bias"]
    >>> build_generator(state)
    Traceback (most recent call last):
        ...
    neuropyro.generators.errors.CheckpointError: its tensors are not those of one StyleGAN2 network: mapping.fc0.bias
    """
    with torch.device("meta"):
        generator = Generator(GeneratorConfig(**_generator_shape(state), **settings))
    return fill(generator, state)


def build_discriminator(state: State, **settings: Any) -> Discriminator:
    """Build the discriminator whose tensors are ``state``; see :func:`build_generator`.

    ``settings`` are ``conv_clamp``, ``half_resolutions``, ``label_lr_multiplier``, ``stddev_group``,
    ``stddev_channels``.

    Examples
    --------
    >>> config = DiscriminatorConfig(8, channels=(4, 4), label_layers=0)
    >>> build_discriminator(Discriminator(config).state_dict()).config == config  # read off names and shapes
    True
    """
    with torch.device("meta"):
        discriminator = Discriminator(DiscriminatorConfig(**_discriminator_shape(state), **settings))
    return fill(discriminator, state)


def fill(network: Network, state: State) -> Network:
    """Give ``network``, whose tensors have no memory, those of ``state`` in float32, for evaluation.

    Raises
    ------
    CheckpointError
        Where tensors are missing, left over, or of another shape, of which three are named; or where one has values
        that are not finite, as a training leaves that has diverged.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     readout = nn.Linear(2, 1)
    >>> filled = fill(readout, {"weight": torch.tensor([[1.0, 2.0]]).double(), "bias": torch.tensor([3.0])})
    >>> filled(torch.tensor([10.0, 100.0])).item()  # 10 + 200 + 3
    213.0
    """
    wanted = network.state_dict()
    wrong = [name for name in wanted if name not in state or state[name].shape != wanted[name].shape]
    if problems := wrong + [name for name in state if name not in wanted]:
        names = ", ".join(problems[:3]) + (" and more" if len(problems) > 3 else "")
        raise CheckpointError(f"its tensors are not those of one StyleGAN2 network: {names}")
    values = {name: state[name].to(torch.float32, copy=True).contiguous() for name in wanted}
    if broken := next((name for name, t in values.items() if not bool(torch.isfinite(t).all())), None):
        raise CheckpointError(
            f"its tensor {broken} has NaN or infinity, as where a training diverged; take an earlier file"
        )
    values |= {name: t.to(memory_format=torch.channels_last) for name, t in values.items() if t.ndim == 4}
    network.load_state_dict(values, assign=True)
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return network.eval()


def _generator_shape(state: State) -> dict[str, Any]:
    """Fields of the generator's settings that names and shapes show."""
    resolutions = _resolutions_of(state, "synthesis.b{}.conv1.weight", 4)
    top = resolutions[-1]
    embedding = _shape(state, "mapping.embed.weight") if "mapping.embed.weight" in state else (0, 0)
    depth = _count(state, "mapping.fc{}.weight")
    first, last = _shape(state, "mapping.fc0.weight"), _shape(state, f"mapping.fc{depth - 1}.weight")
    return {
        "img_resolution": top,
        "img_channels": _shape(state, f"synthesis.b{top}.torgb.weight")[0],
        "label_dim": embedding[1],
        "label_width": embedding[0] or None,
        "z_dim": first[1] - embedding[0],
        "w_dim": last[0],
        "mapping_layers": depth,
        "mapping_width": first[0] if depth > 1 else None,
        "architecture": _architecture(state, "synthesis.", "torgb", resolutions[1]),
        "channels": tuple(_shape(state, f"synthesis.b{r}.conv1.weight")[0] for r in resolutions),
        "use_noise": "synthesis.b4.conv1.noise_const" in state,
    }


def _discriminator_shape(state: State) -> dict[str, Any]:
    """Fields of the discriminator's settings that names and shapes show."""
    above = _resolutions_of(state, "b{}.conv0.weight", 8)
    top = above[-1]
    conditional = "mapping.embed.weight" in state
    widths = [_shape(state, "b4.fc.weight")[0], *(_shape(state, f"b{r}.conv0.weight")[0] for r in above)]
    return {
        "img_resolution": top,
        "img_channels": _shape(state, f"b{top}.fromrgb.weight")[1],
        "label_dim": _shape(state, "mapping.embed.weight")[1] if conditional else 0,
        "label_width": _shape(state, "b4.out.weight")[0] if conditional else None,
        "label_layers": _count(state, "mapping.fc{}.weight"),
        "architecture": _architecture(state, "", "fromrgb", above[0] if len(above) > 1 else 4),
        "channels": tuple(widths),
        "stddev_channels": _shape(state, "b4.conv.weight")[1] - widths[0],
    }


def _architecture(state: State, prefix: str, image_layer: str, resolution: int) -> str:
    """Name the architecture, which shows in the layers of a block below the image's resolution."""
    if f"{prefix}b8.skip.weight" in state:
        return "resnet"
    below = 4 if prefix else resolution
    return "skip" if f"{prefix}b{below}.{image_layer}.weight" in state else "orig"


def _resolutions_of(state: State, pattern: str, lowest: int) -> list[int]:
    """Side lengths from the lowest on, in rising order, for each of which ``state`` must have a tensor of that name."""
    found = [2**i for i in range(2, 12) if pattern.format(2**i) in state]
    if not found or found[-1] < 8:
        raise CheckpointError(f"it holds no StyleGAN2 network: there is no tensor {pattern.format(8)}")
    wanted = [2**i for i in range(2, 12) if lowest <= 2**i <= found[-1]]
    for resolution in wanted:
        _shape(state, pattern.format(resolution))
    return wanted


def _count(state: State, pattern: str) -> int:
    """Count the tensors of that name with 0, 1, ... in it."""
    return next(i for i in range(len(state) + 1) if pattern.format(i) not in state)


def _shape(state: State, name: str) -> tuple[int, ...]:
    """Shape of the tensor of that name, filled up to two dimensions' worth of numbers."""
    if name not in state:
        raise CheckpointError(f"it holds no StyleGAN2 network that is known here: there is no tensor {name}")
    found = tuple(state[name].shape)
    if len(found) < 2:
        raise CheckpointError(f"its tensor {name} has shape {found}")
    return found


def check_filter(values: Tensor, name: str) -> None:
    """Refuse a resampling filter (4, 4) or (4,) of any gain that is not [1, 3, 3, 1].

    Examples
    --------
    >>> check_filter(torch.tensor([2.0, 6.0, 6.0, 2.0]), "blur.kernel")  # right, of gain 16
    >>> try:
    ...     check_filter(torch.tensor([1.0, 2.0, 1.0]), "blur.kernel")
    ... except CheckpointError as error:
    ...     print(error)
    its resampling filter blur.kernel is not [1, 3, 3, 1], the only one that is known here
    """
    taps = torch.tensor(TAPS)
    expected = taps[:, None] * taps if values.ndim == 2 else taps
    values = values.float()
    if values.shape != expected.shape or not torch.allclose(values / values.sum(), expected / expected.sum()):
        raise CheckpointError(f"its resampling filter {name} is not [1, 3, 3, 1], the only one that is known here")
