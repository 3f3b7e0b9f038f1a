r"""Short Hamiltonian chains from a guide's draws, many at once.

A guide makes its draws of standard normal noise e, and where it is good, the posterior is near standard normal in e,
too.  So nothing has to be tuned: a path about a quarter of a turn long, in steps of a third of an sd, leads from one
draw to another that hardly knows it, and a dozen paths forget what the guide got wrong by a factor of two.

References
----------
Neal, "MCMC using Hamiltonian dynamics", 2011; Hoffman et al., "NeuTra-lizing bad geometry in Hamiltonian Monte Carlo",
2019.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from neuropyro.guides.kept_numbers import kept_numbers

__all__ = ["LEAPS", "Density", "Paths", "bearable", "short_chains"]

Density = Callable[[Tensor], Tensor]
LENGTH = 1.5  # of a path, in sds: a quarter of a turn is pi / 2
STEP = 0.3  # sds, at first
LEAPS = math.ceil(LENGTH / STEP)
MOST_LEAPS = 4 * LEAPS
LEAST_SHARE, SMALLER = 0.65, 0.7  # where fewer paths are accepted, steps get smaller by this factor
NUMBERS = 2**26  # that the graphs of chains at once may keep, 256 MB in single precision
JITTER = 0.2  # steps vary by such a share, so that no direction comes back to where it was


@dataclass(frozen=True)
class Paths:
    """Where chains have been.

    Parameters
    ----------
    states
        ``(paths, chains, D)`` noise, after each path once steps have been chosen.
    accepted
        Share of these paths that were accepted.
    gradients
        That each chain took, in all its paths.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> first = torch.zeros(400, 1)
    >>> paths: Paths = short_chains(lambda e: -0.5 * (e - 3).square().sum(-1), first, 5, 2, lambda: None)
    >>> paths.states.shape, round(float(paths.states.mean()))  # they began at 0
    (torch.Size([2, 400, 1]), 3)
    """

    states: Tensor
    accepted: float
    gradients: int


@dataclass(frozen=True)
class _State:
    """Where all chains are: ``e (chains, D)``, its log density ``(chains,)``, and the slope of that."""

    e: Tensor
    density: Tensor
    slope: Tensor


def short_chains(density: Density, first: Tensor, settling: int, kept: int, tick: Callable[[], object]) -> Paths:
    """Run a chain from each of ``first (chains, D)``, without the gradient of anything but the density.

    Parameters
    ----------
    density
        Log density of noise ``(n, D)``, up to a constant; ``(n,)``, differentiable.
    first
        Where they begin.
    settling
        Paths in which chains leave the guide behind, and the steps are chosen.
    kept
        Paths after those.
    tick
        Called after each path.

    Examples
    --------
    >>> _ = torch.manual_seed(0)
    >>> def narrow(e):
    ...     return -0.5 * (e / 0.2).square().sum(-1)
    >>> paths = short_chains(narrow, torch.randn(400, 2), settling=10, kept=2, tick=lambda: None)
    >>> round(float(paths.states.std()), 1), paths.accepted > 0.5
    (0.2, True)
    """
    at_once = bearable(density, first)
    state, step = _at(density, first, at_once), STEP
    states, shares, gradients = [], [], 0
    for path in range(settling + kept):
        gradients += _leaps(step)
        state, share = _path(density, state, step, at_once)
        if path < settling:
            step *= SMALLER if share < LEAST_SHARE else 1.0
        else:
            states.append(state.e)
            shares.append(share)
        tick()
    return Paths(torch.stack(states), sum(shares) / len(shares), gradients)


def bearable(density: Density, rows: Tensor) -> int:
    """Return how many of ``rows (n, D)`` memory bears the graph of at once, 1 at least.

    Examples
    --------
    >>> small, large = (lambda e: e.exp().sum(-1)), (lambda e: e.repeat(1, 2**22).exp().sum(-1))
    >>> bearable(small, torch.zeros(20, 1)), bearable(large, torch.zeros(20, 1))  # 2 ** 26 numbers at most
    (20, 16)
    """
    with kept_numbers() as graph:
        density(rows[:1].detach().requires_grad_())
    return min(max(NUMBERS // max(graph.numbers, 1), 1), len(rows))


def _path(density: Density, begin: _State, step: float, at_once: int) -> tuple[_State, float]:
    """Follow one path of every chain; returns where they are then, and the mean probability of acceptance."""
    leaps = _leaps(step)
    step = step * (1 - JITTER + 2 * JITTER * float(torch.rand(())))
    state, momentum = begin, torch.randn(begin.e.shape).to(begin.e)
    before = begin.density - _kinetic(momentum)
    for _ in range(leaps):
        momentum = momentum + step / 2 * state.slope
        state = _at(density, state.e + step * momentum, at_once)
        momentum = momentum + step / 2 * state.slope
    gain = (state.density - _kinetic(momentum) - before).nan_to_num(-math.inf, math.inf, -math.inf)
    taken = torch.rand(gain.shape).to(gain).log() < gain
    return _chosen(taken, state, begin), float(gain.exp().clamp(max=1.0).mean())


def _leaps(step: float) -> int:
    return min(math.ceil(LENGTH / step), MOST_LEAPS)


def _at(density: Density, e: Tensor, at_once: int) -> _State:
    """Return the state at some places."""
    densities, slopes = [], []
    for part in torch.split(e, at_once):
        at = part.detach().requires_grad_()
        value = density(at)
        (slope,) = torch.autograd.grad(value.sum(), at)
        densities.append(value.detach())
        slopes.append(slope)
    return _State(e.detach(), torch.cat(densities), torch.cat(slopes))


def _kinetic(momentum: Tensor) -> Tensor:
    return 0.5 * momentum.double().square().sum(-1)


def _chosen(taken: Tensor, new: _State, old: _State) -> _State:
    """Return the new state of the chains whose path is taken, and the old one of the others."""
    rows = taken.unsqueeze(-1)
    return _State(
        torch.where(rows, new.e, old.e),
        torch.where(taken, new.density, old.density),
        torch.where(rows, new.slope, old.slope),
    )
