"""Torch's default dtype, for a while: Pyro makes tensors of its own in it, and multiplies densities by them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["default_dtype"]


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Make ``dtype`` torch's default for a while: Pyro's sums over enumerated sites take it for their weights.

    Examples
    --------
    >>> with default_dtype(torch.float64):
    ...     inside = torch.ones(1).dtype
    >>> inside, torch.ones(1).dtype
    (torch.float64, torch.float32)
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
