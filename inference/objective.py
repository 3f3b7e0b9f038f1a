"""The objective of a fit: Pyro's ELBO, with exact sums over enumerated sites, and nothing that makes a GPU wait."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import is_identically_zero
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from pyro.infer.traceenum_elbo import _compute_dice_elbo, _compute_model_factors
from pyro.infer.util import is_validation_enabled
from pyro.ops import packed
from pyro.ops.contract import contract_tensor_tree
from pyro.poutine.enum_messenger import EnumMessenger
from pyro.poutine.util import prune_subsample_sites
from torch import Size, Tensor

from neuropyro.guides import FlatGuide, Latents

__all__ = ["EnumeratedElbo", "PlainElbo", "allowing_undefined", "choose_elbo", "potential_of"]


class _OnDevice:
    """The mean of the particles' losses, left on the device; the two kinds of ELBO differ in how they sum.

    A guide of ours needs no Pyro program to tell its draw and density: a step on small data costs a third less.
    Where Pyro validates, it is run as one all the same, so that Pyro's checks of model and guide are made.
    """

    num_particles: int
    vectorize_particles: bool
    max_plate_nesting: int
    _get_traces: Callable[..., Any]
    _vectorized_num_particles: Callable[..., Any]
    _loss_of: Callable[..., Tensor]
    _given: Callable[..., Any]
    log_terms: Callable[..., list[Tensor]]

    def differentiable_loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Return the negative ELBO, whose gradient is an unbiased estimate of the ELBO's."""
        if isinstance(guide, FlatGuide) and not is_validation_enabled():
            runs = 1 if self.vectorize_particles else self.num_particles
            losses = [self._loss_of_draws(model, guide, args) for _ in range(runs)]
        else:
            losses = [self._loss_of(*pair) for pair in self._get_traces(model, guide, args, kwargs)]
        return torch.stack(losses).sum() / self.num_particles

    def loss(self, model: Any, guide: Any, *args: Any, **kwargs: Any) -> float:
        """Return the negative ELBO."""
        return float(self.differentiable_loss(model, guide, *args, **kwargs).detach())

    def trace_at(self, model: Any, values: Mapping[str, Tensor], *args: Any) -> Any:
        """Run the model with its latent sites at some values; returns Pyro's trace, densities worked out."""
        given = poutine.condition(model, data=values)
        if self.vectorize_particles:
            given = self._vectorized_num_particles(given)
        trace = prune_subsample_sites(poutine.trace(self._given(given)).get_trace(*args))
        _prune_deterministic_sites(trace)
        trace.compute_log_prob()
        return trace

    def log_joint(self, model: Any, values: Mapping[str, Tensor], *args: Any) -> Tensor:
        """Return the log joint density at some values of the latent sites, that of all particles together."""
        return torch.stack([term.sum() for term in self.log_terms(self.trace_at(model, values, *args))]).sum()

    def _loss_of_draws(self, model: Any, guide: FlatGuide, args: Any) -> Tensor:
        together = self.vectorize_particles and self.num_particles > 1
        particles = (self.num_particles, *[1] * (self.max_plate_nesting - 1)) if together else ()
        values, density = guide.drawn(Size(particles))
        return density - self.log_joint(model, values, *args)


class PlainElbo(_OnDevice, Trace_ELBO):  # type: ignore[misc]
    """Pyro's ``Trace_ELBO``, whose loss stays on the device: Pyro reads each site's density to the host as it sums.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> joint = PlainElbo(max_plate_nesting=1).log_joint(model, {"mean": torch.tensor(0.0)}, torch.zeros(9))
    >>> round(float(joint), 3)  # ten standard normals at 0
    -9.189
    """

    def _given(self, model: Any) -> Any:
        return model

    def log_terms(self, trace: Any) -> list[Tensor]:
        """Return the densities of a trace's sites."""
        return [site["log_prob"] for site in trace.nodes.values() if site["type"] == "sample"]

    def _loss_of(self, model_trace: Any, guide_trace: Any) -> Tensor:
        if _follows_its_draws(guide_trace):
            loss: Tensor = guide_trace.log_prob_sum() - model_trace.log_prob_sum()
            return loss
        value, surrogate = self._differentiable_loss_particle(model_trace, guide_trace)
        estimate: Tensor = value + (surrogate - surrogate.detach())
        return estimate


class EnumeratedElbo(_OnDevice, TraceEnum_ELBO):  # type: ignore[misc]
    """Pyro's ``TraceEnum_ELBO``, whose loss stays on the device.

    Examples
    --------
    >>> def mixture(y):
    ...     z = pyro.sample("z", dist.Bernoulli(0.25), infer={"enumerate": "parallel"})
    ...     pyro.sample("y", dist.Bernoulli(0.2 + 0.6 * z), obs=y)
    >>> joint = EnumeratedElbo(max_plate_nesting=0).log_joint(mixture, {}, torch.tensor(1.0))
    >>> round(float(joint.exp()), 3)  # .75 of .2 and .25 of .8
    0.35
    """

    def _given(self, model: Any) -> Any:
        return EnumMessenger(first_available_dim=-1 - self.max_plate_nesting)(model)

    def log_terms(self, trace: Any, guide_trace: Any = None) -> list[Tensor]:
        """Return the densities of a trace, as Pyro's packed tensors, enumerated sites summed out by contraction."""
        if guide_trace is None:
            guide_trace = poutine.Trace()
            trace.pack_tensors()
        terms, factors, _, dims, scale = _compute_model_factors(trace, guide_trace)
        whole = [term for each in terms.values() for term in each]
        for contracted in contract_tensor_tree(factors, dims, cache={}).values() if factors else ():
            whole += [packed.scale_and_mask(term, scale=scale) for term in contracted]
        return whole

    def _loss_of(self, model_trace: Any, guide_trace: Any) -> Tensor:
        if _follows_its_draws(guide_trace):
            terms = self.log_terms(model_trace, guide_trace)
            loss: Tensor = guide_trace.log_prob_sum() - sum(term.sum() for term in terms)
            return loss
        estimate: Tensor = -_compute_dice_elbo(model_trace, guide_trace)
        return estimate


def _prune_deterministic_sites(trace: Any) -> None:
    """Leave out what has no density: to work out and to sum its zeros takes as long as for any other site."""
    for name in [name for name, site in trace.nodes.items() if site.get("infer", {}).get("_deterministic")]:
        trace.remove_node(name)


def _follows_its_draws(guide_trace: Any) -> bool:
    """Whether every site of a guide can be differentiated along its draw; or else Pyro estimates by scores."""
    drawn = [site for site in guide_trace.nodes.values() if site["type"] == "sample"]
    return all(
        site["infer"].get("_enumerate_dim") is None and is_identically_zero(site["score_parts"].score_function)
        for site in drawn
    )


@contextmanager
def allowing_undefined() -> Iterator[None]:
    """Let densities be undefined without a word: where a trial goes too far, it is taken back.

    Examples
    --------
    >>> with allowing_undefined():
    ...     pyro.distributions.Normal(torch.tensor(torch.nan), 1.0).log_prob(torch.tensor(0.0))
    tensor(nan)
    """
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

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.guides import make_guide
    >>> y = torch.zeros(9)
    >>> guide = make_guide("map", model, y, {"mean": torch.tensor(0.0)})
    >>> round(choose_elbo(model, y).loss(model, guide, y), 3)  # nats of ten standard normals at 0
    9.189
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
    """Return the negative log joint density as a function of the flat vector ``(D,)``, change of variables included.

    Examples
    --------
    >>> from neuropyro.guides import find_latents
    >>> def speed(y):
    ...     pyro.sample("speed", dist.LogNormal(0.0, 1.0))
    >>> potential = potential_of(choose_elbo(speed, None), speed, None, find_latents(speed, None, {}))
    >>> round(float(potential(torch.zeros(1))), 3)  # of the logarithm, which is standard normal
    0.919
    """

    def potential(flat: Tensor) -> Tensor:
        values, volumes = latents.changed(flat)
        joint: Tensor = elbo.log_joint(model, values, data)
        return -joint - sum(volume.sum() for volume in volumes.values())

    return potential
