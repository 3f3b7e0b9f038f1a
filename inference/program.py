"""A program run once: what its sites are, and its data with other values at those that it observes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from numpy.typing import NDArray
from pyro import poutine
from pyro.poutine.uncondition_messenger import UnconditionMessenger
from torch import Tensor

__all__ = [
    "Forward",
    "array_of",
    "has_density",
    "is_deterministic",
    "latent_values",
    "observe",
    "observed_sites",
    "observed_values",
    "run_forward",
    "sample_sites",
    "was_drawn",
]

Arrays = dict[str, NDArray[Any]]


@torch.no_grad()
def sample_sites(model: Callable[[Any], Any], data: Any) -> dict[str, Any]:
    """Run a program once; returns its sample sites by name, without plates and factors.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:


    >>> {name: site["is_observed"] for name, site in sample_sites(model, torch.ones(9)).items()}
    {'mean': False, 'y': True}
    """
    trace = poutine.trace(model).get_trace(data)
    samples = {name: site for name, site in trace.nodes.items() if site["type"] == "sample"}
    return {n: s for n, s in samples.items() if type(s["fn"]).__name__ != "_Subsample" and not _is_factor(s)}


def run_forward(model: Callable[[Any], Any], data: Any) -> dict[str, Any]:
    """Run a program once with its observed sites drawn; returns Pyro's sample sites by name.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:


    >>> run = run_forward(model, torch.full((9,), 1000.0))
    >>> run["y"]["value"].shape, bool((run["y"]["value"] < 100).all())  # drawn anew, whatever was observed
    (torch.Size([9]), True)
    """
    return sample_sites(Forward()(model), data)


class Forward(UnconditionMessenger):  # type: ignore[misc]
    """Draws observed sites; deterministic sites and factors are no observations, and stay.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:


    >>> trace = poutine.trace(Forward()(model)).get_trace(torch.full((9,), 1000.0))
    >>> trace.nodes["y"]["is_observed"], bool((trace.nodes["y"]["value"] < 100).all())
    (False, True)
    """

    def _pyro_sample(self, message: Any) -> None:
        if _is_observation(message):
            super()._pyro_sample(message)


def latent_values(model: Callable[[Any], Any], data: Any) -> dict[str, Tensor]:
    """Return one draw from the prior of every latent, continuous site.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:


    >>> [(name, value.shape) for name, value in latent_values(model, torch.ones(9)).items()]
    [('mean', torch.Size([]))]
    """
    sites = sample_sites(model, data)
    return {n: s["value"] for n, s in sites.items() if not s["is_observed"] and not s["fn"].support.is_discrete}


def observed_sites(model: Callable[[Any], Any], data: Any) -> dict[str, Tensor]:
    """Return what the model observes: values by site, deterministic sites and factors left out.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:


    >>> observed_sites(model, torch.tensor([1.0, 2.0]))
    {'y': tensor([1., 2.])}
    """
    return {name: site["value"] for name, site in sample_sites(model, data).items() if _is_observation(site)}


def observed_values(model: Any, data: Any) -> Arrays:
    """Return the observed values by site, NaN where the model says that they are missing.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:


    >>> {name: values.tolist() for name, values in observed_values(model, torch.tensor([1.0, 2.0])).items()}
    {'y': [1.0, 2.0]}
    """
    own = getattr(model, "observed_values", None)
    if own is not None:
        return {name: array_of(value) for name, value in own(data).items()}
    return {name: array_of(value) for name, value in observed_sites(model, data).items()}


def observe(model: Any, data: Any, values: Mapping[str, Tensor]) -> Any:
    """Return prepared data with other values at the observed sites.

    By ``model.observe`` where there is one; else the tensors in the data (a tensor, or a tuple, list or mapping of
    them) that the program observes are replaced.

    Raises
    ------
    ValueError
        Where an observed value is none of the data's tensors.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> observe(model, torch.ones(3), {"y": torch.tensor([1.0, 2.0, 3.0])})
    tensor([1., 2., 3.])
    """
    if hasattr(model, "observe"):
        return model.observe(data, {name: array_of(value) for name, value in values.items()})
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


def _is_observation(site: Any) -> bool:
    return bool(site["is_observed"]) and not is_deterministic(site) and not _is_factor(site)


def is_deterministic(site: Any) -> bool:
    """Whether a site is computed and not drawn.

    Examples
    --------
    >>> def twice(y):
    ...     pyro.deterministic("twice", 2 * pyro.sample("speed", dist.Normal(0.0, 1.0)))
    >>> {name: is_deterministic(site) for name, site in sample_sites(twice, None).items()}
    {'speed': False, 'twice': True}
    """
    return site is not None and bool(site["infer"].get("_deterministic"))


def has_density(site: Any) -> bool:
    """Whether a site is a continuous variable that is drawn; an observed one counts, too.

    Examples
    --------
    >>> def labelled(y):
    ...     label = pyro.sample("label", dist.Bernoulli(0.5))
    ...     pyro.deterministic("twice", 2 * pyro.sample("speed", dist.Normal(label, 1.0)))
    >>> {name: has_density(site) for name, site in sample_sites(labelled, None).items()}
    {'label': False, 'speed': True, 'twice': False}
    """
    return not is_deterministic(site) and not site["fn"].support.is_discrete


def _is_factor(site: Any) -> bool:
    fn = site["fn"]
    while hasattr(fn, "base_dist"):  # masked or expanded
        fn = fn.base_dist
    return isinstance(fn, dist.Unit)


def was_drawn(site: Any) -> bool:
    """Whether a site is an observed one that a forward run has drawn.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:


    >>> {name: was_drawn(site) for name, site in run_forward(model, torch.ones(9)).items()}
    {'mean': False, 'y': True}
    """
    return bool(site["infer"].get("was_observed"))


def array_of(value: Tensor | NDArray[Any]) -> NDArray[Any]:
    """Return a value as an array on the host.

    Examples
    --------
    >>> array_of(torch.ones(2, requires_grad=True)).tolist(), array_of(np.ones(2)).tolist()
    ([1.0, 1.0], [1.0, 1.0])
    """
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
