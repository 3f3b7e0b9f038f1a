"""The loop of every fit: Adam on the ELBO, in windows, until the schedule's rule is met."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from neuropyro.inference.checkpoint import Checkpoint
from neuropyro.inference.convergence import Rule, Schedule
from neuropyro.inference.result import Run
from neuropyro.progress_bars import progress_bar

__all__ = ["Monitor", "Progress", "optimise"]

RETRIES = 3
RETRY_FACTOR = 0.3
BETAS = (0.9, 0.99)
OPEN_ENDED = "{desc}: {n_fmt} steps, {total_fmt} at most [{elapsed}, {rate_fmt}{postfix}]"

Losses = NDArray[np.float64]


@dataclass(frozen=True)
class Progress:
    """What a callback is told after each window of steps.

    Parameters
    ----------
    stage
        What is being fitted: a restart's search for the mode, or its guide.
    step
        Steps done.
    losses
        ``(step,)`` so far, nats.
    learning_rate
        At present.
    guide
        As it stands.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.inference import fit
    >>> def enough(progress: Progress) -> bool:
    ...     return progress.step >= 50
    >>> fit(model, torch.ones(9), "map", callbacks=[enough], progress=False).verdict
    'not converged: a callback stopped it after 50 steps'
    """

    stage: str
    step: int
    losses: Losses
    learning_rate: float
    guide: Any


@dataclass(frozen=True)
class Monitor:
    """Who follows a fit: a progress bar, callbacks, and checkpoints.

    Parameters
    ----------
    stage
        Name of what is being fitted.
    progress
        Whether to show a bar on standard error.
    callbacks
        Called with a `Progress` after each window; one that returns True ends the fit.
    checkpoint
        Where to keep the state, or None.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.inference.fit import build_guide
    >>> from neuropyro.inference.objective import choose_elbo
    >>> told = []
    >>> monitor = Monitor("mode", callbacks=[lambda progress: told.append((progress.stage, progress.step))])
    >>> y, schedule = torch.ones(9), Schedule(max_steps=20, window=10)
    >>> _ = optimise(choose_elbo(model, y), model, build_guide(model, y, "map", {}), y, schedule, monitor)
    >>> told
    [('mode', 10), ('mode', 20)]
    """

    stage: str
    progress: bool = False
    callbacks: Sequence[Callable[[Progress], bool | None]] = ()
    checkpoint: Checkpoint | None = None


@dataclass
class _State:
    """All that a fit needs to go on from where it is."""

    elbo: nn.Module
    schedule: Schedule
    optimiser: torch.optim.Adam
    rule: Rule
    attempt: int = 0
    losses: list[float] = field(default_factory=list)
    stopped: bool = False

    @property
    def rate(self) -> float:
        return self.schedule.learning_rate * RETRY_FACTOR**self.attempt * self.rule.factor

    @property
    def running(self) -> bool:
        return len(self.losses) < self.schedule.max_steps and not self.rule.converged and not self.stopped


def optimise(objective: Any, model: Any, guide: Any, data: Any, schedule: Schedule, monitor: Monitor) -> Run:
    """Fit a guide; it has its parameters already.

    Parameters
    ----------
    objective
        A Pyro ELBO.
    model, guide, data
        What it is of.
    schedule
        Steps, learning rate and stopping rule.
    monitor
        Who follows.

    Raises
    ------
    FloatingPointError
        Where the loss stays infinite or undefined at smaller and smaller steps.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.inference.fit import build_guide
    >>> from neuropyro.inference.objective import choose_elbo
    >>> y, schedule = torch.ones(9), Schedule(max_steps=100)
    >>> guide = build_guide(model, y, "map", {"mean": torch.tensor(0.5)})
    >>> run = optimise(choose_elbo(model, y), model, guide, y, schedule, Monitor(""))
    >>> len(run.losses), round(guide.draw(1)["mean"].item(), 1)  # 9 / (9 + 1)
    (100, 0.9)
    """
    began = time.perf_counter()
    elbo = objective(model, guide)
    state = _State(elbo, schedule, _adam(elbo, schedule), schedule.rule())
    beginning = {name: p.detach().clone() for name, p in elbo.named_parameters()}
    done = _restore(state, guide, monitor)
    while not done:
        done = _descend(state, guide, data, monitor) or _retry(state, beginning, monitor)
    _keep(state, guide, monitor, done=True)
    losses = np.array(state.losses)
    seconds = time.perf_counter() - began
    return Run(guide, losses, state.rule.converged, _verdict(state), seconds)


def _descend(state: _State, guide: Any, data: Any, monitor: Monitor) -> bool:
    """Take steps until the rule is met; returns False where the loss diverged."""
    count = {"total": state.schedule.max_steps, "initial": len(state.losses), "unit": "step"}
    if state.rule.how_far:
        count["bar_format"] = OPEN_ENDED
    with progress_bar(monitor.stage, monitor.progress, **count) as bar:
        while state.running:
            window = _window(state, data)
            state.losses += window.tolist()
            if not np.isfinite(window).all():
                return False
            state.rule.update(window, _gradient(state.elbo))
            _set_rate(state)
            _tell(state, guide, monitor)
            _keep(state, guide, monitor)
            bar.set_postfix_str(f"ELBO {-window.mean():.6g}{state.rule.how_far}", refresh=False)
            bar.update(len(window))
    return True


def _window(state: _State, data: Any) -> Losses:
    """Take some steps; their losses come to the host once, so that a GPU is not kept waiting at every step.

    Arguments of distributions are checked in the first step alone: each check makes a GPU wait.
    """
    size = min(state.schedule.window, state.schedule.max_steps - len(state.losses))
    losses = [] if state.losses else [_step(state, data)]
    with pyro.validation_enabled(False):
        losses += [_step(state, data) for _ in range(size - len(losses))]
    return torch.stack(losses).double().cpu().numpy()


def _step(state: _State, data: Any) -> Tensor:
    state.optimiser.zero_grad()
    loss: Tensor = state.elbo(data)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimiser.step()
    return loss.detach()


def _retry(state: _State, beginning: dict[str, Tensor], monitor: Monitor) -> bool:
    """Go back to the beginning with a smaller step."""
    steps = len(state.losses)
    state.attempt += 1
    if state.attempt > RETRIES:
        raise FloatingPointError(
            f"fit: the loss is not finite even at learning rate {state.rate / RETRY_FACTOR:.2g}; check the data for "
            "extreme values, or give other priors or starting values"
        )
    with torch.no_grad():
        for name, p in state.elbo.named_parameters():
            p.copy_(beginning[name])
    state.losses.clear()
    state.rule = state.schedule.rule()
    state.optimiser = _adam(state.elbo, state.schedule)
    _set_rate(state)
    if monitor.progress:
        said = f"{monitor.stage}: the loss diverged after {steps} steps; again with a smaller step"
        tqdm.write(said, file=sys.stderr)
    return False


def _adam(elbo: nn.Module, schedule: Schedule) -> torch.optim.Adam:
    return torch.optim.Adam(elbo.parameters(), lr=schedule.learning_rate, betas=BETAS)


def _set_rate(state: _State) -> None:
    for group in state.optimiser.param_groups:
        group["lr"] = state.rate


def _gradient(elbo: nn.Module) -> float:
    """Return the largest absolute gradient of the last step."""
    gradients = [p.grad.abs().max() for p in elbo.parameters() if p.grad is not None and p.numel()]
    return float(torch.stack(gradients).max()) if gradients else 0.0


def _tell(state: _State, guide: Any, monitor: Monitor) -> None:
    told = Progress(monitor.stage, len(state.losses), np.array(state.losses), state.rate, guide)
    # Every callback is told, also after one has asked to stop.
    answers = [callback(told) for callback in monitor.callbacks]
    state.stopped = any(answer is True for answer in answers)


def _keep(state: _State, guide: Any, monitor: Monitor, done: bool = False) -> None:
    if monitor.checkpoint is not None and (done or monitor.checkpoint.is_due()):
        facts = {"attempt": state.attempt, "done": done, "stopped": state.stopped, "rule": state.rule.facts()}
        monitor.checkpoint.write(monitor.stage, guide, state.optimiser, state.losses, facts)


def _restore(state: _State, guide: Any, monitor: Monitor) -> bool:
    """Take up a kept state; returns whether that fit had ended."""
    if monitor.checkpoint is None or not monitor.checkpoint.has(monitor.stage):
        return False
    state.losses, facts = monitor.checkpoint.read(monitor.stage, guide, state.optimiser)
    state.attempt, state.stopped = facts["attempt"], facts["stopped"]
    state.rule.restore(facts["rule"])
    _set_rate(state)
    return bool(facts["done"])


def _verdict(state: _State) -> str:
    smaller = f", after {state.attempt} divergence(s) at larger steps" if state.attempt else ""
    steps = len(state.losses)
    if state.rule.converged:
        return f"converged after {steps} steps{smaller}: {state.rule.verdict}"
    if state.stopped:
        return f"not converged: a callback stopped it after {steps} steps{smaller}"
    return f"not converged: it stopped at the limit of {steps} steps{smaller}; {state.rule.verdict}"
