"""The point guide: the mode of the joint density.

Represents: one point; no uncertainty.  Cost: one gradient a step, nothing random, so that it converges sharply and
fast.  The mode is that of the density in each site's own space (a site with positive support is not transformed), and
for a model with many latent variables it may lie far from where the posterior's mass is.  So does the joint mode of a
population's sd and the subjects that it is the sd of; a model may name sites to be left where they start (`hold`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from pyro.infer.autoguide import AutoDelta

__all__ = ["hold", "map_guide"]


def map_guide(model: Callable[..., Any], init: Callable[..., Any]) -> AutoDelta:
    """Return a point mass at each site (Pyro's ``AutoDelta``).

    Parameters
    ----------
    model
        A Pyro program without enumerated sites.
    init
        Starting value of a site (Pyro's ``init_loc_fn``).
    """
    return AutoDelta(model, init_loc_fn=init)


def hold(guide: AutoDelta, sites: Collection[str]) -> None:
    """Keep some sites of a point guide where they are; the guide has its parameters already.

    Parameters
    ----------
    guide
        From `map_guide`.
    sites
        Names; those that the guide does not have are passed over.

    Examples
    --------
    With the model of :mod:`neuropyro.inference.fit`:

    >>> from neuropyro.guides import make_guide
    >>> guide = make_guide("map", model, {"mean": torch.tensor(0.5)})
    >>> _ = guide(torch.ones(9))  # makes its parameters
    >>> hold(guide, ["mean"])
    >>> [parameter.requires_grad for parameter in guide.parameters()]
    [False]
    """
    for name, parameter in guide.named_parameters():
        if name.removesuffix("_unconstrained") in sites:
            parameter.requires_grad_(False)
