"""The state of a running fit in a folder, from which a killed fit goes on bit by bit as if it had been left alone.

One safetensors file a stage: the guide's tensors, Adam's moments, the losses, the state of the random number
generators, and the rest as JSON in the file's header.  A file is written beside the old one and then takes its place,
so that a kill at any moment leaves a whole one.
"""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

__all__ = ["Checkpoint", "CheckpointError"]


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and the remedy.

    Examples
    --------
    >>> import tempfile
    >>> guide = torch.nn.Linear(1, 1)
    >>> adam = torch.optim.Adam(guide.parameters())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Checkpoint(folder, 60.0, "one fit").write("mode", guide, adam, [], {})
    ...     try:
    ...         _ = Checkpoint(folder, 60.0, "another fit").read("mode", guide, adam)
    ...     except CheckpointError as error:
    ...         print(str(error).partition("; ")[2])
    give another folder, or remove it to begin anew
    """


class Checkpoint:
    """Keeps the stages of one fit.

    Parameters
    ----------
    folder
        Where; made if need be.
    every
        Seconds between two writes of a running stage.
    identity
        What the fit is of (data, model, settings): a checkpoint of another is refused.

    Examples
    --------
    >>> import tempfile
    >>> guide = torch.nn.Linear(1, 1)
    >>> adam = torch.optim.Adam(guide.parameters())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = Checkpoint(folder, every=60.0, identity="this fit")
    ...     kept.write("mode", guide, adam, [30.0, 20.5], {"attempt": 0})
    ...     kept.read("mode", guide, adam)
    ([30.0, 20.5], {'attempt': 0})
    """

    def __init__(self, folder: str | Path, every: float, identity: str) -> None:
        self.folder = Path(folder)
        self.every = every
        self.identity = identity
        self.folder.mkdir(parents=True, exist_ok=True)
        self._written = time.monotonic()

    def is_due(self) -> bool:
        """Whether it is time to write."""
        return time.monotonic() - self._written >= self.every

    def has(self, stage: str) -> bool:
        """Whether there is a state of this stage."""
        return self._path(stage).is_file()

    def write(
        self,
        stage: str,
        guide: torch.nn.Module,
        optimiser: torch.optim.Adam,
        losses: list[float],
        facts: dict[str, Any],
    ) -> None:
        """Keep a stage's state."""
        tensors = {f"guide.{name}": tensor for name, tensor in guide.state_dict().items()}
        for number, moments in optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{name}": tensor for name, tensor in moments.items()}
        tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
        tensors["random.cpu"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        header = {"identity": self.identity, "facts": json.dumps(facts)}
        path = self._path(stage)
        beside = path.with_suffix(".new")
        kept = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        beside.write_bytes(save(kept, header))
        beside.replace(path)
        self._written = time.monotonic()

    def read(
        self, stage: str, guide: torch.nn.Module, optimiser: torch.optim.Adam
    ) -> tuple[list[float], dict[str, Any]]:
        """Put a kept state into guide, optimiser and random number generators; returns the losses and the facts.

        Raises
        ------
        CheckpointError
            Where the file is damaged or belongs to another fit.
        """
        tensors, header = self._load(self._path(stage))
        guide.load_state_dict(_under("guide.", tensors))
        optimiser.load_state_dict(optimiser.state_dict() | {"state": _moments(_under("adam.", tensors))})
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])
        return tensors["losses"].tolist(), json.loads(header["facts"])

    def _load(self, path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                # Cloned, since sums over memory that is aligned otherwise may round otherwise.
                tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (no mapping)
        except Exception as error:
            raise CheckpointError(f"{path}: damaged ({error}); remove it to begin anew") from None
        if header.get("identity") != self.identity:
            raise CheckpointError(
                f"{path}: the checkpoint of another fit (other data, model, guide or settings); "
                "give another folder, or remove it to begin anew"
            )
        return tensors, header

    def _path(self, stage: str) -> Path:
        return self.folder / (re.sub(r"[^a-z0-9]+", "-", stage.lower()) + ".safetensors")


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _moments(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, key = name.split(".")
        state.setdefault(int(number), {})[key] = tensor
    return state
