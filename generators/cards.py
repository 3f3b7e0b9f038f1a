"""Our own checkpoints: a safetensors file of weights and, beside it, a card: JSON that says what they are.

The card holds the architecture, the training data, seed, metrics and licence, and the SHA-256 of the weights' file,
without which nothing is read.  Arrays that describe the generator (statistics of w, directions, the residual's
spread) travel in the weights' file under names of their own.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from neuropyro.generators.architecture import fill
from neuropyro.generators.config import DiscriminatorConfig, GeneratorConfig
from neuropyro.generators.discriminator import Discriminator
from neuropyro.generators.errors import CheckpointError
from neuropyro.generators.stylegan2 import Generator

__all__ = ["Card", "card_path", "check_target", "read_safetensors", "save_generator"]

FORMAT = "neuropyro-generator-1"
REQUIRED = ("format", "name", "training_data", "seed", "metrics", "licence", "architecture", "sha256")
MAY_BE_NULL = ("seed",)
MAPPINGS = ("metrics", "details", "architecture")


@dataclass(frozen=True)
class Card:
    """What a generator's weights are and where they come from.

    Parameters
    ----------
    name
        Short name, as ``load_generator`` takes it.
    training_data
        What the generator was trained on.
    seed
        Seed of the training; None where it is not known, as of a file converted from another format.
    metrics
        Quality by name of the measure.
    licence
        Licence of the weights.
    details
        Anything else that JSON can hold: the training's command and settings, measured effects of directions.
    arrays
        Tensors that describe the generator, by name, such as ``"latents.mean"``.
    sha256
        SHA-256 of the weights' file; set on saving and checked on loading.

    Examples
    --------
    >>> Card("mine", "slices of 40 brains", seed=1, metrics={"psnr": 31.0}, licence="MIT").metrics["psnr"]
    31.0
    """

    name: str
    training_data: str
    seed: int | None
    metrics: Mapping[str, float]
    licence: str
    details: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Tensor] = field(default_factory=dict)
    sha256: str = ""


def card_path(path: Path) -> Path:
    """Where the card of the weights at ``path`` lies.

    Examples
    --------
    >>> card_path(Path("weights/brains64.safetensors")).as_posix()
    'weights/brains64.json'
    """
    return path.with_suffix(".json")


def save_generator(
    generator: Generator, path: str | Path, card: Card, discriminator: Discriminator | None = None
) -> Card:
    """Write weights and card.

    Parameters
    ----------
    generator
        The generator.
    path
        The weights' file, ending in ``.safetensors``; the card lies beside it, ending in ``.json``.
    card
        What the weights are; its SHA-256 is filled in.
    discriminator
        Saved in the same file where given.

    Returns
    -------
    Card
        The card as written.

    Raises
    ------
    CheckpointError
        Where the path ends otherwise or its folder does not exist; nothing has been written then.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.generators import load_generator
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = f"{folder}/mine.safetensors"
    ...     card = save_generator(load_generator("brains64"), path, Card("mine", "phantoms", None, {}, "MIT"))
    ...     print(load_generator(path).card.name, len(card.sha256))
    mine 64
    """
    path = Path(path)
    check_target(path)
    tensors = _prefixed("generator.", generator.state_dict()) | _prefixed("card.", card.arrays)
    architecture: dict[str, Any] = {"generator": generator.config.to_dict()}
    if discriminator is not None:
        tensors |= _prefixed("discriminator.", discriminator.state_dict())
        architecture["discriminator"] = discriminator.config.to_dict()
    content = safetensors.torch.save(tensors)
    card = dataclasses.replace(card, sha256=hashlib.sha256(content).hexdigest())
    text = json.dumps({"format": FORMAT, **_card_fields(card), "architecture": architecture}, indent=2)
    _replace_file(path, content)
    _replace_file(card_path(path), f"{text}\n".encode())
    return card


def check_target(path: Path) -> None:
    """Refuse a path that weights cannot be written to.

    Raises
    ------
    CheckpointError
        Where it does not end in ``.safetensors``, or its folder does not exist.

    Examples
    --------
    >>> check_target(Path("brains.safetensors"))  # nothing is written
    >>> check_target(Path("b.pkl"))
    Traceback (most recent call last):
        ...
    neuropyro.generators.errors.CheckpointError: b.pkl: give a path that ends in .safetensors, in a folder that exists
    """
    if path.suffix != ".safetensors" or not path.parent.is_dir():
        raise CheckpointError(f"{path}: give a path that ends in .safetensors, in a folder that exists")


def _card_fields(card: Card) -> dict[str, Any]:
    """Fields of the card that its JSON holds."""
    return {f.name: getattr(card, f.name) for f in dataclasses.fields(card) if f.name != "arrays"}


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors for writing: on the CPU, contiguous, none sharing memory, under longer names."""
    return {f"{prefix}{name}": t.detach().cpu().clone().contiguous() for name, t in tensors.items()}


def _replace_file(path: Path, content: bytes) -> None:
    """Write a file in one step, so that a kill leaves the old one or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def read_safetensors(path: Path, content: bytes) -> tuple[Card, Generator, Discriminator | None]:
    """Read weights whose SHA-256 is the card's.

    Parameters
    ----------
    path
        The weights' file, for its card.
    content
        Its bytes.

    Returns
    -------
    card, generator, discriminator
        The last None where the file holds none.

    Raises
    ------
    CheckpointError
        Where the card is missing, incomplete, or of another file.

    Examples
    --------
    >>> import tempfile
    >>> G = Generator(GeneratorConfig(8, z_dim=4, w_dim=4, channels=(4, 4)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "small.safetensors"
    ...     _ = save_generator(G, path, Card("small", "phantoms", 0, {}, "MIT"))
    ...     card, again, _ = read_safetensors(path, path.read_bytes())
    ...     read_safetensors(path, path.read_bytes() + b" ")
    Traceback (most recent call last):
        ...
    neuropyro.generators.errors.CheckpointError: its SHA-256 is not the one in small.json: fetch both files again
    >>> card.licence, torch.equal(again.synthesis.b4.const, G.synthesis.b4.const)  # of the file as it was
    ('MIT', True)
    """
    fields = _read_card(card_path(path))
    if hashlib.sha256(content).hexdigest() != fields["sha256"]:
        raise CheckpointError(f"its SHA-256 is not the one in {card_path(path).name}: fetch both files again")
    tensors = safetensors.torch.load(content)
    architecture = fields.pop("architecture")
    with torch.device("meta"):
        generator = Generator(GeneratorConfig.from_dict(architecture["generator"]))
    fill(generator, _part(tensors, "generator."))
    discriminator = None
    if "discriminator" in architecture:
        with torch.device("meta"):
            discriminator = Discriminator(DiscriminatorConfig.from_dict(architecture["discriminator"]))
        fill(discriminator, _part(tensors, "discriminator."))
    known = {f.name for f in dataclasses.fields(Card)} - {"arrays"}
    card = Card(**{k: v for k, v in fields.items() if k in known}, arrays=_part(tensors, "card."))
    return card, generator, discriminator


def _read_card(path: Path) -> dict[str, Any]:
    """Read the fields of the card at ``path``; none of those required may lack."""
    if not path.is_file():
        raise CheckpointError(
            f"its card {path.name} is missing, which names the architecture and the SHA-256; fetch it too, or make "
            "both from the original by `neuropyro generator convert`"
        )
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"its card {path.name} is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise CheckpointError(f"its card {path.name} lacks every field")
    if missing := [name for name in REQUIRED if not _present(fields, name)]:
        raise CheckpointError(f"its card {path.name} lacks {', '.join(missing)}")
    if wrong := [name for name in MAPPINGS if not isinstance(fields.get(name, {}), dict)]:
        raise CheckpointError(f"its card {path.name} has {', '.join(wrong)} that should be objects")
    if fields["format"] != FORMAT:
        raise CheckpointError(f"its card {path.name} is of format {fields['format']!r}; this version reads {FORMAT!r}")
    return fields


def _present(fields: Mapping[str, Any], name: str) -> bool:
    """Whether a card says anything under that name."""
    return fields.get(name) not in (None, "") or (name in MAY_BE_NULL and name in fields and fields[name] is None)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names start with ``prefix``, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
