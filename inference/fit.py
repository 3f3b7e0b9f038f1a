"""The one runner of MAP and variational fits.

>>> import pyro, torch
>>> import pyro.distributions as dist
>>> from neuropyro.inference import fit
>>> def model(y):
...     mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
...     with pyro.plate("visit", len(y)):
...         pyro.sample("y", dist.Normal(mean, 1.0), obs=y)
>>> result = fit(model, torch.ones(9), guide="map", seed=0, progress=False)
>>> round(float(result.posterior()["mean"][0]), 3)  # 9 / (9 + 1)
0.9
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyro
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceEnum_ELBO
from torch import Tensor, nn
from tqdm.auto import tqdm

from neuropyro.guides import make_guide
from neuropyro.inference.convergence import Plateau, Schedule
from neuropyro.inference.placement import choose_device, default_dtype, fingerprint, prepare
from neuropyro.inference.result import Fit, Run

__all__ = ["build_guide", "choose_elbo", "fit"]

RETRIES = 3
RETRY_FACTOR = 0.3


def fit(
    model: Callable[[Any], Any],
    data: Any,
    guide: str | Callable[..., Any] | None = None,
    *,
    seed: int = 0,
    restarts: int = 1,
    particles: int = 1,
    schedule: Schedule | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    progress: bool = True,
) -> Fit:
    """Fit a guide to a model's posterior.

    Parameters
    ----------
    model
        A Pyro program over one data object.  If it has ``prepare(data, device, dtype)``, that is called once; if it
        has ``init_values(data, seed)``, the guide starts there.
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
        Draws a step for the gradient of the ELBO.
    schedule
        Steps, learning rate and stopping rule; by default gentler for guides that draw.
    device, dtype
        By default CUDA where there is one, else the CPU; float32.
    progress
        Whether to show a bar on standard error.

    Returns
    -------
    Fit

    Raises
    ------
    FloatingPointError
        Where the loss stays infinite or undefined at smaller and smaller steps.
    ValueError
        Where an argument makes no sense.
    """
    if restarts < 1 or particles < 1:
        raise ValueError(f"fit: restarts ({restarts}) and particles ({particles}) must be 1 or more")
    name = guide if guide is not None else getattr(model, "default_guide", "normal")
    if restarts > 1 and not isinstance(name, str):
        raise ValueError("fit: a guide object can be fitted once; restarts need a guide's name")
    device = choose_device(device)
    prepared = prepare(model, data, device, dtype)
    schedule = schedule or Schedule(learning_rate=0.02 if name == "map" else 0.01)
    runs = []
    for restart in range(restarts):
        with pyro.settings.context(module_local_params=True), torch.random.fork_rng(), default_dtype(dtype):
            torch.manual_seed(seed + restart)
            began = time.perf_counter()
            label = f"restart {restart + 1} of {restarts}" if progress else None
            start = _start(model, prepared, name, seed + restart, schedule, label)
            guided = build_guide(model, prepared, name, start)
            run = _optimise(model, guided, prepared, schedule, particles, label)
            runs.append(replace(run, seconds=time.perf_counter() - began))
    return Fit(
        model=model,
        data=prepared,
        runs=tuple(sorted(runs, key=lambda run: run.final_loss)),
        guide_name=name if isinstance(name, str) else None,
        seed=seed,
        fingerprint=fingerprint(data),
        dtype=dtype,
    )


def build_guide(
    model: Callable[..., Any], prepared: Any, guide: str | Callable[..., Any], start: Mapping[str, Tensor]
) -> Any:
    """Return a guide with its parameters in place; call it with module-local parameters switched on."""
    built = make_guide(guide, model, start)
    with torch.no_grad():
        built(prepared)  # an AutoGuide makes its parameters when it is first run
    return built


def _start(
    model: Any, prepared: Any, guide: str | Callable[..., Any], seed: int, schedule: Schedule, label: str | None
) -> Mapping[str, Tensor]:
    """Return starting values: the model's own, and for a guide by name that draws, the mode reached from them.

    The first draws of a wide guide would wash good starting values out.
    """
    values: Mapping[str, Tensor] = model.init_values(prepared, seed) if hasattr(model, "init_values") else {}
    if guide == "map" or not isinstance(guide, str) or not schedule.warm_up:
        return values
    point = build_guide(model, prepared, "map", values)
    _optimise(model, point, prepared, Schedule(max_steps=schedule.warm_up), 1, label and f"{label}, mode")
    with torch.no_grad():
        return {name: value.clone() for name, value in point(prepared).items()}


def _optimise(model: Any, guide: Any, data: Any, schedule: Schedule, particles: int, label: str | None) -> Run:
    elbo = choose_elbo(model, data, particles)(model, guide)
    start = {name: p.detach().clone() for name, p in elbo.named_parameters()}
    for attempt in range(RETRIES + 1):
        rate = schedule.learning_rate * RETRY_FACTOR**attempt
        losses, rule = _descend(elbo, data, schedule, rate, label)
        if np.isfinite(losses).all():
            return Run(guide, losses, rule.converged, _verdict(rule, len(losses), attempt))
        with torch.no_grad():
            for name, p in elbo.named_parameters():
                p.copy_(start[name])
        if label:
            tqdm.write(f"{label}: the loss diverged after {len(losses)} steps; again with a smaller step")
    raise FloatingPointError(
        f"fit: the loss is not finite even at learning rate {rate:.2g}; check the data for extreme values, "
        "or give other priors or starting values"
    )


def _descend(
    elbo: nn.Module, data: Any, schedule: Schedule, rate: float, label: str | None
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], Plateau]:
    optimiser = torch.optim.Adam(elbo.parameters(), lr=rate, betas=(0.9, 0.99))
    rule = Plateau(schedule)
    losses: list[float] = []
    with tqdm(total=schedule.max_steps, desc=label, disable=label is None, unit="step", leave=False) as bar:
        while len(losses) < schedule.max_steps and not rule.converged:
            window = _window(elbo, data, optimiser, min(schedule.window, schedule.max_steps - len(losses)))
            losses += window.tolist()
            if not np.isfinite(window).all():
                break
            rule.update(window)
            for group in optimiser.param_groups:
                group["lr"] = rate * rule.factor
            bar.update(len(window))
            bar.set_postfix_str(f"ELBO {-window.mean():.6g}, rate {rate * rule.factor:.1g}")
    return np.array(losses), rule


def _window(
    elbo: nn.Module, data: Any, optimiser: torch.optim.Optimizer, steps: int
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Take some steps; their losses come to the host once, so that a GPU is not kept waiting at every step."""
    losses: list[Tensor] = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss: Tensor = elbo(data)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(loss.detach())
    return torch.stack(losses).double().cpu().numpy()


def choose_elbo(model: Any, data: Any, particles: int) -> Any:
    """Return an ELBO with exact sums where the model has enumerated sites."""
    with torch.no_grad(), poutine.block():
        trace = poutine.trace(model).get_trace(data)
    sites = [site for site in trace.nodes.values() if site["type"] == "sample"]
    nesting = max((-frame.dim for site in sites for frame in site["cond_indep_stack"] if frame.vectorized), default=0)
    arguments = {"num_particles": particles, "vectorize_particles": particles > 1, "max_plate_nesting": nesting}
    if any(site["infer"].get("enumerate") for site in sites):
        return TraceEnum_ELBO(strict_enumeration_warning=True, **arguments)
    return Trace_ELBO(**arguments)


def _verdict(rule: Plateau, steps: int, attempt: int) -> str:
    smaller = f", after {attempt} divergence(s) at larger steps" if attempt else ""
    if rule.converged:
        return f"converged after {steps} steps{smaller}: {rule.verdict}"
    return f"not converged: stopped at the limit of {steps} steps{smaller}; allow more (last plateau: {rule.verdict})"
