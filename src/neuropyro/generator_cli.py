"""The command line of generators: what a checkpoint holds, conversion to our format, and training."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from neuropyro.console import say
from neuropyro.generator_options import ImageOptions, NetworkOptions, TrainingOptions
from neuropyro.result_folder import refuse_file

if TYPE_CHECKING:  # PyTorch takes a second to import, and --help needs none of it
    import torch

    from neuropyro.generators import Card, Checkpoint, DiscriminatorConfig, GeneratorConfig
    from neuropyro.generators.datasets import Dataset
    from neuropyro.generators.release import Findings
    from neuropyro.generators.training_config import TrainingConfig
    from neuropyro.generators.training_state import TrainingState

__all__ = ["generator"]

FLAT = Parameter(name="*")  # its fields are options of their own
IMAGE, NETWORK, TRAINING = ImageOptions(), NetworkOptions(), TrainingOptions()

generator = App(name="generator", help="Image generators: what a checkpoint holds, conversion, training.")


@generator.command
def _info(name_or_path: str) -> None:
    """Say what a generator's checkpoint holds, whatever wrote it; nothing in the file is executed.

    Parameters
    ----------
    name_or_path
        A bundled name such as brains64, or a file: NVIDIA's or TensorFlow's .pkl, rosinality's .pt, our .safetensors.
    """
    from neuropyro.checkpoint_description import describe
    from neuropyro.generators import load_checkpoint

    pairs = list(describe(load_checkpoint(name_or_path)))
    width = max(len(name) for name, _ in pairs)
    say("\n".join(f"{name:{width}}  {value}" for name, value in pairs), **dict(pairs))


@generator.command
def _convert(
    source: str,
    target: Path,
    *,
    force: bool = False,
    name: str | None = None,
    training_data: str | None = None,
    licence: str | None = None,
    seed: int | None = None,
) -> None:
    """Write a checkpoint of any known format as our safetensors file, with a card beside it.

    What the source does not say stands in the card as not stated, unless it is given here.

    Parameters
    ----------
    source
        A bundled name, or a file that ``generator info`` can read.
    target
        The file to write, ending in .safetensors; its card has the same name and ends in .json.
    force
        Overwrite what is there.
    name
        Name in the card; that of the target if not given.
    training_data
        What the generator was trained on.
    licence
        Licence of the weights.
    seed
        Seed of the training.
    """
    from neuropyro.generators import CheckpointError, load_checkpoint, save_generator
    from neuropyro.generators.cards import card_path, check_target

    check_target(target)
    if present := [str(p) for p in (target, card_path(target)) if p.exists() and not force]:
        raise CheckpointError(f"{' and '.join(present)}: already there; --force overwrites")
    checkpoint = load_checkpoint(source)
    given = {"name": name, "training_data": training_data, "licence": licence, "seed": seed}
    card = _converted_card(checkpoint, target.stem, {k: v for k, v in given.items() if v is not None})
    save_generator(checkpoint.generator, target, card, checkpoint.discriminator)
    files = {"generator": target.resolve(), "card": card_path(target).resolve(), "source_format": checkpoint.format}
    say(f"{target} and {card_path(target).name}: from {checkpoint.format} file {checkpoint.path}", **files)
    if checkpoint.training_generator is not None:
        print("its generator without averaging was left out", file=sys.stderr)
    _tell_left_out(checkpoint)


@generator.command
def _train(
    data: list[str],
    /,
    *,
    out: Path,
    image: Annotated[ImageOptions, FLAT] = IMAGE,
    network: Annotated[NetworkOptions, FLAT] = NETWORK,
    training: Annotated[TrainingOptions, FLAT] = TRAINING,
    weights: str | None = None,
    training_data: str | None = None,
    licence: str = "not stated",
    device: Annotated[str | None, Parameter(help="torch device; CUDA where there is one")] = None,
) -> None:
    """Train a StyleGAN2 generator; the same command again resumes it, and goes on where --images is larger.

    The folder gets log.jsonl, sample grids, state.safetensors to resume from, and in the end generator.safetensors
    with its card, which can be loaded by its path.  Several processes, or GPUs, take their shares of each batch:
    torchrun --nproc-per-node 2 -m neuropyro generator train phantoms --out run

    Parameters
    ----------
    data
        "phantoms" (slices of simulated brains without end), a folder of pictures, or NIfTI volumes (or a folder of
        them), of which slices are taken.
    out
        Folder of the run.
    weights
        Name or file of a generator of the same architecture, whose weights a new run begins with.
    training_data
        For the card: what the data are; what was given as data if not given.
    licence
        For the card: under which licence the weights come.
    """
    refuse_file(out)
    from neuropyro.generators import load_checkpoint
    from neuropyro.inference.placement import choose_device
    from neuropyro.training_data import open_training_data

    networks, config, place = network.configs(image), training.config(), choose_device(device)
    start = load_checkpoint(weights) if weights is not None else None
    if start is not None:
        _tell_left_out(start)
    dataset, held_out, described = open_training_data(data, **asdict(image), seed=config.seed)
    said = {"training_data": training_data or described, "licence": licence}
    _run_training(dataset, held_out, out, networks, config, place, start, said)


def _run_training(
    dataset: Dataset,
    held_out: torch.Tensor | None,
    out: Path,
    networks: tuple[GeneratorConfig, DiscriminatorConfig],
    config: TrainingConfig,
    device: torch.device,
    start: Checkpoint | None,
    said: Mapping[str, str],
) -> None:
    """Train, and let the first process write the generator."""
    from neuropyro.generators.distributed import join_world, leave_world
    from neuropyro.generators.release import write_release
    from neuropyro.generators.training import train_generator

    state = train_generator(dataset, out, *networks, config, device=device, tell=_tell, start=start)
    first = join_world(device).rank == 0
    leave_world()
    if first:
        path, details = out / "generator.safetensors", {"command": " ".join(sys.argv)}
        write_release(state, path, said["training_data"], said["licence"], _inversions(state, held_out), details)
        say(f"{state.images} images seen; generator: {path}", images=state.images, generator=path.resolve())


def _tell_left_out(checkpoint: Checkpoint) -> None:
    """Say what of a file could not be read, if anything."""
    if checkpoint.left_out:
        print(f"{checkpoint.path}: left out is {checkpoint.left_out}", file=sys.stderr)


def _tell(entry: Mapping[str, Any]) -> None:
    """Print one entry of the log."""
    print("  ".join(f"{name} {value:g}" for name, value in entry.items()), file=sys.stderr, flush=True)


def _inversions(state: TrainingState, held_out: torch.Tensor | None) -> Findings | None:
    from neuropyro.generators.release import inversions_of

    return None if held_out is None else inversions_of(state.average, held_out)


def _converted_card(checkpoint: Checkpoint, name: str, given: Mapping[str, Any]) -> Card:
    """Build the card of a converted file: the source's own where it has one, else what is known."""
    import dataclasses

    from neuropyro.checkpoint_description import UNSTATED, sha256
    from neuropyro.generators import Card, latent_statistics

    origin = {"file": checkpoint.path.name, "format": checkpoint.format, "sha256": sha256(checkpoint.path)}
    card = checkpoint.card or Card(name, UNSTATED, None, {}, UNSTATED)
    arrays = {**card.arrays, **latent_statistics(checkpoint.generator).to_arrays()}
    changed = {"name": name, "details": {**card.details, "converted_from": origin}, "arrays": arrays, **given}
    return dataclasses.replace(card, **changed)
