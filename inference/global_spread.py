r"""How wide a guide's global block is, and what elements do together, by short chains and not by the ELBO.

The ELBO makes a guide too narrow in what all elements of a plate hang on: where an element's law given the global sites
is only nearly right, it is less right the farther these are from their means, and hundreds of elements are as many
reasons to stay there.  Chains from the guide's own draws know no such reason
(:mod:`neuropyro.inference.short_chains`).  The global block, and with it the few directions in which elements move
together (:mod:`neuropyro.guides.ties`), take over their mean and covariance, which is what makes KL(chains || guide)
least; each element by itself stays as it is, or learns again where the rest changed by much.  In each of a few rounds
chains go on from where they were, in the noise of a guide that is better each time, so that they find what is several
times as wide; all rounds together take a few times the gradients of the fit at most.
What chains say is known up to its Monte Carlo error: changes are shrunk by the share of error in them, so that a guide
that is right is left as it is.

References
----------
Ruiz & Titsias, "A contrastive divergence for combining variational inference and MCMC", ICML 2019; James & Stein,
"Estimation with quadratic loss", 1961.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neuropyro.guides import FlatGuide
from neuropyro.guides.gaussian import ArrowGaussian
from neuropyro.inference.convergence import CosineSchedule
from neuropyro.inference.joint_density import JointDensity
from neuropyro.inference.noise_density import NoiseDensity
from neuropyro.inference.objective import allowing_undefined
from neuropyro.inference.optimise import Monitor, optimise
from neuropyro.inference.short_chains import LEAPS, Paths, short_chains
from neuropyro.inference.tied_directions import tied_directions
from neuropyro.progress_bars import progress_bar

__all__ = ["affordable_chains", "match_global_block"]

SETTLING, RESETTLING, KEPT = 8, 3, 16  # paths of a chain; where it goes on, it has left the guide behind
FEWEST, MOST = 4, 64  # chains
ROUNDS = 8
BUDGET = 3 * (SETTLING + KEPT) * LEAPS  # gradients a chain, after which no further round begins
CHAINS_A_DRAW = 4  # ties cost a share of what the chains do
LITTLE = 0.05  # nats between a guide before and after, where no further round is needed
UNSETTLED = 1.0  # nats between them in the last round, from which on it is said
MUCH, FAR_WIDER = 3.0, 2.0  # nats, or sds of one number, where elements learn again
LEARNING = 200  # steps in which they do
LEAST_ACCEPTED = 0.3  # of paths, below which chains say nothing
FAR = 4.0  # of the guide's sds from the chains' mean: draws beyond count as there
GRID = 2000


@dataclass(frozen=True)
class _Change:
    """What chains make of t, the mixed noise of the global block and of r ties: shift + root t.

    Parameters
    ----------
    shift
        ``(G + r,)``.
    root
        ``(G + r, G + r)`` lower triangular.
    wider
        Geometric mean of the global block's new sds over the old.
    nats
        Between the old law and the new.
    is_much
        Whether elements that knew the old law do not know the new one.
    """

    shift: Tensor
    root: Tensor
    wider: float
    nats: float
    is_much: bool


def affordable_chains(steps: int, particles: int) -> int:
    """Return how many chains take no more gradients a round than a fit of so many steps; 0 where too few to tell.

    Examples
    --------
    >>> affordable_chains(steps=900, particles=8), affordable_chains(steps=100, particles=1)  # 120 gradients a chain
    (60, 0)
    """
    chains = steps * particles // ((SETTLING + KEPT) * LEAPS)
    return min(chains, MOST) if chains >= FEWEST else 0


def match_global_block(
    model: Any, guide: FlatGuide, data: Any, objective: Any, chains: int, rate: float, monitor: Monitor
) -> str:
    """Give the guide's global block and ties the mean and covariance of short chains; returns what was done, in words.

    Parameters
    ----------
    model, guide, data
        The guide is fitted, of a law that is an `ArrowGaussian`; it is changed in place.
    objective
        A Pyro ELBO, by which elements learn again, at the learning rate ``rate``.
    chains
        How many.
    monitor
        Who follows.

    Examples
    --------
    >>> from neuropyro.guides import Start, find_latents, make_flat_guide
    >>> from neuropyro.inference.objective import choose_elbo, potential_of
    >>> def growth(y):
    ...     mean = pyro.sample("mean", dist.Normal(torch.zeros(()), 1.0))
    ...     with pyro.plate("subject", len(y)):
    ...         pyro.sample("speed", dist.Normal(mean, 1.0))
    >>> y, latents = torch.zeros(3), find_latents(growth, torch.zeros(3), {})
    >>> start = Start(latents, torch.zeros(4), potential_of(choose_elbo(growth, y), growth, y, latents))
    >>> guide = make_flat_guide("structured", start)  # the posterior, which is Normal, already
    >>> match_global_block(growth, guide, y, choose_elbo(growth, y), 16, 0.02, Monitor(""))
    'its global block, by 16 short chains, 1.00 times as wide as by the ELBO'
    """
    joint, family, wider, spent = JointDensity(model, data, guide.latents), guide.law, 1.0, 0
    assert isinstance(family, ArrowGaussian)
    with allowing_undefined():
        n, draws = family.ties.directions.shape[1], max(chains // CHAINS_A_DRAW, 1)
        directions, widths = tied_directions(guide, NoiseDensity(joint, guide), n, draws)
    family.tie(directions, widths)
    with torch.no_grad():
        places = family().rsample(torch.Size([chains]))
    for turn in range(ROUNDS):
        density = NoiseDensity(joint, guide)
        with allowing_undefined():
            paths = _run(density, places, SETTLING if turn == 0 else RESETTLING, monitor)
        places = density.flat(paths.states[-1])
        if not paths.accepted >= LEAST_ACCEPTED:
            if turn == 0:  # widths that no chain has borne out
                family.tie(directions, torch.ones_like(widths))
            return f"{paths.accepted:.0%} of short chains' paths were accepted, too few to widen its global block by"
        change = _change(family, paths)
        family.respread(change.shift, change.root)
        wider *= change.wider
        spent += paths.gradients
        if change.nats < LITTLE or spent > BUDGET:
            break
        if change.is_much:
            with family.global_block_held():
                steps = CosineSchedule(learning_rate=rate, max_steps=LEARNING)
                again = Monitor(f"{monitor.stage}, elements again", monitor.progress)
                optimise(objective, model, guide, data, steps, again)
    open_ = ", and not settled" if change.nats > UNSETTLED else ""
    return f"its global block, by {chains} short chains, {wider:.2f} times as wide as by the ELBO{open_}"


def _run(density: NoiseDensity, places: Tensor, settling: int, monitor: Monitor) -> Paths:
    """Run chains from flat vectors ``(chains, D)``, in the guide's noise; from a draw where it knows no such place."""
    first = density.noise(places)
    first = torch.where(first.isfinite().all(-1, keepdim=True), first, torch.randn(first.shape).to(first))
    with progress_bar(f"{monitor.stage}, short chains", monitor.progress, total=settling + KEPT, unit="path") as bar:
        return short_chains(density, first, settling, KEPT, bar.update)


@torch.no_grad()
def _change(law: ArrowGaussian, paths: Paths) -> _Change:
    """Compare chains with the guide, in units of its own means and sds."""
    mean, sd = _own_moments(law)
    found = (law.shared_noise(law.stuck().mixed(paths.states)) - mean) / sd
    centre = _shrunk(found.mean(0))
    away = (found - found.mean((0, 1))).clamp(-FAR, FAR)
    variance = away.square().mean((0, 1))
    scaled = away / variance.sqrt()
    correlation = torch.einsum("pci,pcj->cij", scaled, scaled) / len(scaled)
    same = torch.eye(len(mean)).to(mean)
    sds = (1 + _shrunk(away.square().mean(0) - 1)).sqrt()
    correlated = same + _shrunk(correlation * (1 - same))
    root = sds.unsqueeze(-1) * torch.linalg.cholesky(correlated.double()).to(sds)
    whole = sd.unsqueeze(-1) * root / sd
    widening = root.diagonal().log().sum()
    nats = 0.5 * (root.square().sum() + centre.square().sum() - len(mean)) - widening
    wider = float(sds[: len(law.shared)].log().mean().exp())
    is_much = bool((nats > MUCH) | (sds.max() > FAR_WIDER))
    return _Change(mean + sd * centre - whole @ mean, whole, wider, float(nats), is_much)


def _own_moments(law: ArrowGaussian) -> tuple[Tensor, Tensor]:
    """Return mean and sd of the guide's shared noise, ``(G + r,)`` each, by the quantiles of the normal."""
    share = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
    quantiles = math.sqrt(2) * torch.erfinv(2 * share - 1)
    mixed = law.stuck().mixed(quantiles.to(law.loc).unsqueeze(-1).expand(-1, len(law.loc)))
    along = law.ties.directions.square()
    variance = torch.cat([mixed.var(0)[law.global_places], mixed.var(0) @ along])
    return law.shared_noise(mixed.mean(0)), variance.sqrt()


def _shrunk(by_chain: Tensor) -> Tensor:
    """Return the mean over chains, the first dimension, times the share of its sum of squares that is not error."""
    mean = by_chain.mean(0)
    error = by_chain.var(0).sum() / len(by_chain)
    total = mean.square().sum().clamp_min(torch.finfo(mean.dtype).tiny)
    return mean * (1 - error / total).clamp_min(0.0)
