"""The fit of the Laplace guide: the mode, and the curvature there.

Sites that a model names as its ``scale_sites`` stay at their starting values: the joint mode of a population's sds with
what they are the sds of is where few draws come near.  The others' mode is looked for given these, and the curvature is
then of all.

Where a model names part of its data that says enough, both are of that, in double precision: of the joint density of a
whole cortex single precision tells neither the mode to a tenth of a nat nor the curvature in what is known the least,
and a curvature costs a gradient a latent number.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from neuropyro.default_dtype import default_dtype
from neuropyro.guides import FlatGuide, Start, find_latents, make_flat_guide
from neuropyro.inference.convergence import Schedule
from neuropyro.inference.objective import allowing_undefined, choose_elbo
from neuropyro.inference.optimise import Monitor
from neuropyro.inference.warm_start import find_mode, holding, mode_of_part, prior_sds
from neuropyro.progress_bars import watching

__all__ = ["MODE_NATS", "fit_laplace"]

MODE_NATS = 0.01  # from the mode, by the curvature, at which it counts as found: at most .14 sds
POLISH, LESS = 20, 0.9  # Newton's steps at most, and the share of nats that each has to leave fewer than
LENGTHS = (1.0, 0.5, 0.25)  # of a step, as shares of Newton's: the curvature is of where the search ended
ROUNDS, NEAR = 4, 0.05  # in which the curvature is taken anew where the last one was farther, in nats, from the mode


def fit_laplace(
    model: Any, data: Any, init_values: Mapping[str, Tensor], schedule: Schedule, monitor: Monitor
) -> tuple[FlatGuide, float]:
    """Return the guide, and what a further Newton step would gain, nats.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> guide, left = fit_laplace(model, torch.ones(9), {}, Schedule(warm_up=50), Monitor(""))
    >>> [round(float(x), 3) for x in (guide.law.whitening.loc, guide.law.whitening.shared)], left < 1e-6
    ([0.9, 0.316], True)
    """
    part = model.curvature_part(data) if hasattr(model, "curvature_part") else None
    latents, held = find_latents(model, data, init_values), getattr(model, "scale_sites", ())
    if part is None:
        return _at_mode(model, data, find_mode(model, data, latents, schedule, monitor, held), held, monitor)
    mode = mode_of_part(model, part, init_values, schedule, monitor, held)
    with default_dtype(torch.float64):
        found, left = _at_mode(model, part, mode, held, monitor)
    guide = make_flat_guide("laplace", Start(latents, latents.start))
    guide.load_state_dict(found.state_dict())
    return guide, left


def _at_mode(model: Any, data: Any, mode: Start, held: Collection[str], monitor: Monitor) -> tuple[FlatGuide, float]:
    """Return the guide at the mode given the sites that are held, of the curvature of all, and what is left to it.

    Away from the joint mode there may be none along what is held: it gets no wider than its prior.
    """
    stays = mode.latents.places(held)
    if not stays.any():
        return _settled(mode, monitor)
    assert mode.potential is not None
    guide, left = _settled(replace(mode, potential=holding(mode.potential, mode.point, stays), found={}), monitor)
    whitening: Any = guide.law.whitening
    point = torch.where(stays, mode.point, whitening.loc)
    there = replace(mode, point=point, found={})
    widest = prior_sds(choose_elbo(model, data), model, data, there).where(stays, torch.tensor(math.inf).to(point))
    with watching(f"{monitor.stage}, curvature of all", monitor.progress):
        return make_flat_guide("laplace", replace(there, widest=widest)), left


def _settled(mode: Start, monitor: Monitor) -> tuple[FlatGuide, float]:
    """Return the guide at the mode, to which curvatures lead from where the search ended, and what is left to it."""
    for number in range(1, ROUNDS + 1):
        with watching(f"{monitor.stage}, curvature {number} of at most {ROUNDS}", monitor.progress):
            guide, began, left = _polished(mode)
        if began < NEAR and left < MODE_NATS:
            break
        whitening: Any = guide.law.whitening
        mode = replace(mode, point=whitening.loc.clone(), found={})
    return guide, left


def _polished(mode: Start) -> tuple[FlatGuide, float, float]:
    """Return the guide of the curvature at a point, moved by Newton's steps as long as they get nearer.

    And how far it was from the mode by that curvature, and how far it is, nats.
    """
    guide = make_flat_guide("laplace", mode)
    whitening: Any = guide.law.whitening
    loc = whitening.loc
    began, step = _newton(guide, mode, loc)
    left = began
    for _ in range(POLISH):
        with allowing_undefined():
            tried = {length: _newton(guide, mode, loc + length * step) for length in LENGTHS}
        length = min(LENGTHS, key=lambda one: tried[one][0])
        if not tried[length][0] < LESS * left:
            break
        loc += length * step
        left, step = tried[length]
    return guide, began, left


def _newton(guide: FlatGuide, mode: Start, place: Tensor) -> tuple[float, Tensor]:
    """Return what a Newton step from a place ``(D,)`` would gain by the guide's curvature, and that step."""
    assert mode.potential is not None
    at = place.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(mode.potential(at), at)
    whitening: Any = guide.law.whitening
    transform = whitening()
    scaled = transform.transposed(gradient)
    gain = 0.5 * float(scaled.square().sum())
    return gain if math.isfinite(gain) else math.inf, whitening.loc - transform(scaled)
