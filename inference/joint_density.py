"""The log joint density of many flat vectors at once, where the model bears it, and one by one where it does not.

A Pyro program runs over a batch of draws in an outermost plate if all that it does with its sites broadcasts.  A
program that reads a site as a plain number, or takes a mean over all of it, does not; Pyro cannot tell, and the result
may be wrong without a word.  So two draws are run both ways, and the densities compared.
"""

from __future__ import annotations

import warnings
from typing import Any

import pyro
import torch
from torch import Tensor

from neuropyro.guides import Latents
from neuropyro.inference.objective import EnumeratedElbo, choose_elbo, potential_of, summed_out

__all__ = ["JointDensity", "bears_particles"]

AGREEMENT, LEAST = 1e-5, 1e-3  # difference of a density at once and one by one, as a share and in nats, by rounding
APART = 0.3  # sd of the two trial points about the start, in unconstrained space


class JointDensity:
    """Log joint density of flat vectors, change of variables included.

    Parameters
    ----------
    model, data
        A Pyro program and what it conditions on.
    latents
        Its sites.
    """

    def __init__(self, model: Any, data: Any, latents: Latents) -> None:
        self.model, self.data, self.latents = model, data, latents
        self.elbo = choose_elbo(model, data)
        self.vectorised: bool | None = None

    def __call__(self, flat: Tensor) -> Tensor:
        """Return ``(draws,)`` nats of ``flat (draws, D)``, double precision."""
        if self.vectorised is None:
            self.vectorised = self.bears_particles(flat[:2])
        return self.at_once(flat) if self.vectorised and len(flat) > 1 else self.one_by_one(flat)

    def one_by_one(self, flat: Tensor) -> Tensor:
        """Run the model for each draw."""
        potential = potential_of(self.elbo, self.model, self.data, self.latents)
        return torch.stack([-potential(x).double() for x in flat])

    def at_once(self, flat: Tensor) -> Tensor:
        """Run the model once, in a plate of particles, and sum all but their dimension."""
        elbo = choose_elbo(self.model, self.data, particles=len(flat))
        column = flat.reshape(len(flat), *[1] * (elbo.max_plate_nesting - 1), -1)
        ((model, guide),) = elbo._get_traces(self.model, lambda _: self.latents.emit(column), (self.data,), {})
        sums = _enumerated_sums if isinstance(elbo, EnumeratedElbo) else _plain_sums
        return sums(model, guide, -elbo.max_plate_nesting, flat)

    def bears_particles(self, flat: Tensor) -> bool:
        """Whether draws at once have the densities that they have one by one."""
        try:
            at_once = self.at_once(flat)
        except Exception:  # whatever a program makes of a batch that it was not written for
            return False
        return torch.allclose(at_once, self.one_by_one(flat), rtol=AGREEMENT, atol=LEAST)


@torch.no_grad()
def bears_particles(model: Any, data: Any, latents: Latents) -> bool:
    """Whether a model runs rightly over many draws at once, by a trial of two about its starting values."""
    with pyro.validation_enabled(False), warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")  # of numbers read from batches, and of undefined densities
        torch.manual_seed(0)
        trial = latents.start + APART * torch.randn(2, latents.size).to(latents.start)
        return JointDensity(model, data, latents).bears_particles(trial)


def _plain_sums(model_trace: Any, guide_trace: Any, dim: int, like: Tensor) -> Tensor:
    return _sum_sites(model_trace, dim, like) - _sum_sites(guide_trace, dim, like)


def _enumerated_sums(model_trace: Any, guide_trace: Any, dim: int, like: Tensor) -> Tensor:
    """Sum out the enumerated sites, then all dimensions but the particles'."""
    symbol = model_trace.plate_to_symbol["num_particles_vectorized"]
    total = -_sum_sites(guide_trace, dim, like)
    for term in summed_out(model_trace, guide_trace):
        at: int = term._pyro_dims.find(symbol)  # type: ignore[attr-defined]
        total = total + _sum_but(term, None if at < 0 else at)
    return total


def _sum_sites(trace: Any, dim: int, like: Tensor) -> Tensor:
    """Sum a trace's densities over all dimensions but ``dim``, ``(particles,)``."""
    total = torch.zeros(len(like), dtype=torch.float64, device=like.device)
    for site in trace.nodes.values():
        if site["type"] == "sample":
            log_prob = site["log_prob"]
            total = total + _sum_but(log_prob, dim if log_prob.dim() >= -dim else None)
    return total


def _sum_but(terms: Tensor, dim: int | None) -> Tensor:
    """Sum over all dimensions but one; None where there is no such: the same for every particle."""
    exact = terms.double()
    return exact.sum() if dim is None else exact.movedim(dim, 0).flatten(1).sum(1) if exact.dim() > 1 else exact
