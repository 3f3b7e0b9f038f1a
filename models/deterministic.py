"""Deterministic sites of posterior draws: the program run again, given each draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyro import poutine
from torch import Tensor

__all__ = ["with_deterministic"]


def with_deterministic(
    program: Callable[[Any], Any], draws: dict[str, NDArray[Any]], data: Any, like: Tensor
) -> dict[str, NDArray[Any]]:
    """Add the deterministic sites of ``program(data)`` to draws of its other sites.

    Parameters
    ----------
    draws
        Arrays ``(draws, ...)`` by site.
    like
        A tensor of the device and dtype to compute on.
    """
    added: dict[str, list[NDArray[Any]]] = {}
    for s in range(len(next(iter(draws.values())))):
        values = {site: torch.tensor(x[s]).to(like) for site, x in draws.items()}
        with torch.no_grad():
            trace = poutine.trace(poutine.condition(program, values)).get_trace(data)
        for name, site in trace.nodes.items():
            if site["type"] == "sample" and site["infer"].get("_deterministic"):
                added.setdefault(name, []).append(site["value"].cpu().numpy())
    return draws | {name: np.stack(values) for name, values in added.items()}
