"""How many numbers a graph keeps for its gradient: what many of them at once would need of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["Kept", "kept_numbers"]


@dataclass
class Kept:
    """A count, each tensor counted once.

    Examples
    --------
    >>> kept, x = Kept(), torch.zeros(3)
    >>> for tensor in (x, x, torch.zeros(2)):
    ...     _ = kept.note(tensor)
    >>> kept.numbers
    5
    """

    numbers: int = 0
    seen: set[tuple[int, int]] = field(default_factory=set)

    def note(self, tensor: Tensor) -> Tensor:
        """Count a tensor that is being kept; of a sparse one, the numbers that it has."""
        numbers = tensor._values() if tensor.is_sparse else tensor
        known = (numbers.untyped_storage()._cdata, numbers.numel())
        if known not in self.seen:
            self.seen.add(known)
            self.numbers += numbers.numel()
        return tensor


@contextmanager
def kept_numbers() -> Iterator[Kept]:
    """Count what the operations within keep.

    Examples
    --------
    >>> x = torch.ones(7, requires_grad=True)
    >>> with kept_numbers() as kept:
    ...     y = x.exp() + 1  # of these the exponential keeps its result
    >>> kept.numbers
    7
    """
    kept = Kept()
    with torch.autograd.graph.saved_tensors_hooks(kept.note, lambda tensor: tensor):
        yield kept
