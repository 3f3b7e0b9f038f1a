"""NVIDIA's TensorFlow checkpoints: the ``.pkl`` files of stylegan2 and stylegan2-ada.

Three networks (G, D, Gs), each with settings, components and variables under other names and layouts: dense weights
(in, out), kernels (height, width, in, out), the kernels of doubling layers flipped, styles without their one.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuropyro.generators.architecture import build_discriminator, build_generator
from neuropyro.generators.discriminator import Discriminator
from neuropyro.generators.errors import CheckpointError
from neuropyro.generators.safe_pickle import Record
from neuropyro.generators.stylegan2 import Generator

__all__ = ["NETWORK", "tensorflow_discriminator", "tensorflow_generator"]

NETWORK = "dnnlib.tflib.network.Network"

Array = NDArray[Any]
# Pattern of TensorFlow's name, name here, and what becomes of the values.
Rule = tuple[str, str, Callable[[Array], Array]]


def _same(x: Array) -> Array:
    """Keep the values."""
    return x


def _dense(x: Array) -> Array:
    """From (in, out) to (out, in)."""
    return x.T


def _kernel(x: Array) -> Array:
    """From (height, width, in, out) to (out, in, height, width)."""
    return x.transpose(3, 2, 0, 1)


def _flipped(x: Array) -> Array:
    """Do as :func:`_kernel`, and mirror height and width."""
    return _kernel(x[::-1, ::-1])


def _plus_one(x: Array) -> Array:
    """Add the one around which styles are learned."""
    return x + 1


def _first(x: Array) -> Array:
    """From (1, ...) to (...)."""
    return np.asarray(x[0])


def _square(x: Array) -> Array:
    """From (1, 1, r, r) to (r, r)."""
    return np.asarray(x[0, 0])


def _layer_rules(theirs: str, ours: str, weight: Callable[[Array], Array]) -> list[Rule]:
    """Rules of one modulated layer."""
    return [
        (rf"{theirs}/weight", rf"{ours}.weight", weight),
        (rf"{theirs}/bias", rf"{ours}.bias", _same),
        (rf"{theirs}/noise_strength", rf"{ours}.noise_strength", _same),
        (rf"{theirs}/mod_weight", rf"{ours}.affine.weight", _dense),
        (rf"{theirs}/mod_bias", rf"{ours}.affine.bias", _plus_one),
    ]


GENERATOR: list[Rule] = [
    (r"dlatent_avg", r"mapping.w_avg", _same),
    (r"mapping/LabelEmbed/weight", r"mapping.embed.weight", _dense),
    (r"mapping/LabelEmbed/bias", r"mapping.embed.bias", _same),
    (r"mapping/Dense(\d+)/weight", r"mapping.fc\1.weight", _dense),
    (r"mapping/Dense(\d+)/bias", r"mapping.fc\1.bias", _same),
    (r"synthesis/4x4/Const/const", r"synthesis.b4.const", _first),
    *_layer_rules(r"synthesis/4x4/Conv", r"synthesis.b4.conv1", _kernel),
    *_layer_rules(r"synthesis/(\d+)x\d+/Conv0_up", r"synthesis.b\1.conv0", _flipped),
    *_layer_rules(r"synthesis/(\d+)x\d+/Conv1", r"synthesis.b\1.conv1", _kernel),
    *_layer_rules(r"synthesis/(\d+)x\d+/ToRGB", r"synthesis.b\1.torgb", _kernel),
    (r"synthesis/(\d+)x\d+/Skip/weight", r"synthesis.b\1.skip.weight", _flipped),
]

DISCRIMINATOR: list[Rule] = [
    (r"LabelEmbed/weight", r"mapping.embed.weight", _dense),
    (r"LabelEmbed/bias", r"mapping.embed.bias", _same),
    (r"Mapping(\d+)/weight", r"mapping.fc\1.weight", _dense),
    (r"Mapping(\d+)/bias", r"mapping.fc\1.bias", _same),
    (r"(\d+)x\d+/FromRGB/weight", r"b\1.fromrgb.weight", _kernel),
    (r"(\d+)x\d+/FromRGB/bias", r"b\1.fromrgb.bias", _same),
    (r"(\d+)x\d+/Conv0/weight", r"b\1.conv0.weight", _kernel),
    (r"(\d+)x\d+/Conv0/bias", r"b\1.conv0.bias", _same),
    (r"(\d+)x\d+/Conv1_down/weight", r"b\1.conv1.weight", _kernel),
    (r"(\d+)x\d+/Conv1_down/bias", r"b\1.conv1.bias", _same),
    (r"(\d+)x\d+/Skip/weight", r"b\1.skip.weight", _kernel),
    (r"4x4/Conv/weight", r"b4.conv.weight", _kernel),
    (r"4x4/Conv/bias", r"b4.conv.bias", _same),
    (r"4x4/Dense0/weight", r"b4.fc.weight", _dense),
    (r"4x4/Dense0/bias", r"b4.fc.bias", _same),
    (r"Output/weight", r"b4.out.weight", _dense),
    (r"Output/bias", r"b4.out.bias", _same),
]

# Variables that say how training stood, not what the network computes.
IGNORED = re.compile(r"(.*/)?(lod|pl_mean_var|pl_mean)|.*_lod[1-9]\d*/.*")


def tensorflow_generator(network: Any) -> Generator:
    """Build the generator that the record ``network`` describes.

    Raises
    ------
    CheckpointError
        It is no network of NVIDIA's TensorFlow code, or none that is known here; what is not is named.

    Examples
    --------
    >>> state = {"static_kwargs": {}, "components": {}, "variables": [("lod", 0.0), ("4x4/Conv/weight", 0.0)]}
    >>> tensorflow_generator(Record(NETWORK, state=state))
    Traceback (most recent call last):
        ...
    neuropyro.generators.errors.CheckpointError: it is not a StyleGAN2: its variable '4x4/Conv/weight' is unknown here
    """
    settings = _settings_of(network)
    variables = dict(_variables_of(network))
    if any("LabelConcat" in name for name in variables):
        raise CheckpointError("its labels are concatenated unscaled (LabelConcat), as no later StyleGAN2 does")
    _check_settings(settings)
    top = max((int(r) for name in variables for r in re.findall(r"^synthesis/(\d+)x", name)), default=4)
    return build_generator(
        _with_noise(_translate(variables, GENERATOR, top), variables),
        conv_clamp=settings.get("conv_clamp"),
        half_resolutions=int(settings.get("num_fp16_res") or 0),
        lr_multiplier=float(settings.get("mapping_lrmul", 0.01)),
    )


def tensorflow_discriminator(network: Any) -> Discriminator:
    """Build the discriminator that the record ``network`` describes.

    Raises
    ------
    CheckpointError
        As by :func:`tensorflow_generator`.

    Examples
    --------
    >>> state = {"static_kwargs": {"nonlinearity": "relu"}, "components": {}, "variables": []}
    >>> tensorflow_discriminator(Record(NETWORK, state=state))
    Traceback (most recent call last):
        ...
    neuropyro.generators.errors.CheckpointError: its nonlinearity is 'relu': only 'lrelu' is known here
    """
    settings = _settings_of(network)
    _check_settings(settings)
    variables = dict(_variables_of(network))
    top = max((int(r) for name in variables for r in re.findall(r"^(\d+)x", name)), default=4)
    return build_discriminator(
        _translate(variables, DISCRIMINATOR, top),
        conv_clamp=settings.get("conv_clamp"),
        half_resolutions=int(settings.get("num_fp16_res") or 0),
        label_lr_multiplier=float(settings.get("mapping_lrmul", 0.1)),
        stddev_group=int(settings.get("mbstd_group_size", 4) or 0),
    )


def _state_of(network: Any) -> Mapping[str, Any]:
    """State of a network's record."""
    if not isinstance(network, Record) or network.name != NETWORK or not isinstance(network.state, Mapping):
        raise CheckpointError("its entries are not networks that NVIDIA's TensorFlow code has written")
    return network.state


def _settings_of(network: Any) -> Mapping[str, Any]:
    """Return the settings with which the network's function was called."""
    settings: Mapping[str, Any] = _state_of(network)["static_kwargs"]
    return settings


def _variables_of(network: Any, prefix: str = "") -> Iterator[tuple[str, Array]]:
    """Name and values of each variable, those of components under the component's name."""
    state = _state_of(network)
    for name, values in state["variables"]:
        yield f"{prefix}{name}", np.asarray(values)
    for name, component in state["components"].items():
        yield from _variables_of(component, f"{prefix}{name}/")


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse settings that change the arithmetic in a way that is not known here."""
    for name in ("nonlinearity", "mapping_nonlinearity"):
        if settings.get(name, "lrelu") != "lrelu":
            raise CheckpointError(f"its {name} is {settings[name]!r}: only 'lrelu' is known here")
    if list(settings.get("resample_kernel") or [1, 3, 3, 1]) != [1, 3, 3, 1]:
        raise CheckpointError("its resample_kernel is not [1, 3, 3, 1], the only one that is known here")
    if not settings.get("normalize_latents", True):
        raise CheckpointError("it does not normalise latents, which every known StyleGAN2 does")


def _translate(variables: Mapping[str, Array], rules: list[Rule], top: int) -> dict[str, Tensor]:
    """Tensors under the names that they have here; variables without a rule are an error."""
    state: dict[str, Tensor] = {}
    for name, values in variables.items():
        plain = re.sub(r"(ToRGB|FromRGB)_lod0", rf"{top}x{top}/\1", name)
        if IGNORED.fullmatch(plain) or re.fullmatch(r"synthesis/noise\d+", plain):
            continue
        found = [(match, *rule[1:]) for rule in rules if (match := re.fullmatch(rule[0], plain))]
        if not found:
            raise CheckpointError(f"it is not a StyleGAN2: its variable {name!r} is unknown here")
        match, ours, change = found[0]
        state[match.expand(ours)] = torch.from_numpy(np.array(change(values), dtype=np.float32))
    return state


def _with_noise(state: dict[str, Tensor], variables: Mapping[str, Array]) -> dict[str, Tensor]:
    """Add each layer's noise buffer: number 0 is that of 4 px, then there are two for each resolution."""
    for name, values in variables.items():
        if match := re.fullmatch(r"synthesis/noise(\d+)", name):
            index = int(match[1])
            block, layer = 2 ** ((index + 5) // 2), 1 - index % 2
            state[f"synthesis.b{block}.conv{layer}.noise_const"] = torch.from_numpy(
                np.array(_square(values), dtype=np.float32)
            )
    return state
