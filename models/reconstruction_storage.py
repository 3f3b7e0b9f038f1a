"""A reconstruction's model in a folder, beside its fit: settings as JSON, arrays as safetensors, nothing executed.

The generator itself is not copied: the settings hold its name and the SHA-256 of its weights, which is checked.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch

from neuropyro.models.corruption_operator import Corruption, CorruptionError
from neuropyro.models.corruption_storage import corruption_settings

__all__ = ["digest_of_corruption", "digest_of_network"]


def digest_of_network(network: Any) -> str:
    """SHA-256 of a network's tensors, or of its name where it has none."""
    digest = hashlib.sha256(type(network).__name__.encode())
    if isinstance(network, torch.nn.Module):
        for name, tensor in sorted(network.state_dict().items()):
            digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def digest_of_corruption(corruption: Corruption) -> str:
    """SHA-256 of what a corruption does; of its parts' tensors where it cannot be written down."""
    try:
        settings, tensors = corruption_settings(corruption)
    except CorruptionError:
        return digest_of_network(corruption)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()
