"""The mean-field guide: every scalar its own Normal, in unconstrained space.

Represents: location and spread of each latent variable, none of their correlations; where two are strongly correlated
under the posterior (a subject's speed and stage), its sds are those of one given the other: too narrow.  Cost: one
gradient a step and a draw of every site.  Coverage: on the DIVE paper's simulation (300 subjects, 1,000 vertices) its
90 % intervals hold the true score at 23 to 46 % of the visits (three seeds).

References
----------
Kucukelbir et al., "Automatic differentiation variational inference", JMLR 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyro.infer.autoguide import AutoNormal

__all__ = ["normal_guide"]

INIT_SCALE = 0.02  # starts close to the starting values, so that good ones are not washed out by the first draws


def normal_guide(model: Callable[..., Any], init: Callable[..., Any]) -> AutoNormal:
    """Return a diagonal Normal over all sites (Pyro's ``AutoNormal``); arguments as in `map_guide`."""
    return AutoNormal(model, init_loc_fn=init, init_scale=INIT_SCALE)
