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
from neuropyro.inference.objective import EnumeratedElbo, PlainElbo, choose_elbo, potential_of

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

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.guides import find_latents
    >>> density = JointDensity(model, torch.ones(9), find_latents(model, torch.ones(9), {}))
    >>> mode, zero = density(torch.tensor([[0.9], [0.0]])).tolist()
    >>> round(mode - zero, 3)  # nats: of Normal(0.9, 10 ** -0.5), .9 from its mean
    4.05
    """

    def __init__(self, model: Any, data: Any, latents: Latents) -> None:
        self.model, self.data, self.latents = model, data, latents
        self.elbo = choose_elbo(model, data)
        self.vectorised: bool | None = None

    def __call__(self, flat: Tensor) -> Tensor:
        """Return ``(draws,)`` nats of ``flat (draws, D)``, double precision."""
        if self.vectorised is None and len(flat) > 1:
            self.vectorised = self.bears_particles(flat[:2].detach())
        return self.at_once(flat) if self.vectorised and len(flat) > 1 else self.one_by_one(flat)

    def one_by_one(self, flat: Tensor) -> Tensor:
        """Run the model for each draw."""
        potential = potential_of(self.elbo, self.model, self.data, self.latents)
        return torch.stack([-potential(x).double() for x in flat])

    def at_once(self, flat: Tensor) -> Tensor:
        """Run the model once, in a plate of particles, and sum all but their dimension."""
        elbo = choose_elbo(self.model, self.data, particles=len(flat))
        column = flat.reshape(len(flat), *[1] * (elbo.max_plate_nesting - 1), -1)
        values, volumes = self.latents.changed(column)
        trace = elbo.trace_at(self.model, values, self.data)
        terms = [(term, _dim_of_particles(term, trace, elbo)) for term in elbo.log_terms(trace)]
        terms += [(volume, _dim_of_particles(volume, trace, elbo)) for volume in volumes.values()]
        return torch.stack([_sum_but(term, dim).expand(len(flat)) for term, dim in terms]).sum(0)

    def bears_particles(self, flat: Tensor) -> bool:
        """Whether draws at once have the densities that they have one by one."""
        try:
            at_once = self.at_once(flat)
        except Exception:  # whatever a program makes of a batch that it was not written for
            return False
        return torch.allclose(at_once, self.one_by_one(flat), rtol=AGREEMENT, atol=LEAST)


@torch.no_grad()
def bears_particles(model: Any, data: Any, latents: Latents) -> bool:
    """Whether a model runs rightly over many draws at once, by a trial of two about its starting values.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.guides import find_latents
    >>> def averaging(y):
    ...     mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    ...     with pyro.plate("visit", len(y)):
    ...         pyro.sample("y", dist.Normal(mean.mean(), 1.0), obs=y)  # over all draws, too
    >>> y = torch.ones(9)
    >>> [bears_particles(program, y, find_latents(program, y, {})) for program in (model, averaging)]
    [True, False]
    """
    with pyro.validation_enabled(False), warnings.catch_warnings(), torch.random.fork_rng():
        warnings.simplefilter("ignore")  # of numbers read from batches, and of undefined densities
        torch.manual_seed(0)
        trial = latents.start + APART * torch.randn(2, latents.size).to(latents.start)
        return JointDensity(model, data, latents).bears_particles(trial)


def _dim_of_particles(term: Tensor, trace: Any, elbo: PlainElbo | EnumeratedElbo) -> int | None:
    """Return which dimension of a term is that of the particles; None where it is the same for all."""
    if isinstance(elbo, EnumeratedElbo) and hasattr(term, "_pyro_dims"):  # packed: its dimensions have names
        found: int = term._pyro_dims.find(trace.plate_to_symbol["num_particles_vectorized"])
        return None if found < 0 else found
    return -elbo.max_plate_nesting if term.dim() >= elbo.max_plate_nesting else None


def _sum_but(terms: Tensor, dim: int | None) -> Tensor:
    """Sum over all dimensions but one; None where there is no such: the same for every particle."""
    exact = terms.double()
    return exact.sum() if dim is None else exact.movedim(dim, 0).flatten(1).sum(1) if exact.dim() > 1 else exact
