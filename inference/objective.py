"""The objective of a fit: Pyro's ELBO, with exact sums over enumerated sites."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch import Tensor

from neuropyro.guides import Latents

__all__ = ["allowing_undefined", "choose_elbo", "potential_of"]


@contextmanager
def allowing_undefined() -> Iterator[None]:
    """Let densities be undefined without a word: where a trial goes too far, it is taken back."""
    with pyro.validation_enabled(False), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Encountered (NaN|\\+inf|-inf|inf)", UserWarning)
        yield


def choose_elbo(model: Any, data: Any, particles: int = 1) -> Any:
    """Return an ELBO with exact sums where the model has enumerated sites; particles are vectorised."""
    with torch.no_grad(), poutine.block():
        trace = poutine.trace(model).get_trace(data)
    sites = [site for site in trace.nodes.values() if site["type"] == "sample"]
    nesting = max((-frame.dim for site in sites for frame in site["cond_indep_stack"] if frame.vectorized), default=0)
    arguments = {"num_particles": particles, "vectorize_particles": particles > 1, "max_plate_nesting": nesting}
    if any(site["infer"].get("enumerate") for site in sites):
        return TraceEnum_ELBO(strict_enumeration_warning=True, **arguments)
    return Trace_ELBO(**arguments)


def potential_of(elbo: Any, model: Any, data: Any, latents: Latents) -> Callable[[Tensor], Tensor]:
    """Return the negative log joint density as a function of the flat vector ``(D,)``, change of variables included."""

    def potential(flat: Tensor) -> Tensor:
        def point(_: Any) -> Any:
            return latents.emit(flat)

        if not flat.requires_grad:
            return torch.as_tensor(elbo.loss(model, point, data), dtype=flat.dtype, device=flat.device)
        loss: Tensor = elbo.differentiable_loss(model, point, data)
        return loss

    return potential
