"""Guides by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pyro import poutine
from pyro.infer.autoguide.initialization import init_to_median, init_to_value
from pyro.nn import PyroModule
from torch import Tensor, nn

from neuropyro.guides.function import FunctionGuide
from neuropyro.guides.map import map_guide
from neuropyro.guides.normal import normal_guide

__all__ = ["GUIDES", "make_guide"]

Guide = Callable[..., Any]

GUIDES: Mapping[str, Callable[[Callable[..., Any], Callable[..., Any]], nn.Module]] = {
    "map": map_guide,
    "normal": normal_guide,
}


def make_guide(guide: str | Guide, model: Callable[..., Any], init_values: Mapping[str, Tensor]) -> nn.Module:
    """Return the guide called ``guide``, or ``guide`` itself (a function in a `FunctionGuide`).

    Parameters
    ----------
    guide
        A key of `GUIDES`, or any Pyro guide (function or module).
    model
        The Pyro program; its enumerated sites are hidden from the guide.
    init_values
        Starting values by site, in the site's own space; other sites start at their prior's median.

    Raises
    ------
    ValueError
        Where there is no guide of that name.
    """
    if isinstance(guide, nn.Module):
        return _with_local_parameters(guide)
    if not isinstance(guide, str):
        return FunctionGuide(guide)
    if guide not in GUIDES:
        raise ValueError(f"no guide named {guide!r}; there are {', '.join(GUIDES)}, and any Pyro guide")
    continuous = poutine.block(model, hide_fn=_is_enumerated)
    return GUIDES[guide](continuous, init_to_value(values=dict(init_values), fallback=init_to_median))


def _with_local_parameters(guide: nn.Module) -> nn.Module:
    """Let a guide that was made without Pyro's ``module_local_params`` keep its parameters to itself all the same."""
    for module in guide.modules():
        if isinstance(module, PyroModule) and not hasattr(module._pyro_context, "param_state"):
            module._pyro_context.param_state = {"params": {}, "constraints": {}}
    return guide


def _is_enumerated(site: dict[str, Any]) -> bool:
    return site["type"] == "sample" and bool(site["infer"].get("enumerate"))
