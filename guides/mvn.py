"""The full-rank guide: one Normal over all latent variables, with a full covariance.

Represents: location, spread and every linear correlation, in unconstrained space; no skew, one mode.  Cost: D gradients
to start, then the square of D a step and in memory: for some thousands of latent variables at most.

Coverage: on small studies of DIVE's own prior (50 data sets; docs/coverage.md) its 90 % intervals held 83 +- 2 % of the
true scores, 84 +- 2 % of the speeds, 67 +- 5 % of the clusters' onsets c and 75 +- 3 % of their steepnesses b: by the
ELBO alone what all subjects hang on is too narrow, where `structured` has it by short chains.

References
----------
Kucukelbir et al., "Automatic differentiation variational inference", JMLR 2017 (full-rank).
"""

from __future__ import annotations

from neuropyro.guides.blocks import one_block
from neuropyro.guides.flat import FlatGuide
from neuropyro.guides.gaussian import ArrowGaussian
from neuropyro.guides.latents import Latents
from neuropyro.guides.start import Start

__all__ = ["FULL_LIMIT", "check_size", "mvn_guide"]

FULL_LIMIT = 4000


def mvn_guide(start: Start) -> FlatGuide:
    """Return a Normal with a full covariance over all sites.

    Raises
    ------
    ValueError
        Where there are too many latent variables for a full covariance.
    """
    check_size("mvn", start.latents)
    return FlatGuide(start.latents, ArrowGaussian(start, one_block(start.latents)))


def check_size(name: str, latents: Latents) -> None:
    """Raise ValueError where a full covariance would be too large."""
    if latents.size > FULL_LIMIT:
        raise ValueError(
            f"guide {name!r}: {latents.size} latent variables are too many for a full covariance (limit {FULL_LIMIT}); "
            "use 'structured' or 'lowrank'"
        )
