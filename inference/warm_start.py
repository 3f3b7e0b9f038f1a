"""Where a named guide starts: the mode and the curvature there, or the model's own values, whichever serves it better.

A hierarchical model may have no mode worth the name (its joint density can grow without bound where a scale goes to 0).
So both starts are tried, and the one of the higher ELBO is taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Size, Tensor

from neuropyro.default_dtype import default_dtype
from neuropyro.guides import FlatGuide, Latents, Start, find_latents, make_flat_guide
from neuropyro.guides.blocks import one_block, plate_blocks
from neuropyro.guides.centring import share_known
from neuropyro.guides.curvature import cost, descend, local_curvature
from neuropyro.guides.point import Point
from neuropyro.inference.convergence import CosineSchedule, Schedule
from neuropyro.inference.objective import allowing_undefined, choose_elbo, potential_of
from neuropyro.inference.optimise import Monitor, optimise
from neuropyro.progress_bars import progress_bar

__all__ = ["best_start", "centred", "find_mode", "find_rough_mode", "holding", "mode_of_part", "prior_sds"]

TRIALS = 8
PRIOR_DRAWS = 200  # whose sd has an error of 5 %
CONTEST = 100  # steps in which two starts show which leads further
WIDTHS = (1.0, 0.3, 0.1, 0.03)  # of the guide at the mode, as shares of what the curvature there says
MODE_RATE = 0.02
SHARE, ROUNDS = 2, 4  # of the descent to the mode: gradients beside those of the warm-up, and rounds
ROUGH_SHARE = 16  # likewise, where they are of part of the data
ROUGH_STEPS = 50  # of the warm-up there, which leave the rest to the descent
A_ROUND = 50  # steps of the warm-up, where the whole curvature is cheap
EVALUATIONS = "{desc}: {n_fmt} evaluations [{elapsed}]"  # whose number is not known beforehand
WHOLE_LIMIT = 200  # latent numbers: with more, the curvature is taken by blocks


def find_mode(
    model: Any,
    data: Any,
    latents: Latents,
    schedule: Schedule,
    monitor: Monitor,
    held: Collection[str] = (),
    share: int = SHARE,
    steps: int | None = None,
) -> Start:
    """Search for the mode in unconstrained space.

    A population's sd has its joint mode with what it is the sd of at a place that few draws come near: too large where
    sites are in units of it, 0 where they are not.  Such sites may be held at their starting values, for a guide to
    learn from there.

    Parameters
    ----------
    model, data
        As in `fit`.
    latents
        The model's sites, at their starting values.
    schedule
        Its ``warm_up`` limits the steps.
    monitor
        Who follows.
    held
        Names of sites that stay at their starting values.
    share
        Gradients of the descent that ends it, beside those of the warm-up.
    steps
        Fewer than the warm-up has, with which the descent begins.

    Returns
    -------
    A start at the mode, or as near to it as the search came.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.guides import find_latents
    >>> latents = find_latents(model, torch.ones(9), {"mean": torch.tensor(0.5)})
    >>> found = find_mode(model, torch.ones(9), latents, Schedule(warm_up=20), Monitor(""))
    >>> round(found.point.item(), 3)  # 9 / (9 + 1)
    0.9
    """
    elbo = choose_elbo(model, data)
    stays = latents.places(held)
    place = Point(latents, held)
    most = schedule.warm_up if steps is None else min(steps, schedule.warm_up)
    limits = CosineSchedule(learning_rate=MODE_RATE, max_steps=most, window=schedule.window)
    optimise(elbo, model, FlatGuide(latents, place), data, limits, monitor)
    potential, point = potential_of(elbo, model, data, latents), place.place().detach().clone()
    held_potential = holding(potential, latents.start, stays)

    def counted(flat: Tensor) -> Tensor:
        bar.update()
        return held_potential(flat)

    few = latents.size <= WHOLE_LIMIT
    blocks = one_block(latents) if few else plate_blocks(latents)
    whole = max(schedule.warm_up // A_ROUND, 1)
    rounds = min(whole if few else share * schedule.warm_up // cost(blocks), ROUNDS)
    with (
        allowing_undefined(),
        progress_bar(f"{monitor.stage}, descent", monitor.progress, bar_format=EVALUATIONS) as bar,
    ):
        point = descend(counted, point, blocks, rounds)
    return Start(latents, point, potential)


def holding(potential: Callable[[Tensor], Tensor], place: Tensor, stays: Tensor) -> Callable[[Tensor], Tensor]:
    """Return a potential ``(D,) -> ()`` given that the numbers of the mask ``stays (D,)`` are as at a place ``(D,)``.

    These are drawn there by a unit curvature, which keeps that of all numbers whole.

    Examples
    --------
    >>> held = holding(lambda x: (x[0] - x[1]).square(), torch.tensor([3.0, 0.0]), torch.tensor([True, False]))
    >>> held(torch.tensor([3.0, 1.0])).item(), held(torch.tensor([5.0, 1.0])).item()
    (4.0, 6.0)
    """

    def held(flat: Tensor) -> Tensor:
        pull = 0.5 * (flat - place)[stays].square().sum()
        return potential(torch.where(stays, place, flat)) + pull

    return held


def find_rough_mode(
    model: Any,
    data: Any,
    init_values: Mapping[str, Tensor],
    schedule: Schedule,
    monitor: Monitor,
    held: Collection[str] = (),
) -> Tensor | None:
    """Return the place ``(D,)`` of the mode by what the model's ``rough(data)`` returns, or None where that is None.

    So it is without a warm-up, and of models that have no ``rough``.  It is part of the data, in double precision: a
    posterior's valleys are so flat along their floor that the loss of all data in single precision does not tell where
    they go on.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.models import VertexClusterMixture
    >>> program, cohort = VertexClusterMixture(2), simulate_reference(n_subjects=6, n_vertices=9, n_clusters=2, seed=0)
    >>> visits = program.prepare(cohort, "cpu")
    >>> place = find_rough_mode(program, visits, program.init_values(visits), Schedule(warm_up=10), Monitor(""))
    >>> place.dtype  # as the data are
    torch.float32
    """
    part = model.rough(data) if schedule.warm_up and hasattr(model, "rough") else None
    if part is None:
        return None
    found = mode_of_part(model, part, init_values, schedule, monitor, held).point
    return found.to(next(iter(init_values.values())).dtype)


def mode_of_part(
    model: Any,
    part: Any,
    init_values: Mapping[str, Tensor],
    schedule: Schedule,
    monitor: Monitor,
    held: Collection[str] = (),
) -> Start:
    """Search for the mode as `find_mode` does, of part of the data in double precision, and with more gradients.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> start = {"mean": torch.tensor(0.5)}
    >>> found = mode_of_part(model, torch.ones(9, dtype=torch.float64), start, Schedule(warm_up=10), Monitor(""))
    >>> round(found.point.item(), 6), found.point.dtype
    (0.9, torch.float64)
    """
    with default_dtype(torch.float64):
        latents = find_latents(model, part, {site: value.double() for site, value in init_values.items()})
        return find_mode(model, part, latents, schedule, monitor, held, ROUGH_SHARE, ROUGH_STEPS)


def centred(model: Any, data: Any, mode: Start) -> Start:
    """Return the same start with what the model samples in units of its population centred as far as data know it.

    See :mod:`neuropyro.guides.centring`.

    Examples
    --------
    >>> from neuropyro.data import simulate_reference
    >>> from neuropyro.guides import find_latents
    >>> from neuropyro.models import SubjectProgression
    >>> program = SubjectProgression()
    >>> visits = program.prepare(simulate_reference(n_subjects=6, n_vertices=9, seed=0), "cpu")
    >>> latents = find_latents(program, visits, {})
    >>> mode = Start(latents, latents.start, potential_of(choose_elbo(program, visits), program, visits, latents))
    >>> share = centred(program, visits, mode).latents.frame["share"]
    >>> share.shape, bool(((share >= 0) & (share < 1)).all())  # 0 says as sampled, 1 that data know all
    (torch.Size([6, 2]), True)
    """
    latents, potential = mode.latents, mode.potential
    if latents.centring is None or potential is None:
        return mode
    index = latents.centred_site.index()
    known = local_curvature(potential, mode.point, index.reshape(len(index), -1))
    share = share_known(known).reshape(index.shape)
    new = latents.centred(share, mode.point)
    return Start(new, latents.moved(mode.point, new.frame), potential_of(choose_elbo(model, data), model, data, new))


def best_start(name: str, model: Any, data: Any, mode: Start, schedule: Schedule) -> FlatGuide:
    """Return the named guide, started at the mode, as wide as serves it best, or else at the model's own values.

    A guide may look better at a pole of a hierarchical model's density than anywhere it has not learned yet, and never
    leave it: where the model does not say itself where to start, both learn for a while before they are compared.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.guides import find_latents
    >>> latents = find_latents(model, torch.ones(9), {})
    >>> mode = Start(latents, torch.tensor([0.9]), lambda x: 5 * (x - 0.9).square().sum())
    >>> law = best_start("normal", model, torch.ones(9), mode, Schedule()).law
    >>> round((law.whitening.scale * law.log_scale.exp()).item(), 3)  # the posterior's own sd, 10 ** -0.5
    0.316
    """
    elbo = choose_elbo(model, data)
    plain = replace(mode, point=mode.latents.start, potential=None, found={})
    found = replace(mode, widest=prior_sds(elbo, model, data, mode))
    starts = [*(replace(found, shrunk=width) for width in WIDTHS), plain]
    guides = [make_flat_guide(name, start) for start in starts]
    losses = [_trial_loss(elbo, model, guide, data) for guide in guides]
    hierarchical = any(site.plates for site in mode.latents.sites)
    if not hierarchical or hasattr(model, "init_values"):
        return guides[losses.index(min(losses))]
    contest = (starts[losses.index(min(losses[:-1]))], plain)
    learned = [_learned_loss(elbo, model, make_flat_guide(name, start), data, schedule) for start in contest]
    return make_flat_guide(name, contest[learned.index(min(learned))])


@torch.no_grad()
def prior_sds(elbo: Any, model: Any, data: Any, start: Start) -> Tensor:
    """Return each latent number's sd under its prior given the others, ``(D,)``, unconstrained; infinite where unknown.

    A posterior may have hardly any curvature along a number (a correlation's logarithmic odds, say, away from the mode
    of the sds beside it), but is no wider than what the model holds of it beforehand.

    Examples
    --------
    >>> from neuropyro.guides import find_latents
    >>> def speed(y):
    ...     pyro.sample("speed", dist.LogNormal(0.0, 0.5))
    >>> latents = find_latents(speed, None, {})
    >>> round(prior_sds(choose_elbo(speed, None), speed, None, Start(latents, latents.start)).item(), 1)  # of log speed
    0.5
    """
    latents, sds = start.latents, torch.full_like(start.point, math.inf)
    values = latents.values(start.point)
    nodes, changed = elbo.trace_at(model, values, data).nodes, latents.seen(values)
    with torch.random.fork_rng(devices=[] if start.point.device.type == "cpu" else None):
        torch.manual_seed(0)
        for site in (site for site in latents.sites if site.size):  # one cluster's share has no number that is free
            if latents.centring is None or site is not latents.centred_site:
                drawn = nodes[site.name]["fn"].sample(Size([PRIOR_DRAWS]))
                if site.name in changed:
                    drawn = torch.vmap(_seen_of(latents, values, site.name))(drawn)
                sds[site.slice] = site.transform.inv(drawn).std(0).expand(site.shape).reshape(-1)
    return torch.where(sds > 0, sds, math.inf)  # undefined ones, too


def _seen_of(latents: Latents, values: dict[str, Tensor], name: str) -> Callable[[Tensor], Tensor]:
    """Return what guides see of a site as a function of its sampled value, all others being given."""
    return lambda value: latents.seen({**values, name: value})[name]


def _learned_loss(elbo: Any, model: Any, guide: FlatGuide, data: Any, schedule: Schedule) -> float:
    """Return the mean loss of the later half of some steps, infinity where they diverge."""
    schedule = replace(schedule, max_steps=min(CONTEST, schedule.max_steps))
    with allowing_undefined():
        try:
            losses = optimise(elbo, model, guide, data, schedule, Monitor("")).losses
        except FloatingPointError:
            return math.inf
    return float(losses[len(losses) // 2 :].mean())


def _trial_loss(elbo: Any, model: Any, guide: FlatGuide, data: Any) -> float:
    """Return the mean loss of some draws, infinity where one is undefined."""
    with torch.no_grad(), allowing_undefined():
        losses = torch.tensor([float(elbo.loss(model, guide, data)) for _ in range(TRIALS)])
    mean = float(losses.mean())
    return mean if math.isfinite(mean) else math.inf
