"""Where a reconstruction starts: the best of many images from the prior, improved for a while.

The posterior of w has many modes, and the mean w is a bad place to look for the best one.  So the images of some
thousand z are compared with the measurements; the best few of each image are improved one after the other, the scale of
the residual falling from wide to its prior's middle (annealing); and of these the one of the highest posterior is
taken, for each image on its own.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from neuropyro.models.corruption_operator import Corruption, flat_reals
from neuropyro.models.priors import Pair
from neuropyro.models.reconstruction_data import Measurements
from neuropyro.models.reconstruction_source import BATCH, Candidates
from neuropyro.progress_bars import told

__all__ = ["closeness", "start_values"]

WIDE = 3.0  # of the scales at the beginning of the annealing, beside those at its end
LEARNING_RATE = 0.1  # of Adam, in sds of the prior


class _Startable(Protocol):
    """What is asked of the model."""

    corruption: Corruption
    sigma: float | None
    sigma_prior: Pair
    residual_prior: Pair
    starts: int
    search_steps: int
    candidates: int

    def log_joint(self, values: dict[str, Tensor], y: Measurements) -> Tensor:
        """Log joint density (*, B)."""


def start_values(model: _Startable, measured: Measurements, seed: int) -> dict[str, Tensor]:
    """Return values of all sites, ``(B, ...)`` each; scales at their priors' medians.

    Parameters
    ----------
    model
        Its ``candidates`` are drawn from the prior, ``starts`` of them improved for ``search_steps`` steps each.
    measured
        Measurements of B images.
    seed
        Of the draws.

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> from neuropyro.models import LatentReconstruction
    >>> from neuropyro.models.corruption import Downsample
    >>> settings = {"candidates": 6, "starts": 1, "search_steps": 0, "residual": None}
    >>> model = LatentReconstruction(load_generator("brains64"), Downsample(8, noise=0.05), "z", **settings)
    >>> found = model.prepare_source(torch.device("cpu"), torch.float32).candidates(6, seed=0)
    >>> measured = model.prepare(model.corruption.A(found.images[[4, 2]]))
    >>> torch.equal(start_values(model, measured, seed=0)["z"], found.latents[[4, 2]])
    True
    """
    found = measured.source.candidates(model.candidates, seed)
    count = min(model.starts, model.candidates)
    best = closeness(model, measured, found).topk(count, dim=0).indices
    each = [_improved(model, measured, found.latents[one]) for one in told(list(best))]
    values = {site: torch.stack([one[site] for one in each]) for site in each[0]}
    scales = _scales(model, measured, 1.0)
    with torch.no_grad():
        winner = model.log_joint(values | scales, measured).argmax(0)
    return {site: v[winner, torch.arange(len(measured), device=v.device)] for site, v in values.items()} | scales


@torch.no_grad()
def closeness(model: _Startable, measured: Measurements, found: Candidates) -> Tensor:
    """Log-likelihood (N, B) of each image under each candidate, up to a constant, at wide scales.

    Examples
    --------
    >>> from neuropyro.generators import load_generator
    >>> from neuropyro.models import LatentReconstruction
    >>> from neuropyro.models.corruption import Downsample
    >>> settings = {"candidates": 6, "starts": 1, "search_steps": 0, "residual": None}
    >>> model = LatentReconstruction(load_generator("brains64"), Downsample(8, noise=0.05), "z", **settings)
    >>> found = model.prepare_source(torch.device("cpu"), torch.float32).candidates(6, seed=0)
    >>> measured = model.prepare(model.corruption.A(found.images[[4, 2]]))
    >>> closeness(model, measured, found).argmax(0)
    tensor([4, 2])
    """
    scales = {"residual_scale": 1.0} | _scales(model, measured, WIDE)
    sigma = scales.get("sigma", torch.full((1,), model.sigma or 1.0).to(measured.values))
    spread = measured.spread
    variance = spread.total(torch.as_tensor(sigma)[:1], torch.as_tensor(scales["residual_scale"]).reshape(-1)[:1])
    target = spread.coordinates(measured.values.flatten(1))
    copies = 1 if len(spread.places) == 1 else len(measured)
    distances = []
    for part in torch.split(found.images, BATCH):
        y = model.corruption.A(part.unsqueeze(1).expand(-1, copies, -1, -1, -1))
        made = spread.coordinates(flat_reals(y, y.ndim - 2))
        distances.append(((target - made).square() / variance).sum(-1))
    return -0.5 * torch.cat(distances)


def _scales(model: _Startable, measured: Measurements, factor: float) -> dict[str, Tensor]:
    """Values (B,) of the sites that are scales: their priors' medians times ``factor``."""
    like, found = measured.values, {}
    if measured.residual is not None:
        found["residual_scale"] = like.new_full((len(measured),), factor * math.exp(model.residual_prior[0]))
    if model.sigma is None:
        found["sigma"] = like.new_full((len(measured),), factor * math.exp(model.sigma_prior[0]))
    return found


def _improved(model: _Startable, measured: Measurements, latents: Tensor) -> dict[str, Tensor]:
    """Ascend the posterior from latents (B, ...), in units of the prior's sds; returns them, and poses."""
    source = measured.source
    values = {source.site: latents}
    if source.pose is not None:
        values["pose"] = latents.new_zeros(len(measured), *source.pose.event_shape)
    if model.search_steps == 0:
        return values
    affines = source.whitenings()
    free = {site: (affines[site].inv(v) if site in affines else v).detach().clone() for site, v in values.items()}
    optimiser = torch.optim.Adam([v.requires_grad_() for v in free.values()], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, model.search_steps)

    def placed() -> dict[str, Tensor]:
        return {site: affines[site](v) if site in affines else v for site, v in free.items()}

    for step in range(model.search_steps):
        scales = _scales(model, measured, WIDE ** (1 - (step + 1) / model.search_steps))
        density = model.log_joint(placed() | scales, measured).sum()
        for v, slope in zip(free.values(), torch.autograd.grad(-density, list(free.values())), strict=True):
            v.grad = slope
        optimiser.step()
        schedule.step()
    return {site: v.detach() for site, v in placed().items()}
