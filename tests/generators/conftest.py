"""Writers of checkpoints in the formats of others, after those formats' descriptions and independent of the readers."""

import argparse
import collections
import contextlib
import io
import math
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from neuropyro.generators import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig

SMALL = {"img_resolution": 16, "img_channels": 1, "channels": (8, 6, 4)}


def randomised(network: torch.nn.Module) -> torch.nn.Module:
    with torch.no_grad():
        for tensor in [*network.parameters(), *network.buffers()]:
            tensor.add_(0.3 * torch.randn(tensor.shape))
    return network.eval()


@pytest.fixture
def make_networks() -> Callable[..., tuple[Generator, Discriminator]]:
    """A small generator and its discriminator, every tensor random."""

    def make(**settings: Any) -> tuple[Generator, Discriminator]:
        torch.manual_seed(7)
        shared = {k: settings.pop(k) for k in list(settings) if k in ("img_channels", "label_dim", "architecture")}
        shared |= {k: settings.pop(k) for k in list(settings) if k in ("conv_clamp", "half_resolutions")}
        latent = {"z_dim": 6, "w_dim": 10, "mapping_layers": 3, "mapping_width": 7} | settings
        critic = {"label_layers": 2 if "label_dim" in shared else 0, "stddev_group": 2}
        generator = Generator(GeneratorConfig(**(SMALL | shared | latent)))
        discriminator = Discriminator(DiscriminatorConfig(**(SMALL | shared | critic)))
        return randomised(generator), randomised(discriminator)

    return make


@contextlib.contextmanager
def named(module: str, name: str, thing: Any) -> Iterator[None]:
    """Let ``thing`` be pickled as a global of a module that is not installed."""
    before = set(sys.modules)
    parts = module.split(".")
    for i in range(len(parts)):
        sys.modules.setdefault(".".join(parts[: i + 1]), types.ModuleType(".".join(parts[: i + 1])))
    thing.__module__, thing.__qualname__, thing.__name__ = module, name, name
    setattr(sys.modules[module], name, thing)
    try:
        yield
    finally:
        for added in set(sys.modules) - before:
            del sys.modules[added]


class EasyDict(dict):
    pass


def reconstruct(meta):
    raise AssertionError("a checkpoint's module was reconstructed")


class Persistent:
    """What torch_utils.persistence writes: a call of ``reconstruct`` with the module's attributes and source text."""

    def __init__(self, class_name: str, module_src: str, **attributes: Any) -> None:
        meta = {"type": "class", "version": 6, "module_src": module_src, "class_name": class_name}
        self.meta = EasyDict(meta, state=attributes)

    def __reduce__(self) -> Any:
        return reconstruct, (self.meta,)


def attributes_of(module: torch.nn.Module, name: str, config: Any) -> dict[str, Any]:
    """Attributes that NVIDIA's layers carry beside their tensors."""
    kind = type(module).__name__.removeprefix("_")  # which is its name there
    if kind in ("SynthesisLayer", "ToImage", "Conv"):
        clamp = None if name.endswith("skip") else module.clamp
        gain = np.float64(1 / math.sqrt(module.weight[0].numel()))
        activation = {} if kind == "ToImage" else {"activation": "linear" if name.endswith("skip") else "lrelu"}
        return {"conv_clamp": clamp, "weight_gain": gain, **activation}
    if kind == "Linear":
        return {"bias_gain": module.bias_gain, "activation": "lrelu" if module.activated else "linear"}
    if kind.endswith("Block"):
        return {"use_fp16": module.is_half, "resolution": module.resolution, "architecture": config.architecture}
    return {}


def persistent(module: torch.nn.Module, config: Any, source: str, name: str = "") -> Persistent:
    buffers = dict(module.named_buffers(recurse=False))
    kind = type(module).__name__.removeprefix("_")  # which is its name there
    if kind in ("SynthesisLayer", "SynthesisBlock", "DiscriminatorBlock", "Conv"):
        taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
        buffers["resample_filter"] = torch.outer(taps, taps) / 64
    children = {n: persistent(m, config, source, f"{name}.{n}") for n, m in module.named_children()}
    if kind == "DiscriminatorEpilogue":
        empty = {"_parameters": {}, "_buffers": {}, "_modules": {}}
        children["mbstd"] = Persistent("MinibatchStdLayer", source, group_size=module.group, num_channels=1, **empty)
    return Persistent(
        kind,
        source,
        training=False,
        _parameters=collections.OrderedDict(module.named_parameters(recurse=False)),
        _buffers=collections.OrderedDict(buffers),
        _non_persistent_buffers_set=set(),
        _modules=collections.OrderedDict(children),
        _init_args=(),
        _init_kwargs=EasyDict(num_fp16_res=0),
        **attributes_of(module, name, config),
    )


@pytest.fixture
def nvidia_bytes() -> Callable[..., bytes]:
    """Write (G, D) as stylegan2-ada-pytorch does."""

    def write(
        generator: Generator,
        discriminator: Discriminator | None = None,
        protocol: int = 4,
        source: str = "import os",
        training: Generator | None = None,
    ) -> bytes:
        value = {
            "training_set_kwargs": EasyDict(path="data.zip", use_labels=False),
            "G": None if training is None else persistent(training, training.config, source),
            "D": None if discriminator is None else persistent(discriminator, discriminator.config, source),
            "G_ema": persistent(generator, generator.config, source),
            "augment_pipe": None,
        }
        call = named("torch_utils.persistence", "_reconstruct_persistent_obj", reconstruct)
        with call, named("dnnlib.util", "EasyDict", EasyDict):
            content = pickle.dumps(value, protocol=protocol)
        return content.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n")

    return write


class Network:
    pass


def tensorflow_network(settings: dict, variables: list, components: dict | None = None) -> Network:
    network = Network()
    network.__dict__ |= {
        "version": 5,
        "name": "G",
        "static_kwargs": EasyDict(settings),
        "components": components or {},
        "build_module_src": "raise SystemExit",
        "build_func_name": "G_main",
        "variables": [(name, np.asarray(value, dtype=np.float32)) for name, value in variables],
    }
    return network


def hwio(weight: torch.Tensor, flip: bool = False) -> np.ndarray:
    weight = weight.detach().permute(2, 3, 1, 0)
    return (weight.flip(0, 1) if flip else weight).numpy()


def tensorflow_layer(name: str, layer: Any, flip: bool = False) -> list:
    variables = [
        (f"{name}/weight", hwio(layer.weight, flip)),
        (f"{name}/bias", layer.bias.detach()),
        (f"{name}/mod_weight", layer.affine.weight.detach().T),
        (f"{name}/mod_bias", layer.affine.bias.detach() - 1),
    ]
    noisy = getattr(layer, "noisy", False)
    return [*variables, (f"{name}/noise_strength", layer.noise_strength.detach())] if noisy else variables


def tensorflow_generator(generator: Generator) -> Network:
    config, mapping = generator.config, []
    for name, parameter in generator.mapping.named_parameters():
        module, _, kind = name.rpartition(".")
        value = parameter.detach()
        theirs = "LabelEmbed" if module == "embed" else module.replace("fc", "Dense")
        mapping.append((f"{theirs}/{kind}", value.T if kind == "weight" else value))
    synthesis: list = [("lod", 0.0)]
    for i, layer in enumerate(generator.synthesis.layers):
        synthesis.append((f"noise{i}", layer.noise_const[None, None]))
    for block in generator.synthesis.blocks:
        side = f"{block.resolution}x{block.resolution}"
        if block.const is not None:
            synthesis += [(f"{side}/Const/const", block.const.detach()[None])]
            synthesis += tensorflow_layer(f"{side}/Conv", block.conv1)
        else:
            synthesis += tensorflow_layer(f"{side}/Conv0_up", block.conv0, flip=True)
            synthesis += tensorflow_layer(f"{side}/Conv1", block.conv1)
        if hasattr(block, "torgb"):
            synthesis += tensorflow_layer(f"{side}/ToRGB", block.torgb)
        if hasattr(block, "skip"):
            synthesis += [(f"{side}/Skip/weight", hwio(block.skip.weight, flip=True))]
    settings = {"resolution": config.img_resolution, "conv_clamp": config.conv_clamp, "fmap_base": 16384}
    settings |= {"num_fp16_res": config.half_resolutions, "mapping_lrmul": config.lr_multiplier}
    parts = {"mapping": tensorflow_network({}, mapping), "synthesis": tensorflow_network({}, synthesis)}
    return tensorflow_network(settings, [("dlatent_avg", generator.mapping.w_avg), ("lod", 0.0)], parts)


def tensorflow_discriminator(discriminator: Discriminator) -> Network:
    config, variables = discriminator.config, []
    for name, parameter in discriminator.named_parameters():
        module, _, kind = name.rpartition(".")
        value = parameter.detach()
        block, _, layer = module.partition(".")
        if block == "mapping":
            theirs = "LabelEmbed" if layer == "embed" else layer.replace("fc", "Mapping")
        else:
            side = f"{block[1:]}x{block[1:]}"
            below = {"conv": "Conv", "fc": "Dense0", "out": None, "fromrgb": "FromRGB"}
            above = {"conv0": "Conv0", "conv1": "Conv1_down", "skip": "Skip", "fromrgb": "FromRGB"}
            part = (below if block == "b4" else above)[layer]
            theirs = f"{side}/{part}" if part else "Output"
        value = hwio(parameter) if value.ndim == 4 else value.T if value.ndim == 2 else value
        variables.append((f"{theirs}/{kind}", value))
    settings = {"conv_clamp": config.conv_clamp, "num_fp16_res": config.half_resolutions}
    settings |= {"mbstd_group_size": config.stddev_group, "mapping_lrmul": config.label_lr_multiplier}
    return tensorflow_network(settings, variables)


@pytest.fixture
def tensorflow_bytes() -> Callable[..., bytes]:
    """Write (G, D, Gs) as stylegan2-ada in TensorFlow does."""

    def write(
        generator: Generator, discriminator: Discriminator, training: Generator | None = None, protocol: int = 4
    ) -> bytes:
        value = (
            tensorflow_generator(training or generator),
            tensorflow_discriminator(discriminator),
            tensorflow_generator(generator),
        )
        with named("dnnlib.tflib.network", "Network", Network), named("dnnlib.util", "EasyDict", EasyDict):
            return pickle.dumps(value, protocol=protocol)

    return write


BLUR = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 16


def rosinality_state(generator: Generator) -> dict[str, torch.Tensor]:
    state = {"input.input": generator.synthesis.b4.const.detach()[None]}
    for name, parameter in generator.mapping.named_parameters():
        module, _, kind = name.rpartition(".")
        state[f"style.{int(module[2:]) + 1}.{kind}"] = parameter.detach()
    for i, layer in enumerate(generator.synthesis.layers):
        key = "conv1" if i == 0 else f"convs.{i - 1}"
        state[f"{key}.conv.weight"] = (layer.weight * math.sqrt(layer.weight[0].numel())).detach()[None]
        state[f"{key}.conv.modulation.weight"] = layer.affine.weight.detach()
        state[f"{key}.conv.modulation.bias"] = layer.affine.bias.detach()
        state[f"{key}.noise.weight"] = layer.noise_strength.detach().reshape(1)
        state[f"{key}.activate.bias"] = layer.bias.detach()
        state[f"noises.noise_{i}"] = layer.noise_const[None, None]
        if layer.up:
            state[f"{key}.conv.blur.kernel"] = BLUR
    for i, block in enumerate(generator.synthesis.blocks):
        key = "to_rgb1" if i == 0 else f"to_rgbs.{i - 1}"
        state[f"{key}.bias"] = block.torgb.bias.detach()[None, :, None, None]
        state[f"{key}.conv.weight"] = block.torgb.weight.detach()[None]
        state[f"{key}.conv.modulation.weight"] = block.torgb.affine.weight.detach()
        state[f"{key}.conv.modulation.bias"] = block.torgb.affine.bias.detach()
        if i:
            state[f"{key}.upsample.kernel"] = BLUR
    return state


def rosinality_critic_state(discriminator: Discriminator) -> dict[str, torch.Tensor]:
    first, last = discriminator.blocks[0], discriminator.b4
    state = {"convs.0.0.weight": first.fromrgb.weight, "convs.0.1.bias": first.fromrgb.bias}
    for i, block in enumerate(discriminator.blocks, start=1):
        state |= {f"convs.{i}.conv1.0.weight": block.conv0.weight, f"convs.{i}.conv1.1.bias": block.conv0.bias}
        state |= {f"convs.{i}.conv2.0.kernel": BLUR / 4, f"convs.{i}.conv2.1.weight": block.conv1.weight}
        state |= {f"convs.{i}.conv2.2.bias": block.conv1.bias}
        state |= {f"convs.{i}.skip.0.kernel": BLUR / 4, f"convs.{i}.skip.1.weight": block.skip.weight}
    state |= {"final_conv.0.weight": last.conv.weight, "final_conv.1.bias": last.conv.bias}
    state |= {"final_linear.0.weight": last.fc.weight, "final_linear.0.bias": last.fc.bias}
    state |= {"final_linear.1.weight": last.out.weight, "final_linear.1.bias": last.out.bias}
    return {name: value.detach() for name, value in state.items()}


@pytest.fixture
def rosinality_bytes() -> Callable[..., bytes]:
    """Write {g_ema, latent_avg, ...} as stylegan2-pytorch does, in either of PyTorch's layouts."""

    def write(
        generator: Generator, discriminator: Discriminator | None = None, average: bool = True, archive: bool = True
    ) -> bytes:
        value: dict[str, Any] = {"g_ema": rosinality_state(generator), "args": argparse.Namespace(size=16)}
        if average:
            value["latent_avg"] = generator.mapping.w_avg
        if discriminator is not None:
            value |= {"d": rosinality_critic_state(discriminator), "g": rosinality_state(generator)}
        stream = io.BytesIO()
        torch.save(value, stream, _use_new_zipfile_serialization=archive)
        return stream.getvalue()

    return write
