"""All that a training run is at one moment, and the one file that holds it.

The file is safetensors: weights of both networks and of the average, the optimisers' moments, the running mean of path
lengths; its header holds the settings and counts as JSON.  Random numbers need no state: those of each step follow from
the seed, the step and the process alone.  So a run that is killed and resumed has, on the CPU, the same bits as one
that was not, given as many threads: these share out sums, and by how many of them it is done shows in the last bits.
"""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from neuropyro.generators.checkpoints import Checkpoint
from neuropyro.generators.config import DiscriminatorConfig, GeneratorConfig
from neuropyro.generators.discriminator import Discriminator
from neuropyro.generators.muon import Muon
from neuropyro.generators.stylegan2 import Generator

__all__ = ["TrainingState", "load_state", "new_state", "save_state", "take_weights"]

FORMAT = "neuropyro.training/1"

Config = GeneratorConfig | DiscriminatorConfig


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
        Adam, or Muon beside it.
    images
        Real images shown so far.
    step
        Batches so far.
    path_mean
        Running mean of path lengths, a scalar.
    augmentation
        Probability of each change, a scalar, see :mod:`neuropyro.generators.augmentation`.
    history
        Settings and threads of the run, and from how many images on they held: ``[{"images": 0, "config": {...},
        "threads": 1}]``.

    Examples
    --------
    >>> from neuropyro.generators.training_config import TrainingConfig
    >>> networks = GeneratorConfig(8, z_dim=4, w_dim=4, channels=(4, 4)), DiscriminatorConfig(8, channels=(4, 4))
    >>> state = new_state(*networks, TrainingConfig().adam(), seed=0, device=torch.device("cpu"))
    >>> first = state.rng(seed=0, rank=0).initial_seed()
    >>> state.step = 1
    >>> state.rng(seed=0, rank=0).initial_seed() == first  # each step draws numbers of its own
    False
    """

    generator: Generator
    discriminator: Discriminator
    average: Generator
    generator_optimiser: torch.optim.Adam
    discriminator_optimiser: torch.optim.Adam
    path_mean: Tensor
    augmentation: Tensor
    images: int = 0
    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)

    def rng(self, seed: int, rank: int) -> torch.Generator:
        """Return the source of all that is random in this step of this process."""
        word = int(np.random.SeedSequence([seed, self.step, rank]).generate_state(1, np.uint64)[0])
        return torch.Generator(self.path_mean.device).manual_seed(word >> 1)

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by name; they share memory with the state, save those of a fresh optimiser."""
        networks = {"generator": self.generator, "discriminator": self.discriminator, "average": self.average}
        named = {f"{net}.{k}": v for net, module in networks.items() for k, v in module.state_dict().items()}
        named |= _moments(self.generator, self.generator_optimiser, "generator_adam")
        named |= _moments(self.discriminator, self.discriminator_optimiser, "discriminator_adam")
        return named | {"path_mean": self.path_mean, "augmentation": self.augmentation}


def new_state(
    generator: GeneratorConfig,
    discriminator: DiscriminatorConfig,
    optimiser_settings: dict[str, dict[str, Any]],
    seed: int,
    device: torch.device,
    muon: torch.dtype | None = None,
) -> TrainingState:
    """Return a run's beginning: networks drawn from ``seed``, without touching the global source of randomness.

    ``optimiser_settings`` holds what Adam is given for ``"generator"`` and ``"discriminator"``; with ``muon`` it is
    :class:`~neuropyro.generators.muon.Muon`, whose iteration runs in that dtype.

    Examples
    --------
    >>> from neuropyro.generators.training_config import TrainingConfig
    >>> networks = GeneratorConfig(8, z_dim=4, w_dim=4, channels=(4, 4)), DiscriminatorConfig(8, channels=(4, 4))
    >>> a, b, c = (new_state(*networks, TrainingConfig().adam(), seed, torch.device("cpu")) for seed in (0, 0, 1))
    >>> [torch.equal(a.generator.synthesis.b4.const, other.generator.synthesis.b4.const) for other in (b, c)]
    [True, False]
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks: list[nn.Module] = [Generator(generator), Discriminator(discriminator)]
    # Channels-last is what convolutions on AVX-512, AMX and tensor cores want; it does not change results otherwise.
    G, D = (net.to(device=device, memory_format=torch.channels_last) for net in networks)  # type: ignore[call-overload]
    average = copy.deepcopy(G).eval().requires_grad_(False)
    optimisers = {k: _optimiser(net, optimiser_settings[k], muon) for k, net in _named(G, D)}
    path_mean, augmentation = torch.zeros((), device=device), torch.zeros((), device=device)
    pair = optimisers["generator"], optimisers["discriminator"]
    return TrainingState(G, D, average, *pair, path_mean, augmentation)


def take_weights(state: TrainingState, checkpoint: Checkpoint) -> None:
    """Begin with a checkpoint's weights: its generator's, averaged or not, and its discriminator's where it has one.

    Raises
    ------
    ValueError
        Its networks are not those of ``state``; what differs is named.

    Examples
    --------
    >>> from neuropyro.generators.training_config import TrainingConfig
    >>> networks = GeneratorConfig(8, z_dim=4, w_dim=4, channels=(4, 4)), DiscriminatorConfig(8, channels=(4, 4))
    >>> state = new_state(*networks, TrainingConfig().adam(), seed=0, device=torch.device("cpu"))
    >>> G = Generator(networks[0])
    >>> take_weights(state, Checkpoint(Path("mine.safetensors"), "safetensors", G))
    >>> torch.equal(state.average.synthesis.b4.const, G.synthesis.b4.const)
    True
    """
    generator, discriminator = checkpoint.generator, checkpoint.discriminator
    _check_networks(state, generator.config, discriminator.config if discriminator else None, checkpoint.path)
    state.generator.load_state_dict(generator.state_dict())
    state.average.load_state_dict(generator.state_dict())
    if discriminator is not None:
        state.discriminator.load_state_dict(discriminator.state_dict())


def save_state(state: TrainingState, path: Path) -> None:
    """Write ``state`` to ``path``; a kill while writing leaves the file of before.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.generators.training_config import TrainingConfig
    >>> networks = GeneratorConfig(8, z_dim=4, w_dim=4, channels=(4, 4)), DiscriminatorConfig(8, channels=(4, 4))
    >>> state = new_state(*networks, TrainingConfig().adam(), seed=0, device=torch.device("cpu"))
    >>> state.images = 320
    >>> other = new_state(*networks, TrainingConfig().adam(), seed=1, device=torch.device("cpu"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_state(state, Path(folder) / "state.safetensors")
    ...     load_state(other, Path(folder) / "state.safetensors")
    >>> other.images, torch.equal(other.generator.synthesis.b4.const, state.generator.synthesis.b4.const)
    (320, True)
    """
    counts = {"images": state.images, "step": state.step}
    networks = {"generator": state.generator.config.to_dict(), "discriminator": state.discriminator.config.to_dict()}
    header = json.dumps({"counts": counts, "networks": networks, "history": state.history})
    partial = path.with_suffix(".partial")
    tensors = {k: v.detach().cpu().contiguous() for k, v in state.tensors().items()}
    partial.write_bytes(save(tensors, metadata={"format": FORMAT, "run": header}))
    partial.replace(path)


def load_state(state: TrainingState, path: Path) -> None:
    """Put what ``path`` holds into ``state``, in place.

    Raises
    ------
    ValueError
        The file is no training state, or one of other networks; it is named, and what differs.

    Examples
    --------
    >>> import tempfile
    >>> from safetensors.torch import save_file
    >>> from neuropyro.generators.training_config import TrainingConfig
    >>> networks = GeneratorConfig(8, z_dim=4, w_dim=4, channels=(4, 4)), DiscriminatorConfig(8, channels=(4, 4))
    >>> state = new_state(*networks, TrainingConfig().adam(), seed=0, device=torch.device("cpu"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "other.safetensors"
    ...     save_file({"w": torch.zeros(1)}, path)
    ...     try:
    ...         load_state(state, path)
    ...     except ValueError as error:
    ...         print(str(error).removeprefix(f"{path}: "))
    no state of a training run (neuropyro.training/1); train into another folder
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
    networks = run["networks"]
    generator = GeneratorConfig.from_dict(networks["generator"])
    _check_networks(state, generator, DiscriminatorConfig.from_dict(networks["discriminator"]), path)
    for optimiser in (state.generator_optimiser, state.discriminator_optimiser):
        _prepare_moments(optimiser)
    with torch.no_grad():
        for name, tensor in state.tensors().items():
            tensor.copy_(stored[name])
    state.images, state.step, state.history = run["counts"]["images"], run["counts"]["step"], run["history"]


def _optimiser(network: nn.Module, settings: dict[str, Any], muon: torch.dtype | None) -> torch.optim.Adam:
    if muon is None:
        return torch.optim.Adam(network.parameters(), **settings)
    return Muon(network.parameters(), _multiplying(network), muon, **settings)


def _multiplying(network: Any) -> list[Tensor]:
    """Weights that multiply channels or w: in a generator those of the synthesis' layers, in a discriminator all."""
    if isinstance(network, Generator):
        return [weight for layer in network.synthesis.layers for weight in (layer.weight, layer.affine.weight)]
    return [weight for weight in network.parameters() if weight.ndim > 1]


def _named(G: Any, D: Any) -> list[tuple[str, nn.Module]]:
    return [("generator", G), ("discriminator", D)]


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


def _check_networks(
    state: TrainingState, generator: GeneratorConfig, discriminator: DiscriminatorConfig | None, path: Path
) -> None:
    """Refuse networks of other settings; widths count, and not how they were said."""
    pairs: list[tuple[str, Config, Config | None]] = [
        ("generator", state.generator.config, generator),
        ("discriminator", state.discriminator.config, discriminator),
    ]
    for name, here, there in pairs:
        stored = _settings(there or here)
        for key, value in _settings(here).items():
            if stored[key] != value:
                raise ValueError(
                    f"{path}: its {name} has {key} = {stored[key]}, not {value}; "
                    f"resume with the same networks or train into another folder"
                )


def _settings(config: Config) -> dict[str, Any]:
    named = {k: v for k, v in config.to_dict().items() if k not in ("channel_base", "channel_max")}
    return named | {"channels": [config.width(r) for r in config.resolutions]}
