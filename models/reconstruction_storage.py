"""A reconstruction's model in a folder, beside its fit: settings as JSON, arrays as safetensors, nothing executed.

The generator itself is not copied: the settings hold its name or path and a SHA-256 of its weights, which is checked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from neuropyro.generators.checkpoints import load_generator
from neuropyro.generators.residual_cards import residual_in
from neuropyro.models.corruption_operator import Corruption, CorruptionError
from neuropyro.models.corruption_storage import corruption_from_settings, corruption_settings
from neuropyro.models.reconstruction_pose import PosePrior

if TYPE_CHECKING:
    from neuropyro.models.reconstruction import LatentReconstruction

__all__ = ["digest_of_network", "digests_of_model", "load_reconstruction", "save_reconstruction"]

SETTINGS, ARRAYS = "reconstruction.json", "reconstruction.safetensors"
PLAIN = (
    "prior",
    "feature_sigma",
    "layer_correlation",
    "sigma_prior",
    "noise_mode",
    "starts",
    "search_steps",
    "candidates",
    "preset",
)
"""Arguments of the model that JSON can hold."""


def save_reconstruction(model: LatentReconstruction, folder: Path, generator: str) -> None:
    """Write ``reconstruction.json`` and ``reconstruction.safetensors``.

    Parameters
    ----------
    generator
        Name or path from which :func:`~neuropyro.generators.load_generator` reads the model's.

    Raises
    ------
    CorruptionError
        Where the corruption cannot be written down.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.generators import load_generator
    >>> from neuropyro.models import LatentReconstruction
    >>> from neuropyro.models.corruption import Downsample
    >>> model = LatentReconstruction(load_generator("brains64"), Downsample(8), sigma=0.02)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_reconstruction(model, Path(folder), "brains64")
    ...     sorted(path.name for path in Path(folder).iterdir())
    ['reconstruction.json', 'reconstruction.safetensors']
    """
    described, tensors = corruption_settings(model.corruption)
    arrays = {f"corruption.{name}": tensor for name, tensor in tensors.items()}
    if model.labels is not None:
        arrays["labels"] = model.labels
    if model.residual is not None:
        arrays |= model.residual.to_arrays()
    said = {
        "generator": generator,
        "weights": digest_of_network(model.generator),
        "corruption": described,
        "arguments": {name: getattr(model, name) for name in PLAIN}
        | {"sigma": model.given_sigma, "colinearity": model.given_colinearity}
        | {"residual_prior": model.given_residual_prior}
        | {"pose": None if model.pose is None else asdict(model.pose)},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SETTINGS).write_text(json.dumps(said, indent=2) + "\n")
    (folder / ARRAYS).write_bytes(save({name: tensor.cpu().contiguous().clone() for name, tensor in arrays.items()}))


def load_reconstruction(folder: str | Path, generator: Any = None, features: Any = None) -> LatentReconstruction:
    """Read the model that :func:`save_reconstruction` wrote.

    Parameters
    ----------
    generator
        In place of the one that is named in the folder; its weights must be the same.
    features
        Perceptual features, which are not saved.

    Raises
    ------
    CorruptionError
        Where files are missing or damaged, or the generator is another.

    Examples
    --------
    >>> import tempfile
    >>> from neuropyro.generators import load_generator
    >>> from neuropyro.models import LatentReconstruction
    >>> from neuropyro.models.corruption import Downsample
    >>> model = LatentReconstruction(load_generator("brains64"), Downsample(8), sigma=0.02)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_reconstruction(model, Path(folder), "brains64")
    ...     again = load_reconstruction(folder)
    >>> repr(again) == repr(model), again.sigma
    (True, 0.02)
    """
    from neuropyro.models.reconstruction import LatentReconstruction

    folder = Path(folder)
    try:
        said, arrays = json.loads((folder / SETTINGS).read_text()), load_file(folder / ARRAYS)
        described, arguments = said["corruption"], dict(said["arguments"])
    except Exception as error:  # whatever a missing or damaged file provokes
        raise CorruptionError(f"{folder}: no reconstruction, or a damaged one ({error}); run it again") from error
    network = load_generator(said["generator"]) if generator is None else generator
    if digest_of_network(network) != said["weights"]:
        raise CorruptionError(f"{folder}: made with another generator than {said['generator']} is now; give that one")
    prefix = "corruption."
    tensors = {name.removeprefix(prefix): t for name, t in arrays.items() if name.startswith(prefix)}
    pairs = ("sigma_prior", "residual_prior")
    arguments |= {name: None if arguments[name] is None else tuple(arguments[name]) for name in pairs}
    arguments["pose"] = None if arguments.get("pose") is None else PosePrior(**arguments["pose"])
    return LatentReconstruction(
        network,
        corruption_from_settings(described, tensors),
        residual=residual_in(arrays),
        labels=arrays.get("labels"),
        features=features,
        **arguments,
    )


def digest_of_network(network: Any) -> str:
    """SHA-256 of a network's tensors, or of its name where it has none.

    Examples
    --------
    >>> one, other = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    >>> before = digest_of_network(other) == digest_of_network(one)
    >>> _ = other.load_state_dict(one.state_dict())
    >>> before, digest_of_network(other) == digest_of_network(one)
    (False, True)
    """
    tensors = network.state_dict() if isinstance(network, torch.nn.Module) else {}
    return _digest_of_tensors(tensors, type(network).__name__)


def _digest_of_tensors(tensors: Mapping[str, Tensor], name: str = "") -> str:
    """SHA-256 of a name and of tensors by name."""
    digest = hashlib.sha256(name.encode())
    for key, tensor in sorted(tensors.items()):
        digest.update(key.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _digest_of_corruption(corruption: Corruption) -> str:
    """SHA-256 of what a corruption does; of its parts' tensors where it cannot be written down."""
    try:
        settings, tensors = corruption_settings(corruption)
    except CorruptionError:
        return digest_of_network(corruption)
    return _digest_of_tensors(tensors, json.dumps(settings, sort_keys=True))


def digests_of_model(model: LatentReconstruction) -> tuple[str, ...]:
    """Return digests of its generator, corruption, features, residual and labels.

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> from neuropyro.models import LatentReconstruction
    >>> from neuropyro.models.corruption import Downsample
    >>> model = LatentReconstruction(load_generator("brains64"), Downsample(8, noise=0.02))
    >>> other = model.with_corruption(Downsample(4, noise=0.02))
    >>> [a == b for a, b in zip(digests_of_model(model), digests_of_model(other))]
    [True, False, True, True, True]
    """
    network = getattr(getattr(model.generator, "card", None), "sha256", "") or digest_of_network(model.generator)
    features = "" if model.features is None else digest_of_network(model.features)
    residual = "" if model.residual is None else _digest_of_tensors(model.residual.to_arrays())
    labels = "" if model.labels is None else _digest_of_tensors({"labels": model.labels})
    return network, _digest_of_corruption(model.corruption), features, residual, labels
