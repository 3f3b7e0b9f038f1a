"""The likeliest of several starts, by the whole model's density."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

from neuropyro.default_dtype import default_dtype
from neuropyro.models.visits import Visits

__all__ = ["likeliest"]


def likeliest(program: Callable[[Any], Any], visits: Visits, starts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the values of a program's sites at which its joint density is highest; one start is taken as it is.

    Examples
    --------
    >>> starts = [{"mean": torch.tensor(mean)} for mean in (0.0, 1.5, 4.0)]
    >>> likeliest(model, torch.full((5,), 2.0), starts)  # five values of 2, and a prior about 0: their mode is 10 / 6
    {'mean': tensor(1.5000)}
    """
    return min(starts, key=lambda start: _loss(program, visits, start)) if len(starts) > 1 else starts[0]


@torch.no_grad()
def _loss(program: Callable[[Any], Any], visits: Visits, start: dict[str, Tensor]) -> float:
    """Return the negative log density of the data and the sites, what is enumerated summed out."""
    given, dtype = poutine.condition(program, start), next(iter(start.values())).dtype
    with torch.random.fork_rng(), poutine.block(), pyro.validation_enabled(False), default_dtype(dtype):
        loss = float(TraceEnum_ELBO(max_plate_nesting=1).loss(given, lambda visits: None, visits))
    return loss if loss == loss else float("inf")
