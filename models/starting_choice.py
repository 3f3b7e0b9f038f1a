"""The likeliest of several starts, by the whole model's density."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer.mcmc.util import TraceEinsumEvaluator
from torch import Tensor

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
    given = poutine.enum(poutine.condition(program, start), first_available_dim=-2)
    with torch.random.fork_rng(), poutine.block(), pyro.validation_enabled(False):
        trace = poutine.trace(given).get_trace(visits)
        loss = -float(TraceEinsumEvaluator(trace, has_enumerable_sites=True, max_plate_nesting=1).log_prob(trace))
    return loss if loss == loss else float("inf")
