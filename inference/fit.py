"""The one runner of MAP and variational fits."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from pyro.infer.autoguide import AutoGuide
from torch import Tensor, nn

from neuropyro.default_dtype import default_dtype
from neuropyro.guides import (
    FLAT_GUIDES,
    FlatGuide,
    Latents,
    PointGuide,
    Start,
    check_name,
    find_latents,
    hold,
    make_flat_guide,
    make_guide,
)
from neuropyro.guides.gaussian import ArrowGaussian
from neuropyro.inference.checkpoint import Checkpoint
from neuropyro.inference.convergence import Schedule
from neuropyro.inference.global_spread import affordable_chains, match_global_block
from neuropyro.inference.joint_density import bears_particles
from neuropyro.inference.laplace_fit import MODE_NATS, fit_laplace
from neuropyro.inference.objective import choose_elbo, potential_of
from neuropyro.inference.optimise import Monitor, Progress, optimise
from neuropyro.inference.placement import choose_device, described, fingerprint, prepare
from neuropyro.inference.result import Fit, Run
from neuropyro.inference.warm_start import best_start, centred, find_mode, find_rough_mode
from neuropyro.progress_bars import watching

__all__ = ["build_guide", "fit"]

LAPLACE_EVALUATIONS = 50


def fit(
    model: Callable[[Any], Any],
    data: Any,
    guide: str | Callable[..., Any] | None = None,
    *,
    seed: int = 0,
    restarts: int = 1,
    particles: int | None = None,
    schedule: Schedule | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    checkpoint: str | Path | None = None,
    checkpoint_every: float = 60.0,
    callbacks: Sequence[Callable[[Progress], bool | None]] = (),
    progress: bool = True,
) -> Fit:
    """Fit a guide to a model's posterior.

    Parameters
    ----------
    model
        A Pyro program over one data object.  If it has ``prepare(data, device, dtype)``, that is called once; if it
        has ``init_values(data, seed)``, the guide starts there; those that ``scale_sites`` names, sds of populations,
        are not moved before the guide itself learns; what ``centring(data)`` names is centred as far as data know it
        (:mod:`neuropyro.guides.centring`); those that ``population_sites`` names stay there under ``"map"``.
    data
        What the model conditions on.
    guide
        A name from :data:`neuropyro.guides.GUIDES`, any Pyro guide, or None for ``model.default_guide`` (else
        ``"normal"``).
    seed
        The same seed on the same device gives the same fit.
    restarts
        Fits from different seeds, of a guide by name; the one of the best final ELBO is reported, the others stay in
        ``result.runs``.
    particles
        Draws a step for the gradient of the ELBO: at once for guides of ours and Pyro's own, where the model bears it
        (two draws are tried both ways first), else one after the other.  By default as many as
        ``model.default_particles(data)`` says of prepared data, where they can run at once and the guide draws; or one.
    schedule
        Steps, learning rate and stopping rule.
    device, dtype
        By default CUDA where there is one, else the CPU; float32.
    checkpoint
        A folder: the state of the fit is kept there, and a fit that finds its own state there goes on from it.
    checkpoint_every
        Seconds between two writes.
    callbacks
        Called with a :class:`~neuropyro.inference.optimise.Progress` after each window of steps; one that returns True
        ends that stage.
    progress
        Whether to show a bar on standard error.

    Returns
    -------
    Fit
        Losses are those of the ELBO; the global sites of `structured` are spread anew after it, as the verdict tells
        (:mod:`neuropyro.inference.global_spread`).

    Raises
    ------
    FloatingPointError
        Where the loss stays infinite or undefined at smaller and smaller steps.
    ValueError
        Where an argument makes no sense.
    CheckpointError
        Where the folder holds the state of another fit.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> result = fit(model, torch.ones(9), guide="map", schedule=Schedule(max_steps=200), progress=False)
    >>> result.guide_name, result.losses.ndim
    ('map', 1)
    """
    for what, given, least in (("seed", seed, 0), ("restarts", restarts, 1), ("particles", particles, 1)):
        if given is not None and given < least:
            raise ValueError(f"fit: {what} is {given}; give {least} or more")
    name = guide if guide is not None else getattr(model, "default_guide", "normal")
    schedule = schedule or Schedule()
    if isinstance(name, str):
        check_name(name)
        if name == "laplace" and not schedule.warm_up:
            raise ValueError("fit: guide 'laplace' is built at the mode; allow steps to find it: Schedule(warm_up=...)")
    elif restarts > 1:
        raise ValueError("fit: a guide object can be fitted once; restarts need a guide's name")
    prepared = prepare(model, data, choose_device(device), dtype)
    known = fingerprint(data)
    kept = None
    if checkpoint is not None:
        settings = (described(model), described(name), seed, particles, repr(schedule), str(dtype))
        kept = Checkpoint(checkpoint, checkpoint_every, fingerprint((known, *settings)))
    task = _Task(model, prepared, name, schedule, particles, Monitor("", progress, callbacks, kept))
    with default_dtype(dtype):
        runs = [task.run(seed, restart, restarts) for restart in range(restarts)]
    return Fit(
        model=model,
        data=prepared,
        runs=tuple(sorted(runs, key=lambda run: run.final_loss)),
        guide_name=name if isinstance(name, str) else None,
        seed=seed,
        fingerprint=known,
        dtype=dtype,
    )


def build_guide(
    model: Callable[..., Any],
    prepared: Any,
    guide: str | Callable[..., Any],
    start: Mapping[str, Tensor],
) -> nn.Module:
    """Return a guide with its parameters in place, unfitted; call it with module-local parameters switched on.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> with pyro.settings.context(module_local_params=True):
    ...     guide = build_guide(model, torch.ones(9), "map", {"mean": torch.tensor(0.5)})
    >>> guide.draw(2)["mean"].tolist()
    [0.5, 0.5]
    """
    built = make_guide(guide, model, prepared, start)
    if not isinstance(built, FlatGuide):
        with torch.no_grad():
            built(prepared)  # an AutoGuide makes its parameters when it is first run
    return built


@dataclass(frozen=True)
class _Task:
    """What all restarts have in common."""

    model: Any
    data: Any
    guide: Any
    schedule: Schedule
    particles: int | None
    monitor: Monitor

    def run(self, seed: int, restart: int, restarts: int) -> Run:
        """Fit once, from this restart's own seed."""
        began = time.perf_counter()
        with pyro.settings.context(module_local_params=True), torch.random.fork_rng():
            torch.manual_seed(seed + restart)
            monitor = replace(self.monitor, stage=f"restart {restart + 1} of {restarts}")
            start = self._init_values(seed + restart, monitor)
            if isinstance(self.guide, str) and self.guide in FLAT_GUIDES:
                run = self._respread(self._fit_flat(start, monitor), seed + restart, monitor)
            else:
                run = self._fit_other(start, monitor)
        return replace(run, seconds=time.perf_counter() - began)

    def _fit_other(self, init_values: Mapping[str, Tensor], monitor: Monitor) -> Run:
        """Fit a point, or a guide that is not ours."""
        built = build_guide(self.model, self.data, self.guide, init_values)
        if isinstance(built, PointGuide):
            stays = getattr(self.model, "population_sites", ())
            place = None if self._has_begun(monitor) else self._rough_mode(init_values, monitor, stays)
            if place is not None:
                built.law.loc.data = place
            hold(built, stays)
        return self._optimise(built, monitor)

    def _rough_mode(self, values: Mapping[str, Tensor], monitor: Monitor, held: Collection[str]) -> Tensor | None:
        """Search for the mode on part of the data, where the model says on which."""
        return find_rough_mode(self.model, self.data, values, self.schedule, _searching(monitor), held)

    def _has_begun(self, monitor: Monitor) -> bool:
        return monitor.checkpoint is not None and monitor.checkpoint.has(monitor.stage)

    def _fit_flat(self, init_values: Mapping[str, Tensor], monitor: Monitor) -> Run:
        """Find the mode, start the guide there, and fit it."""
        if self._has_begun(monitor):
            return self._optimise(build_guide(self.model, self.data, self.guide, init_values), monitor)
        if self.guide == "laplace":
            return self._fit_laplace(init_values, monitor)
        latents = find_latents(self.model, self.data, init_values)
        if not self.schedule.warm_up:
            return self._optimise(make_flat_guide(self.guide, Start(latents, latents.start)), monitor)
        start = centred(self.model, self.data, self._mode(latents, init_values, monitor))
        return self._optimise(best_start(self.guide, self.model, self.data, start, self.schedule), monitor)

    def _fit_laplace(self, init_values: Mapping[str, Tensor], monitor: Monitor) -> Run:
        guide, left = fit_laplace(self.model, self.data, init_values, self.schedule, _searching(monitor))
        found = left < MODE_NATS
        verdict = (
            f"{'converged' if found else 'not converged'}: a step of Newton's to the mode would gain {left:.2g} nats"
        )
        return Run(guide, self._evaluate(guide), found, verdict if found else f"{verdict}; allow more warm_up")

    def _mode(self, latents: Latents, init_values: Mapping[str, Tensor], monitor: Monitor) -> Start:
        """Search for the mode of a guide that draws."""
        held = getattr(self.model, "scale_sites", ())
        place = self._rough_mode(init_values, monitor, held)
        if place is None:
            return find_mode(self.model, self.data, latents, self.schedule, _searching(monitor), held)
        return Start(latents, place, potential_of(choose_elbo(self.model, self.data), self.model, self.data, latents))

    def _respread(self, run: Run, seed: int, monitor: Monitor) -> Run:
        """Let short chains tell how wide a fitted guide's global block is, where it has one beside elements."""
        law = run.guide.law
        if not isinstance(law, ArrowGaussian) or not len(law.shared) or not len(law.scales):
            return run
        particles, at_once = self._choose_particles(run.guide)
        chains = affordable_chains(len(run.losses), particles)
        if not chains:
            return run
        torch.manual_seed(seed)  # whatever has been drawn before: a fit that goes on from a checkpoint drew less
        objective, rate = choose_elbo(self.model, self.data, particles, at_once), self.schedule.learning_rate
        said = match_global_block(self.model, run.guide, self.data, objective, chains, rate, monitor)
        return replace(run, verdict=f"{run.verdict}; {said}")

    def _optimise(self, guide: Any, monitor: Monitor) -> Run:
        if not any(p.requires_grad for p in guide.parameters()):
            return Run(guide, self._evaluate(guide), True, "converged: the guide has nothing to learn")
        particles, at_once = self._choose_particles(guide)
        objective = choose_elbo(self.model, self.data, particles, at_once)
        return optimise(objective, self.model, guide, self.data, self.schedule, monitor)

    def _choose_particles(self, guide: Any) -> tuple[int, bool]:
        """Return how many draws a step, and whether at once."""
        if self.particles is not None:
            return self.particles, self.particles > 1 and self._bears_particles(guide)
        served = not isinstance(guide, PointGuide) and hasattr(self.model, "default_particles")
        wanted = self.model.default_particles(self.data) if served else 1
        bears = wanted > 1 and self._bears_particles(guide)
        return wanted if bears else 1, bears

    def _bears_particles(self, guide: Any) -> bool:
        """Whether guide and model can run over all particles at once; a user's guide is not put to the test."""
        if not isinstance(guide, FlatGuide | AutoGuide):
            return False
        latents = guide.latents if isinstance(guide, FlatGuide) else find_latents(self.model, self.data, {})
        return bears_particles(self.model, self.data, latents)

    def _evaluate(self, guide: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the loss of some draws of a guide that learns nothing."""
        objective = choose_elbo(self.model, self.data)
        with torch.no_grad():
            losses = [objective.loss(self.model, guide, self.data) for _ in range(LAPLACE_EVALUATIONS)]
        return np.array(losses, np.float64)

    def _init_values(self, seed: int, monitor: Monitor) -> Mapping[str, Tensor]:
        if not hasattr(self.model, "init_values"):
            return {}
        with watching(f"{monitor.stage}, starting values", monitor.progress, at_most=True):
            values: Mapping[str, Tensor] = self.model.init_values(self.data, seed)
        return values


def _searching(monitor: Monitor) -> Monitor:
    return replace(monitor, stage=f"{monitor.stage}, mode")
