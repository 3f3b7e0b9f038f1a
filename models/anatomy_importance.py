r"""Draws from the posterior of a few unseen numbers of each of many subjects, without a guide.

All subjects at once: Newton's method climbs to each one's mode; a Student t with the mode's curvature proposes; and
proposals are drawn again in proportion to posterior over proposal.  Where the model is linear and normal the posterior
is a normal one of that very curvature, and weights differ only as the two bells do.  Unseen discrete nodes are summed
over: each combination of values is a hypothesis, climbed and sampled on its own, and draws come from all of them by
their evidence.

References
----------
Rubin, "Using the SIR algorithm to simulate posterior distributions", 1988; Geweke, "Bayesian inference in econometric
models using Monte Carlo integration", Econometrica 1989 (Student t at the mode).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from pyro import poutine
from torch import Tensor

from neuropyro.data.counter_random import CounterRandom
from neuropyro.models.anatomy_abduction import Abduction, Seen
from neuropyro.models.anatomy_program import site_name

__all__ = ["Posterior", "infer", "mode_of"]

NEWTON_STEPS = 50
DONE = 1e-8  # squared length of a Newton step, in sds of the posterior
LEAST_GAIN = 1e-9  # nats: what no subject's step gains any more is rounding
SMALLEST_CURVATURE = 0.2  # the prior's is 1
FREEDOM = 6  # degrees, of Student's t
POOL, LEAST_POOL = 8, 2048  # proposals for a draw, and at least
MOST_NUMBERS = 2**24  # at once

Density = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws of unseen numbers.

    Attributes
    ----------
    noise
        By site, ``(draws, subjects, 1 or visits)``.
    discrete
        By node, ``(draws, subjects, 1)``.
    effective
        ``(subjects,)`` share of the proposals that count: below .05, the draws are not to be trusted.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.anatomy_graph import Graph
    >>> from neuropyro.models.anatomy_mechanisms import Discrete, Gaussian, Linear
    >>> from neuropyro.models.anatomy_observation import Measures
    >>> score = Gaussian(Linear(0.0, carrier=2.5), 1.0, "subject")
    >>> adas = Gaussian(Linear(10.0, dps=4.0), 3.0)  # Normal(10, 5) of others, Normal(20, 5) of carriers
    >>> graph = Graph({"carrier": Discrete((0.5, 0.5)), "dps": score, "adas": adas})
    >>> abduction = Abduction(graph, Measures({"adas": "visit"}, 0, None, ()))
    >>> seen = abduction.prepare(Cohort([[20.0]], [70.0], ["a"], feature_names=["adas"]))
    >>> round(float(infer(abduction, seen, draws=1000).discrete["carrier"].mean()), 2)  # 1 / (1 + exp(-2))
    0.88
    """

    noise: dict[str, Tensor]
    discrete: dict[str, Tensor]
    effective: Tensor


def infer(abduction: Abduction, seen: Seen, draws: int, seed: int = 0) -> Posterior:
    """Draw from the posterior of all subjects.

    Parameters
    ----------
    draws
        How many.
    seed
        A subject's draws are a function of it, of the subject's place and of what was seen.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.anatomy_graph import Graph
    >>> from neuropyro.models.anatomy_mechanisms import Gaussian, Linear
    >>> from neuropyro.models.anatomy_observation import Measures
    >>> graph = Graph({"dps": Gaussian(0.0, 1.0, "subject"), "adas": Gaussian(Linear(10.0, dps=4.0), 3.0)})
    >>> abduction = Abduction(graph, Measures({"adas": "visit"}, 0, None, ()))
    >>> seen = abduction.prepare(Cohort([[15.0]], [70.0], ["a"], feature_names=["adas"]))
    >>> score = infer(abduction, seen, draws=1000).noise["u_dps"]
    >>> round(float(score.mean()), 1), round(float(score.std()), 1)  # 4 (15 - 10) / 5^2 and 3 / 5
    (0.8, 0.6)
    """
    hypotheses, agrees = _supposed(seen)
    at = seen.supposing(**hypotheses)
    density = _log_density(abduction, at)
    n, size = len(seen.observation), _sizes(seen)
    like = seen.observation.years
    start = like.new_zeros(agrees.shape[0], n, size)
    mode, curvature = _climb(density, start)
    source, count = CounterRandom(seed), max(LEAST_POOL, POOL * draws)
    proposed, log_weight = _propose(density, mode, curvature, source, count, _numbers(seen))
    log_weight = (log_weight + agrees.log()).flatten(0, 1)  # (proposals x hypotheses, subjects)
    weight = log_weight.softmax(0)
    picks = _resample(weight, torch.as_tensor(source.uniform("resample", range(n), (draws,))).to(weight))
    flat = proposed.flatten(0, 1).gather(0, picks.unsqueeze(-1).expand(-1, -1, size))
    kind = (picks % agrees.shape[0]).unsqueeze(-1)
    discrete = {name: value.expand(-1, n, 1).gather(0, kind.to(torch.int64)) for name, value in hypotheses.items()}
    return Posterior(_by_site(seen, flat), discrete, 1 / (weight.square().sum(0) * len(weight)))


def mode_of(abduction: Abduction, seen: Seen) -> Posterior:
    """Return the likeliest noise of all subjects, as one draw.

    Examples
    --------
    >>> from neuropyro.data import Cohort
    >>> from neuropyro.models.anatomy_graph import Graph
    >>> from neuropyro.models.anatomy_mechanisms import Gaussian, Linear
    >>> from neuropyro.models.anatomy_observation import Measures
    >>> graph = Graph({"dps": Gaussian(0.0, 1.0, "subject"), "adas": Gaussian(Linear(10.0, dps=4.0), 3.0)})
    >>> abduction = Abduction(graph, Measures({"adas": "visit"}, 0, None, ()))
    >>> seen = abduction.prepare(Cohort([[15.0]], [70.0], ["a"], feature_names=["adas"]))
    >>> mode_of(abduction, seen).noise["u_dps"].round(decimals=5).tolist()  # 4 (15 - 10) / (4^2 + 3^2)
    [[[0.8]]]
    """
    hypotheses, agrees = _supposed(seen)
    density = _log_density(abduction, seen.supposing(**hypotheses))
    n = len(seen.observation)
    mode, curvature = _climb(density, seen.observation.years.new_zeros(agrees.shape[0], n, _sizes(seen)))
    evidence = density(mode) - 0.5 * torch.logdet(curvature) + agrees.log()
    best = evidence.argmax(0)[None, :, None]
    chosen = mode.gather(0, best.expand(1, n, mode.shape[-1]))
    discrete = {name: value.expand(-1, n, 1).gather(0, best) for name, value in hypotheses.items()}
    return Posterior(_by_site(seen, chosen), discrete, torch.ones(n))


def _supposed(seen: Seen) -> tuple[dict[str, Tensor], Tensor]:
    """Hypotheses ``(H, subjects, 1)`` by discrete node, and 1 where it does not contradict what is seen, ``(H, n)``."""
    observation = seen.observation
    like, n = observation.years, len(observation)
    combinations = list(itertools.product(*(range(kinds) for kinds in seen.discrete.values())))
    agrees = like.new_ones(len(combinations), n)
    found = {}
    for k, name in enumerate(seen.discrete):
        value = like.new_tensor([c[k] for c in combinations])[:, None, None].expand(-1, n, 1)
        if name in observation.values:
            wrong = observation.known[name] & (observation.values[name] != value)
            agrees = agrees * ~wrong[..., 0]
        found[name] = value
    return found, agrees


def _sizes(seen: Seen) -> int:
    """How many unseen numbers a subject has."""
    visits = seen.observation.years.shape[1]
    return sum(visits if law.level == "visit" else 1 for law in seen.latents.values())


def _numbers(seen: Seen) -> int:
    """How many numbers the density of all subjects takes, about."""
    curves = 0 if seen.evidence is None else len(seen.evidence.curves.coefficients)
    return seen.observation.years.numel() * (curves + 20)


def _by_site(seen: Seen, z: Tensor) -> dict[str, Tensor]:
    """Noise by site of standard normal numbers ``(*, subjects, size)``."""
    found, place = {}, 0
    for name, law in seen.latents.items():
        width = seen.observation.years.shape[1] if law.level == "visit" else 1
        part = z[..., place : place + width]
        found[site_name(name, "")] = torch.special.ndtr(part) if law.kind == "uniform" else part
        place += width
    return found


def _log_density(abduction: Abduction, seen: Seen) -> Density:
    """Log of the joint density ``(*, subjects)`` as a function of standard normal numbers ``(*, subjects, size)``."""
    uniform = {site_name(name, "") for name, law in seen.latents.items() if law.kind == "uniform"}

    def density(z: Tensor) -> Tensor:
        noise = _by_site(seen, z)
        trace = poutine.trace(poutine.condition(abduction, noise)).get_trace(seen)
        trace.compute_log_prob()
        total = z.new_zeros(z.shape[:-1])
        for name, site in trace.nodes.items():
            if site["type"] == "sample" and name not in uniform and site["log_prob"].dim() > 1:
                total = total + site["log_prob"].sum(-1)
        place = 0
        for name, law in seen.latents.items():
            width = noise[site_name(name, "")].shape[-1]
            if law.kind == "uniform":
                total = total - 0.5 * z[..., place : place + width].square().sum(-1)
            place += width
        return total

    return density


def _climb(density: Density, z: Tensor) -> tuple[Tensor, Tensor]:
    """Newton's method from z ``(*, subjects, size)``, halving steps that lead down; returns mode and curvature."""
    if not z.shape[-1]:
        return z, z.new_zeros(*z.shape, 0)
    value = density(z).detach()
    for _ in range(NEWTON_STEPS):
        gradient, curvature = _derivatives(density, z)
        step = torch.linalg.solve(curvature, gradient.unsqueeze(-1)).squeeze(-1)
        if float((step * gradient).sum(-1).max()) < DONE:
            break
        scale = torch.ones_like(value)
        for _ in range(8):
            with torch.no_grad():
                new = density(z + scale.unsqueeze(-1) * step)
            worse = ~(new >= value)
            if not bool(worse.any()):
                break
            scale = torch.where(worse, scale / 2, scale)
        better = new >= value
        gain = torch.where(better, new - value, 0)
        z = torch.where(better.unsqueeze(-1), z + scale.unsqueeze(-1) * step, z)
        value = torch.where(better, new, value)
        if float(gain.max()) < LEAST_GAIN:
            break
    return z.detach(), _derivatives(density, z)[1]


def _derivatives(density: Density, z: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient ``(*, n, size)`` and minus the Hessian ``(*, n, size, size)``, made positive, subject by subject."""
    z = z.detach().requires_grad_()
    gradient = torch.autograd.grad(density(z).sum(), z, create_graph=True)[0]
    rows = [torch.autograd.grad(gradient[..., k].sum(), z, retain_graph=True)[0] for k in range(z.shape[-1])]
    hessian = -torch.stack(rows, -2)
    values, vectors = torch.linalg.eigh((hessian + hessian.mT) / 2)
    positive = (vectors * values.abs().clamp_min(SMALLEST_CURVATURE).unsqueeze(-2)) @ vectors.mT
    return gradient.detach(), positive.detach()


@torch.no_grad()
def _propose(
    density: Density, mode: Tensor, curvature: Tensor, source: CounterRandom, count: int, each: int
) -> tuple[Tensor, Tensor]:
    """Student t draws ``(count, H, n, size)`` about the mode, and their log weights ``(count, H, n)``.

    Parameters
    ----------
    each
        Numbers that the density of all subjects under one hypothesis takes.
    """
    hypotheses, n, size = mode.shape
    shape = (count, hypotheses)
    normal = torch.from_numpy(source.normal("propose", range(n), (*shape, size))).to(mode).movedim(0, 2)
    squares = torch.from_numpy(source.normal("spread", range(n), (*shape, FREEDOM))).to(mode).movedim(0, 2)
    root = torch.linalg.cholesky(curvature)
    away = torch.linalg.solve_triangular(root.mT, normal.unsqueeze(-1), upper=True).squeeze(-1)
    stretch = (FREEDOM / squares.square().sum(-1)).sqrt()
    z = mode + stretch.unsqueeze(-1) * away
    distance = stretch.square() * normal.square().sum(-1)
    proposal = -0.5 * (FREEDOM + size) * (distance / FREEDOM).log1p() + root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    density_of = torch.cat([density(part) for part in torch.split(z, max(1, MOST_NUMBERS // (hypotheses * each)))])
    return z, (density_of - proposal).nan_to_num(nan=-math.inf)


def _resample(weight: Tensor, uniform: Tensor) -> Tensor:
    """Stratified draws ``(draws, subjects)`` from weights ``(proposals, subjects)``, by uniforms ``(subjects, draws)``.

    Each draw has a uniform of its own.  One for all (systematic draws) would step over equal weights, hypothesis after
    hypothesis, in time with them: and all draws would be of the same hypothesis.
    """
    draws = uniform.shape[1]
    edges = weight.cumsum(0).mT.contiguous()
    places = (torch.arange(draws, dtype=weight.dtype, device=weight.device) + uniform) / draws
    return torch.searchsorted(edges / edges[:, -1:], places).clamp(max=len(weight) - 1).mT
