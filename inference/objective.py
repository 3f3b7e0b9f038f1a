"""The objective of a fit: Pyro's ELBO, with exact sums over enumerated sites, and nothing that makes a GPU wait."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import is_identically_zero
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from pyro.infer.traceenum_elbo import _compute_dice_elbo, _compute_model_factors
from pyro.ops import packed
from pyro.ops.contract import contract_tensor_tree
from torch import Tensor

from neuropyro.guides import Latents

__all__ = ["EnumeratedElbo", "PlainElbo", "allowing_undefined", "choose_elbo", "potential_of", "summed_out"]


class _OnDevice:
    """The mean of the particles' losses, left on the device; `_loss_of` is what the two kinds of ELBO differ in."""

    num_particles: int
    _get_traces: Callable[..., Any]
    _loss_of: Callable[..., Tensor]

    def differentiable_loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Return the negative ELBO, whose gradient is an unbiased estimate of the ELBO's."""
        traces = self._get_traces(model, guide, args, kwargs)
        return torch.stack([self._loss_of(*pair) for pair in traces]).sum() / self.num_particles


class PlainElbo(_OnDevice, Trace_ELBO):  # type: ignore[misc]
    """Pyro's ``Trace_ELBO``, whose loss stays on the device: Pyro reads each site's density to the host as it sums."""

    def _loss_of(self, model_trace: Any, guide_trace: Any) -> Tensor:
        if _follows_its_draws(guide_trace):
            loss: Tensor = guide_trace.log_prob_sum() - model_trace.log_prob_sum()
            return loss
        value, surrogate = self._differentiable_loss_particle(model_trace, guide_trace)
        estimate: Tensor = value + (surrogate - surrogate.detach())
        return estimate


class EnumeratedElbo(_OnDevice, TraceEnum_ELBO):  # type: ignore[misc]
    """Pyro's ``TraceEnum_ELBO``, whose loss stays on the device."""

    def _loss_of(self, model_trace: Any, guide_trace: Any) -> Tensor:
        if _follows_its_draws(guide_trace):
            loss: Tensor = guide_trace.log_prob_sum() - sum(term.sum() for term in summed_out(model_trace, guide_trace))
            return loss
        estimate: Tensor = -_compute_dice_elbo(model_trace, guide_trace)
        return estimate


def summed_out(model_trace: Any, guide_trace: Any) -> list[Tensor]:
    """Return the model's log densities as Pyro's packed tensors, enumerated sites summed out by tensor contraction."""
    terms, factors, _, dims, scale = _compute_model_factors(model_trace, guide_trace)
    whole = [term for each in terms.values() for term in each]
    for contracted in contract_tensor_tree(factors, dims, cache={}).values() if factors else ():
        whole += [packed.scale_and_mask(term, scale=scale) for term in contracted]
    return whole


def _follows_its_draws(guide_trace: Any) -> bool:
    """Whether every site of a guide can be differentiated along its draw; or else Pyro estimates by scores."""
    drawn = [site for site in guide_trace.nodes.values() if site["type"] == "sample"]
    return all(
        site["infer"].get("_enumerate_dim") is None and is_identically_zero(site["score_parts"].score_function)
        for site in drawn
    )


@contextmanager
def allowing_undefined() -> Iterator[None]:
    """Let densities be undefined without a word: where a trial goes too far, it is taken back."""
    with pyro.validation_enabled(False), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Encountered (NaN|\\+inf|-inf|inf)", UserWarning)
        yield


def choose_elbo(model: Any, data: Any, particles: int = 1, at_once: bool = True) -> PlainElbo | EnumeratedElbo:
    """Return an ELBO with exact sums where the model has enumerated sites.

    Parameters
    ----------
    model, data
        What it is of.
    particles
        Draws of the guide that it is a mean over.
    at_once
        Whether they run in a plate, the model once; or else one after the other.
    """
    with torch.no_grad(), poutine.block():
        trace = poutine.trace(model).get_trace(data)
    sites = [site for site in trace.nodes.values() if site["type"] == "sample"]
    nesting = max((-frame.dim for site in sites for frame in site["cond_indep_stack"] if frame.vectorized), default=0)
    in_a_plate = particles > 1 and at_once
    arguments = {"num_particles": particles, "vectorize_particles": in_a_plate, "max_plate_nesting": nesting}
    if any(site["infer"].get("enumerate") for site in sites):
        return EnumeratedElbo(strict_enumeration_warning=True, **arguments)
    return PlainElbo(**arguments)


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
