"""One way to load a generator, whoever wrote the file.

==================  =========================================================================
format              what is read
==================  =========================================================================
NVIDIA ``.pkl``     stylegan2-ada-pytorch, and the StyleGAN2 of stylegan3; ``G_ema``, ``G``, ``D``
TensorFlow ``.pkl`` stylegan2 and stylegan2-ada; ``Gs``, ``G``, ``D``
rosinality ``.pt``  stylegan2-pytorch; ``g_ema``, ``g``, ``d``
``.safetensors``    ours, with a card beside it (:mod:`neuropyro.generators.cards`)
==================  =========================================================================

The format is told by the content, not by the name.  Nothing in a file is executed.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from neuropyro.generators.cards import Card, read_safetensors
from neuropyro.generators.discriminator import Discriminator
from neuropyro.generators.errors import CheckpointError
from neuropyro.generators.legacy_tensorflow import NETWORK, tensorflow_discriminator, tensorflow_generator
from neuropyro.generators.nvidia import PERSISTENT, nvidia_discriminator, nvidia_generator
from neuropyro.generators.rosinality import rosinality_discriminator, rosinality_generator
from neuropyro.generators.safe_pickle import Record, SafeUnpickler, record
from neuropyro.generators.stylegan2 import Generator
from neuropyro.generators.torch_stream import MAGIC, read_torch_file, tensor_constructors

__all__ = ["Checkpoint", "bundled_generators", "load_checkpoint", "load_generator"]

SUFFIXES = (".pkl", ".pt", ".safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """The networks of a file.

    Parameters
    ----------
    path
        The file.
    format
        ``"nvidia"``, ``"tensorflow"``, ``"rosinality"`` or ``"safetensors"``.
    generator
        The generator to use: that with averaged weights.
    training_generator
        The generator as training left it, where the file holds it.
    discriminator
        Where the file holds it.
    card
        Of our own files alone.
    left_out
        Why the file's discriminator is not among them, where it holds one that cannot be read; else empty.

    Examples
    --------
    >>> isinstance(load_checkpoint("brains64"), Checkpoint)
    True
    """

    path: Path
    format: str
    generator: Generator
    training_generator: Generator | None = None
    discriminator: Discriminator | None = None
    card: Card | None = None
    left_out: str = ""


def load_generator(
    name_or_path: str | Path, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> Generator:
    """Load a generator, frozen for reconstruction.

    Parameters
    ----------
    name_or_path
        A bundled name such as ``"brains64"``, or the path of a file of any known format.
    device, dtype
        Where and as what to place the weights: the CPU and float32 if None.

    Returns
    -------
    Generator
        With averaged weights where the file has them; its ``card`` is that of the file, or None.
        :func:`load_checkpoint` gives trainable weights, and the file's other networks.

    Raises
    ------
    CheckpointError
        Where there is no such name or file, or the file is damaged, refused or of another kind.

    Examples
    --------
    >>> G = load_generator("brains64")
    >>> G(torch.zeros(1, G.z_dim)).shape
    torch.Size([1, 1, 64, 64])
    """
    return load_checkpoint(name_or_path).generator.to(device=device, dtype=dtype).freeze()


def load_checkpoint(name_or_path: str | Path) -> Checkpoint:
    """Load every network of a file, on the CPU in float32; see :func:`load_generator`.

    Examples
    --------
    >>> checkpoint = load_checkpoint("brains64")
    >>> checkpoint.format, checkpoint.generator.img_resolution
    ('safetensors', 64)
    """
    path = _find(name_or_path)
    try:
        return _read(path, path.read_bytes())
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # whatever a damaged file provokes in a parser
        said = " ".join(str(error).split())
        cause = f" ({type(error).__name__}: {said})" if said else ""
        raise CheckpointError(
            f"{path}: cut short, damaged, or not a generator's checkpoint{cause}; fetch it again"
        ) from error


def bundled_generators() -> list[str]:
    """Names of the generators that come with the package.

    Examples
    --------
    >>> bundled_generators()
    ['brains64']
    """
    folder = resources.files("neuropyro.generators")
    return sorted(f.name.removesuffix(".safetensors") for f in folder.iterdir() if f.name.endswith(".safetensors"))


def _find(name_or_path: str | Path) -> Path:
    """Path of a bundled name or of a file that exists."""
    path = Path(name_or_path)
    if path.is_file():
        return path
    if path.is_dir():
        raise CheckpointError(f"{path}: a folder, not a checkpoint's file")
    names = bundled_generators()
    if str(name_or_path) in names:
        return Path(str(resources.files("neuropyro.generators") / f"{name_or_path}.safetensors"))
    kind = "no such file" if path.suffix in SUFFIXES or len(path.parts) > 1 else "no such generator"
    raise CheckpointError(f"{name_or_path}: {kind}; bundled generators: {', '.join(names) or 'none'}")


def _read(path: Path, content: bytes) -> Checkpoint:
    """Read a file by the format that its first bytes show."""
    if not content:
        raise CheckpointError("the file is empty; fetch it again")
    if content.startswith((b"PK\x03\x04", MAGIC)):
        return _read_rosinality(path, content)
    if content.startswith(b"\x80"):
        return _read_pickle(path, content)
    if content[8:9] == b"{":
        card, generator, discriminator = read_safetensors(path, content)
        generator.card = card
        return Checkpoint(path, "safetensors", generator, discriminator=discriminator, card=card)
    raise CheckpointError(
        "not a generator's checkpoint: known are NVIDIA's and TensorFlow's .pkl, rosinality's .pt, and .safetensors"
    )


def _read_rosinality(path: Path, content: bytes) -> Checkpoint:
    """Read a file that PyTorch wrote."""
    value = read_torch_file(content)
    if not isinstance(value, Mapping) or "g_ema" not in value:
        raise CheckpointError("it is a PyTorch file, but not rosinality's: it has no g_ema")
    average = value.get("latent_avg")
    return Checkpoint(
        path,
        "rosinality",
        rosinality_generator(value["g_ema"], average),
        rosinality_generator(value["g"], average) if value.get("g") is not None else None,
        **_critic(rosinality_discriminator, value.get("d")),
    )


def _read_pickle(path: Path, content: bytes) -> Checkpoint:
    """Read a file of either kind that NVIDIA wrote."""
    constructors = tensor_constructors() | {name: record(name) for name in (PERSISTENT, NETWORK)}
    value = SafeUnpickler(io.BytesIO(content), constructors).load()
    if isinstance(value, tuple) and len(value) == 3:
        training, discriminator, averaged = value
        return Checkpoint(
            path,
            "tensorflow",
            tensorflow_generator(averaged),
            tensorflow_generator(training),
            **_critic(tensorflow_discriminator, discriminator),
        )
    if not isinstance(value, Mapping) or not isinstance(value.get("G_ema"), Record):
        raise CheckpointError("it is a pickle, but not a StyleGAN2 checkpoint: it has neither G_ema nor (G, D, Gs)")
    training = nvidia_generator(value["G"]) if value.get("G") is not None else None
    critic = _critic(nvidia_discriminator, value.get("D"))
    return Checkpoint(path, "nvidia", nvidia_generator(value["G_ema"]), training, **critic)


def _critic(build: Callable[[Any], Discriminator], network: Any) -> dict[str, Any]:
    """Fields of the discriminator; one that cannot be read, of a kind of its own perhaps, keeps no generator back."""
    if network is None:
        return {}
    try:
        return {"discriminator": build(network)}
    except Exception as error:  # whatever another network provokes in a parser
        cause = error if isinstance(error, CheckpointError) else f"{type(error).__name__}: {error}"
        return {"left_out": f"the discriminator, which cannot be read ({cause})"}
