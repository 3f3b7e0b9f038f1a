"""The full-rank guide: one Normal over all latent variables, with a full covariance.

Represents: location, spread and every linear correlation, in unconstrained space; no skew, one mode.  Cost: D gradients
to start, then the square of D a step and in memory: for some thousands of latent variables at most.

Coverage: on small studies of DIVE's own prior (20 data sets; docs/coverage.md) its 90 % intervals held 84 +- 4 % of the
true scores, 85 +- 3 % of the speeds, 78 +- 7 % of the clusters' onsets c and 77 +- 7 % of their steepnesses b: by the
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

    Examples
    --------
    >>> from neuropyro.guides import find_latents
    >>> latents = find_latents(lambda y: pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1)), None, {})
    >>> precision = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
    >>> guide = mvn_guide(Start(latents, torch.zeros(2), lambda x: 0.5 * x @ precision @ x))
    >>> round(float(guide.law().log_prob(torch.zeros(2))), 3)  # -log 2 pi + log(3) / 2
    -1.289
    """
    check_size("mvn", start.latents)
    return FlatGuide(start.latents, ArrowGaussian(start, one_block(start.latents)))


def check_size(name: str, latents: Latents) -> None:
    """Raise ValueError where a full covariance would be too large.

    Examples
    --------
    >>> check_size("mvn", Latents((), torch.zeros(4000)))
    >>> check_size("mvn", Latents((), torch.zeros(5000)))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: guide 'mvn': 5000 latent variables are too many for a full covariance (limit 4000); ...
    """
    if latents.size > FULL_LIMIT:
        raise ValueError(
            f"guide {name!r}: {latents.size} latent variables are too many for a full covariance (limit {FULL_LIMIT}); "
            "use 'structured' or 'lowrank'"
        )
