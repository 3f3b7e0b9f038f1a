"""Checkpoints of rosinality's stylegan2-pytorch: ``.pt`` files of plain state dictionaries.

Keys: ``g_ema``, ``g``, ``d``, and in converted files ``latent_avg``.  The generator's convolutions carry their
1/sqrt(fan-in) at run time, so it is multiplied into the weights here; the mapping network's learning-rate multiplier
is not in the file and is .01 in all of them.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from neuropyro.generators.architecture import build_discriminator, build_generator, check_filter
from neuropyro.generators.discriminator import Discriminator
from neuropyro.generators.errors import CheckpointError
from neuropyro.generators.stylegan2 import Generator

__all__ = ["rosinality_discriminator", "rosinality_generator"]

LAYER_PARTS = {
    "conv.weight": "weight",
    "conv.modulation.weight": "affine.weight",
    "conv.modulation.bias": "affine.bias",
    "noise.weight": "noise_strength",
    "activate.bias": "bias",
    "bias": "bias",
}
OF_A_LAYER = tuple(part for part in LAYER_PARTS if part != "bias")
OF_AN_IMAGE_LAYER = ("conv.weight", "conv.modulation.weight", "conv.modulation.bias", "bias")
AVERAGE_DRAWS = 10_000


def rosinality_generator(state: Any, average: Tensor | None = None) -> Generator:
    """Build the generator of a state dictionary.

    Parameters
    ----------
    state
        Tensors by rosinality's names.
    average
        The file's ``latent_avg`` (w_dim,); where it has none, the mean of w over 10,000 seeded draws is taken.

    Raises
    ------
    CheckpointError
        It is no state dictionary of tensors by rosinality's names, or lacks one of these; the tensor is named.

    Examples
    --------
    >>> rosinality_generator({"features": torch.zeros(1)})
    Traceback (most recent call last):
        ...
    neuropyro.generators.errors.CheckpointError: it is not rosinality's StyleGAN2: its tensor 'features' is unknown here
    """
    source = _plain(state)
    tensors = {ours: value for name, value in source.items() if (ours := _generator_name(name)) is not None}
    _refuse_missing(source)
    tensors = {name: _reshaped(name, value) for name, value in tensors.items()}
    width = tensors["synthesis.b4.conv1.affine.weight"].shape[1]
    tensors["mapping.w_avg"] = torch.zeros(width) if average is None else average.reshape(-1)
    for name in [n for n in tensors if n.endswith("noise_strength")]:
        resolution = int(re.findall(r"b(\d+)", name)[0])
        buffer = name.replace("noise_strength", "noise_const")
        tensors.setdefault(buffer, torch.zeros(resolution, resolution))
    generator = build_generator(tensors)
    if average is None:
        _set_average(generator)
    return generator


def rosinality_discriminator(state: Any) -> Discriminator:
    """Build the discriminator of a state dictionary.

    Raises
    ------
    CheckpointError
        As by :func:`rosinality_generator`.

    Examples
    --------
    >>> rosinality_discriminator({"final_conv.0.weight": torch.zeros(4, 5, 3, 3)})
    Traceback (most recent call last):
        ...
    neuropyro.generators.errors.CheckpointError: it holds no StyleGAN2 network: there is no tensor b8.conv0.weight
    """
    source = _plain(state)
    blocks = 1 + max((int(m[1]) for name in source if (m := re.match(r"convs\.(\d+)\.conv1", name))), default=0)
    tensors = {ours: value for name, value in source.items() if (ours := _discriminator_name(name, blocks)) is not None}
    return build_discriminator({n: v.reshape(-1) if n.endswith("bias") else v for n, v in tensors.items()})


def _plain(state: Any) -> dict[str, Tensor]:
    """Tensors by name, without the prefix of parallel training; filters are checked and left out."""
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError("its entry is not a dictionary of tensors")
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith("kernel"):
            check_filter(value, name)
        else:
            tensors[str(name).removeprefix("module.")] = value
    return tensors


def _refuse_missing(source: Mapping[str, Tensor]) -> None:
    """Refuse a generator without a tensor that it has whatever its settings, by the name in the file."""
    blocks = max((int(m[1]) // 2 + 1 for name in source if (m := re.match(r"convs\.(\d+)\.", name))), default=1)
    layers = ["conv1", *(f"convs.{i}" for i in range(2 * blocks))]
    image_layers = ["to_rgb1", *(f"to_rgbs.{i}" for i in range(blocks))]
    wanted = ["input.input", *(f"{layer}.{part}" for layer in layers for part in OF_A_LAYER)]
    wanted += [f"{layer}.{part}" for layer in image_layers for part in OF_AN_IMAGE_LAYER]
    for name in [*wanted, "style.1.weight", "style.1.bias"]:
        if name not in source:
            raise CheckpointError(f"there is no tensor {name}, which rosinality's StyleGAN2 of {4 << blocks} px has")


def _generator_name(name: str) -> str | None:
    """Name here of rosinality's tensor; None for those that are not needed."""
    if match := re.fullmatch(r"style\.(\d+)\.(weight|bias)", name):
        return f"mapping.fc{int(match[1]) - 1}.{match[2]}"
    if name == "input.input":
        return "synthesis.b4.const"
    if match := re.fullmatch(r"noises\.noise_(\d+)", name):
        return f"{_layer_of(int(match[1]))}.noise_const"
    if match := re.fullmatch(r"conv1\.(.*)", name):
        return _part(_layer_of(0), match[1], name)
    if match := re.fullmatch(r"convs\.(\d+)\.(.*)", name):
        return _part(_layer_of(int(match[1]) + 1), match[2], name)
    if match := re.fullmatch(r"to_rgb1\.(.*)", name):
        return _part("synthesis.b4.torgb", match[1], name)
    if match := re.fullmatch(r"to_rgbs\.(\d+)\.(.*)", name):
        return _part(f"synthesis.b{8 << int(match[1])}.torgb", match[2], name)
    raise CheckpointError(f"it is not rosinality's StyleGAN2: its tensor {name!r} is unknown here")


def _layer_of(index: int) -> str:
    """Name here of the layer with that noise input: 0 is that of 4 px, then two for each resolution."""
    return f"synthesis.b{2 ** ((index + 5) // 2)}.conv{1 - index % 2}"


def _part(layer: str, rest: str, name: str) -> str:
    """Name here of a layer's tensor."""
    if rest not in LAYER_PARTS:
        raise CheckpointError(f"it is not rosinality's StyleGAN2: its tensor {name!r} is unknown here")
    return f"{layer}.{LAYER_PARTS[rest]}"


def _reshaped(name: str, value: Tensor) -> Tensor:
    """Values in the shape and scale that they have here."""
    if name.endswith("noise_strength"):
        return value.reshape(())
    if name.endswith("noise_const"):
        return value.reshape(value.shape[-2:])
    if name.startswith("mapping.") or ".affine." in name:
        return value
    if name.endswith("bias"):
        return value.reshape(-1)
    if name.endswith(".const"):
        return value[0]
    weight = value[0]
    return weight if ".torgb." in name else weight / math.sqrt(weight[0].numel())


@torch.no_grad()
def _set_average(generator: Generator) -> None:
    """Set ``w_avg`` to the mean of w over seeded draws, as rosinality does at run time."""
    rng = torch.Generator().manual_seed(0)
    w = generator.mapping.single(torch.randn(AVERAGE_DRAWS, generator.z_dim, generator=rng))
    generator.mapping.w_avg.copy_(w.mean(dim=0))


def _discriminator_name(name: str, blocks: int) -> str | None:
    """Name here of rosinality's tensor, in a discriminator whose first block is that of 2 ** (blocks + 1) px."""
    top = 2 ** (blocks + 1)
    if match := re.fullmatch(r"convs\.0\.[01]\.(weight|bias)", name):
        return f"b{top}.fromrgb.{match[1]}"
    if match := re.fullmatch(r"convs\.(\d+)\.(conv1|conv2|skip)\.\d\.(weight|bias)", name):
        layer = {"conv1": "conv0", "conv2": "conv1", "skip": "skip"}[match[2]]
        return f"b{top >> (int(match[1]) - 1)}.{layer}.{match[3]}"
    if match := re.fullmatch(r"final_conv\.[01]\.(weight|bias)", name):
        return f"b4.conv.{match[1]}"
    if match := re.fullmatch(r"final_linear\.([01])\.(weight|bias)", name):
        return f"b4.{'fc' if match[1] == '0' else 'out'}.{match[2]}"
    raise CheckpointError(f"it is not rosinality's StyleGAN2: its tensor {name!r} is unknown here")
