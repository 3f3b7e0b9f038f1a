"""The same program run forward: data from the prior, and from the posterior.

A model needs nothing for this.  If its data are not tensors that are themselves what it observes, it says by
``observe(prepared, {site: value})`` where observed values belong in them; if some of its values are missing, it says by
``observed_values(prepared)`` which (NaN).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from numpy.typing import NDArray
from pyro import poutine
from pyro.poutine.uncondition_messenger import UnconditionMessenger
from torch import Tensor

from neuropyro.inference.placement import choose_device, default_dtype, prepare

if TYPE_CHECKING:
    from neuropyro.inference.result import Fit

__all__ = [
    "Simulated",
    "observe",
    "observed_sites",
    "observed_values",
    "predictive",
    "prior_draws",
    "replicates",
    "run_given",
    "sample_sites",
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
    >>> import pyro, torch
    >>> import pyro.distributions as dist
    >>> def model(y):
    ...     mean = pyro.sample("mean", dist.Normal(0.0, 1.0))
    ...     with pyro.plate("visit", len(y)):
    ...         pyro.sample("y", dist.Normal(mean, 1.0), obs=y)
    >>> simulated = simulate_prior(model, torch.zeros(1000), seed=1)
    >>> abs(float(simulated.data.mean()) - float(simulated.truth["mean"])) < 0.15
    True
    """
    prepared = prepare(model, data, choose_device(device), dtype)
    with default_dtype(dtype), torch.random.fork_rng():
        torch.manual_seed(seed)
        run = run_forward(model, prepared)
    observed = {name: run[name]["value"] for name in run if run[name]["infer"].get("was_observed")}
    sampled = tuple(name for name, site in run.items() if name not in observed and _has_density(site))
    truth = {name: _array(site["value"]) for name, site in run.items() if name not in observed}
    return Simulated(truth, observe(model, prepared, observed), sampled)


def prior_draws(model: Callable[[Any], Any], prepared: Any, draws: int, seed: int = 0) -> tuple[Arrays, Arrays]:
    """Return draws from the prior, ``(draws, ...)`` by site, each in the model's gauge, and of the observed sites."""
    truths: list[Arrays] = []
    observed: list[Arrays] = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for _ in range(draws):
            run = run_forward(model, prepared)
            seen = [name for name, site in run.items() if site["infer"].get("was_observed")]
            observed.append({name: _array(run[name]["value"]) for name in seen})
            values = {name: _array(site["value"]) for name, site in run.items() if name not in seen}
            sampled = tuple(name for name in values if _has_density(run[name]))
            one = Simulated(values, prepared, sampled).identified(model)
            truths.append({name: x for name, x in one.items() if name in sampled or _is_deterministic(run.get(name))})
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
    """
    own = getattr(fit.model, "predictive", None)
    return dict(own(fit, draws)) if own is not None else _stacked(list(replicates(fit, draws)))


def replicates(fit: Fit, draws: int = 100) -> Iterator[Arrays]:
    """Yield the data sets of `predictive` one by one, so that large ones need not be held together.

    What the model's ``replicates(result, draws)`` yields, if it has that; else
    the observed and the deterministic sites of the program run forward.  Labels that were summed out are drawn from the
    model then, not from their posterior: a model that keeps what belongs to a unit has ``replicates``.
    """
    own = getattr(fit.model, "replicates", None)
    if own is not None:
        with torch.random.fork_rng():
            torch.manual_seed(fit.seed)
            repeated = itertools.chain.from_iterable(own(fit, draws) for _ in range(draws if fit.is_point else 1))
            for drawn in itertools.islice(repeated, draws):
                yield {name: _array(value) for name, value in drawn.items()}
        return
    for run in run_given(fit, draws, forward=True):
        kept = {name for name, site in run.items() if site["infer"].get("was_observed") or _is_deterministic(site)}
        yield {name: _array(run[name]["value"]) for name in kept}


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
    """
    with default_dtype(fit.dtype), pyro.validation_enabled(False):
        latent = _latent_sites(fit.model, fit.data)
    posterior = fit.posterior(draws)
    with torch.random.fork_rng():
        torch.manual_seed(fit.seed)
        for s in range(draws):
            values = {name: _like(posterior[name][s], latent[name]) for name in latent if name in posterior}
            program = _Forward()(fit.model) if forward else fit.model
            with default_dtype(fit.dtype), pyro.validation_enabled(False):
                run = sample_sites(poutine.condition(program, values), fit.data)
            yield run


def run_forward(model: Callable[[Any], Any], data: Any) -> dict[str, Any]:
    """Run a program once with its observed sites drawn; returns Pyro's sample sites by name."""
    return sample_sites(_Forward()(model), data)


def observed_sites(model: Callable[[Any], Any], data: Any) -> dict[str, Tensor]:
    """Return what the model observes: values by site, deterministic sites and factors left out."""
    return {name: site["value"] for name, site in sample_sites(model, data).items() if _is_observation(site)}


def observed_values(model: Any, data: Any) -> Arrays:
    """Return the observed values by site, NaN where the model says that they are missing."""
    own = getattr(model, "observed_values", None)
    if own is not None:
        return dict(own(data))
    return {name: _array(value) for name, value in observed_sites(model, data).items()}


def observe(model: Any, data: Any, values: Mapping[str, Tensor]) -> Any:
    """Return prepared data with other values at the observed sites.

    By ``model.observe`` where there is one; else the tensors in the data (a tensor, or a tuple, list or mapping of
    them) that the program observes are replaced.

    Raises
    ------
    ValueError
        Where an observed value is none of the data's tensors.
    """
    if hasattr(model, "observe"):
        return model.observe(data, {name: _array(value) for name, value in values.items()})
    places = {id(value): name for name, value in observed_sites(model, data).items()}
    found: set[str] = set()
    replaced = _replaced(data, places, values, found)
    if missing := set(values) - found:
        raise ValueError(
            f"simulate: the model observes {sorted(missing)[0]!r}, which is none of its data's tensors; "
            "give it a method observe(data, values)"
        )
    return replaced


def _replaced(data: Any, places: Mapping[int, str], values: Mapping[str, Tensor], found: set[str]) -> Any:
    if isinstance(data, Tensor) and id(data) in places:
        name = places[id(data)]
        found.add(name)
        return values[name].reshape(data.shape).to(data)
    if isinstance(data, Mapping):
        return {key: _replaced(value, places, values, found) for key, value in data.items()}
    if type(data) in (tuple, list):
        return type(data)(_replaced(value, places, values, found) for value in data)
    return data


class _Forward(UnconditionMessenger):  # type: ignore[misc]
    """Draws observed sites; deterministic sites and factors are no observations, and stay."""

    def _pyro_sample(self, message: Any) -> None:
        if _is_observation(message):
            super()._pyro_sample(message)


def _is_observation(site: Any) -> bool:
    return bool(site["is_observed"]) and not _is_deterministic(site) and not _is_factor(site)


def _is_deterministic(site: Any) -> bool:
    return site is not None and bool(site["infer"].get("_deterministic"))


def _has_density(site: Any) -> bool:
    """Whether a site is a latent, continuous variable."""
    return not _is_deterministic(site) and not site["fn"].support.is_discrete


def _is_factor(site: Any) -> bool:
    fn = site["fn"]
    while hasattr(fn, "base_dist"):  # masked or expanded
        fn = fn.base_dist
    return isinstance(fn, dist.Unit)


@torch.no_grad()
def sample_sites(model: Callable[[Any], Any], data: Any) -> dict[str, Any]:
    """Run a program once; returns its sample sites by name, without plates and factors."""
    trace = poutine.trace(model).get_trace(data)
    samples = {name: site for name, site in trace.nodes.items() if site["type"] == "sample"}
    return {n: s for n, s in samples.items() if type(s["fn"]).__name__ != "_Subsample" and not _is_factor(s)}


def _latent_sites(model: Callable[[Any], Any], data: Any) -> dict[str, Tensor]:
    sites = sample_sites(model, data)
    return {n: s["value"] for n, s in sites.items() if not s["is_observed"] and not s["fn"].support.is_discrete}


def _like(array: NDArray[Any], value: Tensor) -> Tensor:
    return torch.as_tensor(np.array(array)).to(value)


def _array(value: Tensor | NDArray[Any]) -> NDArray[Any]:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _stacked(draws: list[Arrays]) -> Arrays:
    return {name: np.stack([draw[name] for draw in draws]) for name in draws[0]}
