"""Guides by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import torch
from pyro.infer.autoguide.initialization import init_to_median, init_to_value
from pyro.nn import PyroModule
from torch import Tensor, nn

from neuropyro.guides.flat import FlatGuide
from neuropyro.guides.flow import flow_guide
from neuropyro.guides.function import FunctionGuide
from neuropyro.guides.laplace import laplace_guide
from neuropyro.guides.latents import Latents, read_latents
from neuropyro.guides.lowrank import lowrank_guide
from neuropyro.guides.map import map_guide
from neuropyro.guides.mvn import mvn_guide
from neuropyro.guides.normal import normal_guide
from neuropyro.guides.start import Start
from neuropyro.guides.structured import structured_guide

__all__ = ["FLAT_GUIDES", "GUIDES", "check_name", "find_latents", "make_flat_guide", "make_guide"]

Guide = Callable[..., Any]

FLAT_GUIDES: Mapping[str, Callable[[Start], FlatGuide]] = {
    "laplace": laplace_guide,
    "normal": normal_guide,
    "lowrank": lowrank_guide,
    "mvn": mvn_guide,
    "structured": structured_guide,
    "flow": flow_guide,
}
GUIDES = ("map", *FLAT_GUIDES)


def make_guide(
    guide: str | Guide, model: Callable[..., Any], data: Any, init_values: Mapping[str, Tensor]
) -> nn.Module:
    """Return the guide of a name, unfitted, or ``guide`` itself (a function in a `FunctionGuide`).

    Parameters
    ----------
    guide
        A name from :data:`GUIDES`, or any Pyro guide (function or module).
    model, data
        The Pyro program, and what it conditions on; its enumerated sites are hidden from a guide by name.
    init_values
        Starting values by site, in the site's own space; other sites start at their prior's median.

    Raises
    ------
    ValueError
        Where there is no guide of that name, or it cannot guide the model's sites (`find_latents`).

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> guide = make_guide("map", model, torch.ones(9), {"mean": torch.tensor(0.5)})
    >>> guide(torch.ones(9))["mean"].item()
    0.5
    """
    if isinstance(guide, nn.Module):
        return _with_local_parameters(guide)
    if not isinstance(guide, str):
        return FunctionGuide(guide)
    check_name(guide)
    latents = find_latents(model, data, init_values)
    return make_flat_guide(guide, Start(latents, latents.start))


def make_flat_guide(name: str, start: Start) -> FlatGuide:
    """Return the guide called ``name`` over the flat vector, started there.

    Raises
    ------
    ValueError
        Where there is none of that name.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> latents = find_latents(model, torch.ones(9), {})
    >>> type(make_flat_guide("normal", Start(latents, latents.start))).__name__
    'FlatGuide'
    """
    check_name(name)
    return map_guide(start) if name == "map" else FLAT_GUIDES[name](start)


def find_latents(model: Callable[..., Any], data: Any, init_values: Mapping[str, Tensor]) -> Latents:
    """Return a model's latent sites, started at ``init_values`` or else at their priors' medians.

    Raises
    ------
    ValueError
        Where a latent site is discrete and not enumerated, is in a subsampled plate, or starts outside its support,
        or the model's ``centring`` is of a site that it does not have, or that is not of the real line.

    Examples
    --------
    With the model of :mod:`neuropyro.inference`:

    >>> find_latents(model, torch.ones(9), {"mean": torch.tensor(2.0)}).start.tolist()
    [2.0]
    """
    latents = read_latents(model, data, _starting_at(init_values))
    if not hasattr(model, "centring"):
        return latents
    centring = model.centring(data)
    site = next((site for site in latents.sites if site.name == centring.site), None)
    if site is None or not torch.equal(latents.values(latents.start)[site.name].flatten(), latents.start[site.slice]):
        raise ValueError(f"centring: site {centring.site!r} is no latent site of the real line")
    return replace(latents, centring=centring).centred(latents.start.new_zeros(site.shape), latents.start)


def check_name(name: str) -> None:
    """Raise ValueError where there is no guide of that name.

    Examples
    --------
    >>> check_name("normal")
    >>> check_name("gaussian")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: no guide named 'gaussian'; there are map, laplace, ..., and any Pyro guide
    >>> check_name("Laplace")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: no guide named 'Laplace'; there are map, ..., and any Pyro guide; did you mean 'laplace'?
    """
    if name not in GUIDES:
        alike = get_close_matches(name.lower(), GUIDES, n=1)
        meant = f"; did you mean {alike[0]!r}?" if alike else ""
        raise ValueError(f"no guide named {name!r}; there are {', '.join(GUIDES)}, and any Pyro guide{meant}")


def _starting_at(init_values: Mapping[str, Tensor]) -> Callable[..., Any]:
    start: Callable[..., Any] = init_to_value(values=dict(init_values), fallback=init_to_median)
    return start


def _with_local_parameters(guide: nn.Module) -> nn.Module:
    """Let a guide that was made without Pyro's ``module_local_params`` keep its parameters to itself all the same."""
    for module in guide.modules():
        if isinstance(module, PyroModule) and not hasattr(module._pyro_context, "param_state"):
            module._pyro_context.param_state = {"params": {}, "constraints": {}}
    return guide
