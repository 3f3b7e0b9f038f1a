"""The same program run forward: data from the prior, and from the posterior.

A model needs nothing for this.  If its data are not tensors that are themselves what it observes, it says by
``observe(prepared, {site: value})`` where observed values belong in them; if some of its values are missing, it says by
``observed_values(prepared)`` which (NaN).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from pyro import poutine
from torch import Tensor

from neuropyro.default_dtype import default_dtype
from neuropyro.inference.placement import choose_device, prepare
from neuropyro.inference.program import (
    Forward,
    array_of,
    has_density,
    is_deterministic,
    latent_values,
    observe,
    run_forward,
    sample_sites,
    was_drawn,
)

if TYPE_CHECKING:
    from neuropyro.inference.result import Fit

__all__ = [
    "Simulated",
    "predictive",
    "prior_draws",
    "replicates",
    "run_given",
    "simulate_prior",
]

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Simulated:
    """A data set from a model's prior.

    Parameters
    ----------
    truth
        Values by site, deterministic ones included; in the model's own gauge (`Simulated.identified`).
    data
        As the model's ``prepare`` leaves them, with the observed sites' values drawn; `fit` takes them.
    sampled
        Names of the sites of ``truth`` that have a prior: continuous and not deterministic.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> one = simulate_prior(model, torch.zeros(9), seed=1)
    >>> isinstance(one, Simulated), one.sampled, one.data.shape
    (True, ('mean',), torch.Size([9]))
    """

    truth: Arrays
    data: Any
    sampled: tuple[str, ...]

    def identified(self, model: Any) -> Arrays:
        """Return the truth as ``model.identify`` leaves a posterior draw: in the gauge and labelling of a fit's."""
        if not hasattr(model, "identify"):
            return dict(self.truth)
        one = {name: self.truth[name][None] for name in self.sampled}
        return {name: values[0] for name, values in model.identify(one, self.data).items()}

    def beside(self, model: Any, result: Fit, draws: int) -> tuple[Arrays, Arrays]:
        """Return the truth and posterior draws ``(draws, ...)``, identified together: in one gauge and one labelling.

        By itself a truth is labelled by the order of its own clusters, which need not be that of the posterior's.
        """
        if not hasattr(model, "identify"):
            return dict(self.truth), result.posterior(draws)
        both = {name: np.concatenate([x, self.truth[name][None]]) for name, x in result.unidentified(draws).items()}
        both = model.identify(both, self.data)
        return {name: x[-1] for name, x in both.items()}, {name: x[:-1] for name, x in both.items()}


def simulate_prior(
    model: Callable[[Any], Any],
    data: Any,
    seed: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Simulated:
    """Draw parameters from a model's prior and data given them, on the design of ``data``.

    Parameters
    ----------
    model
        A Pyro program.
    data
        Raw or prepared; of its values only what is missing matters, of the rest everything.
    seed
        The same seed gives the same data.
    device, dtype
        As in :func:`~neuropyro.inference.fit`.

    Raises
    ------
    ValueError
        Where the model observes what is not found in its data, and has no ``observe``.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> simulated = simulate_prior(model, torch.zeros(1000), seed=1)
    >>> abs(float(simulated.data.mean()) - float(simulated.truth["mean"])) < 0.15
    True
    """
    prepared = prepare(model, data, choose_device(device), dtype)
    with default_dtype(dtype), torch.random.fork_rng():
        torch.manual_seed(seed)
        run = run_forward(model, prepared)
    observed = {name: run[name]["value"] for name in run if was_drawn(run[name])}
    sampled = tuple(name for name, site in run.items() if name not in observed and has_density(site))
    truth = {name: array_of(site["value"]) for name, site in run.items() if name not in observed}
    return Simulated(truth, observe(model, prepared, observed), sampled)


def prior_draws(model: Callable[[Any], Any], prepared: Any, draws: int, seed: int = 0) -> tuple[Arrays, Arrays]:
    """Return draws from the prior, ``(draws, ...)`` by site, each in the model's gauge, and of the observed sites.

    Raises
    ------
    ValueError
        Where fewer than one are asked for.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> truths, data = prior_draws(model, torch.zeros(9), draws=3)
    >>> truths["mean"].shape, data["y"].shape
    ((3,), (3, 9))
    """
    if draws < 1:
        raise ValueError(f"prior: {draws} draws; ask for 1 or more")
    truths: list[Arrays] = []
    observed: list[Arrays] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(draws):
            run = run_forward(model, prepared)
            seen = [name for name, site in run.items() if was_drawn(site)]
            observed.append({name: array_of(run[name]["value"]) for name in seen})
            values = {name: array_of(site["value"]) for name, site in run.items() if name not in seen}
            sampled = tuple(name for name in values if has_density(run[name]))
            one = Simulated(values, prepared, sampled).identified(model)
            truths.append({name: x for name, x in one.items() if name in sampled or is_deterministic(run.get(name))})
    return _stacked(truths), _stacked(observed)


def predictive(fit: Fit, draws: int = 100) -> Arrays:
    """Draw data from the posterior predictive: the program run forward, given each posterior draw.

    Parameters
    ----------
    fit
        A fit.  If its model has ``predictive(result, draws)``, that is asked.
    draws
        Posterior draws, one data set each.

    Returns
    -------
    ``(draws, ...)`` by site: see `replicates`.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> from neuropyro.inference import Schedule, fit
    >>> result = fit(model, torch.ones(9), "laplace", schedule=Schedule(warm_up=50), progress=False)
    >>> predictive(result, draws=10)["y"].shape
    (10, 9)
    """
    own = getattr(fit.model, "predictive", None)
    return dict(own(fit, draws)) if own is not None else _stacked(list(replicates(fit, draws)))


def replicates(fit: Fit, draws: int = 100) -> Iterator[Arrays]:
    """Yield the data sets of `predictive` one by one, so that large ones need not be held together.

    What the model's ``replicates(result, draws)`` yields, if it has that; else
    the observed and the deterministic sites of the program run forward.  Labels that were summed out are drawn from the
    model then, not from their posterior: a model that keeps what belongs to a unit has ``replicates``.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`, and a point in the place of a posterior:

    >>> from neuropyro.guides import make_guide
    >>> from neuropyro.inference import Fit, Run
    >>> y = torch.zeros(1000)
    >>> guide = make_guide("map", model, y, {"mean": torch.tensor(5.0)})
    >>> result = Fit(model, y, (Run(guide, np.zeros(1), True, ""),), "map", 0, "")

    >>> [round(float(drawn["y"].mean())) for drawn in replicates(result, draws=2)]  # whatever was observed
    [5, 5]
    """
    own = getattr(fit.model, "replicates", None)
    if own is not None:
        with torch.random.fork_rng():
            torch.manual_seed(fit.seed)
            repeated = itertools.chain.from_iterable(own(fit, draws) for _ in range(draws if fit.is_point else 1))
            for drawn in itertools.islice(repeated, draws):
                yield {name: array_of(value) for name, value in drawn.items()}
        return
    for run in run_given(fit, draws, forward=True):
        kept = {name for name, site in run.items() if was_drawn(site) or is_deterministic(site)}
        yield {name: array_of(run[name]["value"]) for name in kept}


def run_given(fit: Fit, draws: int, forward: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the program's sample sites, run with its latent sites at one posterior draw after the other.

    Parameters
    ----------
    fit
        A fit; its draws, in the model's gauge, must describe the same data as the raw ones.
    draws
        Number of draws.
    forward
        Whether observed sites are drawn instead of being conditioned on.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`, and a point in the place of a posterior:

    >>> from neuropyro.guides import make_guide
    >>> from neuropyro.inference import Fit, Run
    >>> y = torch.zeros(9)
    >>> guide = make_guide("map", model, y, {"mean": torch.tensor(5.0)})
    >>> result = Fit(model, y, (Run(guide, np.zeros(1), True, ""),), "map", 0, "")

    >>> [(run["mean"]["value"].item(), run["y"]["value"].sum().item()) for run in run_given(result, draws=2)]
    [(5.0, 0.0), (5.0, 0.0)]
    """
    with default_dtype(fit.dtype), pyro.validation_enabled(False):
        latent = latent_values(fit.model, fit.data)
    posterior = fit.posterior(draws)
    with torch.random.fork_rng():
        torch.manual_seed(fit.seed)
        for s in range(draws):
            values = {name: _like(posterior[name][s], latent[name]) for name in latent if name in posterior}
            program = Forward()(fit.model) if forward else fit.model
            with default_dtype(fit.dtype), pyro.validation_enabled(False):
                run = sample_sites(poutine.condition(program, values), fit.data)
            yield run


def _like(array: NDArray[Any], value: Tensor) -> Tensor:
    return torch.as_tensor(np.array(array)).to(value)


def _stacked(draws: list[Arrays]) -> Arrays:
    return {name: np.stack([draw[name] for draw in draws]) for name in draws[0]}
