"""What a checkpoint holds, in lines of a name and a value."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from neuropyro.generators import Card, Checkpoint, Generator
from neuropyro.generators.latents import cached_statistics

__all__ = ["UNSTATED", "describe", "sha256"]

UNSTATED = "not stated in the file"


def describe(checkpoint: Checkpoint) -> Iterator[tuple[str, str]]:
    """Name and value of each thing that is known of a checkpoint; what its file does not say is called not stated.

    Examples
    --------
    >>> from neuropyro.generators import load_checkpoint
    >>> said = dict(describe(load_checkpoint("brains64")))
    >>> said["images"], said["sha256"] == sha256(Path(said["file"]))
    ('64 x 64 px, 1 channel', True)
    """
    card, config = checkpoint.card, checkpoint.generator.config
    yield "name", card.name if card else checkpoint.path.stem
    yield "file", str(checkpoint.path)
    yield "format", checkpoint.format
    yield "sha256", card.sha256 if card else sha256(checkpoint.path)
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
    if checkpoint.left_out:
        yield "left out", checkpoint.left_out
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
    if (found := cached_statistics(generator)) is not None:
        spread = f"sd {found.sd.min():.3g} to {found.sd.max():.3g} a dimension, {found.total_sd:.3g} in all"
        yield "w", f"{spread} ({found.draws:,} draws of seed {found.seed}); |mean| {found.mean.norm():.3g}"
    if other := sorted(name for name in card.arrays if not name.startswith("latents.")):
        yield "arrays", ", ".join(other)
    yield from ((f"metric {name}", _number(value)) for name, value in card.metrics.items())
    for name, figures in _group(card, "directions").items():
        if not isinstance(figures, dict):
            continue
        yield f"direction {name}", ", ".join(f"{k} {_number(v)}" for k, v in figures.items())
    for kind in ("residual", "conditional_residual"):
        if residual := _group(card, kind):
            said = ", ".join(f"{k} {_number(v)}" for k, v in residual.items() if not isinstance(v, list))
            yield kind.replace("_", " "), said
    yield from ((name, str(v)) for name, v in card.details.items() if isinstance(v, str | int | float))


def _group(card: Card, name: str) -> dict[str, Any]:
    """Return what a card's details hold under ``name``, if that is of figures by name."""
    found = card.details.get(name)
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def sha256(path: Path) -> str:
    """SHA-256 of a file.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "abc.bin"
    >>> _ = path.write_bytes(b"abc")
    >>> sha256(path)[:16]  # as the standard's first example has it
    'ba7816bf8f01cfea'
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
