"""All that a training run is at one moment, and the one file that holds it.

The file is safetensors: weights of both networks and of the average, the optimisers' moments, the running mean of path
lengths; its header holds the settings and counts as JSON.  Random numbers need no state: those of each step follow from
the seed, the step and the process alone.  So a run that is killed and resumed has, on the CPU, the same bits as one
that was not.
"""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from neuropyro.generators.config import DiscriminatorConfig, GeneratorConfig
from neuropyro.generators.discriminator import Discriminator
from neuropyro.generators.encoder import Encoder
from neuropyro.generators.stylegan2 import Generator

__all__ = ["TrainingState", "load_state", "save_state"]

FORMAT = "neuropyro.training/1"


@dataclass
class TrainingState:
    """Networks, optimisers and counts.

    Attributes
    ----------
    generator, discriminator
        What is trained.
    average
        The generator's exponential moving average, which makes the better images.
    generator_optimiser, discriminator_optimiser
        Adam.
    encoder, encoder_optimiser
        Where the generator is trained as an autoencoder too; else None.
    images
        Real images shown so far.
    step
        Batches so far.
    path_mean
        Running mean of path lengths, a scalar.
    augmentation
        Probability of each change, a scalar, see :mod:`neuropyro.generators.augmentation`.
    history
        Settings of the run and from how many images on they held: ``[{"images": 0, "config": {...}}]``.
    """

    generator: Generator
    discriminator: Discriminator
    average: Generator
    generator_optimiser: torch.optim.Adam
    discriminator_optimiser: torch.optim.Adam
    path_mean: Tensor
    augmentation: Tensor
    encoder: Encoder | None = None
    encoder_optimiser: torch.optim.Adam | None = None
    images: int = 0
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def rng(self, seed: int, rank: int) -> torch.Generator:
        """Return the source of all that is random in this step of this process."""
        word = int(np.random.SeedSequence([seed, self.step, rank]).generate_state(1, np.uint64)[0])
        return torch.Generator(self.path_mean.device).manual_seed(word >> 1)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by name; they share memory with the state, save those of a fresh optimiser."""
        networks: dict[str, nn.Module] = {"generator": self.generator, "discriminator": self.discriminator}
        networks |= {"average": self.average} | ({"encoder": self.encoder} if self.encoder else {})
        named = {f"{net}.{k}": v for net, module in networks.items() for k, v in module.state_dict().items()}
        named |= _moments(self.generator, self.generator_optimiser, "generator_adam")
        named |= _moments(self.discriminator, self.discriminator_optimiser, "discriminator_adam")
        if self.encoder is not None and self.encoder_optimiser is not None:
            named |= _moments(self.encoder, self.encoder_optimiser, "encoder_adam")
        return named | {"path_mean": self.path_mean, "augmentation": self.augmentation}


def new_state(
    generator: GeneratorConfig,
    discriminator: DiscriminatorConfig,
    optimiser_settings: dict[str, dict[str, Any]],
    seed: int,
    device: torch.device,
) -> TrainingState:
    """Return a run's beginning: networks drawn from ``seed``, without touching the global source of randomness.

    ``optimiser_settings`` holds what Adam is given for ``"generator"``, ``"discriminator"`` and, where there is to be
    one, ``"encoder"``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks: list[nn.Module] = [Generator(generator), Discriminator(discriminator)]
        if "encoder" in optimiser_settings:
            networks.append(Encoder(discriminator, generator.z_dim))
    # Channels-last is what convolutions on AVX-512, AMX and tensor cores want; it does not change results otherwise.
    for net in networks:
        net.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    G, D, *encoder = networks
    average = copy.deepcopy(G).eval().requires_grad_(False)
    adam = [
        torch.optim.Adam(net.parameters(), **settings)
        for net, settings in zip(networks, optimiser_settings.values(), strict=True)
    ]
    path_mean, augmentation = torch.zeros((), device=device), torch.zeros((), device=device)
    return TrainingState(G, D, average, adam[0], adam[1], path_mean, augmentation, *encoder, *adam[2:])


def save_state(state: TrainingState, path: Path) -> None:
    """Write ``state`` to ``path``; a kill while writing leaves the file of before."""
    counts = {"images": state.images, "step": state.step}
    networks = {"generator": state.generator.config.to_dict(), "discriminator": state.discriminator.config.to_dict()}
    header = json.dumps({"counts": counts, "networks": networks, "history": state.history})
    partial = path.with_suffix(".partial")
    tensors = {k: v.detach().cpu().contiguous() for k, v in state.tensors().items()}
    save_file(tensors, partial, metadata={"format": FORMAT, "run": header})
    partial.replace(path)


def load_state(state: TrainingState, path: Path) -> None:
    """Put what ``path`` holds into ``state``, in place.

    Raises
    ------
    ValueError
        The file is no training state, or one of other networks; it is named, and what differs.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: damaged ({error}); remove it to begin anew") from error
    if metadata.get("format") != FORMAT:
        raise ValueError(f"{path}: no state of a training run ({FORMAT}); train into another folder")
    run = json.loads(metadata["run"])
    _check_networks(state, run["networks"], path)
    with torch.no_grad():
        for name, tensor in state.tensors().items():
            # A run may take up autoencoding on its way: its encoder begins then.
            if name in stored or not name.startswith("encoder"):
                tensor.copy_(stored[name])
    state.images, state.step, state.history = run["counts"]["images"], run["counts"]["step"], run["history"]


def _moments(network: nn.Module, optimiser: torch.optim.Adam, prefix: str) -> dict[str, Tensor]:
    """Return Adam's count and moments of every parameter, by name."""
    _prepare_moments(optimiser)
    return {
        f"{prefix}.{kind}.{name}": value
        for name, parameter in network.named_parameters()
        for kind, value in optimiser.state[parameter].items()
    }


def _prepare_moments(optimiser: torch.optim.Adam) -> None:
    """Give parameters that Adam has not met yet the moments with which it would begin."""
    for group in optimiser.param_groups:
        for p in group["params"]:
            if not optimiser.state[p]:
                zeros = {k: torch.zeros_like(p, memory_format=torch.preserve_format) for k in ("exp_avg", "exp_avg_sq")}
                optimiser.state[p] = {"step": torch.zeros((), device=p.device), **zeros}


def _check_networks(state: TrainingState, stored: dict[str, dict[str, Any]], path: Path) -> None:
    here = {"generator": state.generator.config.to_dict(), "discriminator": state.discriminator.config.to_dict()}
    for net, settings in here.items():
        for key, value in settings.items():
            if stored[net].get(key) != value:
                raise ValueError(
                    f"{path}: its {net} has {key} = {stored[net].get(key)}, not {value}; "
                    f"resume with the same networks or train into another folder"
                )
