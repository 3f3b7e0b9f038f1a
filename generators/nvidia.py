"""NVIDIA's PyTorch checkpoints: the ``.pkl`` files of stylegan2-ada-pytorch and of the StyleGAN2 in stylegan3.

A dictionary of networks (``G``, ``D``, ``G_ema``), each a call of ``torch_utils.persistence`` with the module's
attributes and the text of its source code.  NVIDIA's loader executes that text; here it is never looked at.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from neuropyro.generators.architecture import build_discriminator, build_generator, check_filter
from neuropyro.generators.discriminator import Discriminator
from neuropyro.generators.errors import CheckpointError
from neuropyro.generators.safe_pickle import Record
from neuropyro.generators.stylegan2 import Generator

__all__ = ["PERSISTENT", "nvidia_discriminator", "nvidia_generator"]

PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"


def nvidia_generator(network: Any) -> Generator:
    """Build the generator that the record ``network`` describes.

    Raises
    ------
    CheckpointError
        It is no network of NVIDIA's code, or none that is known here; what is not is named.

    Examples
    --------
    >>> attributes = {"_modules": {}, "_parameters": {}, "_buffers": {}}
    >>> try:
    ...     nvidia_generator(Record(PERSISTENT, ({"state": attributes},)))
    ... except CheckpointError as error:
    ...     print(error)
    its generator is not a StyleGAN2 (it has no synthesis.b4); StyleGAN3 is not supported
    """
    modules = dict(_modules_of(network))
    state = _tensors(modules)
    if not any(name.startswith("synthesis.b4.") for name in state):
        raise CheckpointError("its generator is not a StyleGAN2 (it has no synthesis.b4); StyleGAN3 is not supported")
    conv, first = modules.get("synthesis.b4.conv1", {}), modules.get("mapping.fc0", {})
    _check_activation(modules)
    return build_generator(
        state,
        conv_clamp=conv.get("conv_clamp"),
        half_resolutions=_half_resolutions(modules, "synthesis."),
        lr_multiplier=float(first.get("bias_gain", 0.01)),
    )


def nvidia_discriminator(network: Any) -> Discriminator:
    """Build the discriminator that the record ``network`` describes.

    Raises
    ------
    CheckpointError
        As by :func:`nvidia_generator`.

    Examples
    --------
    >>> nvidia_discriminator({"weight": 1.0})
    Traceback (most recent call last):
        ...
    neuropyro.generators.errors.CheckpointError: its entry 'network' is not a module that NVIDIA's code has written
    """
    modules = dict(_modules_of(network))
    _check_activation(modules)
    return build_discriminator(
        _tensors(modules),
        conv_clamp=modules.get("b8.conv0", {}).get("conv_clamp"),
        half_resolutions=_half_resolutions(modules, ""),
        label_lr_multiplier=float(modules.get("mapping.fc0", {}).get("bias_gain", 0.01)),
        stddev_group=int(modules.get("b4.mbstd", {}).get("group_size") or 0),
    )


def _modules_of(network: Any, prefix: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Dotted name and attributes of a module's record and of those within it, depth first."""
    if not isinstance(network, Record) or network.name != PERSISTENT or len(network.args) != 1:
        raise CheckpointError(f"its entry {prefix or 'network'!r} is not a module that NVIDIA's code has written")
    attributes = network.args[0]["state"]
    yield prefix, attributes
    for name, child in attributes["_modules"].items():
        if child is not None:
            yield from _modules_of(child, f"{prefix}.{name}" if prefix else str(name))


def _tensors(modules: Mapping[str, Mapping[str, Any]]) -> dict[str, Tensor]:
    """Parameters and buffers by dotted name; resampling filters are checked and left out, and so is D's ``w_avg``."""
    state: dict[str, Tensor] = {}
    for module, attributes in modules.items():
        for name, value in [*attributes["_parameters"].items(), *attributes["_buffers"].items()]:
            full = f"{module}.{name}" if module else str(name)
            if name == "resample_filter":
                check_filter(value, full)
            elif isinstance(value, Tensor):
                state[full] = value
    return state


def _half_resolutions(modules: Mapping[str, Mapping[str, Any]], prefix: str) -> int:
    """Count the blocks that compute in float16."""
    names = [f"{prefix}b{2**i}" for i in range(2, 11)]
    return sum(bool(modules[name].get("use_fp16")) for name in names if name in modules)


def _check_activation(modules: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse activations other than the leaky rectifier."""
    for name, attributes in modules.items():
        if attributes.get("activation", "lrelu") not in ("lrelu", "linear"):
            raise CheckpointError(f"its layer {name} uses {attributes['activation']!r}: only 'lrelu' is known here")
