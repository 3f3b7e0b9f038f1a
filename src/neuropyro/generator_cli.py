"""The command line of generators: what a checkpoint holds, conversion to our format, and training."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

if TYPE_CHECKING:  # PyTorch takes a second to import, and --help needs none of it
    import torch

    from neuropyro.generators import Card, Checkpoint, DiscriminatorConfig, Generator, GeneratorConfig
    from neuropyro.generators.datasets import Dataset
    from neuropyro.generators.training_config import TrainingConfig
    from neuropyro.generators.training_state import TrainingState

__all__ = ["generator"]

generator = App(name="generator", help="Image generators: what a checkpoint holds, conversion, training.")

UNSTATED = "not stated in the file"
PHANTOMS = "phantoms"
VOLUMES = (".nii", ".nii.gz")


@generator.command
def info(name_or_path: str) -> None:
    """Say what a generator's checkpoint holds, whatever wrote it; nothing in the file is executed.

    Parameters
    ----------
    name_or_path
        A bundled name such as brains64, or a file: NVIDIA's or TensorFlow's .pkl, rosinality's .pt, our .safetensors.
    """
    from neuropyro.generators import load_checkpoint

    pairs = list(_described(load_checkpoint(name_or_path)))
    width = max(len(name) for name, _ in pairs)
    print("\n".join(f"{name:{width}}  {value}" for name, value in pairs))


@generator.command
def convert(
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
    print(f"{target} and {card_path(target).name}: from {checkpoint.format} file {checkpoint.path}")
    if checkpoint.training_generator is not None:
        print("its generator without averaging was left out", file=sys.stderr)


@generator.command
def train(
    data: list[str],
    /,
    *,
    out: Path,
    resolution: int = 64,
    colours: Literal[1, 3] = 1,
    plane: Literal["coronal", "axial", "sagittal"] = "coronal",
    every: int = 1,
    channel_base: int = 4096,
    channel_max: int = 128,
    latent: int = 128,
    mapping_layers: int = 4,
    images: int = 1_000_000,
    batch: int = 16,
    learning_rate: float = 0.0025,
    r1_weight: float = 1.0,
    path_weight: float = 0.0,
    style_mixing: float = 0.9,
    average_images: int = 10_000,
    mirror: bool = True,
    augmentation: float | None = None,
    precision: Literal["float32", "bfloat16"] = "float32",
    log_images: int = 1_600,
    sample_images: int = 16_000,
    state_images: int = 8_000,
    seed: int = 0,
    training_data: str | None = None,
    licence: str = UNSTATED,
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
    resolution
        Side of the images in pixels, a power of two.
    colours
        1 for grey, 3 for colour pictures.
    plane
        Of phantoms and of slices of volumes.
    every
        Take every so manyth slice of a volume.
    channel_base
        Width of the networks at r pixels is this divided by r, or channel-max if that is less.
    channel_max
        Largest width of the networks.
    latent
        Dimension of z and of w.
    mapping_layers
        Depth of the network from z to w.
    images
        How many images to show, in all.
    batch
        Images a step, over all processes.
    learning_rate
        Of both networks.
    r1_weight
        Of the discriminator's gradient penalty.
    path_weight
        Of the path-length penalty; 0 turns it off.
    style_mixing
        Probability with which an image's layers take their w from two z.
    average_images
        Half-life of the weights' average, in images.
    mirror
        Whether half of the images are mirrored left to right.
    augmentation
        Mean sign of real logits that adaptive augmentation aims at: .6 where there are few images.
    precision
        bfloat16 is faster where the hardware has it.
    log_images
        After how many images a line is logged.
    sample_images
        After how many images a grid of samples is drawn.
    state_images
        After how many images the state is written.
    seed
        Of everything random; on the CPU the same seed gives the same weights.
    training_data
        For the card: what the data are; what was given as data if not given.
    licence
        For the card: under which licence the weights come.
    """
    from neuropyro.generators import DiscriminatorConfig, GeneratorConfig
    from neuropyro.generators.training_config import TrainingConfig

    sizes: dict[str, Any] = {"img_resolution": resolution, "img_channels": colours}
    sizes |= {"channel_base": channel_base, "channel_max": channel_max}
    maker = GeneratorConfig(**sizes, z_dim=latent, w_dim=latent, mapping_layers=mapping_layers)
    networks = maker, DiscriminatorConfig(**sizes)
    config = TrainingConfig(
        images=images,
        batch=batch,
        learning_rate=learning_rate,
        discriminator_learning_rate=learning_rate,
        r1_weight=r1_weight,
        path_weight=path_weight,
        style_mixing=style_mixing,
        average_images=average_images,
        mirror=mirror,
        augmentation=augmentation,
        precision=precision,
        log_images=log_images,
        sample_images=sample_images,
        state_images=state_images,
        seed=seed,
    )
    place = _device(device)
    dataset, described = _dataset(data, resolution, colours, plane, every, seed)
    _train(dataset, out, networks, config, place, {"training_data": training_data or described, "licence": licence})


def _train(
    dataset: Dataset,
    out: Path,
    networks: tuple[GeneratorConfig, DiscriminatorConfig],
    config: TrainingConfig,
    device: torch.device,
    said: Mapping[str, str],
) -> None:
    """Train, and let the first process write the generator."""
    from neuropyro.generators.distributed import join_world, leave_world
    from neuropyro.generators.training import train_generator

    state = train_generator(dataset, out, *networks, config, device=device, tell=_tell)
    first = join_world(device).rank == 0
    leave_world()
    if first:
        path = _write_generator(state, out, said)
        print(f"{state.images} images seen; generator: {path}")


def _write_generator(state: TrainingState, out: Path, said: Mapping[str, str]) -> Path:
    from neuropyro.generators import Card, latent_statistics, save_generator

    details = {"images_seen": state.images, "command": " ".join(sys.argv), "history": state.history}
    seed = state.history[0]["config"]["seed"]
    arrays = latent_statistics(state.average).to_arrays()
    card = Card(out.resolve().name, metrics={}, seed=seed, details=details, arrays=arrays, **said)
    save_generator(state.average, out / "generator.safetensors", card, state.discriminator)
    return out / "generator.safetensors"


def _tell(entry: Mapping[str, Any]) -> None:
    """Print one entry of the log."""
    print("  ".join(f"{name} {value:g}" for name, value in entry.items()), file=sys.stderr, flush=True)


def _device(name: str | None) -> torch.device:
    """Return the device of that name, if this machine has it; CUDA where there is one if None."""
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"--device {name}: not on this machine, or no device that PyTorch knows") from error
    return torch.device(name)


def _dataset(data: list[str], resolution: int, colours: int, plane: str, every: int, seed: int) -> tuple[Dataset, str]:
    """Open what the user names, and say in words what it is."""
    from neuropyro.generators.datasets import Shuffled, read_folder, read_nifti_slices

    if data == [PHANTOMS]:
        return _phantoms(resolution, colours, plane, seed)
    folder = Path(data[0]) if len(data) == 1 and Path(data[0]).is_dir() else None
    volumes = sorted(p for p in folder.rglob("*") if p.name.endswith(VOLUMES)) if folder else [Path(d) for d in data]
    if folder and not volumes:
        pictures = read_folder(folder, resolution, colours)
        return Shuffled(pictures, seed), f"{len(pictures)} pictures of the folder {folder.name}"
    if wrong := [str(p) for p in volumes if not p.name.endswith(VOLUMES) or not p.is_file()]:
        raise ValueError(f"{wrong[0]}: neither {PHANTOMS!r}, nor a folder, nor a volume that ends in .nii or .nii.gz")
    if colours != 1:
        raise ValueError("slices of volumes are grey: leave --colours at 1")
    slices = read_nifti_slices(volumes, resolution, plane, every)
    return Shuffled(slices, seed), f"{len(slices)} {plane} slices of {len(volumes)} volumes"


def _phantoms(resolution: int, colours: int, plane: str, seed: int) -> tuple[Dataset, str]:
    """Phantoms without noise, which belongs to the measurement and not to the prior."""
    from neuropyro.data.phantom_recipe import PhantomRecipe
    from neuropyro.data.phantoms import BrainPhantoms

    if colours != 1:
        raise ValueError("phantoms are grey: leave --colours at 1")
    recipe = PhantomRecipe(noise=(0.0, 0.0))
    phantoms = BrainPhantoms(resolution, plane, "train", seed, recipe)  # type: ignore[arg-type]
    return phantoms.images, f"Phantoms: {plane} slices of the MNI152 brain under random diffeomorphisms, without noise"


def _converted_card(checkpoint: Checkpoint, name: str, given: Mapping[str, Any]) -> Card:
    """Build the card of a converted file: the source's own where it has one, else what is known."""
    import dataclasses

    from neuropyro.generators import Card, latent_statistics

    origin = {"file": checkpoint.path.name, "format": checkpoint.format, "sha256": _sha256(checkpoint.path)}
    card = checkpoint.card or Card(name, UNSTATED, None, {}, UNSTATED)
    arrays = {**card.arrays, **latent_statistics(checkpoint.generator).to_arrays()}
    changed = {"name": name, "details": {**card.details, "converted_from": origin}, "arrays": arrays, **given}
    return dataclasses.replace(card, **changed)


def _described(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    """Name and value of each line of ``info``."""
    card, config = checkpoint.card, checkpoint.generator.config
    yield "name", card.name if card else checkpoint.path.stem
    yield "file", str(checkpoint.path)
    yield "format", checkpoint.format
    yield "sha256", card.sha256 if card else _sha256(checkpoint.path)
    yield "licence", card.licence if card else UNSTATED
    yield "training data", card.training_data if card else UNSTATED
    yield "seed", UNSTATED if card is None or card.seed is None else str(card.seed)
    side, kinds = config.img_resolution, config.label_dim
    yield "images", f"{side} x {side} px, {config.img_channels} channel{'s' if config.img_channels > 1 else ''}"
    yield "labels", f"{kinds} numbers" if kinds else "none"
    yield "latents", f"z {config.z_dim}, w {config.w_dim} for each of {config.num_ws} layers"
    yield "generator", _network(checkpoint.generator)
    yield "mapping", f"{config.mapping_layers} layers, learning-rate multiplier {config.lr_multiplier:g}"
    if checkpoint.discriminator is not None:
        yield "discriminator", _network(checkpoint.discriminator)
    yield "without averaging", "yes" if checkpoint.training_generator is not None else "not in the file"
    if card is not None:
        yield from _card_lines(checkpoint.generator, card)


def _network(network: Any) -> str:
    """Architecture, widths and size of a network in words."""
    config, count = network.config, sum(p.numel() for p in network.parameters())
    widths = " ".join(str(config.width(r)) for r in config.resolutions)
    clamp = "" if config.conv_clamp is None else f", clamped at {config.conv_clamp:g}"
    half = f", {config.half_resolutions} resolutions in float16 on a GPU" if config.half_resolutions else ""
    return f"{config.architecture}, channels {widths} (4 px and up), {count:,} parameters{clamp}{half}"


def _card_lines(generator: Generator, card: Card) -> Iterator[tuple[str, str]]:
    from neuropyro.generators.latents import cached_statistics

    if (found := cached_statistics(generator)) is not None:
        spread = f"sd {found.sd.min():.3g} to {found.sd.max():.3g} a dimension, {found.total_sd:.3g} in all"
        yield "w", f"{spread} ({found.draws:,} draws of seed {found.seed}); |mean| {found.mean.norm():.3g}"
    if other := sorted(name for name in card.arrays if not name.startswith("latents.")):
        yield "arrays", ", ".join(other)
    yield from ((f"metric {name}", _number(value)) for name, value in card.metrics.items())
    yield from ((name, str(v)) for name, v in card.details.items() if isinstance(v, str | int | float))


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
