"""Where data live: device, dtype, and a fingerprint to know them by."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["choose_device", "described", "fingerprint", "prepare"]


def choose_device(device: torch.device | str | None) -> torch.device:
    """Return the device asked for, else CUDA where there is one, else the CPU.

    Raises
    ------
    ValueError
        Where this machine has no such device.

    Examples
    --------
    >>> str(choose_device("cpu"))
    'cpu'
    >>> choose_device("brain")
    Traceback (most recent call last):
        ...
    ValueError: device brain: not on this machine, or no device that PyTorch knows; cpu always is
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device {device}: not on this machine, or no device that PyTorch knows; cpu always is"
        ) from error
    return torch.device(device)


def prepare(model: Callable[..., Any], data: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Let the model prepare the data, or else move the tensors and arrays in them to the device and dtype.

    Raises
    ------
    ValueError
        Where the model cannot be called, as data cannot that were given in its place.

    Examples
    --------
    >>> prepare(print, {"y": np.ones(2), "visits": [torch.arange(2)], "name": "x"}, torch.device("cpu"), torch.float32)
    {'y': tensor([1., 1.]), 'visits': [tensor([0, 1])], 'name': 'x'}
    """
    if not callable(model):
        raise ValueError(
            f"model: of type {type(model).__name__}, which is no model; give the model first, then the data"
        )
    if hasattr(model, "prepare"):
        return model.prepare(data, device, dtype)
    return _moved(data, device, dtype)


def _moved(data: Any, device: torch.device, dtype: torch.dtype) -> Any:
    if isinstance(data, np.ndarray):
        data = torch.as_tensor(data)
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype if data.is_floating_point() else None)
    if isinstance(data, Mapping):
        return {key: _moved(value, device, dtype) for key, value in data.items()}
    if type(data) in (tuple, list):
        return type(data)(_moved(value, device, dtype) for value in data)
    return data


def fingerprint(data: Any) -> str:
    """Return the data's own ``hash``, or a SHA-256 of the tensors and arrays in them.

    Examples
    --------
    >>> [fingerprint(y) == fingerprint(np.zeros(3, np.float32)) for y in (torch.zeros(3), torch.zeros(3).double())]
    [True, False]
    """
    own = getattr(data, "hash", None)
    if isinstance(own, str):
        return own
    digest = hashlib.sha256()
    _digest(data, digest)
    return digest.hexdigest()


def _digest(data: Any, digest: Any) -> None:
    if isinstance(data, Tensor):
        data = data.detach().cpu().numpy()
    if isinstance(data, np.ndarray):
        digest.update(f"{data.dtype.str} {data.shape};".encode() + np.ascontiguousarray(data).tobytes())
    elif isinstance(data, Mapping):
        for key in sorted(data):
            digest.update(f"{key}=".encode())
            _digest(data[key], digest)
    elif isinstance(data, tuple | list):
        for value in data:
            _digest(value, digest)
    elif dataclasses.is_dataclass(data) and not isinstance(data, type):
        own = [field.name for field in dataclasses.fields(data) if field.compare]  # the others follow from these
        _digest({name: getattr(data, name) for name in own}, digest)
    elif "__repr__" not in {name for kind in type(data).__mro__[:-1] for name in vars(kind)}:  # an address at most
        digest.update(type(data).__qualname__.encode())
        _digest(vars(data) if hasattr(data, "__dict__") else (), digest)
    else:
        digest.update(described(data).encode())


def described(thing: Any) -> str:
    """Return an object's ``repr`` without addresses in memory, so that it is the same in another process.

    Examples
    --------
    >>> described([object()])
    '[<object object>]'
    """
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(thing))
