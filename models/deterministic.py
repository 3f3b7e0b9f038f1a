"""Deterministic sites of posterior draws: the program run again, given the draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from pyro import poutine
from torch import Tensor

__all__ = ["with_deterministic"]

AT_ONCE = 32  # draws, in an outermost plate


def with_deterministic(
    program: Callable[[Any], Any], draws: dict[str, NDArray[Any]], data: Any, like: Tensor
) -> dict[str, NDArray[Any]]:
    """Add the deterministic sites of ``program(data)`` to draws of its other sites.

    Parameters
    ----------
    program
        Its plates are of dimension -1, and what it does broadcasts over a plate of draws at -2.
    draws
        Arrays ``(draws, ...)`` by site.
    like
        A tensor of the device and dtype to compute on.

    Examples
    --------
    >>> def program(data):
    ...     x = pyro.sample("x", dist.Normal(0.0, 1.0))
    ...     pyro.deterministic("twice", 2 * x)
    >>> draws = with_deterministic(program, {"x": np.array([1.0, 3.0])}, data=None, like=torch.zeros(()))
    >>> draws["twice"].ravel().tolist()
    [2.0, 6.0]
    """
    values = {site: torch.tensor(x).to(like) for site, x in draws.items()}
    alone = _run(program, {site: x[0] for site, x in values.items()}, data)
    in_no_plate = {site for site in values if not any(f.vectorized for f in alone[site]["cond_indep_stack"])}
    columns = {site: x.unsqueeze(1) if site in in_no_plate else x for site, x in values.items()}
    shapes = {name: site["value"].shape for name, site in alone.items() if site["infer"].get("_deterministic")}
    added: dict[str, list[Tensor]] = {name: [] for name in shapes}
    n_draws = len(next(iter(values.values())))
    if n_draws == 1:
        return draws | {name: np.asarray(alone[name]["value"].cpu())[None] for name in shapes}
    for begin in range(0, n_draws, AT_ONCE):
        size = min(AT_ONCE, n_draws - begin)
        with pyro.plate("draw", size, dim=-2):
            run = _run(program, {site: x[begin : begin + size] for site, x in columns.items()}, data)
        for name, shape in shapes.items():
            value = run[name]["value"]
            added[name].append(value.expand(size, *shape) if value.shape == shape else value.reshape(size, *shape))
    return draws | {name: np.asarray(torch.cat(parts).cpu()) for name, parts in added.items()}


@torch.no_grad()
def _run(program: Callable[[Any], Any], values: dict[str, Tensor], data: Any) -> dict[str, Any]:
    nodes = poutine.trace(poutine.condition(program, values)).get_trace(data).nodes
    return {name: site for name, site in nodes.items() if site["type"] == "sample"}
