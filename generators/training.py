"""Training of a StyleGAN2 generator: the loop over batches, the run's folder, log and samples.

Data come through a callable (:mod:`neuropyro.generators.datasets`).  A run is a folder: ``state.safetensors``, from
which it resumes, ``log.jsonl``, a line for every interval, and ``samples-<images>.png``.  What a step does is in
:mod:`neuropyro.generators.training_step`.
"""

import dataclasses
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuropyro.generators.checkpoints import Checkpoint
from neuropyro.generators.codes import Codes, weigh_inputs
from neuropyro.generators.config import DiscriminatorConfig, GeneratorConfig
from neuropyro.generators.datasets import Dataset
from neuropyro.generators.distributed import World, join_world
from neuropyro.generators.sample_grids import draw_samples, save_grid
from neuropyro.generators.spread import SpreadLoss
from neuropyro.generators.training_config import TrainingConfig
from neuropyro.generators.training_state import TrainingState, load_state, new_state, save_state, take_weights
from neuropyro.generators.training_step import train_step

__all__ = ["Measure", "train_generator"]


Measure = Callable[[TrainingState], dict[str, float]]
"""Figures of a state, by name."""

Tell = Callable[[dict[str, Any]], None]
"""What is to be done with each entry of the log, beside writing it."""


def train_generator(
    dataset: Dataset,
    folder: str | Path,
    generator: GeneratorConfig,
    discriminator: DiscriminatorConfig,
    config: TrainingConfig | None = None,
    *,
    device: torch.device | str = "cpu",
    measure: Measure | None = None,
    tell: Tell | None = None,
    start: Checkpoint | None = None,
    codes: Codes | None = None,
) -> TrainingState:
    """Train a generator, from the folder's last state where it has one.

    Parameters
    ----------
    dataset
        ``dataset(indices)`` (B,) to images (B, C, H, W) in [-1, 1]; asked for each index once, and for the first ones
        again where ``config.spread_weight`` is positive.
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
    tell
        Called by the first process with each entry of the log.
    start
        Whose weights a new run begins with; weights drawn from the seed if None.
    codes
        The z of each of the dataset's images, where known; with ``config.code_weight`` positive the generator learns to
        make of each z its image.  A new run without ``start`` begins with their
        :func:`neuropyro.generators.codes.weigh_inputs`.

    Returns
    -------
    TrainingState
        At the end of the run.

    Raises
    ------
    ValueError
        The folder holds a run of other networks, the batch does not suit the processes, the dataset gives images
        of another shape, or codes are missing or those of mirrored images.

    Warns
    -----
    UserWarning
        A run on the CPU goes on with another number of threads, by which its last bits will differ.

    Examples
    --------
    >>> import tempfile
    >>> networks = GeneratorConfig(8, z_dim=4, w_dim=4, channels=(4, 4)), DiscriminatorConfig(8, channels=(4, 4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for images in (4, 8):  # the second run goes on where the first ended
    ...         config = TrainingConfig(images=images, batch=4, log_images=4)
    ...         state = train_generator(lambda i: torch.zeros(len(i), 1, 8, 8), folder, *networks, config)
    ...     print(state.step, sorted(path.name for path in Path(folder).iterdir()))
    2 ['log.jsonl', 'state.safetensors']
    """
    config, world, folder = config or TrainingConfig(), join_world(device), Path(folder)
    _check_shares(config, world)
    _check_codes(config, codes, generator)
    folder.mkdir(parents=True, exist_ok=True)
    state = new_state(generator, discriminator, config.adam(), config.seed, world.device, config.muon_dtype)
    if (folder / "state.safetensors").exists():
        load_state(state, folder / "state.safetensors")
    else:
        _begin(state, start, codes)
    if not config.noise:
        _silence(state)
    _check_images(dataset(torch.arange(1)), generator)
    spread = _spread_loss(dataset, config, world)
    _note_config(state, config)
    diary = _Diary(folder, config, state, measure, tell) if world.rank == 0 else None
    while state.images < config.images:
        indices = _indices(state, config, world)
        real = dataset(indices).to(world.device).contiguous(memory_format=torch.channels_last)
        z = None if codes is None or config.code_weight <= 0 else codes(indices).to(world.device)
        figures = train_step(state, real, config, world, spread, z)
        if diary is not None:
            diary.record(figures)
    if diary is not None:
        save_state(state, folder / "state.safetensors")
    world.barrier()  # a next run of the same folder begins with what was written
    return state


def _indices(state: TrainingState, config: TrainingConfig, world: World) -> Tensor:
    share = config.batch // world.size
    return state.images + world.rank * share + torch.arange(share)


def _begin(state: TrainingState, start: Checkpoint | None, codes: Codes | None) -> None:
    """Take what a new run begins with."""
    if start is not None:
        take_weights(state, start)
    elif codes is not None:
        for G in (state.generator, state.average):
            weigh_inputs(G, codes.scales)


@torch.no_grad()
def _silence(state: TrainingState) -> None:
    """Give noise the strength 0, from which it does not move where it is left out."""
    for layer in [*state.generator.synthesis.layers, *state.average.synthesis.layers]:
        if layer.noisy:
            layer.noise_strength.zero_()


def _spread_loss(dataset: Dataset, config: TrainingConfig, world: World) -> SpreadLoss | None:
    if config.spread_weight <= 0:
        return None
    parts = torch.split(torch.arange(config.spread_images), 100)
    return SpreadLoss.of(torch.cat([dataset(part) for part in parts]).to(world.device))


def _check_shares(config: TrainingConfig, world: World) -> None:
    if config.batch % world.size:
        raise ValueError(f"a batch of {config.batch} does not divide among {world.size} processes")


def _check_codes(config: TrainingConfig, codes: Codes | None, generator: GeneratorConfig) -> None:
    if codes is not None and len(codes.scales) != generator.z_dim:
        raise ValueError(f"codes have {len(codes.scales)} coordinates, the generator's z has {generator.z_dim}")
    if config.code_weight > 0 and config.mirror:
        raise ValueError("codes are those of the images as they are: train with mirror=False, or a code_weight of 0")
    if (codes is None or config.code_weight <= 0) and config.adversarial_from > 0:
        raise ValueError("adversarial_from is positive and there are no codes with a code_weight: nothing to learn")


def _check_images(images: Tensor, generator: GeneratorConfig) -> None:
    wanted = (generator.img_channels, generator.img_resolution, generator.img_resolution)
    if images.ndim != 4 or tuple(images.shape[1:]) != wanted:
        raise ValueError(f"the dataset gives images of shape {tuple(images.shape[1:])}, the generator makes {wanted}")


def _note_config(state: TrainingState, config: TrainingConfig) -> None:
    now = {"config": dataclasses.asdict(config), "threads": torch.get_num_threads()}
    last = state.history[-1] if state.history else {}
    if last.get("threads") not in (None, now["threads"]) and state.path_mean.device.type == "cpu":
        warnings.warn(
            f"the run had {last['threads']} threads so far and has {now['threads']} now: to the last bit its weights "
            f"will not be those of an uninterrupted run (OMP_NUM_THREADS={last['threads']} makes them so)",
            stacklevel=3,
        )
    # Settings under which no image was shown leave no trace: a run by stages passes through those that are over.
    shown = [entry for entry in state.history if entry["images"] < state.images]
    if not shown or any(shown[-1].get(key) != value for key, value in now.items()):
        shown.append({"images": state.images, **now})
    state.history = shown


class _Diary:
    """Log, samples and states of a run, kept by the first process."""

    def __init__(
        self,
        folder: Path,
        config: TrainingConfig,
        state: TrainingState,
        measure: Measure | None,
        tell: Tell | None,
    ) -> None:
        self.folder, self.config, self.state = folder, config, state
        self.measure, self.tell = measure, tell
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
        if self.tell is not None:
            self.tell(entry)
